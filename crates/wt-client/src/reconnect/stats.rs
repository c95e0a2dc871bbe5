//! Figures of a reconnecting client.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Figures of a [`ReconnectingClient`](crate::ReconnectingClient) at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconnectStats {
    /// How long it has been at work.
    pub uptime: Duration,
    /// Sessions that came to be.
    pub established: u64,
    /// Sessions that were lost.
    pub lost: u64,
    /// Attempts that gave no session.
    pub failed: u64,
}

/// The counters behind [`ReconnectStats`].
#[derive(Debug)]
pub(super) struct Counters {
    start: Instant,
    pub(super) established: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            established: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub(super) fn stats(&self) -> ReconnectStats {
        ReconnectStats {
            uptime: self.start.elapsed(),
            established: self.established.load(Relaxed),
            lost: self.lost.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
