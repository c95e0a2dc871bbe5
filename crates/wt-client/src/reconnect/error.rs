//! Why there are no further sessions.

use std::time::Duration;

use wt_core::SessionError;

use crate::connect::ConnectError;

/// Why a [`ReconnectingClient`](crate::ReconnectingClient) has no session and will get none.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// It was closed by this program.
    #[error("the reconnecting client was closed")]
    Closed,
    /// More attempts failed in a row than the policy allows.
    #[error("gave up after {failures} failures in a row")]
    RetriesExceeded {
        /// How many failed.
        failures: u32,
        /// What happened last.
        #[source]
        last: ConnectFailure,
    },
    /// The attempt failed in a way that no repetition can mend.
    #[error("no attempt can succeed")]
    Permanent(#[source] ConnectError),
}

/// What counts as a failure.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// No session came to be.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session was lost.
    #[error("the session was lost after {:.3} s", .lived.as_secs_f64())]
    Lost {
        /// How long it lived.
        lived: Duration,
        /// How it ended.
        #[source]
        error: SessionError,
    },
}
