//! How a connection does.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    observe::{Snapshot, State},
    state::ConnectionState,
    stats::{ConnectionStats, seconds},
};

/// A connection at one moment.
///
/// `Display` says it in one line, [`Self::fields`] as names and values.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[doc(alias = "ConnectionInfo")]
pub struct ConnectionDiagnostics {
    /// [`Connection::stable_id`](crate::Connection::stable_id).
    pub id: usize,
    /// How it stands.
    pub state: ConnectionState,
    /// The UDP address of the peer.
    pub remote_address: SocketAddr,
    /// The local address that the peer's packets come to, where the system tells.
    pub local_ip: Option<IpAddr>,
    /// How long ago it was made.
    pub uptime: Duration,
    /// How long no stream and no datagram has moved; as exact as the figures were asked for.
    #[doc(alias = "last_activity")]
    pub idle: Duration,
    /// Sessions that are open or being opened.
    pub sessions: u64,
    /// Requests that the application has not answered.
    pub pending_requests: usize,
    /// How often something went wrong: the peer broke the protocol, a request was refused, a session was torn.
    #[doc(alias = "error_count")]
    pub errors: u64,
    /// What QUIC tells.
    pub stats: ConnectionStats,
}

/// From where on a connection looks wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConnectionThresholds {
    /// More errors than this. Default: 10.
    pub errors: u64,
    /// Silence for longer than this. Default: 300 s.
    pub idle: Duration,
    /// More packets than this sent, and none received. Default: 1000.
    pub unanswered_packets: u64,
    /// A round-trip time longer than this. Default: 1 s.
    pub rtt: Duration,
}

impl Default for ConnectionThresholds {
    fn default() -> Self {
        Self {
            errors: 10,
            idle: Duration::from_secs(300),
            unanswered_packets: 1000,
            rtt: Duration::from_secs(1),
        }
    }
}

/// What looks wrong with a connection. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionIssue {
    /// It is not connected.
    NotEstablished(ConnectionState),
    /// There were so many errors.
    Errors(u64),
    /// Nothing has moved for so long.
    Stale(Duration),
    /// So many packets were sent, and none was received.
    Unanswered(u64),
    /// The round-trip time is so long.
    Latency(Duration),
}

impl fmt::Display for ConnectionIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEstablished(state) => write!(f, "connection not established, but {state}"),
            Self::Errors(count) => write!(f, "high error count: {count}"),
            Self::Stale(idle) => write!(
                f,
                "connection appears stale: nothing has moved for {:.0} s",
                idle.as_secs_f64()
            ),
            Self::Unanswered(sent) => {
                write!(f, "{sent} packets were sent, but none is received")
            }
            Self::Latency(rtt) => write!(
                f,
                "high latency: a round trip takes {:.1} ms",
                rtt.as_secs_f64() * 1000.0
            ),
        }
    }
}

impl ConnectionDiagnostics {
    /// Returns what looks wrong by these thresholds.
    #[must_use]
    pub fn issues(&self, thresholds: &ConnectionThresholds) -> Vec<ConnectionIssue> {
        let stats = &self.stats;
        let unanswered =
            stats.packets_sent > thresholds.unanswered_packets && stats.packets_received == 0;
        let found = [
            (!self.state.is_open()).then_some(ConnectionIssue::NotEstablished(self.state)),
            (self.errors > thresholds.errors).then_some(ConnectionIssue::Errors(self.errors)),
            (self.idle > thresholds.idle).then_some(ConnectionIssue::Stale(self.idle)),
            unanswered.then_some(ConnectionIssue::Unanswered(stats.packets_sent)),
            (stats.rtt > thresholds.rtt).then_some(ConnectionIssue::Latency(stats.rtt)),
        ];
        found.into_iter().flatten().collect()
    }

    /// Returns names and values, for logs and export; what is not known is left out.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("connection_id", self.id.to_string()),
            ("state", self.state.to_string()),
            ("remote_address", self.remote_address.to_string()),
        ];
        fields.extend(self.local_ip.map(|ip| ("local_address", ip.to_string())));
        fields.extend([
            ("uptime", seconds(self.uptime)),
            ("idle", seconds(self.idle)),
            ("sessions", self.sessions.to_string()),
            ("pending_requests", self.pending_requests.to_string()),
            ("error_count", self.errors.to_string()),
        ]);
        fields.extend(self.stats.fields());
        fields
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = match self.state {
            ConnectionState::Idle => State::Idle,
            ConnectionState::Connecting => State::Starting,
            ConnectionState::Connected => State::Active,
            ConnectionState::Draining => State::Draining,
            ConnectionState::Closing => State::Closing,
            ConnectionState::Closed => State::Closed,
            ConnectionState::Failed => State::Failed,
        };
        let stats = &self.stats;
        Snapshot::new("connection", self.id.to_string(), state)
            .with_uptime(self.uptime)
            .with_seconds("idle_seconds", self.idle)
            .with_gauge("sessions", self.sessions as f64)
            .with_gauge("pending_requests", self.pending_requests as f64)
            .with_counter("errors", self.errors)
            .with_seconds("rtt_seconds", stats.rtt)
            .with_gauge("congestion_window_bytes", stats.congestion_window as f64)
            .with_counter("sent_bytes", stats.bytes_sent)
            .with_counter("received_bytes", stats.bytes_received)
            .with_counter("sent_packets", stats.packets_sent)
            .with_counter("received_packets", stats.packets_received)
            .with_counter("lost_packets", stats.packets_lost)
            .with_gauge("loss_rate", stats.loss_rate())
            .with_issues(self.issues(&ConnectionThresholds::default()))
    }
}

impl fmt::Display for ConnectionDiagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            state,
            remote_address,
            sessions,
            ..
        } = self;
        write!(
            f,
            "connection {id} {state} with {remote_address}, {sessions} sessions, up {:.1} s, rtt {:.1} ms",
            self.uptime.as_secs_f64(),
            self.stats.rtt.as_secs_f64() * 1000.0,
        )
    }
}
