//! Why connections and sessions end.

use std::{io, time::Duration};

use wt_proto::{ErrorCode, Initiator, ProtocolViolation, SessionEnd, coding::is_grease};

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// This endpoint closed it.
    #[error("the connection was closed by this endpoint")]
    LocallyClosed,
    /// The peer's application closed it.
    #[error("the connection was closed by the peer with {code}{}", words(.reason))]
    ClosedByPeer {
        /// The HTTP/3 code of CONNECTION_CLOSE.
        code: ErrorCode,
        /// The reason in it, often empty.
        reason: String,
    },
    /// The peer broke a rule of HTTP/3 or WebTransport and the connection was closed for it.
    #[error("the connection was closed because the peer broke the protocol: {0}")]
    Violation(ProtocolViolation),
    /// Nothing was heard of the peer for the idle timeout.
    #[error("the connection timed out: nothing was heard of the peer")]
    TimedOut,
    /// The peer does not know this connection any more (stateless reset).
    #[error("the peer does not know this connection any more (stateless reset)")]
    Reset,
    /// The TLS handshake failed: a refused certificate, no common application protocol (ALPN).
    #[error("{}", tls_words(*.alert, *.by, .reason))]
    Tls {
        /// The number of the TLS alert (RFC 8446, 6), such as [`Self::NO_APPLICATION_PROTOCOL`].
        alert: u8,
        /// Who gave up.
        by: Initiator,
        /// What the one who gave up says, often empty when it was the peer.
        reason: String,
    },
    /// QUIC failed: no common version, a refused or malformed packet.
    #[error("QUIC failed: {0}")]
    Transport(String),
}

/// Says why TLS failed.
fn tls_words(alert: u8, by: Initiator, reason: &str) -> String {
    let reason = &one_line(reason);
    let reason = match alert {
        _ if by == Initiator::Local && !reason.is_empty() => reason,
        ConnectionError::NO_APPLICATION_PROTOCOL => "no common application protocol (ALPN)",
        42 => "bad certificate",
        44 => "certificate revoked",
        45 => "certificate expired",
        46 => "certificate not acceptable",
        48 => "unknown certificate authority",
        112 => "unknown server name",
        116 => "a client certificate is required",
        _ if reason.is_empty() => "no reason given",
        _ => reason,
    };
    match by {
        Initiator::Local => format!("the TLS handshake failed: {reason}"),
        Initiator::Peer => format!("the peer gave up the TLS handshake: {reason} (alert {alert})"),
    }
}

fn words(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {}", one_line(reason))
    }
}

/// Writes control characters as escapes: the words of a peer go into logs and to terminals.
fn one_line(text: &str) -> String {
    let parts = text.chars().map(|c| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    });
    parts.collect()
}

impl From<quinn::ConnectionError> for ConnectionError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as Q;
        match error {
            Q::LocallyClosed => Self::LocallyClosed,
            Q::ApplicationClosed(close) => Self::ClosedByPeer {
                code: ErrorCode::new(close.error_code.into_inner())
                    .unwrap_or(ErrorCode::H3_NO_ERROR),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            Q::TimedOut => Self::TimedOut,
            Q::Reset => Self::Reset,
            Q::TransportError(ref failed) => {
                Self::tls(failed.code, Initiator::Local, &failed.reason)
                    .unwrap_or_else(|| Self::Transport(error.to_string()))
            }
            Q::ConnectionClosed(ref close) => {
                let reason = String::from_utf8_lossy(&close.reason);
                Self::tls(close.error_code, Initiator::Peer, &reason)
                    .unwrap_or_else(|| Self::Transport(error.to_string()))
            }
            other => Self::Transport(other.to_string()),
        }
    }
}

impl ConnectionError {
    /// The TLS alert of an endpoint that speaks none of the other's application protocols
    /// (RFC 7301, 3.2).
    pub const NO_APPLICATION_PROTOCOL: u8 = 120;

    /// Reads an error code of QUIC that carries a TLS alert (RFC 9001, 4.8).
    fn tls(code: quinn::TransportErrorCode, by: Initiator, reason: &str) -> Option<Self> {
        let alert = u64::from(code).checked_sub(0x100)?;
        // What rustls puts around the words of `CertificateRefused`.
        let own = reason.strip_prefix("invalid peer certificate: Other(OtherError(");
        let own = own.and_then(|words| words.strip_suffix("))"));
        Some(Self::Tls {
            alert: u8::try_from(alert).ok()?,
            by,
            reason: own.unwrap_or(reason).to_owned(),
        })
    }

    /// Returns whether the peer ended the connection in order, without naming an error.
    #[must_use]
    pub fn is_graceful(&self) -> bool {
        match self {
            Self::LocallyClosed => true,
            // Reserved codes mean the same (RFC 9114, 8.1).
            Self::ClosedByPeer { code, .. } => {
                *code == ErrorCode::H3_NO_ERROR || code.get() == 0 || is_grease(code.get())
            }
            _ => false,
        }
    }

    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

/// Why a session ended, or why something cannot be done with it any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// It was closed in order.
    #[error("{}", closed_words(*.by, *.code, .reason))]
    Closed {
        /// Who closed it.
        by: Initiator,
        /// The application's code; 0 when the peer just ended the CONNECT stream.
        code: u32,
        /// The application's reason; empty when none was given.
        reason: String,
    },
    /// The peer reset its CONNECT stream.
    #[error("the session was aborted by the peer with {0}")]
    Aborted(ErrorCode),
    /// The peer broke a rule of the session and it was reset.
    #[error("the session was reset because the peer broke the protocol: {0}")]
    Violation(ProtocolViolation),
    /// It was opened early, and the server did not accept it.
    #[error("the session did not come to be: {0}")]
    Refused(#[source] Box<ConnectError>),
    /// Its connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

fn closed_words(by: Initiator, code: u32, reason: &str) -> String {
    let by = if by == Initiator::Local {
        "this endpoint"
    } else {
        "the peer"
    };
    format!(
        "the session was closed by {by} with code {code}{}",
        words(reason)
    )
}

impl From<SessionEnd> for SessionError {
    fn from(end: SessionEnd) -> Self {
        match end {
            SessionEnd::Closed { by, code, reason } => Self::Closed { by, code, reason },
            SessionEnd::Aborted(code) => Self::Aborted(code),
            SessionEnd::Violation(violation) => Self::Violation(violation),
            _ => Self::Aborted(ErrorCode::WT_SESSION_GONE),
        }
    }
}

impl SessionError {
    /// Returns the application's code when the session was closed in order.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns the application's reason; empty when none was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Closed { reason, .. } => reason,
            _ => "",
        }
    }

