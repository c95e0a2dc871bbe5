//! How much lies in QUIC's buffer, where nothing is overtaken any more.

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
    /// What QUIC counts for a datagram besides its payload, about.
    const OVERHEAD: usize = 32;

    pub(super) fn new(limit: usize, pump: Arc<Notify>) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            limit: limit.max(1),
            pump,
        }
    }

    /// Returns whether QUIC may have another one. It always may when it has none.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(SeqCst) < self.limit
    }

    pub(super) fn ticket(self: &Arc<Self>, len: usize) -> Ticket {
        let bytes = len + Self::OVERHEAD;
        self.bytes.fetch_add(bytes, SeqCst);
        Ticket {
            ahead: self.clone(),
            bytes,
        }
    }
}

/// A datagram that QUIC has; dropped when it leaves.
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
