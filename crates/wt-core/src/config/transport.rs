//! The QUIC connection underneath.

use std::{path::PathBuf, time::Duration};

use super::{ConfigError, MAX_VARINT, ensure, ensure_time};

/// Settings of QUIC connections and of the socket they share.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct TransportConfig {
    /// Time without any packet from the peer after which a connection is lost. The smaller value of both sides is in
    /// force; `None` leaves it to the peer. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub idle_timeout: Option<Duration>,
    /// Interval at which an otherwise silent connection sends a PING so that it does not idle out; `None` sends none.
    /// Default: `None`; 10 s in [`TransportConfig::client`]. One side suffices.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub keep_alive: Option<Duration>,
    /// Congestion control. Default: CUBIC.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub congestion: Congestion,
    /// Bytes that the peer may send on one stream ahead of what was read. Default: 1,250,000 (100 Mbit/s at 100 ms).
    pub stream_receive_window: u64,
    /// Bytes that the peer may send on all streams of a connection ahead of what was read. With session flow control
    /// one window of each session ([`SessionConfig::max_data`](super::SessionConfig::max_data)) is kept beside it, so
    /// that sessions that are not read do not stop the others; together they bound the memory that one connection can
    /// take. Default: 16 MiB.
    pub receive_window: u64,
    /// Bytes on all streams of a connection that were written and not acknowledged yet; writes wait beyond it.
    /// Default: 10,000,000.
    pub send_window: u64,
    /// Bidirectional streams that the peer may have open. Default: 16, growing to 1280 while
    /// they are used.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub streams_bidi: StreamCredit,
    /// Unidirectional streams that the peer may have open. Default: 8, growing to 1280 while
    /// they are used.
    ///
    /// HTTP/3 itself takes three of them.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub streams_uni: StreamCredit,
    /// Bytes of datagrams that wait to be sent. Default: 256 KiB.
    pub datagram_send_buffer: usize,
    /// Bytes of datagrams that were received and not taken from the connection yet; the oldest are dropped beyond
    /// it. The peer is told to send none larger than this, or than 65,535 bytes. Default: 1 MiB.
    pub datagram_receive_buffer: usize,
    /// UDP payload that is sent before larger ones were probed, in bytes. Default: 1200, which passes everywhere.
    pub initial_mtu: u16,
    /// Largest UDP payload that MTU discovery probes, in bytes; equal to `initial_mtu`, there is no discovery.
    /// Default: 1452 (Ethernet with IPv6).
    pub mtu_upper_bound: u16,
    /// Difference in bytes at which MTU discovery, a binary search, is content. Default: 127, half of what there is to
    /// search: the largest packet is tried at once and mostly passes, which takes one probe instead of four. Where it
    /// does not, 1325 bytes are tried next. Less finds a size closer to what the path takes.
    pub mtu_minimum_change: u16,
    /// Send and receive buffer that the socket is asked to have, in bytes; the system may grant less. 0 leaves the
    /// system's default. Default: 4 MiB.
    pub socket_buffer: usize,
    /// Whether connections that are busy with small writes fill their packets: they send when their thread has nothing
    /// else to run, which costs an idle connection nothing. The endpoint reads several packets at a time then, too, and
    /// looks at a single one without a change of task. `false` leaves it all to quinn. Default: `true`.
    pub batch_packets: bool,
    /// Handshakes that a server holds until they are accepted; further ones are ignored until their clients ask again.
    /// Default: 4096.
    pub max_incoming: usize,
    /// Bytes that a server keeps for handshakes that are not accepted yet, all together. Default: 16 MiB.
    pub incoming_buffer: u64,
    /// Directory in which each endpoint writes, packet by packet, what QUIC does (qlog, as JSON text sequences), for
    /// looking for faults: it costs much. Needs the feature `qlog`. Default: `None`.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub qlog: Option<PathBuf>,
    /// Bytes that the qlog of an endpoint may have; it ends there. Default: 64 MiB.
    pub qlog_bytes: u64,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(30)),
            keep_alive: None,
            congestion: Congestion::default(),
            stream_receive_window: 1_250_000,
            receive_window: 16 * 1024 * 1024,
            send_window: 10_000_000,
            // QUIC keeps tables of what the peer may open: 24 of both kinds take half the room of 32, and leave some for
            // what is opened here.
            streams_bidi: StreamCredit::new(16, 1280),
            streams_uni: StreamCredit::new(8, 1280),
            datagram_send_buffer: 256 * 1024,
            datagram_receive_buffer: 1024 * 1024,
            initial_mtu: 1200,
            mtu_upper_bound: 1452,
            mtu_minimum_change: 127,
            socket_buffer: 4 * 1024 * 1024,
            batch_packets: true,
            max_incoming: 4096,
            incoming_buffer: 16 * 1024 * 1024,
            qlog: None,
            qlog_bytes: 64 * 1024 * 1024,
        }
    }
}

