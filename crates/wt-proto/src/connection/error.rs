//! Why a request is not sent, not granted or not taken.

use std::fmt;

use http::StatusCode;

use crate::{ErrorCode, ProtocolViolation, head::ResponseHead};

/// Why a CONNECT cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotConnect {
    /// The server's SETTINGS have not arrived yet.
    #[error("the server's SETTINGS have not arrived yet")]
    SettingsMissing,
    /// The server offers no WebTransport, or in no dialect that is allowed here.
    #[error("the server offers no dialect of WebTransport that this client may speak")]
    Unsupported,
    /// The server takes no QUIC datagrams, which WebTransport needs.
    #[error("the server does not accept QUIC datagrams, which WebTransport needs")]
    NoDatagrams,
    /// The connection carries as many sessions as the server allows.
    #[error("the connection carries as many sessions as the server allows")]
    TooManySessions,
    /// The server sent GOAWAY, or this client did.
    #[error("the connection takes no new sessions (GOAWAY)")]
    GoingAway,
    /// The fields of the request are more than the server takes (RFC 9114, 4.2.2).
    #[error("the request's header fields are larger than the server takes")]
    HeadTooLarge,
}

/// Why a session that was asked for did not come to be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server answered with a status that is not 2xx.
    #[error("the server refused the session with status {}", .0.status)]
    Status(Box<ResponseHead>),
    /// The request stream was reset or stopped before an answer.
    #[error("the server rejected the request with {0}")]
    Rejected(ErrorCode),
    /// The request stream ended, or broke the protocol, before an answer.
    #[error("the server's answer is no answer: {0}")]
    Violation(ProtocolViolation),
}

/// Why a request was answered without reaching the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It was no request for a WebTransport session; answered with this status.
    NotWebTransport(StatusCode),
    /// The connection carries as many sessions as it may.
    TooManySessions,
    /// GOAWAY was sent before it came.
    GoingAway,
    /// The client's SETTINGS lack what its dialect needs.
    RequirementsNotMet,
    /// Its field section is larger than allowed.
    TooLarge,
    /// It broke the protocol.
    Violation(ProtocolViolation),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWebTransport(status) => {
                write!(
                    f,
                    "not a request for a WebTransport session, answered with {status}"
                )
            }
            Self::TooManySessions => {
                f.write_str("the connection carries as many sessions as it may")
            }
            Self::GoingAway => f.write_str("the connection takes no new sessions (GOAWAY sent)"),
            Self::RequirementsNotMet => {
                f.write_str("the client's SETTINGS lack what its version of WebTransport requires")
            }
            Self::TooLarge => f.write_str("the request's header fields are larger than allowed"),
            Self::Violation(violation) => write!(f, "the request broke the protocol: {violation}"),
        }
    }
}
