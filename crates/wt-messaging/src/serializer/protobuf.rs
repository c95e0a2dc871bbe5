//! Protobuf by prost.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::{DecodeError, EncodeError, Serializer};

/// Protobuf: the bare encoding of a message, without a length before it.
///
/// It writes every type that derives `prost::Message`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[doc(alias = "ProtobufSerializer")]
pub struct Protobuf;

impl Protobuf {
    /// Returns the serializer; there is nothing to choose.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<M: Message + Default> Serializer<M> for Protobuf {
    fn encode_to(&self, value: &M, out: &mut BytesMut) -> Result<(), EncodeError> {
        value
            .encode(out)
            .map_err(|error| EncodeError::new("Protobuf", error))
    }

    fn decode(&self, bytes: Bytes) -> Result<M, DecodeError> {
        M::decode(bytes).map_err(|error| DecodeError::new("Protobuf", error))
    }
}
