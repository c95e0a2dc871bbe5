//! The first bytes of a stream, which say what it is for.
//!
//! ```text
//! unidirectional:  Stream Type (i) | Session ID (i), if the type is 0x54 | Stream Body (..)
//! bidirectional:   0x41 (i) | Session ID (i) | Stream Body (..)           or an HTTP/3 request
//! ```
//!
//! See RFC 9114, 6.2, and draft-16, 4.2 and 4.3.

use crate::{
    ProtocolViolation, SessionId, VarInt,
    coding::{Decode, Encode, UnexpectedEnd},
    frame::FrameType,
};

/// The type of a unidirectional stream.
///
/// See RFC 9114, 11.2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamType(u64);

impl StreamType {
    /// Frames that concern the whole connection (RFC 9114, 6.2.1).
    #[doc(alias = "H3_STREAM_TYPE_CONTROL")]
    pub const CONTROL: Self = Self(0x0);
    /// A server push (RFC 9114, 6.2.2).
    #[doc(alias = "H3_STREAM_TYPE_PUSH")]
    pub const PUSH: Self = Self(0x1);
    /// Instructions for the QPACK table (RFC 9204, 4.2).
    #[doc(alias = "H3_STREAM_TYPE_QPACK_ENCODER")]
    pub const QPACK_ENCODER: Self = Self(0x2);
    /// Answers to those instructions (RFC 9204, 4.2).
    #[doc(alias = "H3_STREAM_TYPE_QPACK_DECODER")]
    pub const QPACK_DECODER: Self = Self(0x3);
    /// A stream of a WebTransport session (draft-16, 4.2).
    #[doc(alias = "H3_STREAM_TYPE_WEBTRANSPORT")]
    pub const WEBTRANSPORT: Self = Self(0x54);

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a unidirectional stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UniHeader {
    /// The control stream.
    Control,
    /// A server push; the push id has not been read.
    Push,
    /// The stream of the peer's QPACK encoder.
    QpackEncoder,
    /// The stream of the peer's QPACK decoder.
    QpackDecoder,
    /// A stream of this session; its body follows.
    WebTransport(SessionId),
    /// A stream of this type, which we do not know.
    Unknown(VarInt),
}

impl UniHeader {
    /// Reads the header of a unidirectional stream and advances `buf` behind it.
    ///
    /// Answers `None`, with `buf` as it was, if more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::InvalidSessionId`].
    pub fn decode(buf: &mut &[u8]) -> Result<Option<Self>, ProtocolViolation> {
        let mut rest = *buf;
        let Ok(kind) = VarInt::decode(&mut rest) else {
            return Ok(None);
        };
        let header = match StreamType(kind.get()) {
            StreamType::CONTROL => Self::Control,
            StreamType::PUSH => Self::Push,
            StreamType::QPACK_ENCODER => Self::QpackEncoder,
            StreamType::QPACK_DECODER => Self::QpackDecoder,
            StreamType::WEBTRANSPORT => match decode_session_id(&mut rest)? {
                Some(id) => Self::WebTransport(id),
                None => return Ok(None),
            },
            _ => Self::Unknown(kind),
        };
        *buf = rest;
        Ok(Some(header))
    }
}

/// What a bidirectional stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BiHeader {
    /// A stream of this session; its body follows.
    WebTransport(SessionId),
    /// An HTTP/3 request, which has no header of its own: its first frame follows.
    Request,
}

impl BiHeader {
    /// Reads the header of a bidirectional stream and advances `buf` behind it. Of a request, nothing is consumed.
    ///
    /// Answers `None`, with `buf` as it was, if more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::InvalidSessionId`].
    pub fn decode(buf: &mut &[u8]) -> Result<Option<Self>, ProtocolViolation> {
        let mut rest = *buf;
        match VarInt::decode(&mut rest) {
            Err(UnexpectedEnd) => Ok(None),
            Ok(signal) if signal.get() == FrameType::WT_STREAM.get() => {
                let id = decode_session_id(&mut rest)?;
                if id.is_some() {
                    *buf = rest;
                }
                Ok(id.map(Self::WebTransport))
            }
            Ok(_) => Ok(Some(Self::Request)),
        }
    }
}

