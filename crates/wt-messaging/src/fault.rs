//! What the errors of messages and RPC are about.

use std::error::Error;

use wt_core::fault::{Category, Fault};

use crate::{
    rpc::{CallError, RpcEnd},
    serializer::{DecodeError, EncodeError},
    structured::{
        DatagramRecvError, DatagramSendError, MessageError, RecvError, RegistryError, SendError,
        UnknownType,
    },
};

/// Whether an error speaks for itself or for its cause.
enum About<'a> {
    Itself(Category),
    Cause(&'a dyn Fault),
}

use About::{Cause, Itself};

macro_rules! faults {
    ($($kind:ty: $error:ident => $about:expr;)+) => {
        $(impl Fault for $kind {
            fn category(&self) -> Category {
                let $error = self;
                match $about {
                    Itself(category) => category,
                    Cause(cause) => cause.category(),
                }
            }

            fn is_retriable(&self) -> bool {
                let $error = self;
                match $about {
                    Itself(category) => category == Category::Timeout,
                    Cause(cause) => cause.is_retriable(),
                }
            }

            fn is_fatal(&self) -> bool {
                let $error = self;
                match $about {
                    Itself(_) => false,
                    Cause(cause) => cause.is_fatal(),
                }
            }
        })+
    };
}

faults! {
    EncodeError: _error => Itself(Category::Serialization);
    DecodeError: _error => Itself(Category::Serialization);
    UnknownType: _error => Itself(Category::Serialization);
    MessageError: _error => Itself(Category::Serialization);
    RegistryError: _error => Itself(Category::Configuration);
    SendError: error => match error {
        SendError::Message(error) => Cause(error),
        SendError::Write(error) => Cause(error),
    };
    RecvError: error => match error {
        RecvError::Read(error) => Cause(error),
        RecvError::EndedEarly => Itself(Category::Stream),
        RecvError::UnknownType { .. } | RecvError::Decode { .. } | RecvError::TooLarge { .. } => {
            Itself(Category::Serialization)
        }
    };
    RpcEnd: error => match error {
        RpcEnd::Read(error) => Cause(error),
        RpcEnd::Write(error) => Cause(error),
        RpcEnd::Session(error) => Cause(error),
        RpcEnd::Closed
        | RpcEnd::Finished
        | RpcEnd::EndedEarly
        | RpcEnd::TooLarge { .. }
        | RpcEnd::Overloaded => Itself(Category::Stream),
    };
    CallError: error => match error {
        CallError::Ended(end) => Cause(end),
        CallError::Encode(error) => Cause(error),
        CallError::Decode(error) => Cause(error),
        CallError::TimedOut { .. } => Itself(Category::Timeout),
        _ => Itself(Category::Unknown),
    };
}

impl<E: Error + 'static> Fault for DatagramSendError<E> {
    fn category(&self) -> Category {
        match self {
            Self::Message(error) => error.category(),
            Self::Datagram(_) => Category::Datagram,
        }
    }
}

impl<E: Error + 'static> Fault for DatagramRecvError<E> {
    fn category(&self) -> Category {
        match self {
            Self::Datagram(_) => Category::Datagram,
            _ => Category::Serialization,
        }
    }
}
