//! The capsules of a session, which travel on its CONNECT stream.
//!
//! ```text
//! Capsule Type (i) | Capsule Length (i) | Capsule Value (Capsule Length bytes)
//! ```
//!
//! See RFC 9297, 3.2, and draft-16, 5.6 and 6.

mod close;
mod reader;

use bytes::{BufMut, Bytes};

pub use close::{CloseSession, MAX_CLOSE_REASON};
pub use reader::CapsuleReader;

use crate::{
    Dir, ProtocolViolation, VarInt,
    coding::{Decode, Encode},
    id::MAX_STREAM_COUNT,
    tlv,
};

/// The largest payload of a DATAGRAM capsule that is taken; a larger one is skipped (RFC 9297, 3.5).
///
/// No path carries QUIC datagrams of this size, so that no application has a use for it.
pub const MAX_DATAGRAM: usize = 16 * 1024;

/// The type of a capsule.
///
/// See draft-16, 9.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapsuleType(u64);

impl CapsuleType {
    /// A datagram, for want of QUIC datagrams (RFC 9297, 3.5).
    pub const DATAGRAM: Self = Self(0x0);
    /// The end of the session with a code and a message (draft-16, 6).
    #[doc(alias = "CLOSE_WEBTRANSPORT_SESSION_TYPE")]
    pub const WT_CLOSE_SESSION: Self = Self(0x2843);
    /// The wish that the session end soon (draft-16, 4.7).
    #[doc(alias = "DRAIN_WEBTRANSPORT_SESSION_TYPE")]
    pub const WT_DRAIN_SESSION: Self = Self(0x78ae);
    /// The limit of data (draft-16, 5.6.4).
    #[doc(alias = "WT_MAX_DATA_TYPE")]
    pub const WT_MAX_DATA: Self = Self(0x190b_4d3d);
    /// Exists over HTTP/2 only (draft-16, 5.4).
    pub const WT_MAX_STREAM_DATA: Self = Self(0x190b_4d3e);
    /// The limit of bidirectional streams (draft-16, 5.6.2).
    #[doc(alias = "WT_MAX_STREAMS_BIDI_TYPE")]
    pub const WT_MAX_STREAMS_BIDI: Self = Self(0x190b_4d3f);
    /// The limit of unidirectional streams (draft-16, 5.6.2).
    #[doc(alias = "WT_MAX_STREAMS_UNI_TYPE")]
    pub const WT_MAX_STREAMS_UNI: Self = Self(0x190b_4d40);
    /// The limit of data is reached (draft-16, 5.6.5).
    #[doc(alias = "WT_DATA_BLOCKED_TYPE")]
    pub const WT_DATA_BLOCKED: Self = Self(0x190b_4d41);
    /// Exists over HTTP/2 only (draft-16, 5.4).
    pub const WT_STREAM_DATA_BLOCKED: Self = Self(0x190b_4d42);
    /// The limit of bidirectional streams is reached (draft-16, 5.6.3).
    #[doc(alias = "WT_STREAMS_BLOCKED_BIDI_TYPE")]
    pub const WT_STREAMS_BLOCKED_BIDI: Self = Self(0x190b_4d43);
    /// The limit of unidirectional streams is reached (draft-16, 5.6.3).
    #[doc(alias = "WT_STREAMS_BLOCKED_UNI_TYPE")]
    pub const WT_STREAMS_BLOCKED_UNI: Self = Self(0x190b_4d44);

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Tells whether a capsule of that type is one of [`Capsule`]. Others are skipped by [`CapsuleReader`].
    pub const fn is_known(self) -> bool {
        self.is_flow_control()
            || matches!(
                self,
                Self::DATAGRAM | Self::WT_CLOSE_SESSION | Self::WT_DRAIN_SESSION
            )
    }

    /// Tells whether a capsule of that type belongs to the flow control of sessions (draft-16, 5.6).
    pub const fn is_flow_control(self) -> bool {
        matches!(
            self,
            Self::WT_MAX_DATA
                | Self::WT_MAX_STREAMS_BIDI
                | Self::WT_MAX_STREAMS_UNI
                | Self::WT_DATA_BLOCKED
                | Self::WT_STREAMS_BLOCKED_BIDI
                | Self::WT_STREAMS_BLOCKED_UNI
        )
    }
}

impl From<VarInt> for CapsuleType {
    fn from(number: VarInt) -> Self {
        Self(number.get())
    }
}

