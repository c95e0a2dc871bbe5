//! The peer's encoder and decoder streams: RFC 9204, 4.2 to 4.4.
//!
//! This side announces a table of capacity 0 and inserts nothing into the peer's, so nearly every instruction is an
//! error and neither reader keeps more than an unfinished integer.

use super::prefix_int::Continued;

/// An instruction the peer may not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QpackStreamError {
    /// The encoder stream wants to use a table this side did not grant: `QPACK_ENCODER_STREAM_ERROR`, RFC 9204, 4.3.
    #[error("instruction on the QPACK encoder stream beyond the granted table")]
    Encoder,
    /// The decoder stream acknowledges what was never sent: `QPACK_DECODER_STREAM_ERROR`, RFC 9204, 4.4.
    #[error("instruction on the QPACK decoder stream about entries never inserted")]
    Decoder,
}

/// Reads the peer's encoder stream, after the stream type.
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---+---+-------------------+
/// | 0 | 0 | 1 |   Capacity (5+)   |   Set Dynamic Table Capacity: 0 only
/// +---+---+---+-------------------+
/// ```
///
/// Insertions and duplicates are errors, for they do not fit into a table without room.
///
/// See RFC 9204, 4.3.
#[derive(Clone, Debug, Default)]
pub struct EncoderStreamReader(());

impl EncoderStreamReader {
    /// Creates a reader at the start of the stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), QpackStreamError> {
        // Capacity 0 has one encoding: a full prefix already says 31.
        if bytes.iter().all(|&byte| byte == 0b0010_0000) {
            Ok(())
        } else {
            Err(QpackStreamError::Encoder)
        }
    }
}

/// Reads the peer's decoder stream, after the stream type.
///
/// ```text
///   0   1   2   3   4   5   6   7
/// +---+---+-----------------------+
/// | 0 | 1 |     Stream ID (6+)    |   Stream Cancellation: no effect
/// +---+---+-----------------------+
/// ```
///
/// Section Acknowledgment and Insert Count Increment are errors, for this side inserts nothing.
///
/// See RFC 9204, 4.4.
#[derive(Clone, Debug, Default)]
pub struct DecoderStreamReader {
    /// The stream id of a cancellation that goes on in later bytes.
    stream_id: Option<Continued>,
}

impl DecoderStreamReader {
    /// Creates a reader at the start of the stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), QpackStreamError> {
        for &byte in bytes {
            if let Some(stream_id) = &mut self.stream_id {
                let done = stream_id
                    .push(byte)
                    .map_err(|_| QpackStreamError::Decoder)?;
                if done.is_some() {
                    self.stream_id = None;
                }
            } else if byte & 0b1100_0000 == 0b0100_0000 {
                self.stream_id = Continued::start(byte, 6).err();
            } else {
                return Err(QpackStreamError::Decoder);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn capacity_zero_is_accepted() {
        let mut reader = EncoderStreamReader::new();
        assert_eq!(reader.push(&[]), Ok(()));
        assert_eq!(reader.push(&[0x20]), Ok(()));
        assert_eq!(reader.push(&[0x20, 0x20]), Ok(()));
    }

    #[test]
    fn all_other_encoder_instructions_are_errors() {
        for byte in (0..=255).filter(|byte| *byte != 0x20) {
            let mut reader = EncoderStreamReader::new();
            assert_eq!(reader.push(&[0x20, byte]), Err(QpackStreamError::Encoder));
        }
    }

    #[test]
    fn cancellation_is_accepted() {
        let mut reader = DecoderStreamReader::new();
        // RFC 9204, B.4 cancels stream 8.
        assert_eq!(reader.push(&[0x48]), Ok(()));
        assert_eq!(reader.push(&[0x40, 0x7f, 0x80, 0x01, 0x44]), Ok(()));
    }

    #[test]
    fn cancellation_may_be_split_anywhere() {
        let mut reader = DecoderStreamReader::new();
        for byte in [0x7f, 0xff, 0xff, 0x03, 0x41] {
            assert_eq!(reader.push(&[byte]), Ok(()));
            assert_eq!(reader.push(&[]), Ok(()));
        }
        // The integer is over: what looked like its continuation is now an instruction.
        assert_eq!(reader.push(&[0xff]), Err(QpackStreamError::Decoder));
    }

    #[test]
    fn acknowledgment_is_an_error() {
        for byte in 0x80..=0xff {
            assert_eq!(
                DecoderStreamReader::new().push(&[byte]),
                Err(QpackStreamError::Decoder)
            );
        }
    }

    #[test]
    fn increment_is_an_error_even_by_zero() {
        for byte in 0x00..=0x3f {
            assert_eq!(
                DecoderStreamReader::new().push(&[byte]),
                Err(QpackStreamError::Decoder)
            );
        }
    }

    #[test]
    fn cancelled_stream_id_has_62_bits() {
        let mut reader = DecoderStreamReader::new();
        assert_eq!(reader.push(&[0x7f]), Ok(()));
        assert_eq!(reader.push(&[0xff; 8]), Ok(()));
        assert_eq!(reader.push(&[0xff]), Err(QpackStreamError::Decoder));
    }

    proptest! {
        #[test]
        fn random_bytes_split_at_random_give_one_answer(
            bytes in prop::collection::vec(prop_oneof![0x40u8..0x80, any::<u8>()], 0..40),
            split in 0usize..40,
        ) {
            let split = split.min(bytes.len());
            let whole = DecoderStreamReader::new().push(&bytes);
            let mut reader = DecoderStreamReader::new();
            let parts = reader.push(&bytes[..split]).and_then(|()| reader.push(&bytes[split..]));
            prop_assert_eq!(whole, parts);
        }
    }
}
