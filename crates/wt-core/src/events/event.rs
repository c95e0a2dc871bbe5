//! What endpoints, connections and sessions tell.

use std::{fmt, net::SocketAddr, str::FromStr};

use wt_proto::{Dir, Initiator, ProtocolViolation, SessionId, StreamId};

use crate::error::{ConnectionError, SessionError};

/// Something that happened to a connection, a session or a stream.
///
/// `Display` says it in one line, [`Self::fields`] as names and values. `connection` is
/// [`Connection::stable_id`](crate::Connection::stable_id).
///
/// Datagrams and the bytes of streams make no events: they are too many. They are counted instead, see
/// [`Session::stats`](crate::Session::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A handshake is over; the connection is there.
    ConnectionEstablished {
        /// The connection.
        connection: usize,
        /// The peer.
        remote: SocketAddr,
    },
    /// A handshake failed.
    ConnectionFailed {
        /// The peer.
        remote: SocketAddr,
        /// Why.
        error: ConnectionError,
    },
    /// A connection was closed in order, by either side.
    ConnectionClosed {
        /// The connection.
        connection: usize,
        /// By whom, and with what.
        error: ConnectionError,
    },
    /// A connection ended by an error.
    ConnectionLost {
        /// The connection.
        connection: usize,
        /// Which.
        error: ConnectionError,
    },
    /// The peer's SETTINGS arrived.
    SettingsReceived {
        /// The connection.
        connection: usize,
    },
    /// The peer broke the protocol; the connection is closed for it.
    ProtocolError {
        /// The connection.
        connection: usize,
        /// What the peer did.
        violation: ProtocolViolation,
    },
    /// A client asks for a session. Servers tell this.
    SessionRequest {
        /// The connection.
        connection: usize,
        /// The session that it would be.
        session: SessionId,
        /// The path that is asked for, with its query.
        path: String,
    },
    /// A session is established.
    SessionReady {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
    },
    /// One side asked the other to finish the session.
    SessionDraining {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
    },
    /// The peer lets the session send more bytes.
    SessionMaxDataUpdated {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
        /// All bytes that may be sent in its life.
        max_data: u64,
    },
    /// The peer lets the session open more streams.
    SessionMaxStreamsUpdated {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
        /// Which streams.
        dir: Dir,
        /// All streams that may be opened in its life.
        max_streams: u64,
    },
    /// A session is over.
    SessionClosed {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
        /// How it ended.
        error: SessionError,
    },
    /// A stream was opened here, or one of the peer arrived.
    StreamOpened {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
        /// Who opened it.
        by: Initiator,
    },
    /// The application let go of a stream.
    StreamClosed {
        /// The connection.
        connection: usize,
        /// The session.
        session: SessionId,
        /// The stream.
        stream: StreamId,
    },
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What kind of event it is. `Display` and [`Self::name`] give the names of PyWebTransport.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[doc(alias = "EventType")]
        pub enum EventKind {
            $($(#[$doc])+ $name,)+
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the name in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

kinds! {
    /// A capsule arrived. Not told: capsules that mean something are told by what they mean.
    CapsuleReceived = "capsule_received",
    /// [`Event::ConnectionEstablished`].
    ConnectionEstablished = "connection_established",
    /// [`Event::ConnectionLost`].
    ConnectionLost = "connection_lost",
    /// [`Event::ConnectionFailed`].
    ConnectionFailed = "connection_failed",
    /// [`Event::ConnectionClosed`].
    ConnectionClosed = "connection_closed",
    /// A datagram could not be sent. Not told here: sending answers with the error.
    DatagramError = "datagram_error",
    /// A datagram arrived. Not told here: it is counted.
    DatagramReceived = "datagram_received",
    /// A datagram was sent. Not told here: it is counted.
    DatagramSent = "datagram_sent",
    /// [`Event::ProtocolError`].
    ProtocolError = "protocol_error",
    /// [`Event::SettingsReceived`].
    SettingsReceived = "settings_received",
    /// [`Event::SessionClosed`].
    SessionClosed = "session_closed",
    /// [`Event::SessionDraining`].
    SessionDraining = "session_draining",
    /// [`Event::SessionMaxDataUpdated`].
    SessionMaxDataUpdated = "session_max_data_updated",
    /// [`Event::SessionMaxStreamsUpdated`] of bidirectional streams.
    SessionMaxStreamsBidiUpdated = "session_max_streams_bidi_updated",
    /// [`Event::SessionMaxStreamsUpdated`] of unidirectional streams.
    SessionMaxStreamsUniUpdated = "session_max_streams_uni_updated",
    /// [`Event::SessionReady`].
    SessionReady = "session_ready",
    /// [`Event::SessionRequest`].
    SessionRequest = "session_request",
    /// [`Event::StreamClosed`].
    StreamClosed = "stream_closed",
    /// Bytes arrived. Not told: they are counted.
    StreamDataReceived = "stream_data_received",
    /// A stream failed. Not told: reading or writing answers with the error.
    StreamError = "stream_error",
    /// [`Event::StreamOpened`].
    StreamOpened = "stream_opened",
    /// Time ran out. Not told: who waits gets the error, and a connection that times out is lost.
    TimeoutError = "timeout_error",
}

impl EventKind {
    /// Returns whether it is about a connection.
    #[must_use]
    pub fn is_connection_event(self) -> bool {
        self.name().starts_with("connection_")
    }

    /// Returns whether it is about a session.
    #[must_use]
    pub fn is_session_event(self) -> bool {
        self.name().starts_with("session_")
    }

    /// Returns whether it is about a stream.
    #[must_use]
    pub fn is_stream_event(self) -> bool {
        self.name().starts_with("stream_")
    }

    /// Returns whether it is about a datagram.
    #[must_use]
    pub fn is_datagram_event(self) -> bool {
        self.name().starts_with("datagram_")
    }

    /// Returns whether it is an error by its name.
    #[must_use]
    pub fn is_error_event(self) -> bool {
        self.name().contains("error")
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no kind of event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of event is called {0:?}")]
pub struct UnknownEventKind(pub String);

impl FromStr for EventKind {
    type Err = UnknownEventKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|kind| kind.name() == name);
        found
            .copied()
            .ok_or_else(|| UnknownEventKind(name.to_owned()))
    }
}

impl Event {
    /// Tells how a connection ended.
    pub(crate) fn connection_ended(connection: usize, error: ConnectionError) -> Self {
        if error.is_graceful() {
            Self::ConnectionClosed { connection, error }
        } else {
            Self::ConnectionLost { connection, error }
        }
    }

    /// Returns its kind.
    #[must_use]
    #[doc(alias = "type")]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::ConnectionEstablished { .. } => EventKind::ConnectionEstablished,
            Self::ConnectionFailed { .. } => EventKind::ConnectionFailed,
            Self::ConnectionClosed { .. } => EventKind::ConnectionClosed,
            Self::ConnectionLost { .. } => EventKind::ConnectionLost,
            Self::SettingsReceived { .. } => EventKind::SettingsReceived,
            Self::ProtocolError { .. } => EventKind::ProtocolError,
            Self::SessionRequest { .. } => EventKind::SessionRequest,
            Self::SessionReady { .. } => EventKind::SessionReady,
            Self::SessionDraining { .. } => EventKind::SessionDraining,
            Self::SessionMaxDataUpdated { .. } => EventKind::SessionMaxDataUpdated,
            Self::SessionMaxStreamsUpdated { dir: Dir::Bi, .. } => {
                EventKind::SessionMaxStreamsBidiUpdated
            }
            Self::SessionMaxStreamsUpdated { dir: Dir::Uni, .. } => {
                EventKind::SessionMaxStreamsUniUpdated
            }
            Self::SessionClosed { .. } => EventKind::SessionClosed,
            Self::StreamOpened { .. } => EventKind::StreamOpened,
            Self::StreamClosed { .. } => EventKind::StreamClosed,
        }
    }

    /// Returns the connection; `None` when it never came to be.
    #[must_use]
    #[doc(alias = "source")]
    pub const fn connection(&self) -> Option<usize> {
        match self {
            Self::ConnectionFailed { .. } => None,
            Self::ConnectionEstablished { connection, .. }
            | Self::ConnectionClosed { connection, .. }
            | Self::ConnectionLost { connection, .. }
            | Self::SettingsReceived { connection }
            | Self::ProtocolError { connection, .. }
            | Self::SessionRequest { connection, .. }
            | Self::SessionReady { connection, .. }
            | Self::SessionDraining { connection, .. }
            | Self::SessionMaxDataUpdated { connection, .. }
            | Self::SessionMaxStreamsUpdated { connection, .. }
            | Self::SessionClosed { connection, .. }
            | Self::StreamOpened { connection, .. }
            | Self::StreamClosed { connection, .. } => Some(*connection),
        }
    }

    /// Returns the session that it is about.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::SessionRequest { session, .. }
            | Self::SessionReady { session, .. }
            | Self::SessionDraining { session, .. }
            | Self::SessionMaxDataUpdated { session, .. }
            | Self::SessionMaxStreamsUpdated { session, .. }
            | Self::SessionClosed { session, .. }
            | Self::StreamOpened { session, .. }
            | Self::StreamClosed { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// Returns all of it as names and values, for logs and export.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("type", self.kind().to_string())];
        let numbers = [
            ("connection_id", self.connection().map(|id| id.to_string())),
            ("session_id", self.session().map(|id| id.to_string())),
        ];
        fields.extend(
            numbers
                .into_iter()
                .filter_map(|(name, id)| Some((name, id?))),
        );
        match self {
            Self::ConnectionEstablished { remote, .. } => {
                fields.push(("remote_address", remote.to_string()));
            }
            Self::ConnectionFailed { remote, error } => {
                fields.push(("remote_address", remote.to_string()));
                fields.push(("error", error.to_string()));
            }
            Self::ConnectionClosed { error, .. } | Self::ConnectionLost { error, .. } => {
                fields.push(("error", error.to_string()));
            }
            Self::ProtocolError { violation, .. } => {
                fields.push(("error", violation.to_string()));
                fields.push(("code", violation.code().to_string()));
            }
            Self::SessionRequest { path, .. } => fields.push(("path", path.clone())),
            Self::SessionMaxDataUpdated { max_data, .. } => {
                fields.push(("max_data", max_data.to_string()));
            }
            Self::SessionMaxStreamsUpdated {
                max_streams, dir, ..
            } => {
                fields.push(("direction", dir.to_string()));
                fields.push(("max_streams", max_streams.to_string()));
            }
            Self::SessionClosed { error, .. } => {
                let code = error.code().map(|code| ("code", code.to_string()));
                fields.extend(code);
                fields.push(("error", error.to_string()));
            }
            Self::StreamOpened { stream, by, .. } => {
                fields.push(("stream_id", stream.to_string()));
                fields.push(("opened_by", format!("{by:?}").to_lowercase()));
            }
            Self::StreamClosed { stream, .. } => fields.push(("stream_id", stream.to_string())),
            Self::SettingsReceived { .. }
            | Self::SessionReady { .. }
            | Self::SessionDraining { .. } => {}
        }
        fields
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields();
        write!(f, "{}", self.kind())?;
        let rest = fields.iter().skip(1);
        rest.into_iter()
            .try_for_each(|(name, value)| write!(f, " {name}={}", value.escape_debug()))
    }
}
