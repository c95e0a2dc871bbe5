//! HTTP/3 frames.
//!
//! ```text
//! Type (i) | Length (i) | Payload (Length bytes)
//! ```
//!
//! See RFC 9114, 7.

use bytes::{BufMut, Bytes};

pub use crate::coding::is_grease;
use crate::{
    ProtocolViolation, VarInt,
    coding::{Decode, Encode, grease},
    tlv::{self, Input},
};

/// The type of a frame.
///
/// See RFC 9114, 11.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameType(u64);

impl FrameType {
    /// Bytes of a message, here of the capsules of a session (RFC 9114, 7.2.1).
    #[doc(alias = "H3_FRAME_TYPE_DATA")]
    pub const DATA: Self = Self(0x0);
    /// A field section (RFC 9114, 7.2.2).
    #[doc(alias = "H3_FRAME_TYPE_HEADERS")]
    pub const HEADERS: Self = Self(0x1);
    /// The end of a server push (RFC 9114, 7.2.3).
    #[doc(alias = "H3_FRAME_TYPE_CANCEL_PUSH")]
    pub const CANCEL_PUSH: Self = Self(0x3);
    /// The settings of a connection (RFC 9114, 7.2.4).
    #[doc(alias = "H3_FRAME_TYPE_SETTINGS")]
    pub const SETTINGS: Self = Self(0x4);
    /// The request a server push answers (RFC 9114, 7.2.5).
    #[doc(alias = "H3_FRAME_TYPE_PUSH_PROMISE")]
    pub const PUSH_PROMISE: Self = Self(0x5);
    /// The beginning of a connection's end (RFC 9114, 7.2.6).
    #[doc(alias = "H3_FRAME_TYPE_GOAWAY")]
    pub const GOAWAY: Self = Self(0x7);
    /// How many server pushes are allowed (RFC 9114, 7.2.7).
    #[doc(alias = "H3_FRAME_TYPE_MAX_PUSH_ID")]
    pub const MAX_PUSH_ID: Self = Self(0xd);
    /// The signal in front of a bidirectional stream, which is no frame: it has no length (draft-16, 4.3).
    #[doc(alias = "H3_FRAME_TYPE_WEBTRANSPORT_STREAM")]
    pub const WT_STREAM: Self = Self(0x41);

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Tells whether HTTP/2 has a frame of that type that HTTP/3 does not have (RFC 9114, 7.2.8).
    const fn is_http2_only(self) -> bool {
        matches!(self.0, 0x2 | 0x6 | 0x8 | 0x9)
    }
}

impl From<VarInt> for FrameType {
    fn from(number: VarInt) -> Self {
        Self(number.get())
    }
}

/// A frame, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// A piece of the payload of DATA as it arrived. Only an empty frame gives an empty piece.
    Data(Bytes),
    /// The field section of HEADERS, still encoded.
    Headers(Bytes),
    /// The push id of CANCEL_PUSH.
    CancelPush(VarInt),
    /// The payload of SETTINGS, for [`Settings::decode`](crate::settings::Settings::decode).
    Settings(Bytes),
    /// PUSH_PROMISE began; its payload is skipped as it arrives.
    PushPromise,
    /// The stream id, or from a client the push id, of GOAWAY.
    GoAway(VarInt),
    /// The push id of MAX_PUSH_ID.
    MaxPushId(VarInt),
    /// A frame of this type began; its payload is skipped as it arrives.
    Unknown(VarInt),
}

/// Reads the frames of a stream as its bytes arrive.
///
/// After every [`push`](Self::push), call [`next`](Self::next) until it answers `None`. The reader keeps type and
/// length, and the payload of the frames that make sense only whole, up to a limit. Which frame may come where is for
/// its user to say.
///
/// ```
/// use bytes::Bytes;
/// use wt_proto::frame::{Frame, FrameReader};
///
/// let mut reader = FrameReader::new(16_384);
/// reader.push(Bytes::from_static(&[0x00, 0x03, b'a', b'b']));
/// assert_eq!(reader.next(), Ok(Some(Frame::Data(Bytes::from_static(b"ab")))));
/// assert_eq!(reader.next(), Ok(None));
/// assert!(!reader.at_boundary());
/// ```
#[derive(Debug)]
pub struct FrameReader {
    input: Input,
    state: State,
    max_buffered: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or within type and length.
    Head,
    /// Within the payload of DATA.
    Data { left: u64 },
    /// Within a payload that is not for us. Type and length are kept until the first look at the payload.
    Skip { left: u64 },
    /// Within a payload that is needed whole.
    Whole { kind: FrameType, len: usize },
    /// After a violation.
    Failed(ProtocolViolation),
}

impl FrameReader {
    /// Creates a reader that keeps HEADERS and SETTINGS of at most `max_buffered` bytes.
    pub fn new(max_buffered: usize) -> Self {
        Self {
            input: Input::default(),
            state: State::Head,
            max_buffered,
        }
    }

    /// Hands in the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// Returns the next frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// A violation is the last thing the stream has to say; every later call returns it again.
    #[allow(
        clippy::should_implement_trait,
        reason = "`None` means that more bytes are needed, not that there will be no more"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, ProtocolViolation> {
        let result = self.advance();
        if let Err(violation) = result {
            self.state = State::Failed(violation);
        }
        result
    }

