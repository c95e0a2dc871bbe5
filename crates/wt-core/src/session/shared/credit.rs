//! What a session may send, and what its peer may.

use std::{
    pin::{Pin, pin},
    sync::atomic::Ordering::SeqCst,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::futures::OwnedNotified;
use wt_proto::{Dir, ProtocolViolation};

use super::Shared;
use crate::{error::SessionError, lock::lock, stream::WriteError};

impl Shared {
    /// Takes from QUIC what has arrived on all streams, so that it counts as long as the limit is
    /// what the peer was told.
    ///
    /// # Errors
    ///
    /// The violation of a peer that went over its limit.
    pub(crate) fn look_ahead(&self) -> Result<(), ProtocolViolation> {
        // A peer that keeps to its limit sends no more than a window ahead of what is read, unless it has credit for
        // streams that were reset, of which nobody knows how much they carried. What else it sends waits in QUIC, within
        // QUIC's windows.
        let window = self.flow.as_ref().map_or(0, |f| f.recv_data.window());
        let mut kept = self.kept();
        let registry = lock(&self.registry);
        registry
            .slots
            .iter()
            .try_for_each(|(_, slot)| slot.look_ahead(self, window, &mut kept))
    }

    /// Asks the driver to announce credit, unless it was asked already.
    pub(crate) fn credit_due(&self) {
        if !self.credit_told.swap(true, SeqCst) {
            self.conn.credit_due(self.id);
        }
    }

    /// Takes note that the driver is about to announce credit.
    pub(crate) fn credit_taken(&self) {
        // A swap sees what those counted who found the flag set.
        self.credit_told.swap(false, SeqCst);
    }

    /// Returns whether the driver was asked to announce credit and has not done so.
    pub(crate) fn is_credit_due(&self) -> bool {
        self.credit_told.load(SeqCst)
    }

    /// Returns whether the last call was at most `time` ago: the peer uses its credit quickly.
    pub(crate) fn renewed_within(&self, time: Duration) -> bool {
        let now = Instant::now();
        let last = lock(&self.renewed).replace(now);
        last.is_some_and(|last| now.duration_since(last) <= time)
    }

    /// Wakes all that wait for credit.
    pub(crate) fn credit_raised(&self) {
        self.credit.notify_waiters();
    }

    /// Takes credit for up to `want` bytes; waits while there is none.
    ///
    /// `waiting` is where the caller waits, between calls.
    pub(crate) fn poll_send_credit(
        &self,
        cx: &mut Context<'_>,
        want: usize,
        waiting: &mut Option<Pin<Box<OwnedNotified>>>,
    ) -> Poll<Result<usize, WriteError>> {
        let Some(flow) = &self.flow else {
            return Poll::Ready(Ok(want));
        };
        let credit = &flow.send_data;
        loop {
            let got = credit.take(want as u64);
            if got > 0 {
                *waiting = None;
                // It is at most `want`, so it fits.
                return Poll::Ready(Ok(usize::try_from(got).unwrap_or(want)));
            }
            if let Some(end) = self.end() {
                return Poll::Ready(Err(WriteError::Session(end.clone())));
            }
            match waiting {
                None => {
                    let raised = waiting.insert(Box::pin(self.credit.clone().notified_owned()));
                    // Look again afterwards: credit may have come in between.
                    raised.as_mut().enable();
                }
                Some(raised) => {
                    if raised.as_mut().poll(cx).is_pending() {
                        if credit.set_blocked() {
                            self.credit_due();
                        }
                        return Poll::Pending;
                    }
                    raised.set(self.credit.clone().notified_owned());
                    raised.as_mut().enable();
                }
            }
        }
    }

    pub(crate) fn return_send_credit(&self, bytes: usize) {
        if let Some(flow) = &self.flow {
            flow.send_data.give_back(bytes as u64);
            self.credit.notify_waiters();
        }
    }

    /// Takes credit for one stream of `dir`; waits while there is none.
    pub(crate) async fn open_credit(&self, dir: Dir) -> Result<(), SessionError> {
        // Mostly there is some, and nothing to wait for.
        while !self.take_open_credit(dir)? {
            let mut raised = pin!(self.credit.notified());
            raised.as_mut().enable();
            // Look again: credit may have come in between.
            if self.take_open_credit(dir)? {
                break;
            }
            if let Some(flow) = &self.flow
                && flow.open(dir).set_blocked()
            {
                self.credit_due();
            }
            raised.await;
        }
        Ok(())
    }

    /// Takes credit for one stream of `dir` if there is some.
    fn take_open_credit(&self, dir: Dir) -> Result<bool, SessionError> {
        match self.end() {
            Some(end) => Err(end.clone()),
            None => Ok(self
                .flow
                .as_ref()
                .is_none_or(|flow| flow.open(dir).take(1) == 1)),
        }
    }

    /// Gives back the credit of a stream of which the peer never learned.
    pub(crate) fn unopened(&self, dir: Dir) {
        if let Some(flow) = &self.flow {
            flow.open(dir).give_back(1);
            self.credit.notify_waiters();
        }
    }

    /// Counts bytes of the peer as arrived.
    pub(crate) fn flow_arrived(&self, bytes: usize) -> Result<(), ProtocolViolation> {
        self.flow
            .as_ref()
            .map_or(Ok(()), |flow| flow.recv_data.arrive(bytes as u64))
    }

    /// Counts bytes of the peer as arrived; the session ends when they are too many.
    pub(crate) fn arrived(&self, bytes: usize) -> Result<(), SessionError> {
        self.flow_arrived(bytes)
            .map_err(|violation| self.violated(violation))
    }

    pub(crate) fn violated(&self, violation: ProtocolViolation) -> SessionError {
        self.conn.session_violation(self.id, violation);
        self.end()
            .cloned()
            .unwrap_or(SessionError::Violation(violation))
    }

    /// Counts bytes that the application took; `true` when credit is to be announced.
    pub(crate) fn consumed(&self, bytes: usize) -> bool {
        self.flow
            .as_ref()
            .is_some_and(|flow| flow.recv_data.consume(bytes as u64))
    }

    /// Makes up for a stream of the peer that was reset before its header arrived, and which may
    /// have been one of this session.
    pub(crate) fn forgive_stream(&self, dir: Dir) {
        if let Some(flow) = &self.flow {
            if flow.accept(dir).forgive() {
                self.credit_due();
            }
            self.forgive_received();
        }
    }

    /// Makes up for bytes of a stream that was reset or stopped, of which nobody knows how many.
    pub(crate) fn forgive_received(&self) {
        if let Some(flow) = &self.flow {
            let credit = &flow.recv_data;
            let most = credit.limit().saturating_sub(credit.consumed());
            if credit.forgive(most.min(self.conn.stream_window())) {
                self.credit_due();
            }
        }
    }
}
