//! How much lies in QUIC's buffer, where nothing is overtaken any more.
//!
//! A datagram that tells when it leaves costs as much as many that do not. QUIC sends in order, so it is enough that
//! one in a while tells, for itself and for those before it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Bytes that QUIC has and has not sent yet.
#[derive(Debug)]
pub(super) struct Ahead {
    bytes: AtomicUsize,
    limit: usize,
    /// The task that hands over more.
    pump: Arc<Notify>,
}

impl Ahead {
    pub(super) fn new(limit: usize, pump: Arc<Notify>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            limit: limit.max(1),
            pump,
        }
    }

    /// Returns whether QUIC may have another one beside `untold` bytes. It always may when it has none.
    pub(super) fn has_room(&self, untold: usize) -> bool {
        self.bytes.load(SeqCst) + untold < self.limit
    }

    /// Returns about how many bytes a datagram of that length takes on the wire: with its frame, and with its part of
    /// what a packet takes.
    pub(super) const fn cost(len: usize) -> usize {
        len + len / 24 + 4
    }

    /// Returns whether, with so many bytes of which nobody tells, the next datagram should.
    ///
    /// Those that never tell are few, so that all but an eighth of a full buffer is told of.
    pub(super) const fn should_tell(&self, untold: usize) -> bool {
        untold > self.limit / 8
    }

    /// Makes what tells that so many bytes have left.
    pub(super) fn ticket(self: &Arc<Self>, bytes: usize) -> Ticket {
        self.bytes.fetch_add(bytes, SeqCst);
        Ticket {
            ahead: self.clone(),
            bytes,
        }
    }
}

/// Bytes that QUIC has; dropped when they have left.
#[derive(Debug)]
pub(super) struct Ticket {
    ahead: Arc<Ahead>,
    bytes: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ahead = &self.ahead;
        let before = ahead.bytes.fetch_sub(self.bytes, SeqCst);
        let half = ahead.limit / 2;
        // Once for each half, so that the task that is woken has something to do.
        if before > half && before - self.bytes <= half {
            ahead.pump.notify_one();
        }
    }
}
