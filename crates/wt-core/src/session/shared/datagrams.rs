//! The datagrams of a session.

use std::{pin::pin, sync::atomic::Ordering::SeqCst};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;

use super::{Arena, Shared};
use crate::{error::SessionError, lock::lock, session::SendDatagramError, stats::count};

impl Shared {
    /// Returns the largest payload of a datagram now.
    pub(crate) fn max_datagram_size(&self) -> Option<usize> {
        let max = self.conn.quic().max_datagram_size()?;
        max.checked_sub(self.datagram_header.as_slice().len())
    }

    /// Puts the session's prefix before a payload, unless the session is over.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Result<Bytes, SendDatagramError> {
        self.still_open()?;
        Ok(self.frame_datagram(&mut lock(&self.outgoing_datagrams), payload))
    }

    fn still_open(&self) -> Result<(), SendDatagramError> {
        match self.end() {
            None => Ok(()),
            Some(end) => Err(SendDatagramError::Session(end.clone())),
        }
    }

    /// Counts a datagram that QUIC took.
    pub(crate) fn datagram_sent(&self) {
        lock(&self.outgoing_datagrams).sent += 1;
    }

    /// Returns how many datagrams QUIC took.
    pub(crate) fn datagrams_sent(&self) -> u64 {
        lock(&self.outgoing_datagrams).sent
    }

    pub(crate) fn datagram_error(
        &self,
        error: quinn::SendDatagramError,
        size: usize,
    ) -> SendDatagramError {
        use quinn::SendDatagramError as Q;
        match error {
            Q::TooLarge => SendDatagramError::TooLarge {
                size,
                max: self.max_datagram_size().unwrap_or(0),
            },
            Q::ConnectionLost(error) => SendDatagramError::Session(self.lost(error)),
            Q::UnsupportedByPeer | Q::Disabled => SendDatagramError::Unsupported,
        }
    }

    /// Sends a datagram if QUIC has room for it.
    pub(crate) fn try_send_datagram(&self, payload: &[u8]) -> Result<bool, SendDatagramError> {
        self.still_open()?;
        let datagram = {
            let mut arena = lock(&self.outgoing_datagrams);
            // It mostly goes.
            arena.sent += 1;
            self.frame_datagram(&mut arena, payload)
        };
        let sent = self.conn.quic().send_datagram_wait(datagram);
        let refused = match sent.now_or_never() {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) => Err(self.datagram_error(error, payload.len())),
            None => Ok(false),
        };
        lock(&self.outgoing_datagrams).sent -= 1;
        refused
    }

    /// Keeps a datagram for the application; the oldest goes when there are too many.
    pub(crate) fn push_datagram(&self, datagram: Bytes) {
        count(&self.counters.datagrams_received);
        let mut queue = lock(&self.datagrams);
        // Who takes one wakes the next as long as there are more: a reader is woken once for all that come together.
        let first = queue.is_empty();
        if queue.len() >= self.conn.limits().datagram_queue {
            queue.pop_front();
            count(&self.counters.datagrams_dropped);
        }
        queue.push_back(datagram);
        self.datagrams_kept.store(queue.len(), SeqCst);
        drop(queue);
        if first {
            self.datagram_arrived.notify_one();
        }
    }

    pub(crate) fn pop_datagram(&self) -> Option<Bytes> {
        // Mostly there are none, and nothing to lock.
        if self.datagrams_kept.load(SeqCst) == 0 {
            return None;
        }
        let mut queue = lock(&self.datagrams);
        let datagram = queue.pop_front();
        let left = queue.len();
        self.datagrams_kept.store(left, SeqCst);
        drop(queue);
        if left > 0 {
            self.datagram_arrived.notify_one();
        }
        datagram
    }

    /// Takes a datagram that is there.
    pub(crate) fn try_recv_datagram(&self) -> Result<Option<Bytes>, SessionError> {
        if !self.reads_datagrams.load(SeqCst) && !self.reads_datagrams.swap(true, SeqCst) {
            self.conn.datagram_reader_came();
        }
        loop {
            if let Some(datagram) = self.pop_datagram() {
                return Ok(Some(datagram));
            }
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            // When several sessions want datagrams, the driver hands them out.
            if !self.conn.reads_datagrams_itself() {
                return Ok(None);
            }
            let Some(datagram) = self.conn.quic().read_datagram().now_or_never() else {
                return Ok(None);
            };
            if let Some(datagram) = self.own_datagram(datagram)? {
                return Ok(Some(datagram));
            }
        }
    }

    /// Takes the payload of what QUIC gave; it may be for another session of the connection.
    fn own_datagram(
        &self,
        datagram: Result<Bytes, quinn::ConnectionError>,
    ) -> Result<Option<Bytes>, SessionError> {
        let mut datagram = datagram.map_err(|error| self.lost(error))?;
        let header = self.datagram_header.as_slice();
        let own = if begins_with(&datagram, header) {
            datagram.advance(header.len());
            Some(datagram)
        } else {
            self.conn.route_datagram(datagram, self.id)
        };
        if own.is_some() {
            count(&self.counters.datagrams_received);
        }
        Ok(own)
    }

    pub(crate) async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        loop {
            if let Some(datagram) = self.try_recv_datagram()? {
                return Ok(datagram);
            }
            let reads = self.conn.reads_datagrams_itself();
            if let Some(datagram) = self.next_datagram(reads).await
                && let Some(datagram) = self.own_datagram(datagram)?
            {
                return Ok(datagram);
            }
        }
    }

    /// Waits for a datagram of the connection, if the session `reads` them itself, or until there
    /// is something else to look at.
    async fn next_datagram(&self, reads: bool) -> Option<Result<Bytes, quinn::ConnectionError>> {
        let mut arrived = pin!(self.datagram_arrived.notified());
        arrived.as_mut().enable();
        // What came before that line wakes nobody.
        let came = !lock(&self.datagrams).is_empty() || self.end().is_some();
        if came || self.conn.reads_datagrams_itself() != reads {
            return None;
        }
        if !reads {
            arrived.await;
            return None;
        }
        tokio::select! {
            biased;
            datagram = self.conn.quic().read_datagram() => Some(datagram),
            () = arrived => None,
        }
    }

    /// Puts the session's prefix before a payload.
    fn frame_datagram(&self, arena: &mut Arena, payload: &[u8]) -> Bytes {
        /// What is reserved at a time, so that most datagrams allocate nothing.
        const ARENA: usize = 16 * 1024;
        let header = self.datagram_header.as_slice();
        let len = header.len() + payload.len();
        let buffer = &mut arena.buffer;
        if buffer.capacity() < len {
            buffer.reserve(len.max(ARENA));
        }
        buffer.extend_from_slice(header);
        buffer.extend_from_slice(payload);
        buffer.split().freeze()
    }
}

/// Returns whether bytes begin with a few others, without the call that `starts_with` is.
fn begins_with(bytes: &[u8], few: &[u8]) -> bool {
    bytes.len() >= few.len() && bytes.iter().zip(few).all(|(a, b)| a == b)
}