fn decode_session_id(buf: &mut &[u8]) -> Result<Option<SessionId>, ProtocolViolation> {
    match VarInt::decode(buf) {
        Ok(id) => match SessionId::try_from(id) {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(ProtocolViolation::InvalidSessionId),
        },
        Err(UnexpectedEnd) => Ok(None),
    }
}

/// The encoded first bytes of a stream or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; Self::MAX_LEN],
    /// Where what is to be sent begins and ends.
    start: u8,
    end: u8,
}

impl Header {
    /// The length of the longest header: a signal of two bytes and a session id of eight.
    pub const MAX_LEN: usize = 10;

    /// Encodes up to one number in two bytes and one of any size.
    pub(crate) fn encode(numbers: &[VarInt]) -> Self {
        debug_assert!(numbers.iter().map(|n| n.size()).sum::<usize>() <= Self::MAX_LEN);
        let mut bytes = [0; Self::MAX_LEN];
        let mut free = &mut bytes[..];
        for number in numbers {
            number.encode(&mut free);
        }
        let end = (Self::MAX_LEN - free.len()) as u8;
        let start = 0;
        Self { bytes, start, end }
    }

    /// Returns the bytes to send.
    pub fn as_slice(&self) -> &[u8] {
        let sent = usize::from(self.start)..usize::from(self.end);
        self.bytes.get(sent).unwrap_or_default()
    }

