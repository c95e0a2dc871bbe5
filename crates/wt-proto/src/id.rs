//! Stream and session ids.

use std::{fmt, ops::Not};

use crate::VarInt;

/// The largest number of streams of a kind there can be, 2^60 (RFC 9000, 4.6).
pub(crate) const MAX_STREAM_COUNT: u64 = 1 << 60;

/// One of the two ends of a connection.
///
/// The number of a variant is the lowest bit of the ids of the streams that end opens (RFC 9000, 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "a connection has two ends, and matches should say what each does"
)]
pub enum Side {
    /// The end that opened the connection.
    Client = 0,
    /// The end that accepted it.
    Server = 1,
}

impl Side {
    /// Returns the opposite end.
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Not for Side {
    type Output = Self;

    fn not(self) -> Self {
        self.other()
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// Whether a stream carries data both ways or one way.
///
/// The number of a variant is the second bit of such a stream's id (RFC 9000, 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "QUIC has two kinds of streams, and matches should say what happens to each"
)]
pub enum Dir {
    /// Both ends send.
    #[doc(alias = "BIDIRECTIONAL_STREAM")]
    Bi = 0x0,
    /// Only the end that opened the stream sends.
    #[doc(alias = "UNIDIRECTIONAL_STREAM")]
    Uni = 0x2,
}

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bi => "bidirectional",
            Self::Uni => "unidirectional",
        })
    }
}

/// The id of a QUIC stream.
///
/// ```text
/// index (60) | direction (1) | initiator (1)
/// ```
///
/// See RFC 9000, 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// The largest id, 2^62 - 1.
    #[doc(alias = "MAX_STREAM_ID")]
    pub const MAX: Self = Self(VarInt::MAX.get());

    /// Creates an id, or answers `None` if it needs more than 62 bits.
    pub const fn new(id: u64) -> Option<Self> {
        if id <= Self::MAX.0 {
            Some(Self(id))
        } else {
            None
        }
    }

    /// Creates the id of the stream number `index` of its kind, or answers `None` if `index` needs more than 60 bits.
    pub const fn from_parts(initiator: Side, dir: Dir, index: u64) -> Option<Self> {
        if index < MAX_STREAM_COUNT {
            Some(Self(index << 2 | dir as u64 | initiator as u64))
        } else {
            None
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the end that opened the stream.
    pub const fn initiator(self) -> Side {
        if self.0 & 1 == 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    /// Returns whether both ends send on the stream.
    pub const fn dir(self) -> Dir {
        if self.0 & 2 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// Returns whether that end sends on the stream.
    pub const fn can_send(self, side: Side) -> bool {
        matches!(self.dir(), Dir::Bi) || self.initiator() as u64 == side as u64
    }

    /// Returns whether that end receives on the stream.
    pub const fn can_receive(self, side: Side) -> bool {
        self.can_send(side.other())
    }

    /// Returns how many streams of its kind have a smaller id.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<VarInt> for StreamId {
    fn from(id: VarInt) -> Self {
        Self(id.get())
    }
}

impl From<StreamId> for VarInt {
    fn from(id: StreamId) -> Self {
        // Both types have the same range.
        Self::new(id.0).unwrap_or(Self::MAX)
    }
}

/// The id of a WebTransport session: that of the client-initiated bidirectional stream its CONNECT request came on.
///
/// See draft-16, 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(StreamId);

impl SessionId {
    /// Creates an id, or answers `None` if no client-initiated bidirectional stream has that number.
    pub const fn new(id: u64) -> Option<Self> {
        match StreamId::new(id) {
            Some(stream) if id & 0b11 == 0 => Some(Self(stream)),
            _ => None,
        }
    }

    /// Creates the id from its quarter, which is what datagrams carry (RFC 9297, 2.1), or answers `None` if that needs
    /// more than 60 bits.
    pub const fn from_quarter(quarter: u64) -> Option<Self> {
        match StreamId::from_parts(Side::Client, Dir::Bi, quarter) {
            Some(stream) => Some(Self(stream)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the id of the CONNECT stream.
    pub const fn stream_id(self) -> StreamId {
        self.0
    }

    /// Returns the number divided by four.
    pub const fn quarter(self) -> u64 {
        self.0.index()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<StreamId> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(id: StreamId) -> Result<Self, Self::Error> {
        Self::new(id.get()).ok_or(InvalidSessionId)
    }
}

impl TryFrom<VarInt> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(id: VarInt) -> Result<Self, Self::Error> {
        Self::new(id.get()).ok_or(InvalidSessionId)
    }
}

impl From<SessionId> for StreamId {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl From<SessionId> for VarInt {
    fn from(id: SessionId) -> Self {
        id.0.into()
    }
}

/// The number is not the id of a client-initiated bidirectional stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a client-initiated bidirectional stream")]
pub struct InvalidSessionId;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_low_bits_name_the_kind() {
        let kinds = [0, 1, 2, 3].map(|id| {
            let id = StreamId::new(id).unwrap();
            (id.initiator(), id.dir())
        });
        assert_eq!(
            kinds,
            [
                (Side::Client, Dir::Bi),
                (Side::Server, Dir::Bi),
                (Side::Client, Dir::Uni),
                (Side::Server, Dir::Uni),
            ]
        );
    }

    #[test]
    fn fourth_server_uni_stream_is_15() {
        let id = StreamId::from_parts(Side::Server, Dir::Uni, 3).unwrap();
        assert_eq!(id.get(), 15);
        assert_eq!(id.index(), 3);
    }

    #[test]
    fn ids_beyond_62_bits_do_not_exist() {
        assert_eq!(StreamId::new(1 << 62), None);
        assert_eq!(StreamId::from_parts(Side::Client, Dir::Bi, 1 << 60), None);
        assert_eq!(SessionId::new(1 << 62), None);
        assert_eq!(SessionId::from_quarter(1 << 60), None);
        assert_eq!(
            SessionId::from_quarter((1 << 60) - 1).map(SessionId::get),
            Some((1 << 62) - 4)
        );
    }

    #[test]
    fn only_client_bidi_streams_are_sessions() {
        for id in 0..64 {
            let session = SessionId::new(id);
            assert_eq!(session.is_some(), id % 4 == 0);
            assert_eq!(
                SessionId::try_from(StreamId::new(id).unwrap()).ok(),
                session
            );
        }
    }

    #[test]
    fn sides_are_opposite() {
        assert_eq!(!Side::Client, Side::Server);
        assert_eq!(!Side::Server, Side::Client);
    }

    proptest! {
        #[test]
        fn parts_round_trip(id in 0..=StreamId::MAX.get()) {
            let id = StreamId::new(id).unwrap();
            prop_assert_eq!(StreamId::from_parts(id.initiator(), id.dir(), id.index()), Some(id));
            prop_assert_eq!(StreamId::from(VarInt::from(id)), id);
        }

        #[test]
        fn quarter_round_trip(quarter in 0..1_u64 << 60) {
            let id = SessionId::from_quarter(quarter).unwrap();
            prop_assert_eq!(id.quarter(), quarter);
            prop_assert_eq!(SessionId::new(id.get()), Some(id));
        }
    }
}
