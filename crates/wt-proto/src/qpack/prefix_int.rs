//! Prefixed integers: RFC 9204, 4.1.1 and RFC 7541, 5.1.

use bytes::{BufMut, BytesMut};

/// The largest value of a prefixed integer: 62 bits, as QPACK asks of a decoder.
pub(super) const MAX: u64 = (1 << 62) - 1;

/// Why a prefixed integer could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntError {
    /// The bytes end inside the integer.
    Truncated,
    /// The value has more than 62 bits, or more bytes than any such value needs.
    Overflow,
}

/// An integer whose prefix was full, waiting for its continuation bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Continued {
    value: u64,
    shift: u32,
}

impl Continued {
    /// Starts from the first byte; answers the value itself when the prefix holds all of it.
    pub(super) fn start(first: u8, prefix_bits: u32) -> Result<u64, Self> {
        let mask = prefix_mask(prefix_bits);
        let value = u64::from(first & mask);
        if value < u64::from(mask) {
            Ok(value)
        } else {
            Err(Self { value, shift: 0 })
        }
    }

    /// Adds one byte; answers the value after the last one.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<u64>, IntError> {
        // Nine bytes of seven bits hold any 62-bit value, so `shift` never reaches 63.
        if self.shift >= 63 {
            return Err(IntError::Overflow);
        }
        // At most 2^8 + 2^63: cannot wrap.
        self.value += u64::from(byte & 0x7f) << self.shift;
        if self.value > MAX {
            return Err(IntError::Overflow);
        }
        self.shift += 7;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

/// Reads an integer that starts in the low `prefix_bits` of the first byte.
///
/// Advances `buf` only when the whole integer is there.
pub(super) fn decode(prefix_bits: u32, buf: &mut &[u8]) -> Result<u64, IntError> {
    let (&first, mut rest) = buf.split_first().ok_or(IntError::Truncated)?;
    let value = match Continued::start(first, prefix_bits) {
        Ok(value) => value,
        Err(mut continued) => loop {
            let (&byte, tail) = rest.split_first().ok_or(IntError::Truncated)?;
            rest = tail;
            if let Some(value) = continued.push(byte)? {
                break value;
            }
        },
    };
    *buf = rest;
    Ok(value)
}

/// Writes `value` with a prefix of `prefix_bits`; `flags` fills the bits above the prefix.
pub(super) fn encode(flags: u8, prefix_bits: u32, value: u64, out: &mut BytesMut) {
    let mask = prefix_mask(prefix_bits);
    if value < u64::from(mask) {
        out.put_u8(flags | value as u8);
        return;
    }
    out.put_u8(flags | mask);
    let mut rest = value - u64::from(mask);
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn prefix_mask(prefix_bits: u32) -> u8 {
    debug_assert!((1..=8).contains(&prefix_bits));
    0xff >> (8 - prefix_bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(flags: u8, prefix_bits: u32, value: u64) -> BytesMut {
        let mut out = BytesMut::new();
        encode(flags, prefix_bits, value, &mut out);
        out
    }

    // RFC 7541, C.1
    #[test]
    fn specification_examples() {
        for (prefix_bits, value, bytes) in [
            (5, 10, &[0x0a][..]),
            (5, 1337, &[0x1f, 0x9a, 0x0a]),
            (8, 42, &[0x2a]),
        ] {
            assert_eq!(encoded(0, prefix_bits, value), bytes);
            assert_eq!(decode(prefix_bits, &mut &bytes[..]), Ok(value));
        }
    }

    #[test]
    fn value_equal_to_the_full_prefix_takes_a_second_byte() {
        assert_eq!(encoded(0xc0, 6, 62), [0xfe][..]);
        assert_eq!(encoded(0xc0, 6, 63), [0xff, 0x00][..]);
        assert_eq!(decode(6, &mut &[0xff, 0x00][..]), Ok(63));
    }

    #[test]
    fn largest_value_is_62_bits() {
        let largest = encoded(0, 3, MAX);
        assert_eq!(decode(3, &mut &largest[..]), Ok(MAX));
        let over = encoded(0, 3, MAX + 1);
        assert_eq!(decode(3, &mut &over[..]), Err(IntError::Overflow));
        let most = encoded(0, 3, u64::MAX);
        assert_eq!(decode(3, &mut &most[..]), Err(IntError::Overflow));
    }

    #[test]
    fn endless_continuation_overflows() {
        let mut bytes = [0x80; 40];
        bytes[0] = 0xff;
        assert_eq!(decode(8, &mut &bytes[..]), Err(IntError::Overflow));
    }

    #[test]
    fn padded_encoding_is_read() {
        assert_eq!(decode(5, &mut &[0x1f, 0x80, 0x80, 0x00][..]), Ok(31));
    }

    proptest! {
        #[test]
        fn round_trip(prefix_bits in 1u32..=8, value in 0..=MAX, shift in 0u32..62) {
            let value = value >> shift;
            let flags = !prefix_mask(prefix_bits);
            let bytes = encoded(flags, prefix_bits, value);
            let mut rest = &bytes[..];
            prop_assert_eq!(decode(prefix_bits, &mut rest), Ok(value));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(bytes[0] & flags, flags);
            for len in 0..bytes.len() {
                let mut cut = &bytes[..len];
                prop_assert_eq!(decode(prefix_bits, &mut cut), Err(IntError::Truncated));
                prop_assert_eq!(cut.len(), len);
            }
        }
    }
}
