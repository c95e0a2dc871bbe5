//! Why nothing could be borrowed.

use std::time::Duration;

/// Why a [`Pool`](super::Pool) lent nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError<E> {
    /// The pool was closed.
    #[error("the pool was closed")]
    Closed,
    /// Everything was lent for too long, or making an object took too long.
    #[error("nothing could be borrowed from the pool within {:.3} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// No object could be made.
    #[error(transparent)]
    Create(E),
}
