//! What an endpoint and all its connections have done, added up: for metrics.

use std::{
    collections::HashMap,
    ops::AddAssign,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use wt_proto::Dialect;

use crate::{
    connection::Inner,
    lock::lock,
    refusal::Refusals,
    session::Shared,
    stats::{ConnectionStats, EndpointStats},
};

/// What went over all connections of an endpoint so far, those that are over among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// UDP datagrams sent.
    pub packets_sent: u64,
    /// UDP datagrams received.
    pub packets_received: u64,
    /// QUIC packets that were declared lost.
    pub packets_lost: u64,
    /// Bytes in the packets that were declared lost.
    pub bytes_lost: u64,
    /// Congestion events.
    pub congestion_events: u64,
    /// Streams that this endpoint opened.
    pub streams_opened: u64,
    /// Streams that the peers opened.
    pub streams_accepted: u64,
    /// Bidirectional streams among both.
    pub streams_bidi: u64,
    /// Reads and writes on streams that failed, among them those of streams that the peer reset or stopped.
    pub stream_errors: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that reached a session.
    pub datagrams_received: u64,
    drops: [u64; DatagramDrop::ALL.len()],
}

impl Traffic {
    /// Returns how many received datagrams were dropped for `reason`.
    #[must_use]
    pub const fn datagrams_dropped(&self, reason: DatagramDrop) -> u64 {
        self.drops[reason as usize]
    }

    pub(crate) const fn drop_datagrams(&mut self, reason: DatagramDrop, count: u64) {
        self.drops[reason as usize] += count;
    }

    pub(crate) fn add_connection(&mut self, stats: &ConnectionStats) {
        self.bytes_sent += stats.bytes_sent;
        self.bytes_received += stats.bytes_received;
        self.packets_sent += stats.packets_sent;
        self.packets_received += stats.packets_received;
        self.packets_lost += stats.packets_lost;
        self.bytes_lost += stats.bytes_lost;
        self.congestion_events += stats.congestion_events;
    }

    pub(crate) fn add_session(&mut self, session: &Shared) {
        let counters = &session.counters;
        let streams = session.stream_counts();
        self.streams_opened += streams.opened;
        self.streams_accepted += streams.accepted;
        self.streams_bidi += streams.bidi;
        self.stream_errors += counters.stream_errors.load(Relaxed);
        self.datagrams_sent += session.datagrams_sent();
        self.datagrams_received += counters.datagrams_received.load(Relaxed);
        let dropped = counters.datagrams_dropped.load(Relaxed);
        self.drop_datagrams(DatagramDrop::QueueFull, dropped);
    }
}

impl AddAssign<&Self> for Traffic {
    fn add_assign(&mut self, other: &Self) {
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.packets_sent += other.packets_sent;
        self.packets_received += other.packets_received;
        self.packets_lost += other.packets_lost;
        self.bytes_lost += other.bytes_lost;
        self.congestion_events += other.congestion_events;
        self.streams_opened += other.streams_opened;
        self.streams_accepted += other.streams_accepted;
        self.streams_bidi += other.streams_bidi;
        self.stream_errors += other.stream_errors;
        self.datagrams_sent += other.datagrams_sent;
        self.datagrams_received += other.datagrams_received;
        for (drops, more) in self.drops.iter_mut().zip(other.drops) {
            *drops += more;
        }
    }
}

/// Why a datagram that arrived did not reach the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DatagramDrop {
    /// Nobody took it, and `limits.datagram_queue` newer ones came.
    QueueFull,
    /// It came before its session, and there was no room for more of those (`limits.early_datagrams`).
    EarlyFull,
    /// It came before its session, which did not come within `limits.early_age`.
    EarlyExpired,
    /// Its session is over.
    NoSession,
}

impl DatagramDrop {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::QueueFull,
        Self::EarlyFull,
        Self::EarlyExpired,
        Self::NoSession,
    ];

    /// Returns the name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::EarlyFull => "early_full",
            Self::EarlyExpired => "early_expired",
            Self::NoSession => "no_session",
        }
    }
}

/// What all connections of an endpoint hold at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// Sessions that are open.
    pub sessions: u64,
    /// Streams of either side that have an open half here.
    pub streams: u64,
    /// Requests for sessions that the application has not taken.
    pub requests_waiting: u64,
    /// Streams that the application has not accepted.
    pub streams_waiting: u64,
    /// Datagrams that the application has not taken.
    pub datagrams_waiting: u64,
    /// Streams whose session is not there yet.
    pub early_streams: u64,
    /// Datagrams whose session is not there yet.
    pub early_datagrams: u64,
    /// Bytes of streams that were taken from QUIC and not read yet.
    pub unread_bytes: u64,
}

