//! What the peer may use in each session.

use super::{ConfigError, MAX_STREAMS, MAX_VARINT, ensure};

/// What the peer may use in each session (draft-ietf-webtrans-http3, "Flow Control").
///
/// Sessions share the connection's own limits ([`TransportConfig`](super::TransportConfig)); these keep one session
/// from taking all of it. They are in force with peers that negotiate session flow control.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Whether to offer session flow control. Without it, a peer that follows the current draft opens only one
    /// session per connection. Default: `true`.
    pub flow_control: bool,
    /// Bytes that the peer may send on a session's streams ahead of what the application has read, at least 1 MiB.
    /// Default: 4 MiB.
    pub max_data: u64,
    /// Whether `max_data` grows for a session whose application reads faster than credit travels: it doubles each time
    /// that credit is used up within two round trips, up to the session's share of `transport.receive_window`.
    /// Default: `true`.
    pub auto_scale: bool,
    /// Bidirectional streams that the peer may have open in a session. Default: 1000.
    pub max_streams_bidi: u64,
    /// Unidirectional streams that the peer may have open in a session. Default: 1000.
    pub max_streams_uni: u64,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            flow_control: true,
            max_data: 4 * 1024 * 1024,
            auto_scale: true,
            max_streams_bidi: 1000,
            max_streams_uni: 1000,
        }
    }
}

impl SessionConfig {
    const MIN_DATA: u64 = 1024 * 1024;

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ensure(
            (Self::MIN_DATA..=MAX_VARINT).contains(&self.max_data),
            "session.max_data",
            self.max_data,
            "must be between 1048576 (1 MiB) and 2^62 - 1",
        )?;
        for (key, value) in [
            ("session.max_streams_bidi", self.max_streams_bidi),
            ("session.max_streams_uni", self.max_streams_uni),
        ] {
            ensure(value <= MAX_STREAMS, key, value, "must be at most 2^60")?;
        }
        Ok(())
    }
}