/// A capsule that means something to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capsule {
    /// A datagram that comes reliably and in order, with the meaning of any other: DATAGRAM (RFC 9297, 3.5).
    Datagram(Bytes),
    /// The session is over: WT_CLOSE_SESSION.
    Close(CloseSession),
    /// The session should end soon: WT_DRAIN_SESSION.
    Drain,
    /// So many bytes may be sent on all streams together: WT_MAX_DATA.
    MaxData(VarInt),
    /// So many streams may be opened in all: WT_MAX_STREAMS.
    MaxStreams {
        /// The kind of streams.
        dir: Dir,
        /// The number, which counts closed streams too.
        limit: VarInt,
    },
    /// More than so many bytes should be sent: WT_DATA_BLOCKED.
    DataBlocked(VarInt),
    /// More than so many streams should be opened: WT_STREAMS_BLOCKED.
    StreamsBlocked {
        /// The kind of streams.
        dir: Dir,
        /// The limit reached.
        limit: VarInt,
    },
}

impl Capsule {
    /// Returns the type it has on the wire.
    pub const fn kind(&self) -> CapsuleType {
        match self {
            Self::Datagram(_) => CapsuleType::DATAGRAM,
            Self::Close(_) => CapsuleType::WT_CLOSE_SESSION,
            Self::Drain => CapsuleType::WT_DRAIN_SESSION,
            Self::MaxData(_) => CapsuleType::WT_MAX_DATA,
            Self::MaxStreams { dir: Dir::Bi, .. } => CapsuleType::WT_MAX_STREAMS_BIDI,
            Self::MaxStreams { dir: Dir::Uni, .. } => CapsuleType::WT_MAX_STREAMS_UNI,
            Self::DataBlocked(_) => CapsuleType::WT_DATA_BLOCKED,
            Self::StreamsBlocked { dir: Dir::Bi, .. } => CapsuleType::WT_STREAMS_BLOCKED_BIDI,
            Self::StreamsBlocked { dir: Dir::Uni, .. } => CapsuleType::WT_STREAMS_BLOCKED_UNI,
        }
    }

    /// Reads the value of a capsule of a known type.
    fn decode_value(kind: CapsuleType, value: &Bytes) -> Result<Self, ProtocolViolation> {
        Ok(match kind {
            CapsuleType::DATAGRAM => Self::Datagram(value.clone()),
            CapsuleType::WT_CLOSE_SESSION => Self::Close(CloseSession::decode(value)?),
            CapsuleType::WT_DRAIN_SESSION => Self::Drain,
            CapsuleType::WT_MAX_DATA => Self::MaxData(only_varint(value)?),
            CapsuleType::WT_MAX_STREAMS_BIDI => Self::MaxStreams {
                dir: Dir::Bi,
                limit: stream_count(value)?,
            },
            CapsuleType::WT_MAX_STREAMS_UNI => Self::MaxStreams {
                dir: Dir::Uni,
                limit: stream_count(value)?,
            },
            CapsuleType::WT_DATA_BLOCKED => Self::DataBlocked(only_varint(value)?),
            CapsuleType::WT_STREAMS_BLOCKED_BIDI => Self::StreamsBlocked {
                dir: Dir::Bi,
                limit: stream_count(value)?,
            },
            CapsuleType::WT_STREAMS_BLOCKED_UNI => Self::StreamsBlocked {
                dir: Dir::Uni,
                limit: stream_count(value)?,
            },
            _ => return Err(ProtocolViolation::CapsuleMalformed),
        })
    }
}

impl Encode for Capsule {
    fn encode(&self, out: &mut impl BufMut) {
        let kind = self.kind().0;
        match self {
            Self::Datagram(payload) => {
                tlv::encode_head(kind, payload.len(), out);
                out.put_slice(payload);
            }
            Self::Close(close) => {
                tlv::encode_head(kind, close.encoded_len(), out);
                close.encode(out);
            }
            Self::Drain => tlv::encode_head(kind, 0, out),
            Self::MaxData(limit)
            | Self::MaxStreams { limit, .. }
            | Self::DataBlocked(limit)
            | Self::StreamsBlocked { limit, .. } => {
                tlv::encode_head(kind, limit.size(), out);
                limit.encode(out);
            }
        }
    }
}

fn only_varint(mut value: &[u8]) -> Result<VarInt, ProtocolViolation> {
    match VarInt::decode(&mut value) {
        Ok(number) if value.is_empty() => Ok(number),
        _ => Err(ProtocolViolation::CapsuleMalformed),
    }
}

fn stream_count(value: &[u8]) -> Result<VarInt, ProtocolViolation> {
    let count = only_varint(value)?;
    if count.get() > MAX_STREAM_COUNT {
        return Err(ProtocolViolation::MaxStreamsTooLarge);
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