    /// Takes note that `sent` bytes were sent; `None` when that was all.
    #[must_use]
    pub fn rest(self, sent: usize) -> Option<Self> {
        let left = self.as_slice().len().checked_sub(sent)?;
        let start = self.end - left as u8;
        (left > 0).then_some(Self { start, ..self })
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Encodes the header of a unidirectional stream of a session.
pub fn encode_uni(session: SessionId) -> Header {
    encode(StreamType::WEBTRANSPORT.0, session)
}

/// Encodes the header of a bidirectional stream of a session.
pub fn encode_bi(session: SessionId) -> Header {
    encode(FrameType::WT_STREAM.get(), session)
}

fn encode(signal: u64, session: SessionId) -> Header {
    let signal = VarInt::new(signal).unwrap_or(VarInt::MAX);
    Header::encode(&[signal, session.into()])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn session_0_has_the_known_headers() {
        let session = SessionId::new(0).unwrap();
        assert_eq!(encode_bi(session).as_slice(), [0x40, 0x41, 0x00]);
        assert_eq!(encode_uni(session).as_slice(), [0x40, 0x54, 0x00]);
    }

    #[test]
    fn a_header_can_be_sent_in_parts() {
        let header = encode_bi(SessionId::new(0).unwrap());
        let rest = header.rest(1).unwrap();
        assert_eq!(rest.as_slice(), [0x41, 0x00]);
        assert_eq!(rest.rest(1).unwrap().as_slice(), [0x00]);
        assert_eq!(rest.rest(0), Some(rest));
        for sent in [2, 3, usize::MAX] {
            assert_eq!(rest.rest(sent), None);
        }
    }

    #[test]
    fn critical_streams_are_told_by_one_byte() {
        for (byte, header) in [
            (0, UniHeader::Control),
            (1, UniHeader::Push),
            (2, UniHeader::QpackEncoder),
            (3, UniHeader::QpackDecoder),
            (0x21, UniHeader::Unknown(VarInt::from_u32(0x21))),
        ] {
            let mut buf = &[byte, 0xff][..];
            assert_eq!(UniHeader::decode(&mut buf), Ok(Some(header)));
            assert_eq!(buf, [0xff]);
        }
    }

    #[test]
    fn a_request_is_left_unread() {
        let bytes = [0x01, 0x03, 0x00, 0x00, 0xd9];
        let mut buf = &bytes[..];
        assert_eq!(BiHeader::decode(&mut buf), Ok(Some(BiHeader::Request)));
        assert_eq!(buf, bytes);
        // The type of the uni streams means nothing here.
        let mut buf = &[0x40, 0x54, 0x00][..];
        assert_eq!(BiHeader::decode(&mut buf), Ok(Some(BiHeader::Request)));
    }

    #[test]
    fn ids_of_other_streams_are_refused() {
        for id in [1, 2, 3, 5, 63] {
            for signal in [0x41, 0x54] {
                let bytes = [0x40, signal, id];
                let answer = match signal {
                    0x41 => BiHeader::decode(&mut &bytes[..]).map(|_| ()),
                    _ => UniHeader::decode(&mut &bytes[..]).map(|_| ()),
                };
                assert_eq!(answer, Err(ProtocolViolation::InvalidSessionId));
            }
        }
    }

    #[test]
    fn longer_forms_of_a_number_mean_the_same() {
        let session = SessionId::new(4).unwrap();
        for (signal, bi) in [(0x41, true), (0x54, false)] {
            let bytes = [0x80, 0, 0, signal, 0xc0, 0, 0, 0, 0, 0, 0, 4];
            for end in 0..=bytes.len() {
                let mut buf = &bytes[..end];
                let whole = end == bytes.len();
                if bi {
                    let header = whole.then_some(BiHeader::WebTransport(session));
                    assert_eq!(BiHeader::decode(&mut buf), Ok(header));
                } else {
                    let header = whole.then_some(UniHeader::WebTransport(session));
                    assert_eq!(UniHeader::decode(&mut buf), Ok(header));
                }
                assert_eq!(buf.len(), if whole { 0 } else { end });
            }
        }
    }

    #[test]
    fn an_unknown_type_is_read_whole_or_not_at_all() {
        let kind = VarInt::new(0x1f * 1_000_000_000 + 0x21).unwrap();
        let mut bytes = Vec::new();
        kind.encode(&mut bytes);
        for end in 0..bytes.len() {
            let mut buf = &bytes[..end];
            assert_eq!(UniHeader::decode(&mut buf), Ok(None));
            assert_eq!(buf.len(), end);
        }
        let mut buf = &bytes[..];
        let header = UniHeader::decode(&mut buf);
        assert_eq!(header, Ok(Some(UniHeader::Unknown(kind))));
        assert!(buf.is_empty());
    }

    #[test]
    fn longest_header_fits() {
        let session = SessionId::from_quarter((1 << 60) - 1).unwrap();
        assert_eq!(encode_uni(session).as_slice().len(), Header::MAX_LEN);
    }

    proptest! {
        #[test]
        fn round_trip_and_truncation(quarter in 0..1_u64 << 60, shift in 0..60_u32, body: Vec<u8>) {
            let session = SessionId::from_quarter(quarter >> shift).unwrap();

            let bi = encode_bi(session);
            let bytes = [bi.as_slice(), &body].concat();
            let mut buf = &bytes[..];
            prop_assert_eq!(BiHeader::decode(&mut buf), Ok(Some(BiHeader::WebTransport(session))));
            prop_assert_eq!(buf, &body[..]);

            let uni = encode_uni(session);
            let bytes = [uni.as_slice(), &body].concat();
            let mut buf = &bytes[..];
            prop_assert_eq!(UniHeader::decode(&mut buf), Ok(Some(UniHeader::WebTransport(session))));
            prop_assert_eq!(buf, &body[..]);

            for end in 0..bi.as_slice().len() {
                let mut buf = &bi.as_slice()[..end];
                prop_assert_eq!(BiHeader::decode(&mut buf), Ok(None));
                prop_assert_eq!(buf.len(), end);
                let mut buf = &uni.as_slice()[..end];
                prop_assert_eq!(UniHeader::decode(&mut buf), Ok(None));
                prop_assert_eq!(buf.len(), end);
            }
        }
    }
}