    /// Returns whether the session was closed in order by the peer.
    #[must_use]
    pub const fn is_closed_by_peer(&self) -> bool {
        matches!(
            self,
            Self::Closed {
                by: Initiator::Peer,
                ..
            }
        )
    }

    /// Returns whether the session was closed in order by this endpoint.
    #[must_use]
    pub const fn is_closed_locally(&self) -> bool {
        matches!(
            self,
            Self::Closed {
                by: Initiator::Local,
                ..
            }
        )
    }
}

impl From<SessionError> for io::Error {
    fn from(error: SessionError) -> Self {
        let kind = match &error {
            SessionError::Closed {
                by: Initiator::Local,
                ..
            } => io::ErrorKind::NotConnected,
            SessionError::Connection(ConnectionError::TimedOut) => io::ErrorKind::TimedOut,
            SessionError::Connection(ConnectionError::LocallyClosed) => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A value of the configuration cannot be used.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// A certificate, a key or the trusted roots cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {source}{}", hint(.source))]
    Socket {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The file for `transport.qlog` cannot be made.
    #[error("cannot write a qlog in {}: {source}", .directory.display())]
    Qlog {
        /// The directory.
        directory: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no tokio runtime to run the endpoint on.
    #[error("no tokio runtime: call this from within one (`#[tokio::main]` or `Runtime::enter`)")]
    NoRuntime,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => " (choose another port, or port 0 for a free one)",
        io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}

/// Why no session came to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection failed or ended before the session was there.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The session cannot be asked for on this connection.
    #[error(transparent)]
    Unavailable(#[from] wt_proto::connection::CannotConnect),
    /// The server refused the session with a status that is not 2xx.
    #[error("the server refused the session with status {status}")]
    Refused {
        /// The status.
        status: http::StatusCode,
        /// The header fields of the response.
        headers: Box<http::HeaderMap>,
    },
    /// The server reset the request before it answered.
    #[error("the server rejected the request with {0}")]
    Rejected(ErrorCode),
    /// The server's answer broke the protocol.
    #[error("the server's answer broke the protocol: {0}")]
    Violation(ProtocolViolation),
    /// A header field or subprotocol of the request cannot be sent.
    #[error("{0}")]
    InvalidRequest(String),
    /// The address cannot be dialled.
    #[error("cannot dial {address}: {reason}")]
    Address {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        reason: String,
    },
    /// Time ran out.
    #[error("no session after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
}

impl From<wt_proto::connection::ConnectError> for ConnectError {
    fn from(error: wt_proto::connection::ConnectError) -> Self {
        use wt_proto::connection::ConnectError as P;
        match error {
            P::Status(head) => Self::Refused {
                status: head.status,
                headers: Box::new(head.headers),
            },
            P::Rejected(code) => Self::Rejected(code),
            P::Violation(violation) => Self::Violation(violation),
            _ => Self::Rejected(ErrorCode::H3_REQUEST_CANCELLED),
        }
    }
}

impl From<SessionError> for ConnectError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused(error) => *error,
            SessionError::Connection(error) => Self::Connection(error),
            SessionError::Aborted(code) => Self::Rejected(code),
            SessionError::Violation(violation) => Self::Violation(violation),
            SessionError::Closed { .. } => Self::Rejected(ErrorCode::H3_REQUEST_CANCELLED),
        }
    }
}

impl ConnectError {
    /// Returns the status with which the server refused the session.
    #[must_use]
    pub const fn status(&self) -> Option<http::StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::TimedOut(_) | Self::Connection(ConnectionError::TimedOut)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_peer_stay_on_their_line() {
        let end = SessionError::Closed {
            by: Initiator::Peer,
            code: 7,
            reason: "grüße\n\u{1b}[2J".to_owned(),
        };
        let words = "the session was closed by the peer with code 7: grüße\\n\\u{1b}[2J";
        assert_eq!(end.to_string(), words);
        assert_eq!(end.reason(), "grüße\n\u{1b}[2J");
    }

    #[test]
    fn alerts_are_said_in_words() {
        let tls = |alert, by, reason: &str| {
            let reason = reason.to_owned();
            ConnectionError::Tls { alert, by, reason }.to_string()
        };
        assert_eq!(
            tls(120, Initiator::Peer, ""),
            "the peer gave up the TLS handshake: no common application protocol (ALPN) (alert 120)"
        );
        assert_eq!(
            tls(46, Initiator::Local, "invalid peer certificate: Revoked"),
            "the TLS handshake failed: invalid peer certificate: Revoked"
        );
        assert_eq!(
            tls(80, Initiator::Peer, ""),
            "the peer gave up the TLS handshake: no reason given (alert 80)"
        );
    }
}
