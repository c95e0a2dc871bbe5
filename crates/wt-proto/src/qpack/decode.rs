//! Reading field sections: RFC 9204, 4.5.

use bytes::{Bytes, BytesMut};

use super::{
    Field, QpackError,
    huffman::{self, InvalidHuffman},
    prefix_int::{self, IntError},
    static_table,
};

/// Reads a whole field section.
///
/// `max_size` bounds the size of the section as RFC 9114, 4.2.2 counts it: name, value and 32 bytes for each field.
///
/// # Errors
///
/// [`QpackError::Decompression`] for every reference to the dynamic table: this side grants none.
pub fn decode_fields(block: &[u8], max_size: usize) -> Result<Vec<Field>, QpackError> {
    FieldLines::new(block, max_size)?.collect()
}

/// The fields of a section, one after the other.
///
/// After an error there is nothing more to read.
#[derive(Debug)]
pub(crate) struct FieldLines<'a> {
    rest: &'a [u8],
    /// What is left of the permitted size.
    budget: usize,
    /// Takes the literals of all fields, which share one allocation.
    literals: BytesMut,
}

impl<'a> FieldLines<'a> {
    /// Reads the prefix of the section.
    pub(crate) fn new(block: &'a [u8], max_size: usize) -> Result<Self, QpackError> {
        let mut rest = block;
        let required_insert_count = prefix_int::decode(8, &mut rest)?;
        let sign = rest.first().is_some_and(|byte| byte & 0x80 != 0);
        prefix_int::decode(7, &mut rest)?;
        // A set sign makes Base = 0 - Delta Base - 1, below zero. Any other Base does no harm: nothing refers to it.
        if required_insert_count != 0 || sign {
            return Err(QpackError::Decompression);
        }
        Ok(Self {
            rest,
            budget: max_size,
            literals: BytesMut::new(),
        })
    }

    fn field(&mut self, first: u8) -> Result<Field, QpackError> {
        let (name, value) = match first {
            // Indexed Field Line: 1, T, index.
            0b1100_0000.. => {
                let (name, value) = self.static_row(6)?;
                (Bytes::from_static(name), Bytes::from_static(value))
            }
            // Literal Field Line with Name Reference: 01, N, T, index; value.
            0b0101_0000..=0b0101_1111 | 0b0111_0000..=0b0111_1111 => {
                let (name, _) = self.static_row(4)?;
                (Bytes::from_static(name), self.string(7)?)
            }
            // Literal Field Line with Literal Name: 001, N, H, name; value.
            0b0010_0000..=0b0011_1111 => (self.string(3)?, self.string(7)?),
            // T = 0 or a post-base index: the dynamic table, which is empty.
            _ => return Err(QpackError::Decompression),
        };
        let field = Field { name, value };
        self.budget = self
            .budget
            .checked_sub(field.size())
            .ok_or(QpackError::TooLarge)?;
        Ok(field)
    }

    fn static_row(&mut self, prefix_bits: u32) -> Result<static_table::Row, QpackError> {
        let index = prefix_int::decode(prefix_bits, &mut self.rest)?;
        static_table::get(index).ok_or(QpackError::Decompression)
    }

    /// Reads a string whose length has a prefix of `prefix_bits`; the bit above it says Huffman.
    fn string(&mut self, prefix_bits: u32) -> Result<Bytes, QpackError> {
        let is_huffman = self
            .rest
            .first()
            .is_some_and(|byte| byte & (1 << prefix_bits) != 0);
        let len = prefix_int::decode(prefix_bits, &mut self.rest)?;
        let (string, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len))
            .ok_or(QpackError::Decompression)?;
        if self.literals.capacity() == 0 {
            // Enough for all that follows: no Huffman code is shorter than five bits.
            self.literals.reserve(self.rest.len() * 8 / 5);
        }
        self.rest = rest;
        if is_huffman {
            huffman::decode(string, &mut self.literals)?;
        } else {
            self.literals.extend_from_slice(string);
        }
        Ok(self.literals.split().freeze())
    }
}

impl Iterator for FieldLines<'_> {
    type Item = Result<Field, QpackError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = *self.rest.first()?;
        let field = self.field(first);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl From<IntError> for QpackError {
    fn from(_: IntError) -> Self {
        Self::Decompression
    }
}

impl From<InvalidHuffman> for QpackError {
    fn from(_: InvalidHuffman) -> Self {
        Self::Decompression
    }
}
