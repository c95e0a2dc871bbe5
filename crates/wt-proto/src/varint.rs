//! Variable-length integers.

use std::fmt;

use bytes::BufMut;

use crate::coding::{Decode, Encode, UnexpectedEnd};

/// An integer of at most 62 bits, written in one, two, four or eight bytes.
///
/// ```text
/// 00vvvvvv                          0 ..= 63
/// 01vvvvvv v(8)                     0 ..= 16383
/// 10vvvvvv v(8) v(8) v(8)           0 ..= 2^30 - 1
/// 11vvvvvv v(8) ... 7 bytes         0 ..= 2^62 - 1
/// ```
///
/// Writing uses the shortest form; reading takes any. See RFC 9000, 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarInt(u64);

impl VarInt {
    /// The largest value, 2^62 - 1.
    pub const MAX: Self = Self((1 << 62) - 1);

    /// Creates a value that always fits.
    pub const fn from_u32(value: u32) -> Self {
        Self(value as u64)
    }

    /// Creates a value, or answers `None` if it needs more than 62 bits.
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 {
            Some(Self(value))
        } else {
            None
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the length of the shortest encoding: 1, 2, 4 or 8 bytes.
    pub const fn size(self) -> usize {
        match self.0 {
            0..=0x3f => 1,
            0x40..=0x3fff => 2,
            0x4000..=0x3fff_ffff => 4,
            _ => 8,
        }
    }

    /// Returns the length of an encoding from its first byte.
    pub(crate) const fn size_from_first(first: u8) -> usize {
        1 << (first >> 6)
    }
}

impl Encode for VarInt {
    fn encode(&self, out: &mut impl BufMut) {
        let value = self.0;
        match self.size() {
            1 => out.put_u8(value as u8),
            2 => out.put_u16(0b01 << 14 | value as u16),
            4 => out.put_u32(0b10 << 30 | value as u32),
            _ => out.put_u64(0b11 << 62 | value),
        }
    }
}

impl Decode for VarInt {
    fn decode(buf: &mut &[u8]) -> Result<Self, UnexpectedEnd> {
        let first = *buf.first().ok_or(UnexpectedEnd)?;
        let (encoded, rest) = buf
            .split_at_checked(Self::size_from_first(first))
            .ok_or(UnexpectedEnd)?;
        *buf = rest;
        let value = encoded
            .iter()
            .skip(1)
            .fold(u64::from(first & 0x3f), |value, byte| {
                value << 8 | u64::from(*byte)
            });
        Ok(Self(value))
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u8> for VarInt {
    fn from(value: u8) -> Self {
        Self(value.into())
    }
}

impl From<u16> for VarInt {
    fn from(value: u16) -> Self {
        Self(value.into())
    }
}

impl From<u32> for VarInt {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl From<VarInt> for u64 {
    fn from(value: VarInt) -> Self {
        value.0
    }
}

impl TryFrom<u64> for VarInt {
    type Error = VarIntBoundsExceeded;

    fn try_from(value: u64) -> Result<Self, Self::Error> {
        Self::new(value).ok_or(VarIntBoundsExceeded)
    }
}

/// The number does not fit into 62 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number exceeds 2^62 - 1")]
pub struct VarIntBoundsExceeded;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(value: VarInt) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    #[test]
    fn decodes_the_rfc_9000_samples() {
        let samples: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (mut bytes, value) in samples {
            let shortest = bytes.len() == VarInt::new(value).unwrap().size();
            let original = bytes;
            assert_eq!(VarInt::decode(&mut bytes).unwrap().get(), value);
            assert!(bytes.is_empty());
            if shortest {
                assert_eq!(encoded(VarInt::new(value).unwrap()), original);
            }
        }
    }

    #[test]
    fn length_changes_at_the_boundaries() {
        for (value, size) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            (0x3fff_ffff, 4),
            (0x4000_0000, 8),
            (VarInt::MAX.get(), 8),
        ] {
            let value = VarInt::new(value).unwrap();
            assert_eq!(value.size(), size);
            assert_eq!(encoded(value).len(), size);
        }
    }

    #[test]
    fn refuses_more_than_62_bits() {
        assert_eq!(VarInt::new(1 << 62), None);
        assert_eq!(VarInt::try_from(u64::MAX), Err(VarIntBoundsExceeded));
        assert_eq!(VarInt::try_from((1_u64 << 62) - 1), Ok(VarInt::MAX));
    }

    proptest! {
        #[test]
        fn round_trip(value in 0..=VarInt::MAX.get(), shift in 0..62_u32, tail: Vec<u8>) {
            let value = VarInt::new(value >> shift).unwrap();
            let mut bytes = encoded(value);
            bytes.extend_from_slice(&tail);
            let mut buf = &bytes[..];
            prop_assert_eq!(VarInt::decode(&mut buf), Ok(value));
            prop_assert_eq!(buf, &tail[..]);
        }

        #[test]
        fn truncation_needs_more_and_consumes_nothing(value in 0..=VarInt::MAX.get(), shift in 0..62_u32) {
            let bytes = encoded(VarInt::new(value >> shift).unwrap());
            for end in 0..bytes.len() {
                let mut buf = &bytes[..end];
                prop_assert_eq!(VarInt::decode(&mut buf), Err(UnexpectedEnd));
                prop_assert_eq!(buf.len(), end);
            }
        }
    }
}
