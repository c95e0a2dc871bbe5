//! Figures about connections and sessions.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Figures of a QUIC connection at one moment.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The congestion window, in bytes.
    pub congestion_window: u64,
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// UDP datagrams sent.
    pub packets_sent: u64,
    /// UDP datagrams received.
    pub packets_received: u64,
    /// Packets that were declared lost.
    pub packets_lost: u64,
    /// Bytes in the packets that were declared lost.
    pub bytes_lost: u64,
    /// Congestion events.
    pub congestion_events: u64,
    /// The largest UDP payload that the path carries now.
    pub mtu: u16,
}

impl From<quinn::ConnectionStats> for ConnectionStats {
    fn from(stats: quinn::ConnectionStats) -> Self {
        Self {
            rtt: stats.path.rtt,
            congestion_window: stats.path.cwnd,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.udp_tx.datagrams,
            packets_received: stats.udp_rx.datagrams,
            packets_lost: stats.path.lost_packets,
            bytes_lost: stats.path.lost_bytes,
            congestion_events: stats.path.congestion_events,
            mtu: stats.path.current_mtu,
        }
    }
}

/// Figures of a session at one moment.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SessionStats {
    /// How long the session has existed.
    pub uptime: Duration,
    /// Streams that this endpoint opened.
    pub streams_opened: u64,
    /// Streams that the peer opened.
    pub streams_accepted: u64,
    /// Streams of either side that have an open half here.
    pub streams_active: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams that reached the session.
    pub datagrams_received: u64,
    /// Datagrams dropped because nobody took them in time.
    pub datagrams_dropped: u64,
    /// Bytes that may be sent now; `None` without flow control of the session.
    pub send_credit: Option<u64>,
    /// Bytes that the peer may send now; `None` without flow control of the session.
    pub recv_credit: Option<u64>,
    /// Bytes that the peer may send ahead of what the application has read; `None` without flow
    /// control of the session.
    pub recv_window: Option<u64>,
}

/// The counters behind [`SessionStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) streams_opened: AtomicU64,
    pub(crate) streams_accepted: AtomicU64,
    pub(crate) datagrams_sent: AtomicU64,
    pub(crate) datagrams_received: AtomicU64,
    pub(crate) datagrams_dropped: AtomicU64,
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
