//! What can go wrong with messages.

use wt_core::{ReadError, SendDatagramError, SessionError, WriteError};

use crate::serializer::{DecodeError, EncodeError};

/// A type of messages that is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownType {
    /// One of the peer, by its number.
    #[error("no type of messages has the number {0}")]
    Number(u16),
    /// One of ours, by its name.
    #[error("the type {0} has no number; register it")]
    Name(&'static str),
}

/// Why a message could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Its type is not registered.
    #[error(transparent)]
    UnknownType(#[from] UnknownType),
    /// The serializer has no form for it.
    #[error("a message of type {type_id} cannot be written")]
    Encode {
        /// The number of its type.
        type_id: u16,
        /// Why not.
        source: EncodeError,
    },
    /// It is larger than messages may be. Nothing of it was sent.
    #[error("a message of type {type_id} has {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// The number of its type.
        type_id: u16,
        /// Its size without the head, in bytes.
        size: usize,
        /// The largest size.
        max: usize,
    },
}

/// Why a message could not be sent on a stream.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// This message cannot be sent; the stream goes on.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The stream failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a message could not be received on a stream.
///
/// After some of these the stream goes on with the next message; see [`Self::is_end`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// It has a type that is not registered. It is skipped, the next one comes.
    #[error("no type of messages has the number {type_id}; {size} bytes are skipped")]
    UnknownType {
        /// The number.
        type_id: u16,
        /// How many bytes it has.
        size: usize,
    },
    /// It is not a message of its type. The next one comes.
    #[error("a message of type {type_id} cannot be read")]
    Decode {
        /// The number of its type.
        type_id: u16,
        /// Why not.
        source: DecodeError,
    },
    /// It is larger than messages may be. The stream was stopped.
    #[error(
        "the peer announced a message of type {type_id} with {size} bytes, at most {max} are allowed"
    )]
    TooLarge {
        /// The number of its type.
        type_id: u16,
        /// Its size, in bytes.
        size: usize,
        /// The largest size.
        max: usize,
    },
    /// The stream ended within a message.
    #[error("the stream ended within a message")]
    EndedEarly,
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl RecvError {
    /// Returns whether no message comes after this.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        !matches!(self, Self::UnknownType { .. } | Self::Decode { .. })
    }
}

/// Why a message could not be sent as a datagram; `E` is the error of what carries it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramSendError<E: std::error::Error + 'static = SendDatagramError> {
    /// This message cannot be sent.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The datagram could not be sent.
    #[error(transparent)]
    Datagram(E),
}

/// Why a message could not be received as a datagram; `E` is the error of what carries it.
///
/// Unless it is [`Self::Datagram`], the next one comes.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramRecvError<E: std::error::Error + 'static = SessionError> {
    /// It has no room for the number of a type.
    #[error("a datagram of {0} bytes is no message, which has at least 2")]
    TooShort(usize),
    /// It has a type that is not registered.
    #[error("no type of messages has the number {type_id}; {size} bytes are skipped")]
    UnknownType {
        /// The number.
        type_id: u16,
        /// How many bytes it has.
        size: usize,
    },
    /// It is not a message of its type.
    #[error("a message of type {type_id} cannot be read")]
    Decode {
        /// The number of its type.
        type_id: u16,
        /// Why not.
        source: DecodeError,
    },
    /// It is larger than messages may be.
    #[error(
        "the peer sent a message of type {type_id} with {size} bytes, at most {max} are allowed"
    )]
    TooLarge {
        /// The number of its type.
        type_id: u16,
        /// Its size, in bytes.
        size: usize,
        /// The largest size.
        max: usize,
    },
    /// No datagram comes any more.
    #[error(transparent)]
    Datagram(E),
}

impl<E: std::error::Error + 'static> DatagramRecvError<E> {
    /// Returns whether no message comes after this.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Datagram(_))
    }
}
