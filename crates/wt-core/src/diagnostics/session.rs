//! How a session does.

use std::{fmt, time::Duration};

use wt_proto::{SessionId, SessionState};

use crate::{
    observe::{Snapshot, State},
    state::ConnectionState,
    stats::{SessionStats, rate},
};

/// A session at one moment.
///
/// `Display` says it in one line, [`Self::fields`] as names and values.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionDiagnostics {
    /// The session.
    pub id: SessionId,
    /// The path of its request.
    pub path: String,
    /// How it stands.
    pub state: SessionState,
    /// How its connection stands.
    #[doc(alias = "is_connection_active")]
    pub connection: ConnectionState,
    /// Datagrams that wait to be taken.
    #[doc(alias = "datagram_receive_buffer_size")]
    pub datagram_backlog: usize,
    /// Bytes of streams that were taken from QUIC and not read yet.
    pub unread: u64,
    /// Its counters and its credit.
    pub stats: SessionStats,
}

/// From where on a session looks wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SessionThresholds {
    /// The error rate counts from more than this many streams and sent datagrams on. Default: 50.
    pub operations: u64,
    /// More than this part of them failed. Default: 0.1.
    pub error_rate: f64,
    /// Older than this and without a stream. Default: one hour.
    pub stale: Duration,
    /// More datagrams than this wait to be taken. Default: 100.
    pub datagram_backlog: usize,
}

impl Default for SessionThresholds {
    fn default() -> Self {
        Self {
            operations: 50,
            error_rate: 0.1,
            stale: Duration::from_secs(3600),
            datagram_backlog: 100,
        }
    }
}

/// What looks wrong with a session. `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionIssue {
    /// It is in a state in which nobody stays.
    Stuck(SessionState),
    /// So much failed.
    Errors {
        /// What failed.
        errors: u64,
        /// What there was.
        operations: u64,
    },
    /// It is old and has no stream.
    Stale(Duration),
    /// Its connection does not work.
    ConnectionLost(ConnectionState),
    /// So many datagrams wait to be taken.
    DatagramBacklog(usize),
}

impl fmt::Display for SessionIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stuck(state) => write!(f, "session stuck in {state} state"),
            Self::Errors { errors, operations } => {
                write!(f, "high error rate: {errors} of {operations}")
            }
            Self::Stale(age) => write!(
                f,
                "session appears stale: {:.0} s old, and no stream is open",
                age.as_secs_f64()
            ),
            Self::ConnectionLost(state) => {
                write!(f, "underlying connection is {state}")
            }
            Self::DatagramBacklog(count) => {
                write!(f, "{count} datagrams wait: they are taken too slowly")
            }
        }
    }
}

impl SessionDiagnostics {
    /// Returns what looks wrong by these thresholds.
    #[must_use]
    pub fn issues(&self, thresholds: &SessionThresholds) -> Vec<SessionIssue> {
        let stats = &self.stats;
        let stuck = matches!(self.state, SessionState::Connecting | SessionState::Closing);
        let operations = stats.streams() + stats.datagrams_sent;
        let errors = stats.stream_errors;
        let failing =
            operations > thresholds.operations && rate(errors, operations) > thresholds.error_rate;
        let stale = stats.uptime > thresholds.stale && stats.streams_active == 0;
        let backlog = self.datagram_backlog;
        let found = [
            stuck.then_some(SessionIssue::Stuck(self.state)),
            failing.then_some(SessionIssue::Errors { errors, operations }),
            stale.then_some(SessionIssue::Stale(stats.uptime)),
            (!self.connection.is_open()).then_some(SessionIssue::ConnectionLost(self.connection)),
            (backlog > thresholds.datagram_backlog)
                .then_some(SessionIssue::DatagramBacklog(backlog)),
        ];
        found.into_iter().flatten().collect()
    }

    /// Returns names and values, for logs and export.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("session_id", self.id.to_string()),
            ("path", self.path.clone()),
            ("state", self.state.to_string()),
            ("connection_state", self.connection.to_string()),
            (
                "datagram_receive_buffer_size",
                self.datagram_backlog.to_string(),
            ),
            ("unread_bytes", self.unread.to_string()),
        ];
        fields.extend(self.stats.fields());
        fields
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = match self.state {
            SessionState::Connecting => State::Starting,
            SessionState::Established => State::Active,
            SessionState::Draining => State::Draining,
            SessionState::Closing => State::Closing,
            _ => State::Closed,
        };
        let stats = &self.stats;
        let mut snapshot = Snapshot::new("session", self.id.to_string(), state)
            .with_uptime(stats.uptime)
            .with_counter("streams_opened", stats.streams_opened)
            .with_counter("streams_accepted", stats.streams_accepted)
            .with_gauge("streams_active", stats.streams_active as f64)
            .with_counter("stream_errors", stats.stream_errors)
            .with_counter("datagrams_sent", stats.datagrams_sent)
            .with_counter("datagrams_received", stats.datagrams_received)
            .with_counter("datagrams_dropped", stats.datagrams_dropped)
            .with_gauge("datagram_backlog", self.datagram_backlog as f64)
            .with_gauge("unread_bytes", self.unread as f64)
            .with_issues(self.issues(&SessionThresholds::default()));
        for (name, credit) in [
            ("send_credit_bytes", stats.send_credit),
            ("receive_credit_bytes", stats.recv_credit),
        ] {
            if let Some(credit) = credit {
                snapshot = snapshot.with_gauge(name, credit as f64);
            }
        }
        snapshot
    }
}

impl fmt::Display for SessionDiagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id, path, state, ..
        } = self;
        write!(
            f,
            "session {id} {state} {path}, {} streams open, up {:.1} s",
            self.stats.streams_active,
            self.stats.uptime.as_secs_f64(),
        )
    }
}
