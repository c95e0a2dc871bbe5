//! Figures of a pool.

/// Figures of a [`Pool`](super::Pool) at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Objects that may exist at a time.
    pub max_size: usize,
    /// Objects that wait to be lent.
    pub idle: usize,
    /// Objects that are lent out or being made.
    pub lent: usize,
    /// Borrowers that wait because everything is lent.
    pub waiting: usize,
    /// Objects that were made.
    pub created: u64,
    /// Times that an object was lent again.
    pub reused: u64,
    /// Objects that were no good any more, when they were to be lent or came back.
    pub unhealthy: u64,
    /// Objects that were idle for too long, or too many.
    pub expired: u64,
    /// Objects that could not be made.
    pub failed: u64,
    /// Borrowers that waited too long.
    pub timed_out: u64,
}
