//! What can be told of a session.

use std::fmt;

use super::{Session, SessionState};
use crate::{Dialect, Dir, SessionId, flow::Flow};

/// A session as it is at one moment.
///
/// Its text form is one line; [`fields`](Self::fields) lists all of it by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session, which is also the id of its CONNECT stream.
    pub id: SessionId,
    /// Its state.
    pub state: SessionState,
    /// Its dialect.
    pub dialect: Dialect,
    /// The path of its request.
    pub path: String,
    /// The counters of its flow control; `None` without.
    pub flow: Option<FlowInfo>,
}

/// The counters of the flow control of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowInfo {
    /// Bytes of stream bodies.
    pub data: Counter,
    /// Bidirectional streams.
    pub streams_bidi: Counter,
    /// Unidirectional streams.
    pub streams_uni: Counter,
}

/// What each end may use and has used of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counter {
    /// What we grant the peer.
    pub local_max: u64,
    /// What we have used of that which the peer grants.
    pub local_used: u64,
    /// What the peer grants us.
    pub peer_max: u64,
    /// What the peer has used of that which we grant.
    pub peer_used: u64,
}

impl FlowInfo {
    fn new(flow: &Flow) -> Self {
        let streams = |dir: Dir| Counter {
            local_max: flow.accept(dir).limit(),
            local_used: flow.open(dir).used(),
            peer_max: flow.open(dir).limit(),
            peer_used: flow.accept(dir).opened(),
        };
        Self {
            data: Counter {
                local_max: flow.recv_data.limit(),
                local_used: flow.send_data.used(),
                peer_max: flow.send_data.limit(),
                peer_used: flow.recv_data.arrived(),
            },
            streams_bidi: streams(Dir::Bi),
            streams_uni: streams(Dir::Uni),
        }
    }
}

impl SessionInfo {
    pub(super) fn new(session: &Session) -> Self {
        Self {
            id: session.id,
            state: session.state,
            dialect: session.dialect,
            path: session.path.clone(),
            flow: session.flow.as_deref().map(FlowInfo::new),
        }
    }

    /// Returns all of it as names and values; the counters only with flow control.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let named = [
            ("session_id", self.id.to_string()),
            ("state", self.state.to_string()),
            ("dialect", self.dialect.to_string()),
            ("path", self.path.clone()),
        ];
        let counters = self.flow.iter().flat_map(|flow| {
            let FlowInfo {
                data,
                streams_bidi: bidi,
                streams_uni: uni,
            } = flow;
            [
                ("local_max_data", data.local_max),
                ("local_data_sent", data.local_used),
                ("peer_max_data", data.peer_max),
                ("peer_data_sent", data.peer_used),
                ("local_max_streams_bidi", bidi.local_max),
                ("local_streams_bidi_opened", bidi.local_used),
                ("peer_max_streams_bidi", bidi.peer_max),
                ("peer_streams_bidi_opened", bidi.peer_used),
                ("local_max_streams_uni", uni.local_max),
                ("local_streams_uni_opened", uni.local_used),
                ("peer_max_streams_uni", uni.peer_max),
                ("peer_streams_uni_opened", uni.peer_used),
            ]
        });
        let counters = counters.map(|(name, value)| (name, value.to_string()));
        named.into_iter().chain(counters)
    }
}

impl fmt::Display for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            state,
            dialect,
            path,
            ..
        } = self;
        write!(f, "session {id} {state} ({dialect}) {path}")
    }
}
