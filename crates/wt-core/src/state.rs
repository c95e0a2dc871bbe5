//! The states of connections and streams.

use std::fmt;

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Not begun. Nothing that can be held has this state: a connection begins with its handshake.
    Idle,
    /// The handshake is over, the peer's SETTINGS are on their way.
    Connecting,
    /// Sessions can be opened.
    Connected,
    /// One side wants no new sessions (GOAWAY); those that are open go on.
    Draining,
    /// Nobody holds it any more, or it was closed, and the peer does not know yet.
    Closing,
    /// It was closed in order.
    Closed,
    /// It ended by an error.
    Failed,
}

impl ConnectionState {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Idle,
        Self::Connecting,
        Self::Connected,
        Self::Draining,
        Self::Closing,
        Self::Closed,
        Self::Failed,
    ];

    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// Returns whether sessions work on it.
    #[must_use]
    #[doc(alias = "is_connected")]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Connected | Self::Draining)
    }

    /// Returns whether it is over.
    #[must_use]
    #[doc(alias = "is_closed")]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a stream stands, both halves together.
///
/// A unidirectional stream has one half, and is closed as soon as that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// Nothing has ended.
    Open,
    /// This end has finished sending, the peer has not.
    HalfClosedLocal,
    /// The peer has finished sending, this end has not.
    HalfClosedRemote,
    /// Both halves are over, or the session is.
    Closed,
    /// This end reset or stopped it.
    ResetSent,
    /// The peer reset or stopped it.
    ResetReceived,
}

impl StreamState {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Open,
        Self::HalfClosedLocal,
        Self::HalfClosedRemote,
        Self::Closed,
        Self::ResetSent,
        Self::ResetReceived,
    ];

    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfClosedLocal => "half_closed_local",
            Self::HalfClosedRemote => "half_closed_remote",
            Self::Closed => "closed",
            Self::ResetSent => "reset_sent",
            Self::ResetReceived => "reset_received",
        }
    }

    /// Returns whether it is over: closed, or reset by either side.
    #[must_use]
    #[doc(alias = "is_closed")]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::ResetSent | Self::ResetReceived)
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which way a stream goes, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "there are no other directions")]
pub enum StreamDirection {
    /// Both ends send.
    Bidirectional,
    /// Only this end sends.
    SendOnly,
    /// Only the peer sends.
    ReceiveOnly,
}

impl StreamDirection {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bidirectional => "bidirectional",
            Self::SendOnly => "send_only",
            Self::ReceiveOnly => "receive_only",
        }
    }
}

impl fmt::Display for StreamDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that PyWebTransport 0.8 uses.
    #[test]
    fn states_have_their_names() {
        let connection: Vec<_> = ConnectionState::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(
            connection.join(" "),
            "idle connecting connected draining closing closed failed"
        );
        let stream: Vec<_> = StreamState::ALL.iter().map(|s| s.name()).collect();
        assert_eq!(
            stream.join(" "),
            "open half_closed_local half_closed_remote closed reset_sent reset_received"
        );
        let directions = [
            StreamDirection::Bidirectional,
            StreamDirection::SendOnly,
            StreamDirection::ReceiveOnly,
        ];
        let names = directions.map(|d| d.to_string());
        assert_eq!(names, ["bidirectional", "send_only", "receive_only"]);
    }
}
