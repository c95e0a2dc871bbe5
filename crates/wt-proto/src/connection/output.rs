//! What a connection answers: instructions for the transport, events, and where streams belong.

use std::collections::VecDeque;

use bytes::Bytes;

#[cfg(doc)]
use super::Connection;
use super::{ConnectError, Critical, Refusal};
use crate::{
    Dialect, ErrorCode, SessionEnd, SessionId, StreamId,
    head::{RequestHead, ResponseHead},
};

/// A stream on which this endpoint sends protocol bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "our three critical streams and the request streams"
)]
pub enum Target {
    /// One of our own critical streams, to be opened when it is first named.
    Critical(Critical),
    /// A request stream.
    Request(StreamId),
}

/// What to do with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "all that QUIC offers")]
pub enum Action {
    /// Write these bytes, after all that was written before.
    Write(Bytes),
    /// End our side after what was written.
    Finish,
    /// Send RESET_STREAM.
    Reset(ErrorCode),
    /// Send STOP_SENDING.
    Stop(ErrorCode),
}

/// An instruction for the transport.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a pair")]
pub struct Transmit {
    /// The stream.
    pub target: Target,
    /// What to do with it.
    pub action: Action,
}

/// Something that the application should know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer's SETTINGS arrived.
    Settings,
    /// A client asks for a session; answer with `accept` or `reject`.
    Requested {
        /// The session that it would be.
        id: SessionId,
        /// The request.
        head: Box<RequestHead>,
        /// The dialect that it is made in.
        dialect: Dialect,
    },
    /// A server accepted our CONNECT.
    Established {
        /// The session.
        id: SessionId,
        /// The response.
        head: Box<ResponseHead>,
        /// The subprotocol that the server chose.
        protocol: Option<String>,
    },
    /// A request for a session came to nothing: refused, reset, or cut off before its answer.
    Failed {
        /// The session that it would have been.
        id: SessionId,
        /// The dialect of the request.
        dialect: Dialect,
        /// Why.
        error: ConnectError,
    },
    /// A request was answered without reaching the application.
    Refused {
        /// Its stream.
        id: StreamId,
        /// Why.
        refusal: Refusal,
    },
    /// The peer asks to finish the session; it goes on working.
    Draining {
        /// The session.
        id: SessionId,
    },
    /// The peer granted a session more credit: waiting writers and openers may go on.
    CreditRaised {
        /// The session.
        id: SessionId,
    },
    /// The peer came to a limit of a session: call [`Connection::refresh_credit`] when what was written
    /// to the CONNECT stream before has left.
    CreditDue {
        /// The session.
        id: SessionId,
    },
    /// A datagram came in a capsule; it means what one of QUIC means (RFC 9297, 3.5).
    Datagram {
        /// The session.
        id: SessionId,
        /// What it carries.
        payload: Bytes,
    },
    /// A session ended.
    Closed {
        /// The session.
        id: SessionId,
        /// How.
        end: SessionEnd,
    },
    /// The CONNECT stream of a session that closed or failed is over on the peer's side as well.
    ///
    /// It is the last event of a session.
    Gone {
        /// The session.
        id: SessionId,
    },
    /// The peer takes no new requests.
    GoAway,
}

/// Where a WebTransport stream or a datagram belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the caller must handle every case")]
pub enum Route {
    /// To its session.
    Deliver,
    /// Its session is not there yet: keep it in [`crate::early::Early`].
    Early,
    /// Nowhere: reset and stop a stream with this code, drop a datagram.
    Reject(ErrorCode),
}

/// What a unidirectional stream of the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the caller must handle every case")]
pub enum UniRole {
    /// Feed its bytes to [`Connection::handle_critical_data`].
    Critical(Critical),
    /// A stream of a session: ask [`Connection::accept_stream`].
    WebTransport(SessionId),
    /// Of no interest: stop it with this code.
    Discard(ErrorCode),
}

/// What a bidirectional stream of the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the caller must handle every case")]
pub enum BiRole {
    /// Feed its bytes to [`Connection::handle_request_data`].
    Request,
    /// A stream of a session: ask [`Connection::accept_stream`].
    WebTransport(SessionId),
}

/// What waits to be sent and told.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) events: VecDeque<Event>,
}

impl Queues {
    pub(crate) fn request(&mut self, id: StreamId, action: Action) {
        self.transmits.push_back(Transmit {
            target: Target::Request(id),
            action,
        });
    }

    pub(super) fn critical(&mut self, which: Critical, bytes: Bytes) {
        let action = Action::Write(bytes);
        self.transmits.push_back(Transmit {
            target: Target::Critical(which),
            action,
        });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

/// Takes the next item. A queue that has become empty keeps no memory: there is seldom something in it, and many
/// connections are idle.
pub(super) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let item = queue.pop_front();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    item
}
