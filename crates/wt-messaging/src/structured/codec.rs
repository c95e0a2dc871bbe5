//! How messages become numbered bytes.

use bytes::{Bytes, BytesMut};

use super::{Messages, UnknownType};
use crate::serializer::{DecodeError, EncodeError};

/// Writes messages of type `M` with the numbers of their types.
///
/// Every [`Serializer`](crate::serializer::Serializer) is one for the enums of
/// [`messages!`](crate::messages), and a [`Registry`](super::Registry) is one for
/// [`Dynamic`](super::Dynamic) messages. There is seldom a reason to implement it.
pub trait Codec<M>: Send + Sync {
    /// Returns the number of the type of a message.
    ///
    /// # Errors
    ///
    /// [`UnknownType`] when the type is not registered.
    fn type_id(&self, message: &M) -> Result<u16, UnknownType>;

    /// Appends the bytes of a message to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the message has no form.
    fn encode_to(&self, message: &M, out: &mut BytesMut) -> Result<(), EncodeError>;

    /// Returns whether messages of the type with this number can be read.
    fn knows(&self, type_id: u16) -> bool;

    /// Reads a message of a type that this codec [knows](Self::knows).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not a message of that type.
    fn decode(&self, type_id: u16, payload: Bytes) -> Result<M, DecodeError>;
}

impl<M: Messages<S>, S: Send + Sync> Codec<M> for S {
    fn type_id(&self, message: &M) -> Result<u16, UnknownType> {
        Ok(message.type_id())
    }

    fn encode_to(&self, message: &M, out: &mut BytesMut) -> Result<(), EncodeError> {
        message.encode_to(self, out)
    }

    fn knows(&self, type_id: u16) -> bool {
        M::TYPE_IDS.contains(&type_id)
    }

    fn decode(&self, type_id: u16, payload: Bytes) -> Result<M, DecodeError> {
        M::decode(type_id, payload, self)
    }
}
