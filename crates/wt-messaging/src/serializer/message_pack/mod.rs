//! MessagePack by rmp-serde.

mod plain;

use std::io::{self, ErrorKind, Write};

use bytes::{Bytes, BytesMut};
use rmp_serde::decode::Error;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};

use self::plain::Plain;
use super::{DecodeError, EncodeError, Serializer};

/// MessagePack.
///
/// Structs become maps with their fields in the order of declaration, integers take their shortest
/// form, floats 64 bits. `bytes::Bytes` and what `serde_bytes` marks are binary; a `Vec<u8>` is a list
/// of numbers for serde, and so it is here. Integers beyond 64 bits have no form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "MsgPackSerializer")]
pub struct MessagePack {
    lists: bool,
}

/// Bytes behind the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes are left behind the value")]
struct Trailing(usize);

impl MessagePack {
    /// Returns the serializer as PyWebTransport's is by default.
    #[must_use]
    pub const fn new() -> Self {
        Self { lists: false }
    }

    /// Writes structs as lists of their fields, without the names, which is shorter. Reading takes
    /// both forms whatever is chosen; PyWebTransport takes maps only.
    #[must_use]
    pub const fn lists(mut self, lists: bool) -> Self {
        self.lists = lists;
        self
    }
}

impl<T: Serialize + DeserializeOwned> Serializer<T> for MessagePack {
    fn encode_to(&self, value: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
        let serializer = rmp_serde::Serializer::new(Out(out));
        let written = if self.lists {
            value.serialize(Plain(&mut { serializer }))
        } else {
            value.serialize(Plain(&mut serializer.with_struct_map()))
        };
        written.map_err(|error| EncodeError::new("MessagePack", error))
    }

    fn decode(&self, bytes: Bytes) -> Result<T, DecodeError> {
        // Reads strings where they are, but does not say how much is left behind the value.
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(&bytes[..]);
        let value = T::deserialize(&mut deserializer)
            .map_err(|error| DecodeError::new("MessagePack", error))?;
        match IgnoredAny::deserialize(&mut deserializer) {
            Err(Error::InvalidMarkerRead(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                Ok(value)
            }
            _ => Err(DecodeError::new("MessagePack", Trailing(left::<T>(&bytes)))),
        }
    }
}

/// Takes all that is written at once, which the writer of `bytes` leaves to a loop: a message is many small writes.
struct Out<'a>(&'a mut BytesMut);

impl Write for Out<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns how many bytes are left behind a value that can be read.
fn left<T: DeserializeOwned>(mut bytes: &[u8]) -> usize {
    let _ = T::deserialize(&mut rmp_serde::Deserializer::new(&mut bytes));
    bytes.len()
}
