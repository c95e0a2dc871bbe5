//! What each error of this crate is about.

use http::StatusCode;
use wt_proto::{ErrorCode, ProtocolViolation, connection::CannotConnect};

use super::{Category, Fault};
use crate::{
    config::ConfigError,
    error::{BindError, ConnectError, ConnectionError, SessionError},
    events::WaitError,
    session::{AnswerError, ExportError, SendDatagramError},
    stream::{ReadError, ReadExactError, ReadToEndError, ReadUntilError, StopError, WriteError},
    takeover::TakeoverError,
    tls::{CertificateRefused, InvalidHash, TlsError},
};

impl Fault for ProtocolViolation {
    fn category(&self) -> Category {
        match self {
            Self::DataLimitExceeded | Self::StreamLimitExceeded => Category::FlowControl,
            _ => Category::Protocol,
        }
    }

    fn is_retriable(&self) -> bool {
        false
    }

    fn is_fatal(&self) -> bool {
        true
    }
}

impl Fault for ConnectionError {
    fn category(&self) -> Category {
        match self {
            Self::TimedOut => Category::Timeout,
            Self::Violation(violation) => violation.category(),
            Self::Tls { alert, .. } => match alert {
                // RFC 8446, 6.2: what is said of certificates.
                42..=46 | 48 | 113..=114 => Category::Certificate,
                49 | 115 | 116 => Category::Authentication,
                _ => Category::Handshake,
            },
            _ => Category::Connection,
        }
    }

    /// A connection that was lost or closed may be made again; after a violation or a failed handshake the next one
    /// would not fare better.
    fn is_retriable(&self) -> bool {
        match self {
            Self::TimedOut | Self::Reset => true,
            Self::ClosedByPeer { code, .. } => {
                self.is_graceful()
                    || [ErrorCode::H3_EXCESSIVE_LOAD, ErrorCode::H3_INTERNAL_ERROR].contains(code)
            }
            _ => false,
        }
    }

    fn is_fatal(&self) -> bool {
        matches!(self, Self::Violation(_) | Self::Tls { .. })
    }
}

impl Fault for SessionError {
    fn category(&self) -> Category {
        match self {
            Self::Violation(violation) => violation.category(),
            Self::Connection(error) => error.category(),
            _ => Category::Session,
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_retriable(),
            _ => false,
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Violation(_) => true,
            Self::Connection(error) => error.is_fatal(),
            _ => false,
        }
    }
}

impl Fault for ConnectError {
    fn category(&self) -> Category {
        match self {
            Self::Connection(error) => error.category(),
            Self::Violation(violation) => violation.category(),
            Self::TimedOut(_) => Category::Timeout,
            Self::Refused { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::Authentication,
                status if status.is_server_error() => Category::Server,
                _ => Category::Handshake,
            },
            Self::Rejected(_) => Category::Server,
            Self::Unavailable(_) => Category::Connection,
            _ => Category::Client,
        }
    }

    /// A server that is busy or gone for a moment is worth another try (RFC 9110, 15; RFC 9114, 4.1.1).
    fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_retriable(),
            Self::TimedOut(_) => true,
            Self::Refused { status, .. } => {
                let later = [
                    StatusCode::REQUEST_TIMEOUT,
                    StatusCode::TOO_EARLY,
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::INTERNAL_SERVER_ERROR,
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ];
                later.contains(status)
            }
            Self::Rejected(code) => *code == ErrorCode::H3_REQUEST_REJECTED,
            Self::Unavailable(why) => matches!(
                why,
                CannotConnect::SettingsMissing
                    | CannotConnect::TooManySessions
                    | CannotConnect::GoingAway
            ),
            _ => false,
        }
    }

    fn is_fatal(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_fatal(),
            Self::Violation(_) | Self::InvalidRequest(_) | Self::Address { .. } => true,
            Self::Refused { .. } => self.category() == Category::Authentication,
            Self::Unavailable(why) => !matches!(
                why,
                CannotConnect::SettingsMissing
                    | CannotConnect::TooManySessions
                    | CannotConnect::GoingAway
            ),
            _ => false,
        }
    }
}

impl Fault for BindError {
    fn category(&self) -> Category {
        match self {
            Self::Config(error) => error.category(),
            Self::Tls(error) => error.category(),
            _ => Category::Server,
        }
    }

    /// An address in use may be free soon.
    fn is_retriable(&self) -> bool {
        matches!(self, Self::Socket { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
    }

    fn is_fatal(&self) -> bool {
        !self.is_retriable()
    }
}

impl Fault for TakeoverError {
    fn category(&self) -> Category {
        match self {
            Self::Bind(error) => error.category(),
            Self::TimedOut { .. } => Category::Timeout,
            _ => Category::Server,
        }
    }

    fn is_retriable(&self) -> bool {
        match self {
            Self::Bind(error) => error.is_retriable(),
            Self::Busy | Self::TimedOut { .. } | Self::TakenBack { .. } => true,
            _ => false,
        }
    }

    fn is_fatal(&self) -> bool {
        !self.is_retriable()
    }
}

impl Fault for ReadError {
    fn category(&self) -> Category {
        match self {
            Self::Session(error) => error.category(),
            _ => Category::Stream,
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_retriable())
    }

    fn is_fatal(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_fatal())
    }
}

impl Fault for WriteError {
    fn category(&self) -> Category {
        match self {
            Self::Session(error) => error.category(),
            _ => Category::Stream,
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_retriable())
    }

    fn is_fatal(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_fatal())
    }
}

/// Errors that are another one, or else one of streams.
macro_rules! of_streams {
    ($($kind:ident),+) => {
        $(impl Fault for $kind {
            fn category(&self) -> Category {
                match self {
                    Self::Read(error) => error.category(),
                    _ => Category::Stream,
                }
            }

            fn is_retriable(&self) -> bool {
                matches!(self, Self::Read(error) if error.is_retriable())
            }

            fn is_fatal(&self) -> bool {
                matches!(self, Self::Read(error) if error.is_fatal())
            }
        })+
    };
}

of_streams!(ReadExactError, ReadToEndError, ReadUntilError);

impl Fault for StopError {
    fn category(&self) -> Category {
        self.0.category()
    }

    fn is_retriable(&self) -> bool {
        self.0.is_retriable()
    }

    fn is_fatal(&self) -> bool {
        self.0.is_fatal()
    }
}

impl Fault for SendDatagramError {
    fn category(&self) -> Category {
        match self {
            Self::Session(error) => error.category(),
            _ => Category::Datagram,
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_retriable())
    }

    fn is_fatal(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_fatal())
    }
}

impl Fault for AnswerError {
    fn category(&self) -> Category {
        match self {
            Self::Session(error) => error.category(),
            _ => Category::Server,
        }
    }

    fn is_retriable(&self) -> bool {
        matches!(self, Self::Session(error) if error.is_retriable())
    }
}

impl Fault for ExportError {
    fn category(&self) -> Category {
        Category::Client
    }
}

impl Fault for ConfigError {
    fn category(&self) -> Category {
        Category::Configuration
    }
}

impl Fault for TlsError {
    fn category(&self) -> Category {
        Category::Certificate
    }
}

impl Fault for CertificateRefused {
    fn category(&self) -> Category {
        Category::Certificate
    }
}

impl Fault for InvalidHash {
    fn category(&self) -> Category {
        Category::Configuration
    }
}

impl Fault for WaitError {
    fn category(&self) -> Category {
        match self {
            Self::TimedOut(_) => Category::Timeout,
            _ => Category::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