impl AddAssign<&Self> for Holdings {
    fn add_assign(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.streams += other.streams;
        self.requests_waiting += other.requests_waiting;
        self.streams_waiting += other.streams_waiting;
        self.datagrams_waiting += other.datagrams_waiting;
        self.early_streams += other.early_streams;
        self.early_datagrams += other.early_datagrams;
        self.unread_bytes += other.unread_bytes;
    }
}

/// What became of a request for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HandshakeOutcome {
    /// The session was established.
    Established,
    /// The server answered with another status than 2xx.
    Refused,
    /// It ended before it was answered.
    Failed,
}

impl HandshakeOutcome {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Established, Self::Refused, Self::Failed];

    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How many requests for sessions of each dialect had each outcome, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes([[u64; HandshakeOutcome::ALL.len()]; Dialect::ALL.len()]);

impl Handshakes {
    /// Returns how many requests of `dialect` had `outcome`.
    #[must_use]
    pub const fn get(&self, dialect: Dialect, outcome: HandshakeOutcome) -> u64 {
        self.0[dialect as usize][outcome as usize]
    }
}

/// The counters behind [`Handshakes`].
#[derive(Debug, Default)]
pub(crate) struct HandshakeCounters([[AtomicU64; HandshakeOutcome::ALL.len()]; Dialect::ALL.len()]);

impl HandshakeCounters {
    pub(crate) fn note(&self, dialect: Dialect, outcome: HandshakeOutcome) {
        self.0[dialect as usize][outcome as usize].fetch_add(1, Relaxed);
    }

    fn snapshot(&self) -> Handshakes {
        let get = |dialect: usize, outcome: usize| self.0[dialect][outcome].load(Relaxed);
        Handshakes(std::array::from_fn(|dialect| {
            std::array::from_fn(|outcome| get(dialect, outcome))
        }))
    }
}

/// Everything that an endpoint can tell in numbers, at one moment; see [`Endpoint::report`](crate::Endpoint::report).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointReport {
    /// Connections and sessions.
    pub stats: EndpointStats,
    /// Who was turned away, and why.
    pub refusals: Refusals,
    /// What became of requests for sessions.
    pub handshakes: Handshakes,
    /// What went over all connections.
    pub traffic: Traffic,
    /// What all connections hold.
    pub holdings: Holdings,
    /// Figures of some connections that are alive, each time of others.
    pub samples: Vec<ConnectionStats>,
}

/// The connections of an endpoint, and what those that are over have done.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    alive: HashMap<usize, Weak<Inner>>,
    past: Traffic,
    /// Where the samples of the next report begin.
    turn: usize,
}

impl Registry {
    pub(crate) fn add(&self, id: usize, connection: &Arc<Inner>) {
        lock(&self.0).alive.insert(id, Arc::downgrade(connection));
    }

    /// Takes out a connection that is over; what it has done counts once, although it may be told twice.
    pub(crate) fn remove(&self, id: usize, traffic: &Traffic) {
        let mut known = lock(&self.0);
        if known.alive.remove(&id).is_some() {
            known.past += traffic;
        }
    }
}

/// Adds up all connections, one after the other: each is locked for a moment, the registry only to list them.
pub(crate) fn report(
    registry: &Registry,
    stats: EndpointStats,
    refusals: Refusals,
    handshakes: &HandshakeCounters,
    samples: usize,
) -> EndpointReport {
    // A connection that ends from here on is in the list, and so not in what is past.
    let (alive, mut traffic, first) = {
        let mut known = lock(&registry.0);
        let alive: Vec<_> = known.alive.values().cloned().collect();
        let first = known.turn % alive.len().max(1);
        known.turn = first.wrapping_add(samples);
        (alive, known.past, first)
    };
    let mut holdings = Holdings::default();
    let mut sampled = Vec::with_capacity(samples.min(alive.len()));
    let (before, after) = alive.split_at(first);
    for connection in after.iter().chain(before).filter_map(Weak::upgrade) {
        let (done, holds, stats) = connection.report();
        traffic += &done;
        holdings += &holds;
        if sampled.len() < samples && connection.end().is_none() {
            sampled.push(stats);
        }
    }
    EndpointReport {
        stats,
        refusals,
        handshakes: handshakes.snapshot(),
        traffic,
        holdings,
        samples: sampled,
    }
}
