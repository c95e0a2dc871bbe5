//! Field compression: RFC 9204 without a dynamic table.
//!
//! A dynamic table makes requests wait for another stream and saves little on the one request of a session, so this
//! side grants none and uses none. What remains is the static table and Huffman coding.

mod decode;
mod encode;
mod huffman;
mod prefix_int;
mod static_table;
mod streams;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use decode::FieldLines;
pub use {
    decode::decode_fields,
    encode::encode_fields,
    streams::{DecoderStreamReader, EncoderStreamReader, QpackStreamError},
};

/// One field of a section, as it was encoded: nothing is known about its characters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The name, or the name of a pseudo-header with its colon.
    pub name: Bytes,
    /// The value.
    pub value: Bytes,
}

impl Field {
    /// Answers what the field counts towards the size of a section: RFC 9114, 4.2.2.
    pub fn size(&self) -> usize {
        self.name.len() + self.value.len() + 32
    }
}

/// A field section that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QpackError {
    /// The section is not valid QPACK or refers to the dynamic table: `QPACK_DECOMPRESSION_FAILED`, RFC 9204, 6.
    #[error("field section cannot be decompressed")]
    Decompression,
    /// The fields are larger than this side announced: RFC 9114, 4.2.2.
    #[error("field section is larger than permitted")]
    TooLarge,
}
