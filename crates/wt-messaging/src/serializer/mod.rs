//! How values become bytes: JSON, MessagePack and Protobuf behind one interface.
//!
//! [`Json`] and `MessagePack` (feature `msgpack`) write every type that has serde's traits,
//! `Protobuf` (feature `protobuf`) every message of prost. What they write is what
//! PyWebTransport 0.8 writes, byte for byte.
//!
//! Reading is strict: a value of the wrong type is an error, never converted. Members that a type
//! does not know are ignored, and `#[serde(default)]` fills in those that are missing.

mod error;
pub mod json;
#[cfg(feature = "msgpack")]
mod message_pack;
#[cfg(feature = "protobuf")]
mod protobuf;

use bytes::{Bytes, BytesMut};

pub use self::error::{DecodeError, EncodeError};
pub use self::json::{Json, NonFinite};
#[cfg(feature = "msgpack")]
pub use self::message_pack::MessagePack;
#[cfg(feature = "protobuf")]
pub use self::protobuf::Protobuf;

/// Writes values of type `T` as bytes and reads them again.
///
/// The type is a parameter of the trait because formats differ in what they ask of it: JSON and
/// MessagePack serde's traits, Protobuf a message. Implement it for a format of your own and use that
/// wherever these go.
///
/// ```
/// use wt_messaging::serializer::{Json, Serializer};
///
/// let bytes = Json::new().encode(&vec![1, 2])?;
/// assert_eq!(&bytes[..], b"[1, 2]");
/// let numbers: Vec<u8> = Json::new().decode(bytes)?;
/// assert_eq!(numbers, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Serializer<T>: Send + Sync {
    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the format has no form for the value; `out` may have a part of it then.
    fn encode_to(&self, value: &T, out: &mut BytesMut) -> Result<(), EncodeError>;

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not one value of the type, with nothing before or after it.
    #[doc(alias = "deserialize")]
    fn decode(&self, bytes: Bytes) -> Result<T, DecodeError>;

    /// Returns the bytes of `value`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the format has no form for the value.
    #[doc(alias = "serialize")]
    fn encode(&self, value: &T) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        self.encode_to(value, &mut out)?;
        Ok(out.freeze())
    }
}

impl<T, S: Serializer<T> + ?Sized> Serializer<T> for std::sync::Arc<S> {
    fn encode_to(&self, value: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
        (**self).encode_to(value, out)
    }

    fn decode(&self, bytes: Bytes) -> Result<T, DecodeError> {
        (**self).decode(bytes)
    }
}