impl TransportConfig {
    /// Smallest UDP payload that QUIC allows for (RFC 9000, 14).
    const MIN_MTU: u16 = 1200;
    /// Ten packets of this size are the most that one UDP send with segmentation offload can carry.
    const MAX_MTU: u16 = 6500;
    /// A datagram of a whole packet has to fit.
    const MIN_DATAGRAM_BUFFER: usize = 1500;
    /// HTTP/3 needs its control stream and both QPACK streams (RFC 9114, 6.2).
    const MIN_STREAMS_UNI: u64 = 3;
    /// A connection preallocates memory for each stream that it grants, about 110 bytes.
    const MAX_STREAM_CREDIT: u64 = 1 << 20;

    /// Makes the default settings of a client: a connection is kept alive by a PING every 10 s.
    pub fn client() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(10)),
            ..Self::default()
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_windows()?;
        self.validate_sizes()?;
        ensure(
            self.qlog.is_none() || cfg!(feature = "qlog"),
            "transport.qlog",
            &self.qlog,
            "needs the feature `qlog` of wt-core, without which this program was built",
        )?;
        ensure_credit("transport.streams_bidi", self.streams_bidi)?;
        ensure_credit("transport.streams_uni", self.streams_uni)?;
        ensure(
            self.streams_uni.initial >= Self::MIN_STREAMS_UNI,
            "transport.streams_uni",
            self.streams_uni,
            "must start with at least 3, which HTTP/3 itself takes",
        )
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        if let Some(idle) = self.idle_timeout {
            ensure_time("transport.idle_timeout", idle)?;
        }
        let Some(keep_alive) = self.keep_alive else {
            return Ok(());
        };
        ensure_time("transport.keep_alive", keep_alive)?;
        ensure(
            self.idle_timeout.is_none_or(|idle| keep_alive < idle),
            "transport.keep_alive",
            keep_alive,
            "must be shorter than `transport.idle_timeout`",
        )
    }

    fn validate_windows(&self) -> Result<(), ConfigError> {
        let range = 1..=MAX_VARINT;
        for (key, value) in [
            (
                "transport.stream_receive_window",
                self.stream_receive_window,
            ),
            ("transport.receive_window", self.receive_window),
            ("transport.send_window", self.send_window),
        ] {
            ensure(
                range.contains(&value),
                key,
                value,
                "must be between 1 and 2^62 - 1",
            )?;
        }
        ensure(
            self.receive_window >= self.stream_receive_window,
            "transport.receive_window",
            self.receive_window,
            "must be at least `transport.stream_receive_window`",
        )
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("transport.datagram_send_buffer", self.datagram_send_buffer),
            (
                "transport.datagram_receive_buffer",
                self.datagram_receive_buffer,
            ),
        ] {
            ensure(
                value >= Self::MIN_DATAGRAM_BUFFER,
                key,
                value,
                "must be at least 1500, the size of a packet",
            )?;
        }
        for (key, value) in [
            ("transport.initial_mtu", self.initial_mtu),
            ("transport.mtu_upper_bound", self.mtu_upper_bound),
        ] {
            ensure(
                (Self::MIN_MTU..=Self::MAX_MTU).contains(&value),
                key,
                value,
                "must be between 1200 and 6500",
            )?;
        }
        ensure(
            self.mtu_upper_bound >= self.initial_mtu,
            "transport.mtu_upper_bound",
            self.mtu_upper_bound,
            "must be at least `transport.initial_mtu`",
        )?;
        ensure(
            self.mtu_minimum_change > 0,
            "transport.mtu_minimum_change",
            self.mtu_minimum_change,
            "must be at least 1",
        )?;
        ensure(
            self.max_incoming > 0,
            "transport.max_incoming",
            self.max_incoming,
            "must be at least 1",
        )
    }
}

/// Congestion control of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// NewReno (RFC 9002, 7).
    NewReno,
    /// BBR; experimental, and takes about a fifth more CPU time.
    Bbr,
}

/// How many streams of one kind the peer may have open on a connection.
///
/// A connection starts with few, since each takes memory from the start, and grants four times as many whenever more than
/// half of them are in use. A peer that has opened 8 in all, one after the other, gets 64: QUIC announces streams that ended
/// when they are more than an eighth of what there may be, often in a packet of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamCredit {
    /// Streams at the start of a connection.
    pub initial: u64,
    /// Streams that the credit grows to. As QUIC announces streams that ended only when they are an eighth of it, a peer
    /// that holds many may find so many fewer.
    pub max: u64,
}

impl StreamCredit {
    /// Makes a credit that starts at `initial` and grows to `max` streams.
    pub const fn new(initial: u64, max: u64) -> Self {
        Self { initial, max }
    }
}

fn ensure_credit(key: &'static str, credit: StreamCredit) -> Result<(), ConfigError> {
    ensure(
        credit.initial <= credit.max,
        key,
        credit,
        "must not start with more than it grows to",
    )?;
    ensure(
        credit.max <= TransportConfig::MAX_STREAM_CREDIT,
        key,
        credit,
        "must grow to 1048576 at most",
    )
}
