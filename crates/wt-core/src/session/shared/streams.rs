//! The streams of a session: those that wait to be accepted, and all that have a handle.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use wt_proto::{Dir, ErrorCode};

use super::{Incoming, Priorities, Shared, StreamCounts};
use crate::{error::SessionError, events::Event, lock::lock, stream::Slot};

impl Shared {
    /// Takes a stream into the session; gives it back reset when the session is over.
    pub(crate) fn register(&self, slot: Arc<Slot>) -> Result<Arc<Slot>, SessionError> {
        if self.priorities.differ() {
            slot.set_priority(self.priorities.in_quic(0));
        }
        {
            let mut registry = lock(&self.registry);
            if !registry.ended {
                let key = registry.slots.insert(slot.clone());
                let counts = &mut registry.counts;
                counts.accepted += u64::from(slot.remote);
                counts.opened += u64::from(!slot.remote);
                counts.bidi += u64::from(slot.dir == Dir::Bi);
                slot.key.store(key, Relaxed);
                return Ok(slot);
            }
        }
        slot.abort(ErrorCode::WT_SESSION_GONE);
        Err(self.end_or_local())
    }

    pub(crate) const fn priorities(&self) -> &Priorities {
        &self.priorities
    }

    /// Takes a stream of the peer and offers it to the application.
    pub(crate) fn push_stream(&self, slot: Arc<Slot>) {
        let dir = slot.dir;
        match self.register(slot) {
            Ok(slot) => {
                self.tell_opened(&slot);
                self.incoming(dir).push(slot);
            }
            Err(_) => self.conn.remote_stream_ended(dir),
        }
    }

    /// Tells of a stream that joined the session.
    pub(crate) fn tell_opened(&self, slot: &Slot) {
        self.conn.tell(|| Event::StreamOpened {
            connection: self.conn.id(),
            session: self.id,
            stream: slot.id,
            by: slot.opened_by(),
        });
    }

    fn incoming(&self, dir: Dir) -> &Incoming {
        match dir {
            Dir::Bi => &self.bidi,
            Dir::Uni => &self.uni,
        }
    }

    pub(crate) async fn accept(&self, dir: Dir) -> Result<Arc<Slot>, SessionError> {
        let incoming = self.incoming(dir);
        let mut volunteer = self.conn.volunteer();
        loop {
            if let Some(stream) = incoming.pop() {
                return Ok(stream);
            }
            let mut arrived = pin!(incoming.arrived.notified());
            // Before another look at the queue: others may be between look and wait as well, and
            // each stream wakes only one of those that wait.
            arrived.as_mut().enable();
            if let Some(stream) = incoming.pop() {
                return Ok(stream);
            }
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            volunteer.wait(arrived).await;
        }
    }

    pub(crate) fn forget_stream(&self, slot: &Slot) {
        let mut registry = lock(&self.registry);
        if !registry.ended {
            registry.slots.try_remove(slot.key.load(Relaxed));
        }
        drop(registry);
        self.conn.tell(|| Event::StreamClosed {
            connection: self.conn.id(),
            session: self.id,
            stream: slot.id,
        });
    }

    /// Returns the streams that have a handle, or will get one.
    pub(crate) fn streams(&self) -> Vec<Arc<Slot>> {
        let registry = lock(&self.registry);
        registry
            .slots
            .iter()
            .map(|(_, slot)| slot.clone())
            .collect()
    }

    /// Returns how many streams there have been.
    pub(crate) fn stream_counts(&self) -> StreamCounts {
        lock(&self.registry).counts
    }

    /// Returns how many bytes were taken from QUIC and wait for a reader.
    pub(crate) fn kept(&self) -> u64 {
        let registry = lock(&self.registry);
        registry
            .slots
            .iter()
            .map(|(_, slot)| slot.kept() as u64)
            .sum()
    }

    /// Returns how long the session has lived, or did.
    pub(crate) fn uptime(&self) -> Duration {
        let end = self.ended_at.get().copied();
        end.unwrap_or_else(Instant::now)
            .duration_since(self.created)
    }

    /// Returns how many datagrams wait to be taken.
    pub(crate) fn datagram_backlog(&self) -> usize {
        lock(&self.datagrams).len()
    }

    /// Returns how many streams wait to be accepted.
    pub(crate) fn streams_waiting(&self) -> usize {
        lock(&self.bidi.queue).len() + lock(&self.uni.queue).len()
    }

    pub(crate) fn active_streams(&self) -> usize {
        lock(&self.registry).slots.len()
    }

    /// Takes note that the application is done with one half of a stream.
    pub(crate) fn half_ended(&self, slot: &Slot) {
        if !slot.remote {
            return;
        }
        self.conn.remote_half_ended(slot.dir);
        if self
            .flow
            .as_ref()
            .is_some_and(|f| f.accept(slot.dir).end_half())
        {
            self.credit_due();
        }
    }
}
