//! What kind of error it is, whether to try again, and whether anything is left to save.
//!
//! Errors say what happened by their type. Programs that treat all of them alike, such as those that log, count or try
//! again, ask by [`Fault`].

mod kinds;

use std::{error::Error, fmt, io};

use crate::{
    config::ConfigError,
    error::{BindError, ConnectError, ConnectionError, SessionError},
    events::WaitError,
    session::{AnswerError, ExportError, SendDatagramError},
    stream::{ReadError, ReadExactError, ReadToEndError, ReadUntilError, StopError, WriteError},
    takeover::TakeoverError,
    tls::{CertificateRefused, InvalidHash, TlsError},
};
use wt_proto::{ProtocolViolation, code::application};

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Category {
    /// Who the peer is, or what it may do.
    Authentication,
    /// A certificate, a key or roots.
    Certificate,
    /// A client misused the API or asked for what cannot be.
    Client,
    /// A configuration.
    Configuration,
    /// A connection.
    Connection,
    /// A datagram.
    Datagram,
    /// Credit ran out.
    FlowControl,
    /// A handshake: TLS, or a server that refuses the session.
    Handshake,
    /// The peer broke the protocol.
    Protocol,
    /// Bytes and values do not fit each other.
    Serialization,
    /// A server.
    Server,
    /// A session.
    Session,
    /// A stream.
    Stream,
    /// Time ran out.
    Timeout,
    /// None of these.
    Unknown,
}

impl Category {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Certificate => "certificate",
            Self::Client => "client",
            Self::Configuration => "configuration",
            Self::Connection => "connection",
            Self::Datagram => "datagram",
            Self::FlowControl => "flow_control",
            Self::Handshake => "handshake",
            Self::Protocol => "protocol",
            Self::Serialization => "serialization",
            Self::Server => "server",
            Self::Session => "session",
            Self::Stream => "stream",
            Self::Timeout => "timeout",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the number that PyWebTransport gives such errors, for programs that log or match numbers.
    ///
    /// It is not what goes on the wire: that is in the errors themselves.
    #[must_use]
    pub const fn default_code(self) -> u32 {
        match self {
            Self::Authentication | Self::Certificate => application::APP_AUTHENTICATION_FAILED,
            Self::Client | Self::Configuration => application::APP_INVALID_REQUEST,
            Self::Connection => 0x2,
            Self::FlowControl => 0x3,
            Self::Protocol => 0xa,
            Self::Server => application::APP_SERVICE_UNAVAILABLE,
            Self::Stream => 0x5,
            Self::Timeout => application::APP_CONNECTION_TIMEOUT,
            Self::Datagram
            | Self::Handshake
            | Self::Serialization
            | Self::Session
            | Self::Unknown => 0x1,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An error that knows what it is about.
///
/// Implemented by all errors of this crate, and by those of the layers above.
///
/// # Examples
///
/// ```
/// use wt_core::{ConnectError, ConnectionError, fault::{Category, Fault}};
///
/// let error = ConnectError::Connection(ConnectionError::TimedOut);
/// assert_eq!(error.category(), Category::Timeout);
/// assert!(error.is_retriable() && !error.is_fatal());
/// ```
pub trait Fault: Error {
    /// Returns what the error is about.
    #[doc(alias = "get_error_category")]
    fn category(&self) -> Category;

    /// Returns whether the same may succeed when it is tried again: by default when time or credit ran out, or when
    /// the server was busy.
    #[doc(alias = "is_retriable_error")]
    fn is_retriable(&self) -> bool {
        matches!(
            self.category(),
            Category::Timeout | Category::FlowControl | Category::Server
        )
    }

    /// Returns whether nothing will help but to change something: by default when the peer broke the protocol, and
    /// when certificates or rights are wrong.
    #[doc(alias = "is_fatal_error")]
    fn is_fatal(&self) -> bool {
        matches!(
            self.category(),
            Category::Protocol | Category::Authentication | Category::Certificate
        )
    }

    /// Returns the error as names and values, for logs and export: its category, its words, and those of its causes.
    #[doc(alias = "to_dict")]
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("category", self.category().to_string()),
            ("message", self.to_string()),
            (
                "error_code",
                format!("{:#x}", self.category().default_code()),
            ),
            ("retriable", self.is_retriable().to_string()),
            ("fatal", self.is_fatal().to_string()),
        ];
        let mut cause = self.source();
        while let Some(error) = cause {
            fields.push(("cause", error.to_string()));
            cause = error.source();
        }
        fields
    }
}

/// Returns what an error is about: of the first of it and its causes that is one of this crate.
///
/// For errors that come as `dyn Error`, or wrapped in an [`io::Error`] as those of the IO traits are.
#[must_use]
pub fn category_of(error: &(dyn Error + 'static)) -> Category {
    find(error, &|fault| fault.category()).unwrap_or(Category::Unknown)
}

/// Returns whether to try again, as [`Fault::is_retriable`] of the first of the error and its causes that is one of
/// this crate; foreign errors are not tried again.
#[must_use]
pub fn is_retriable(error: &(dyn Error + 'static)) -> bool {
    find(error, &|fault| fault.is_retriable()).unwrap_or(false)
}

/// Returns whether the error is fatal, as [`Fault::is_fatal`] of the first of it and its causes that is one of this
/// crate; foreign errors are.
#[must_use]
pub fn is_fatal(error: &(dyn Error + 'static)) -> bool {
    find(error, &|fault| fault.is_fatal()).unwrap_or(true)
}

fn find<T>(error: &(dyn Error + 'static), ask: &dyn Fn(&dyn Fault) -> T) -> Option<T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = known(error) {
            return Some(ask(fault));
        }
        // An `io::Error` shows as its source what is behind the error that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

macro_rules! known {
    ($error:ident: $($kind:ty),+ $(,)?) => {
        $(if let Some(fault) = $error.downcast_ref::<$kind>() {
            return Some(fault);
        })+
    };
}

fn known<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a dyn Fault> {
    known!(error:
        ConnectionError, SessionError, ConnectError, BindError, ReadError, WriteError,
        ReadExactError, ReadToEndError, ReadUntilError, StopError, SendDatagramError, ExportError,
        AnswerError, ConfigError, TlsError, CertificateRefused, InvalidHash, ProtocolViolation,
        WaitError, TakeoverError,
    );
    None
}
