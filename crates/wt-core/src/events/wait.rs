//! Why an event did not come.

use std::time::Duration;

use super::Lagged;

/// Why the event that was waited for did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Time ran out.
    #[error("the event did not come within {0:?}")]
    TimedOut(Duration),
    /// The emitter is gone or was closed.
    #[error("the event cannot come any more: its emitter is gone")]
    Closed,
    /// The event may be among some that were lost.
    #[error("the event may be among those that were lost")]
    Lagged(#[from] Lagged),
}

impl WaitError {
    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }
}
