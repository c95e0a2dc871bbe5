//! Configuration of endpoints.
//!
//! [`ServerConfig`] and [`ClientConfig`] hold everything that can be set, grouped in [`TransportConfig`] (QUIC),
//! [`SessionConfig`] (what the peer may use in each session) and [`Limits`] (what a peer can make us hold). All
//! fields are public and have defaults that suit a public server. `validate` names the first value that cannot
//! work; an endpoint calls it before it starts.
//!
//! Every field has a name as well, such as `transport.idle_timeout`, by which it is read ([`ServerConfig::get`]) and set
//! ([`ServerConfig::set`]) as text, from the environment too ([`ServerConfig::with_env`]). With the feature `serde`
//! configurations are read from files and written.

mod certificates;
mod client;
mod error;
#[cfg(feature = "serde")]
mod files;
mod keys;
mod limits;
mod proxy;
mod rate;
mod retry;
mod server;
mod session;
mod text;
mod transport;

use std::time::Duration;

pub use self::certificates::CertificateConfig;
pub use self::client::ClientConfig;
pub use self::error::ConfigError;
use self::error::ensure;
pub use self::limits::Limits;
pub use self::proxy::ProxyConfig;
pub use self::rate::Rate;
pub use self::retry::Retry;
pub use self::server::ServerConfig;
pub use self::session::SessionConfig;
pub use self::transport::{Congestion, StreamCredit, TransportConfig};

/// The ALPN identifier of HTTP/3.
const ALPN_H3: &[u8] = b"h3";

/// The longest time that can be set; longer ones mean that someone wanted none.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The largest number of streams that QUIC and WebTransport can grant (RFC 9000, 4.6).
const MAX_STREAMS: u64 = 1 << 60;

/// The largest value that QUIC can encode (RFC 9000, 16).
const MAX_VARINT: u64 = (1 << 62) - 1;

fn ensure_time(key: &'static str, value: Duration) -> Result<(), ConfigError> {
    ensure(!value.is_zero(), key, value, "must be longer than zero")?;
    ensure(value <= MAX_TIME, key, value, "must be at most one year")
}

fn ensure_alpn(alpn: &[Vec<u8>]) -> Result<(), ConfigError> {
    let shown = || -> Vec<_> {
        alpn.iter()
            .map(|id| id.escape_ascii().to_string())
            .collect()
    };
    ensure(!alpn.is_empty(), "alpn", shown(), "must not be empty")?;
    let fits = alpn.iter().all(|id| (1..=255).contains(&id.len()));
    ensure(
        fits,
        "alpn",
        shown(),
        "each identifier must have 1 to 255 bytes",
    )
}

#[cfg(test)]
mod tests;
