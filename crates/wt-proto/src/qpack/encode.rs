//! Writing field sections: RFC 9204, 4.5.

use bytes::{BufMut, BytesMut};

use super::{
    huffman, prefix_int,
    static_table::{self, Match},
};

/// Writes a field section: the fields in the order given.
///
/// Uses the static table only, so the section never waits for an encoder stream, and Huffman coding where that is
/// shorter. Names are written as they are; HTTP/3 wants them in lower case.
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---------------------------+
/// |   Required Insert Count = 0   |
/// +---+---------------------------+
/// | S |      Delta Base = 0       |
/// +---+---------------------------+
/// |      Encoded Field Lines    ...
/// +-------------------------------+
/// ```
///
/// See RFC 9204, 4.5.
pub fn encode_fields<'a>(
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut BytesMut,
) {
    out.put_slice(&[0, 0]);
    for (name, value) in fields {
        match static_table::find(name, value) {
            // Indexed Field Line: 1, T = 1, index.
            Some(Match::Field(index)) => {
                prefix_int::encode(0b1100_0000, 6, u64::from(index), out);
            }
            // Literal Field Line with Name Reference: 01, N = 0, T = 1, index; value.
            Some(Match::Name(index)) => {
                prefix_int::encode(0b0101_0000, 4, u64::from(index), out);
                encode_string(0, 7, value, out);
            }
            // Literal Field Line with Literal Name: 001, N = 0, name; value.
            None => {
                encode_string(0b0010_0000, 3, name, out);
                encode_string(0, 7, value, out);
            }
        }
    }
}

/// Writes a string whose length has a prefix of `prefix_bits`; the bit above it says Huffman.
fn encode_string(flags: u8, prefix_bits: u32, string: &[u8], out: &mut BytesMut) {
    let huffman_len = huffman::encoded_len(string);
    if huffman_len < string.len() {
        let flags = flags | 1 << prefix_bits;
        prefix_int::encode(flags, prefix_bits, huffman_len as u64, out);
        huffman::encode(string, out);
    } else {
        prefix_int::encode(flags, prefix_bits, string.len() as u64, out);
        out.put_slice(string);
    }
}
