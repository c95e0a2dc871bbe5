//! What the metrics are called, and what they mean.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// What kind of metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Counts since the beginning.
    Counter,
    /// A figure of this moment.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric, as it is described to recorders.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: Unit,
    /// What it means.
    pub meaning: &'static str,
}

macro_rules! metrics {
    ($($name:ident = $text:literal, $kind:ident, $unit:ident, $meaning:literal;)+) => {
        $(
            #[doc = concat!("`", $text, "`: ", $meaning, ".")]
            pub const $name: &str = $text;
        )+

        /// All of them.
        pub const ALL: &[Metric] = &[$(
            Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, meaning: $meaning },
        )+];
    };
}

metrics! {
    CONNECTIONS_OPEN = "wt_connections_open", Gauge, Count, "Connections that are alive";
    SESSIONS_OPEN = "wt_sessions_open", Gauge, Count, "Sessions that are open";
    STREAMS_OPEN = "wt_streams_open", Gauge, Count, "Streams that have an open half here";
    QUEUE_DEPTH = "wt_queue_depth", Gauge, Count, "What waits in a queue, by queue";
    UNREAD_BYTES = "wt_unread_bytes", Gauge, Bytes, "Bytes of streams taken from QUIC and not read yet";
    CONNECTION_ATTEMPTS = "wt_connection_attempts_total", Counter, Count, "QUIC handshakes, by outcome";
    CONNECTIONS_LOST = "wt_connections_lost_total", Counter, Count, "Connections that ended by an error";
    HANDSHAKES = "wt_handshakes_total", Counter, Count, "Requests for sessions, by dialect and outcome";
    SESSIONS_ENDED = "wt_sessions_ended_total", Counter, Count, "Sessions that are over";
    REFUSALS = "wt_refusals_total", Counter, Count, "Clients and requests turned away, by cause";
    STREAMS = "wt_streams_total", Counter, Count, "Streams, by who opened them";
    BIDI_STREAMS = "wt_bidi_streams_total", Counter, Count, "Bidirectional streams among all streams";
    STREAM_ERRORS = "wt_stream_errors_total", Counter, Count, "Reads and writes on streams that failed";
    BYTES = "wt_bytes_total", Counter, Bytes, "UDP payload, by direction";
    PACKETS = "wt_packets_total", Counter, Count, "UDP datagrams, by direction";
    PACKETS_LOST = "wt_packets_lost_total", Counter, Count, "QUIC packets declared lost";
    BYTES_LOST = "wt_bytes_lost_total", Counter, Bytes, "Bytes in QUIC packets declared lost";
    CONGESTION_EVENTS = "wt_congestion_events_total", Counter, Count, "Congestion events";
    DATAGRAMS = "wt_datagrams_total", Counter, Count, "WebTransport datagrams, by direction";
    DATAGRAMS_DROPPED = "wt_datagrams_dropped_total", Counter, Count, "Datagrams that were dropped, by direction and reason";
    RTT = "wt_connection_rtt_seconds", Histogram, Seconds, "Round-trip times of connections, sampled";
    LOSS = "wt_connection_loss_ratio", Histogram, Count, "Parts of the packets of connections that were lost, sampled";
    WINDOW = "wt_connection_congestion_window_bytes", Histogram, Bytes, "Congestion windows of connections, sampled";
    HANDLER_DURATION = "wt_handler_duration_seconds", Histogram, Seconds, "How long handlers ran, by route and outcome";
    OBSERVED = "wt_observed_value", Gauge, Count, "Figures of what is observed";
    OBSERVED_TOTAL = "wt_observed_total", Counter, Count, "Counters of what is observed";
}

/// Describes all of them to the recorder that is installed.
///
/// [`Exporter::start`](super::Exporter::start) does it too.
pub fn describe() {
    for metric in ALL {
        let Metric {
            name,
            kind,
            unit,
            meaning,
        } = *metric;
        match kind {
            Kind::Counter => describe_counter!(name, unit, meaning),
            Kind::Gauge => describe_gauge!(name, unit, meaning),
            Kind::Histogram => describe_histogram!(name, unit, meaning),
        }
    }
}
