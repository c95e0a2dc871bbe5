//! What a peer can make us hold.

use std::time::Duration;

use super::{ConfigError, Rate, Retry, ensure, ensure_time};

/// Bounds on what a peer can make this side hold, and on how long it can take.
///
/// The bounds are per connection where nothing else is said. Those per address are for servers; what counts as one address
/// says [`PeerKey`](crate::PeerKey). Most of them are off by default: all clients of a school, a company or a mobile
/// network may have the same address, and so have all clients behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Limits {
    /// Connections that a server keeps at the same time; further ones are refused. Default: `None`, no bound.
    pub connections: Option<usize>,
    /// Sessions that are open on one connection at the same time; further requests are rejected. Default: 64.
    pub sessions_per_connection: usize,
    /// Session requests that were received and neither accepted nor rejected yet; further ones are rejected.
    /// Default: 256.
    pub pending_requests: usize,
    /// Size of a request or response head, counted as RFC 9114, 4.2.2 does, in bytes. Default: 16 KiB.
    pub field_section_size: u64,
    /// Streams of whose header (which session they belong to) only a part has arrived; further ones are refused.
    /// Default: 256.
    pub pending_headers: usize,
    /// Time in which a stream header or a request head has to arrive, from its first byte on. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub header_timeout: Duration,
    /// Time in which the peer's SETTINGS have to arrive. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub settings_timeout: Duration,
    /// Streams kept for sessions that are not established yet; further ones are refused. Default: 128.
    pub early_streams: usize,
    /// Datagrams kept for sessions that are not established yet; further ones are dropped. Default: 64.
    pub early_datagrams: usize,
    /// Streams, and datagrams, kept for one and the same session that is not established yet. Default: 64.
    pub early_per_session: usize,
    /// Bytes kept for sessions that are not established yet, in streams and datagrams together. Default: 64 KiB.
    pub early_bytes: usize,
    /// Time for which streams and datagrams are kept for a session that is not established yet. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub early_age: Duration,
    /// Received datagrams that wait in one session to be read; beyond it the oldest is dropped. Default: 256.
    pub datagram_queue: usize,
    /// Time that the peer has to answer the end of a session before its streams are torn down. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub close_timeout: Duration,
    /// Time for which a server keeps a connection on which no session was ever open. Default: 60 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub unused_timeout: Duration,
    /// Connections that a server keeps from one address at the same time; further ones are refused. Default: `None`, no
    /// bound.
    pub connections_per_address: Option<usize>,
    /// Connections that a server takes in a time; further ones are refused. Default: `None`, no bound.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub connection_rate: Option<Rate>,
    /// Connections that a server takes from one address in a time; further ones are refused. Default: `None`, no bound.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub connection_rate_per_address: Option<Rate>,
    /// Sessions that a server has on all connections at the same time, open or being opened; further requests are answered
    /// with 503. Default: `None`, no bound but that of an application.
    pub sessions: Option<usize>,
    /// Sessions that a server has on all connections of one address likewise; further requests are answered with 429.
    /// Default: `None`, no bound.
    pub sessions_per_address: Option<usize>,
    /// Requests for sessions that a server takes in a time; further ones are answered with 429 and Retry-After.
    /// Default: `None`, no bound.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub session_rate: Option<Rate>,
    /// Requests for sessions that a server takes from one address in a time; further ones are answered with 429 and
    /// Retry-After. Default: `None`, no bound.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub session_rate_per_address: Option<Rate>,
    /// Whether new clients of a server have to show that they are where they say. Default: [`Retry::UnderLoad`].
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub retry: Retry,
    /// Addresses that a server remembers although they hold nothing, since they have used up something of a rate; beyond
    /// it some are forgotten, and may begin anew. Each takes about 100 bytes. Default: 65,536.
    pub addresses: usize,
    /// Handshakes that a server has in progress from one address at the same time; the packets of further clients are
    /// ignored, so that they ask again, the first time after a second. Default: `None`, seven eighths of `handshakes`, so
    /// that no address takes all of them.
    pub handshakes_per_address: Option<usize>,
    /// Handshakes that a `Server` has in progress at the same time; further clients wait. Default: 1024.
    pub handshakes: usize,
    /// Session requests of all connections that wait to be taken from a `Server`; further ones wait in their connections.
    /// Default: 1024.
    pub server_requests: usize,
    /// Time for which a server keeps a connection whose last session has ended, for the next one. Browsers leave without
    /// a word, so a connection would otherwise stay until its idle timeout. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            sessions_per_connection: 64,
            pending_requests: 256,
            field_section_size: 16 * 1024,
            pending_headers: 256,
            header_timeout: Duration::from_secs(5),
            settings_timeout: Duration::from_secs(10),
            early_streams: 128,
            early_datagrams: 64,
            early_per_session: 64,
            early_bytes: 64 * 1024,
            early_age: Duration::from_secs(5),
            datagram_queue: 256,
            close_timeout: Duration::from_secs(5),
            unused_timeout: Duration::from_secs(60),
            connections_per_address: None,
            connection_rate: None,
            connection_rate_per_address: None,
            sessions: None,
            sessions_per_address: None,
            session_rate: None,
            session_rate_per_address: None,
            retry: Retry::default(),
            addresses: 65_536,
            handshakes_per_address: None,
            handshakes: 1024,
            server_requests: 1024,
            linger: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The smallest head that a browser sends fits into this with room to spare.
    const MIN_FIELD_SECTION: u64 = 1024;

    /// Returns how many handshakes one address may have in progress.
    pub(crate) fn handshakes_of_address(&self) -> usize {
        let most = self.handshakes - self.handshakes.div_ceil(8);
        self.handshakes_per_address.unwrap_or(most).max(1)
    }

    /// Returns whether sessions count for more than their connection.
    pub(crate) const fn limit_sessions(&self) -> bool {
        self.sessions.is_some()
            || self.sessions_per_address.is_some()
            || self.session_rate.is_some()
            || self.session_rate_per_address.is_some()
    }

    fn validate_rates(&self) -> Result<(), ConfigError> {
        for (key, rate) in [
            ("limits.connection_rate", self.connection_rate),
            (
                "limits.connection_rate_per_address",
                self.connection_rate_per_address,
            ),
            ("limits.session_rate", self.session_rate),
            (
                "limits.session_rate_per_address",
                self.session_rate_per_address,
            ),
        ] {
            if let Some(rate) = rate {
                rate.validate(key)?;
            }
        }
        ensure(
            (1..=1 << 24).contains(&self.addresses),
            "limits.addresses",
            self.addresses,
            "must be between 1 and 16777216",
        )
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let not_zero = "must be at least 1";
        for (key, value) in [
            ("limits.connections", self.connections.unwrap_or(1)),
            (
                "limits.sessions_per_connection",
                self.sessions_per_connection,
            ),
            ("limits.pending_requests", self.pending_requests),
            ("limits.pending_headers", self.pending_headers),
            ("limits.datagram_queue", self.datagram_queue),
            (
                "limits.connections_per_address",
                self.connections_per_address.unwrap_or(1),
            ),
            (
                "limits.handshakes_per_address",
                self.handshakes_per_address.unwrap_or(1),
            ),
            ("limits.sessions", self.sessions.unwrap_or(1)),
            (
                "limits.sessions_per_address",
                self.sessions_per_address.unwrap_or(1),
            ),
        ] {
            ensure(value > 0, key, value, not_zero)?;
        }
        for (key, value) in [
            ("limits.handshakes", self.handshakes),
            ("limits.server_requests", self.server_requests),
        ] {
            let range = 1..=1 << 20;
            ensure(
                range.contains(&value),
                key,
                value,
                "must be between 1 and 1048576",
            )?;
        }
        self.validate_rates()?;
        let section = self.field_section_size;
        ensure(
            (Self::MIN_FIELD_SECTION..=1 << 30).contains(&section),
            "limits.field_section_size",
            section,
            "must be between 1024 (1 KiB) and 1073741824 (1 GiB)",
        )?;
        ensure_time("limits.header_timeout", self.header_timeout)?;
        ensure_time("limits.settings_timeout", self.settings_timeout)?;
        ensure_time("limits.early_age", self.early_age)?;
        ensure_time("limits.unused_timeout", self.unused_timeout)?;
        ensure_time("limits.close_timeout", self.close_timeout)
    }
}
