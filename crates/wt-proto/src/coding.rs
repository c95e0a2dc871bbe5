//! Reading and writing wire formats.

use bytes::BufMut;

use crate::VarInt;

/// More bytes are needed before the item is whole; nobody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more bytes are needed")]
pub struct UnexpectedEnd;

/// A value that can be written to the wire.
pub trait Encode {
    /// Appends the encoded value.
    fn encode(&self, out: &mut impl BufMut);
}

/// A value that can be read from the wire, every input of which that is long enough has a meaning.
pub trait Decode: Sized {
    /// Reads one value and advances `buf` behind it.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEnd`] if `buf` ends within the value; `buf` is then left as it was.
    fn decode(buf: &mut &[u8]) -> Result<Self, UnexpectedEnd>;
}

/// Tells whether a frame, stream, setting or error number is reserved to exercise the rule that unknown ones
/// are ignored ("GREASE"), that is, has the form `0x1f * N + 0x21`.
///
/// See RFC 9114, 7.2.8.
pub const fn is_grease(number: u64) -> bool {
    number >= 0x21 && (number - 0x21).is_multiple_of(0x1f)
}

/// Returns the `n`th reserved number, `0x1f * n + 0x21`.
pub const fn grease(n: u32) -> VarInt {
    match VarInt::new(0x1f * n as u64 + 0x21) {
        Some(number) => number,
        None => VarInt::MAX, // not reached: 0x1f * 2^32 has 37 bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_numbers_are_recognised() {
        for n in [0, 1, 2, 1000, u32::MAX] {
            let number = grease(n).get();
            assert_eq!(number, 0x1f * u64::from(n) + 0x21);
            assert!(is_grease(number));
            assert!(!is_grease(number + 1));
            assert!(!is_grease(number - 1));
        }
    }

    #[test]
    fn numbers_in_use_are_no_grease() {
        for number in [0, 1, 2, 0x20, 0x41, 0x54, 0x2843, 0x78ae, 0x190b_4d3d] {
            assert!(!is_grease(number), "{number:#x}");
        }
    }
}
