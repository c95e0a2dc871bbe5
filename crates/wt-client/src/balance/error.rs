//! Why no target serves.

use crate::{connect::ConnectError, setting::InvalidSetting, target::InvalidUrl};

/// Why a [`LoadBalancer`](super::LoadBalancer) could not be made, or gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BalanceError {
    /// No target was given.
    #[error("a load balancer needs at least one target")]
    NoTargets,
    /// The URL of a target is none.
    #[error(transparent)]
    Url(InvalidUrl),
    /// A setting cannot work.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// There is no such target.
    #[error("no target is called {authority:?}: name it by host and port, as its URL does")]
    UnknownTarget {
        /// What was asked for.
        authority: String,
    },
    /// All targets have failed, and `failover` is off.
    #[error("none of the {targets} targets is available until a health check finds one")]
    NoneAvailable {
        /// How many there are.
        targets: usize,
    },
    /// The target that was tried last did not serve; those before it, if any, failed as well.
    #[error("target {authority} did not serve ({tried} tried)")]
    Failed {
        /// Host and port of the target.
        authority: String,
        /// How many were tried.
        tried: usize,
        /// What went wrong with it.
        #[source]
        error: ConnectError,
    },
    /// The balancer was closed.
    #[error("the load balancer was closed")]
    Closed,
}

impl BalanceError {
    /// Returns what went wrong with the target that was tried last.
    #[must_use]
    pub const fn connect_error(&self) -> Option<&ConnectError> {
        match self {
            Self::Failed { error, .. } => Some(error),
            _ => None,
        }
    }
}
