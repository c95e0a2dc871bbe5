//! JSON as Python's `json` module writes it.

mod key;
pub mod non_finite;
mod text;
mod write;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use self::write::Writer;
use super::{DecodeError, EncodeError, Serializer};

/// JSON.
///
/// Members are separated by `", "` and `": "`, and what is not ASCII is escaped, as PyWebTransport
/// and Python do; [`Self::compact`] and [`Self::ascii`] change that. Structs become objects with
/// their fields in the order of declaration. Floats are written with the fewest digits that read back
/// as the same value. Bytes have no form.
///
/// Reading takes UTF-8, with or without a byte order mark, UTF-16 and UTF-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "JSONSerializer")]
pub struct Json {
    compact: bool,
    ascii: bool,
    indent: Option<u8>,
    non_finite: NonFinite,
}

/// What becomes of NaN and the infinities, for which JSON has no form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonFinite {
    /// They are refused, written or read.
    #[default]
    Refuse,
    /// They are written as `null`.
    Null,
    /// They are written as the bare words `NaN`, `Infinity` and `-Infinity`, as Python does, which
    /// most other readers refuse. Read, each of them is the string of that name; fields with
    /// `#[serde(with = "wt_messaging::serializer::json::non_finite")]` take it as a number.
    Words,
}

impl Json {
    /// Returns the serializer as PyWebTransport's is by default, but for NaN, which it refuses.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            compact: false,
            ascii: true,
            indent: None,
            non_finite: NonFinite::Refuse,
        }
    }

    /// Separates with `,` and `:`, without spaces, or with them.
    #[must_use]
    pub const fn compact(mut self, compact: bool) -> Self {
        self.compact = compact;
        self
    }

    /// Escapes what is not ASCII as `\uXXXX`, or writes it as UTF-8.
    #[must_use]
    #[doc(alias = "ensure_ascii")]
    pub const fn ascii(mut self, ascii: bool) -> Self {
        self.ascii = ascii;
        self
    }

    /// Writes every member on a line of its own, indented by so many spaces.
    #[must_use]
    pub const fn indent(mut self, spaces: u8) -> Self {
        self.indent = Some(spaces);
        self
    }

    /// Chooses what becomes of NaN and the infinities.
    #[must_use]
    #[doc(alias = "allow_nan")]
    pub const fn non_finite(mut self, policy: NonFinite) -> Self {
        self.non_finite = policy;
        self
    }

    /// Appends the text of a value to `out`. Unlike [`Serializer`], also of one that cannot be read
    /// back, such as a borrowed one.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when JSON has no form for the value; `out` may have a part of it then.
    pub fn write<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        value
            .serialize(&mut Writer::new(out, self))
            .map_err(|error| EncodeError::new("JSON", error))
    }

    /// Reads a value from all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are not one value of the type.
    pub fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, DecodeError> {
        let mut utf8 = text::to_utf8(bytes).map_err(|error| DecodeError::new("JSON", error))?;
        if self.non_finite == NonFinite::Words
            && let Some(quoted) = text::quote_words(&utf8)
        {
            utf8 = Cow::Owned(quoted);
        }
        serde_json::from_slice(&utf8).map_err(|error| DecodeError::new("JSON", error))
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned> Serializer<T> for Json {
    fn encode_to(&self, value: &T, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.write(value, out)
    }

    fn decode(&self, bytes: Bytes) -> Result<T, DecodeError> {
        self.read(&bytes)
    }
}
