//! What can go wrong with calls.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wt_core::{ReadError, SessionError, WriteError};

use crate::serializer::{DecodeError, EncodeError};

/// The code of an error that crosses the wire.
///
/// Those from -32768 to -32000 belong to JSON-RPC; applications take others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RpcErrorCode(pub i64);

impl RpcErrorCode {
    /// What came is not JSON.
    pub const PARSE_ERROR: Self = Self(-32700);
    /// What came is JSON, but no request.
    pub const INVALID_REQUEST: Self = Self(-32600);
    /// There is no method of that name.
    pub const METHOD_NOT_FOUND: Self = Self(-32601);
    /// The parameters are not those of the method.
    pub const INVALID_PARAMS: Self = Self(-32602);
    /// The method failed.
    pub const INTERNAL_ERROR: Self = Self(-32603);
    /// Too many requests wait already.
    pub const BUSY: Self = Self(-32000);
    /// The caller gave the call up.
    pub const CANCELLED: Self = Self(-32800);
}

impl From<i64> for RpcErrorCode {
    fn from(code: i64) -> Self {
        Self(code)
    }
}

impl fmt::Display for RpcErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error that a handler answers with, as it crosses the wire.
///
/// `?` makes one of any error: its code is [`RpcErrorCode::INTERNAL_ERROR`] and its message that of
/// the error, so the peer gets to read it. That is why this is no [`std::error::Error`] itself;
/// [`CallError`] is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RpcError {
    /// What kind of error it is.
    pub code: RpcErrorCode,
    /// What happened, for people to read.
    pub message: String,
    /// More about it, for programs to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// Makes an error.
    pub fn new(code: impl Into<RpcErrorCode>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            data: None,
        }
    }

    /// Makes an error that says that the parameters are not right.
    #[doc(alias = "InvalidParamsError")]
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(RpcErrorCode::INVALID_PARAMS, message)
    }

    /// Adds data for the caller's program. PyWebTransport 0.8 does not look at it.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Reads the `error` of an answer, whatever it is.
    pub(super) fn read(error: &str) -> Self {
        let value: Value = serde_json::from_str(error).unwrap_or_default();
        let code = value.get("code").and_then(Value::as_i64).unwrap_or(1);
        let message = value.get("message").and_then(Value::as_str);
        Self {
            code: RpcErrorCode(code),
            message: message.unwrap_or("Unknown RPC error").to_owned(),
            data: value.get("data").cloned(),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the peer: no line breaks, nothing for a terminal to interpret.
        for c in self.message.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        write!(f, " ({})", self.code)
    }
}

impl<E: std::error::Error> From<E> for RpcError {
    fn from(error: E) -> Self {
        Self::new(RpcErrorCode::INTERNAL_ERROR, error.to_string())
    }
}

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The peer answered with an error.
    #[error("the peer answered: {0}")]
    Remote(RpcError),
    /// Time ran out. The peer was told that the answer is not wanted any more.
    #[error("no answer to {method:?} after {} s", after.as_secs_f32())]
    #[doc(alias = "RpcTimeoutError")]
    TimedOut {
        /// The method.
        method: String,
        /// How long it took.
        after: Duration,
    },
    /// The name of the method is empty.
    #[error("a method needs a name")]
    NoName,
    /// The parameters cannot be written.
    #[error("the parameters cannot be written")]
    Encode(#[source] EncodeError),
    /// The parameters are a single value: put it into a tuple, `(value,)`.
    #[error("parameters are a tuple, a list, a struct or a map; put a single value into a tuple")]
    SingleValue,
    /// The request is larger than messages may be. It was not sent.
    #[error("the request has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size.
        max: usize,
    },
    /// The batch has more calls and notifications than one may have, or none. It was not sent.
    #[error("a batch of {size}: it may have 1 to {max}")]
    BatchSize {
        /// How many it has.
        size: usize,
        /// How many it may have.
        max: usize,
    },
    /// Batches need [`RpcConfig::strict`](super::RpcConfig::strict).
    #[error("batches are for strict mode only")]
    NotStrict,
    /// The result is not of the type that was asked for.
    #[error("the result is of another type than asked for")]
    Decode(#[source] DecodeError),
    /// The peer's answer is none.
    #[error("the peer sent something else than an answer")]
    NoAnswer,
    /// RPC is over.
    #[error(transparent)]
    Ended(#[from] RpcEnd),
}

impl CallError {
    /// Returns the error that the peer answered with.
    #[must_use]
    pub const fn remote(&self) -> Option<&RpcError> {
        match self {
            Self::Remote(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the code that the peer answered with.
    #[must_use]
    pub fn code(&self) -> Option<RpcErrorCode> {
        self.remote().map(|error| error.code)
    }

    /// Returns whether the peer has no such method.
    #[must_use]
    #[doc(alias = "MethodNotFoundError")]
    pub fn is_method_not_found(&self) -> bool {
        self.code() == Some(RpcErrorCode::METHOD_NOT_FOUND)
    }

    /// Returns whether the parameters are not those of the method.
    #[must_use]
    #[doc(alias = "InvalidParamsError")]
    pub fn is_invalid_params(&self) -> bool {
        self.code() == Some(RpcErrorCode::INVALID_PARAMS)
    }

    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

/// Why RPC, or the stream of one call, is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcEnd {
    /// It was closed here, or all handles were dropped.
    #[error("RPC was closed by this endpoint")]
    Closed,
    /// The peer ended its stream.
    #[error("the peer ended the RPC stream")]
    Finished,
    /// The peer ended its stream within a message.
    #[error("the peer ended the RPC stream within a message")]
    EndedEarly,
    /// The peer announced a message that is larger than allowed.
    #[error("the peer announced a message of {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size.
        max: usize,
    },
    /// The peer sends requests but takes no answers.
    #[error("the peer sends requests but does not read the answers")]
    Overloaded,
    /// The stream cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stream cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The session is over.
    #[error(transparent)]
    Session(#[from] SessionError),
}
