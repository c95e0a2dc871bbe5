//! Figures about connections and sessions.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::report::{HandshakeCounters, Registry};

/// Figures of a QUIC connection at one moment.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The smallest round-trip time so far.
    pub min_rtt: Duration,
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
    /// QUIC packets sent on the path in use now.
    pub path_packets_sent: u64,
    /// Packets that were declared lost.
    pub packets_lost: u64,
    /// Bytes in the packets that were declared lost.
    pub bytes_lost: u64,
    /// Congestion events.
    pub congestion_events: u64,
    /// The largest UDP payload that the path carries now.
    pub mtu: u16,
    /// Frames with bytes of streams sent.
    pub stream_frames_sent: u64,
    /// Frames with bytes of streams received.
    pub stream_frames_received: u64,
    /// Datagram frames sent.
    pub datagram_frames_sent: u64,
    /// Datagram frames received.
    pub datagram_frames_received: u64,
}

impl ConnectionStats {
    /// Returns which part of the packets on this path was lost, from 0 to 1.
    #[must_use]
    #[doc(alias = "packet_loss_rate")]
    pub fn loss_rate(&self) -> f64 {
        rate(self.packets_lost, self.path_packets_sent)
    }

    /// Returns names and values, for logs and export.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> [(&'static str, String); 16] {
        [
            ("rtt", seconds(self.rtt)),
            ("min_rtt", seconds(self.min_rtt)),
            ("congestion_window", self.congestion_window.to_string()),
            ("bytes_sent", self.bytes_sent.to_string()),
            ("bytes_received", self.bytes_received.to_string()),
            ("packets_sent", self.packets_sent.to_string()),
            ("packets_received", self.packets_received.to_string()),
            ("packets_lost", self.packets_lost.to_string()),
            ("bytes_lost", self.bytes_lost.to_string()),
            ("packet_loss_rate", format!("{:.6}", self.loss_rate())),
            ("congestion_events", self.congestion_events.to_string()),
            ("mtu", self.mtu.to_string()),
            ("stream_frames_sent", self.stream_frames_sent.to_string()),
            (
                "stream_frames_received",
                self.stream_frames_received.to_string(),
            ),
            (
                "datagram_frames_sent",
                self.datagram_frames_sent.to_string(),
            ),
            (
                "datagram_frames_received",
                self.datagram_frames_received.to_string(),
            ),
        ]
    }
}

/// Writes a time in seconds, as all times in names and values are.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

/// Returns which part of `all` is `some`; 0 of nothing.
pub(crate) fn rate(some: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        some as f64 / all as f64
    }
}

impl From<quinn::ConnectionStats> for ConnectionStats {
    fn from(stats: quinn::ConnectionStats) -> Self {
        Self {
            rtt: stats.path.rtt,
            min_rtt: stats.path.min_rtt,
            congestion_window: stats.path.cwnd,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.udp_tx.datagrams,
            packets_received: stats.udp_rx.datagrams,
            path_packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            bytes_lost: stats.path.lost_bytes,
            congestion_events: stats.path.congestion_events,
            mtu: stats.path.current_mtu,
            stream_frames_sent: stats.frame_tx.stream,
            stream_frames_received: stats.frame_rx.stream,
            datagram_frames_sent: stats.frame_tx.datagram,
            datagram_frames_received: stats.frame_rx.datagram,
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
    /// Bidirectional streams that were opened or accepted.
    pub streams_bidi: u64,
    /// Unidirectional streams that were opened or accepted.
    pub streams_uni: u64,
    /// Streams of either side that have an open half here.
    pub streams_active: u64,
    /// Reads and writes on streams that failed, among them those of streams that the peer reset or stopped.
    pub stream_errors: u64,
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

impl SessionStats {
    /// Returns how many streams there were, of either side and kind.
    #[must_use]
    #[doc(alias = "streams_created")]
    pub const fn streams(&self) -> u64 {
        self.streams_opened + self.streams_accepted
    }

    /// Returns how many streams are over.
    #[must_use]
    pub const fn streams_closed(&self) -> u64 {
        self.streams().saturating_sub(self.streams_active)
    }

    /// Returns names and values, for logs and export; what does not exist is left out.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let figures = [
            ("streams_created", self.streams()),
            ("streams_opened", self.streams_opened),
            ("streams_accepted", self.streams_accepted),
            ("streams_closed", self.streams_closed()),
            ("active_streams", self.streams_active),
            ("bidirectional_streams", self.streams_bidi),
            ("unidirectional_streams", self.streams_uni),
            ("stream_errors", self.stream_errors),
            ("datagrams_sent", self.datagrams_sent),
            ("datagrams_received", self.datagrams_received),
            ("datagrams_dropped", self.datagrams_dropped),
        ];
        let credit = [
            ("send_credit_available", self.send_credit),
            ("receive_credit_available", self.recv_credit),
            ("receive_window", self.recv_window),
        ];
        let mut fields = vec![("uptime", seconds(self.uptime))];
        fields.extend(figures.map(|(name, value)| (name, value.to_string())));
        let credit = credit.into_iter();
        fields.extend(credit.filter_map(|(name, value)| Some((name, value?.to_string()))));
        fields
    }
}

/// The counters behind [`SessionStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stream_errors: AtomicU64,
    pub(crate) datagrams_received: AtomicU64,
    pub(crate) datagrams_dropped: AtomicU64,
}

/// Adds one to a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What an endpoint has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Connections that are alive, those that are closing among them.
    pub connections: u64,
    /// Handshakes that succeeded.
    #[doc(alias = "connections_accepted")]
    pub connections_made: u64,
    /// Handshakes that failed.
    pub connections_failed: u64,
    /// Connections that ended by an error.
    pub connections_lost: u64,
    /// Sessions that were established.
    pub sessions_made: u64,
    /// Sessions that ended.
    pub sessions_ended: u64,
    /// Clients whose handshake is in progress, those that wait to be accepted among them. For servers.
    pub handshakes: u64,
    /// Addresses that hold something, or have used up something of a rate. For servers.
    pub addresses: u64,
    /// Clients that had to show that they are where they say (QUIC Retry). For servers.
    pub addresses_validated: u64,
    /// Clients and requests that were turned away; [`Endpoint::refusals`](crate::Endpoint::refusals) says why.
    pub refusals: u64,
}

/// The counters behind [`EndpointStats`].
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections_made: AtomicU64,
    pub(crate) connections_failed: AtomicU64,
    pub(crate) connections_lost: AtomicU64,
    pub(crate) sessions_made: AtomicU64,
    pub(crate) sessions_ended: AtomicU64,
    pub(crate) handshakes: HandshakeCounters,
    pub(crate) registry: Registry,
}
