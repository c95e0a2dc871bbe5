//! What a connection needs to know before it starts.

use std::time::Duration;

use crate::{
    Side,
    dialect::{DialectSet, InitialLimits, Offer},
};

/// Whether capsules stand bare on the CONNECT stream, as PyWebTransport 0.8 has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawCapsules {
    /// Only towards peers whose SETTINGS say that they are PyWebTransport 0.8.
    #[default]
    Auto,
    /// Towards every peer.
    Always,
    /// Towards nobody.
    Never,
}

/// The configuration of a [`Connection`](super::Connection).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which side this endpoint is.
    pub side: Side,
    /// The dialects that may be spoken.
    pub dialects: DialectSet,
    /// Sessions at a time in this connection, as announced and enforced by a server.
    pub max_sessions: u64,
    /// The largest field section that is taken, in bytes as RFC 9114, 4.2.2 counts them.
    pub max_field_section: u64,
    /// Limits granted to the peer at the start of each session; all 0 turns flow control off.
    pub initial: InitialLimits,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long the SETTINGS of the peer may take.
    pub settings_timeout: Duration,
    /// The treatment of the capsules of PyWebTransport 0.8.
    pub raw_capsules: RawCapsules,
    /// A number from which the reserved code points (GREASE) are made; `None` sends none.
    pub grease: Option<u32>,
}

impl Config {
    /// Creates a configuration with the defaults of `side`.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self {
            side,
            dialects: DialectSet::ALL,
            max_sessions: 64,
            max_field_section: 16 * 1024,
            initial: InitialLimits {
                max_data: 4 << 20,
                max_streams_bidi: 1000,
                max_streams_uni: 1000,
            },
            head_timeout: Duration::from_secs(5),
            settings_timeout: Duration::from_secs(10),
            raw_capsules: RawCapsules::Auto,
            grease: Some(0),
        }
    }

    pub(crate) fn offer(&self) -> Offer {
        Offer {
            dialects: self.dialects,
            server: self.side == Side::Server,
            max_sessions: self.max_sessions,
            field_section: self.max_field_section,
            limits: self.initial,
        }
    }
}
