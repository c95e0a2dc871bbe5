//! Why datagrams could not be sent or received.

use std::{sync::Arc, time::Duration};

use wt_core::{SendDatagramError, SessionError};

/// Why there is no transport.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration holds a value that cannot work.
    #[error("invalid configuration for `{key}`: {value}: {reason}")]
    Config {
        /// The field.
        key: &'static str,
        /// The value found there.
        value: String,
        /// What the value has to be.
        reason: &'static str,
    },
    /// There is no tokio runtime for the tasks of the queues.
    #[error("no tokio runtime: call this from within one (`#[tokio::main]` or `Runtime::enter`)")]
    NoRuntime,
    /// The session has a transport already: each datagram goes to one of them, nobody could say to which.
    #[error("the session has a datagram transport already: clone that one, or close it first")]
    Taken,
}

/// Why a datagram was not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[doc(alias = "DatagramError")]
#[non_exhaustive]
pub enum SendError {
    /// It is larger than the path carries now.
    #[error("a datagram of {size} bytes does not fit, at most {max} do now")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size at this moment.
        max: usize,
    },
    /// The queue is full and its policy refuses what is new.
    #[error(
        "{limit} datagrams wait to be sent already; send less, or choose another policy or a longer queue"
    )]
    QueueFull {
        /// How many datagrams the queue holds.
        limit: usize,
    },
    /// Its time to live passed before it could be sent.
    #[error("the time to live of the datagram passed before it could be sent")]
    Expired,
    /// The value cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Json(#[source] Arc<serde_json::Error>),
    /// The peer takes no datagrams.
    #[error("the peer takes no datagrams")]
    Unsupported,
    /// The transport was closed.
    #[error("the datagram transport was closed")]
    Closed,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl SendError {
    /// Returns whether no further datagram can be sent either.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Unsupported | Self::Closed | Self::Session(_))
    }
}

impl From<SendDatagramError> for SendError {
    fn from(error: SendDatagramError) -> Self {
        match error {
            SendDatagramError::TooLarge { size, max } => Self::TooLarge { size, max },
            SendDatagramError::Session(end) => Self::Session(end),
            // Nothing else is known today.
            _ => Self::Unsupported,
        }
    }
}

/// Why only a part of several datagrams was sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("after {sent} datagrams")]
#[non_exhaustive]
pub struct SendManyError {
    /// How many were sent before.
    pub sent: usize,
    /// Why the next one was not.
    #[source]
    pub error: SendError,
}

/// Why no datagram was received.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// None came in time.
    #[error("no datagram for {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The datagram is not the JSON that was expected.
    #[error("the datagram is not the JSON that was expected")]
    Json(#[source] Arc<serde_json::Error>),
    /// The transport was closed.
    #[error("the datagram transport was closed")]
    Closed,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl ReceiveError {
    /// Returns whether no further datagram will be received either.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Closed | Self::Session(_))
    }
}