    /// Tells whether the stream may end here: no frame is incomplete and no byte unread.
    pub fn at_boundary(&self) -> bool {
        match self.state {
            State::Head => self.input.is_empty(),
            State::Skip { left } => left == 0 && self.input.is_drained(),
            State::Data { .. } | State::Whole { .. } | State::Failed(_) => false,
        }
    }

    /// Returns how many bytes the reader holds.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Returns the bytes that no frame was made of.
    ///
    /// A frame just announced as [`Frame::Unknown`] is among them from its type on, so that a stream that turns out to
    /// carry something else than frames can be read again from there. Of a payload that was partly given out or
    /// skipped, the rest is returned.
    pub fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.input).into_rest()
    }

    fn advance(&mut self) -> Result<Option<Frame>, ProtocolViolation> {
        loop {
            match self.state {
                State::Head => {
                    let (kind, len) = self.input.head();
                    if kind == Some(FrameType::WT_STREAM.0) {
                        return Err(ProtocolViolation::WtStreamMisplaced);
                    }
                    let (Some(kind), Some(len)) = (kind, len) else {
                        return Ok(None);
                    };
                    if let Some(frame) = self.begin(FrameType(kind), len)? {
                        return Ok(Some(frame));
                    }
                }
                State::Data { left } => {
                    let Some(piece) = self.input.take_piece(left) else {
                        return Ok(None);
                    };
                    self.state = match left - piece.len() as u64 {
                        0 => State::Head,
                        left => State::Data { left },
                    };
                    return Ok(Some(Frame::Data(piece)));
                }
                State::Skip { mut left } => {
                    self.input.clear_head();
                    self.input.skip(&mut left);
                    if left > 0 {
                        self.state = State::Skip { left };
                        return Ok(None);
                    }
                    self.state = State::Head;
                }
                State::Whole { kind, len } => {
                    let Some(payload) = self.input.take_whole(len) else {
                        return Ok(None);
                    };
                    self.input.clear_head();
                    self.state = State::Head;
                    return whole_frame(kind, payload).map(Some);
                }
                State::Failed(violation) => return Err(violation),
            }
        }
    }

    /// Decides what to do with the payload, and returns the frame if nothing of it has to be awaited.
    fn begin(&mut self, kind: FrameType, len: u64) -> Result<Option<Frame>, ProtocolViolation> {
        let (max, too_large) = match kind {
            FrameType::HEADERS => (self.max_buffered, ProtocolViolation::FrameTooLarge),
            FrameType::SETTINGS => (self.max_buffered, ProtocolViolation::SettingsTooLarge),
            FrameType::CANCEL_PUSH | FrameType::GOAWAY | FrameType::MAX_PUSH_ID => {
                (VarInt::MAX.size(), ProtocolViolation::FrameMalformed)
            }
            FrameType::DATA => {
                self.input.clear_head();
                if len == 0 {
                    return Ok(Some(Frame::Data(Bytes::new())));
                }
                self.state = State::Data { left: len };
                return Ok(None);
            }
            kind if kind.is_http2_only() => return Err(ProtocolViolation::FrameUnexpected),
            kind => {
                self.state = State::Skip { left: len };
                return Ok(Some(match kind {
                    FrameType::PUSH_PROMISE => Frame::PushPromise,
                    kind => Frame::Unknown(VarInt::new(kind.0).unwrap_or(VarInt::MAX)),
                }));
            }
        };
        match usize::try_from(len) {
            Ok(len) if len <= max => {
                self.state = State::Whole { kind, len };
                Ok(None)
            }
            _ => Err(too_large),
        }
    }
}

fn whole_frame(kind: FrameType, payload: Bytes) -> Result<Frame, ProtocolViolation> {
    match kind {
        FrameType::HEADERS => Ok(Frame::Headers(payload)),
        FrameType::SETTINGS => Ok(Frame::Settings(payload)),
        FrameType::CANCEL_PUSH => only_varint(&payload).map(Frame::CancelPush),
        FrameType::GOAWAY => only_varint(&payload).map(Frame::GoAway),
        _ => only_varint(&payload).map(Frame::MaxPushId),
    }
}

fn only_varint(mut payload: &[u8]) -> Result<VarInt, ProtocolViolation> {
    match VarInt::decode(&mut payload) {
        Ok(value) if payload.is_empty() => Ok(value),
        _ => Err(ProtocolViolation::FrameMalformed),
    }
}

/// Appends type and length of a frame.
pub fn encode_header(kind: FrameType, len: usize, out: &mut impl BufMut) {
    tlv::encode_head(kind.0, len, out);
}

/// Appends a DATA frame.
pub fn encode_data(payload: &[u8], out: &mut impl BufMut) {
    encode_header(FrameType::DATA, payload.len(), out);
    out.put_slice(payload);
}

/// Appends a HEADERS frame around an encoded field section.
pub fn encode_headers(block: &[u8], out: &mut impl BufMut) {
    encode_header(FrameType::HEADERS, block.len(), out);
    out.put_slice(block);
}

/// Appends a GOAWAY frame.
pub fn encode_goaway(id: VarInt, out: &mut impl BufMut) {
    encode_header(FrameType::GOAWAY, id.size(), out);
    id.encode(out);
}

/// Appends a frame of the `n`th reserved type, which every peer has to ignore.
pub fn encode_grease(n: u32, payload: &[u8], out: &mut impl BufMut) {
    encode_header(grease(n).into(), payload.len(), out);
    out.put_slice(payload);
}

#[cfg(test)]
mod tests;
