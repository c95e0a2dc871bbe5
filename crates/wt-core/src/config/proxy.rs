//! A proxy to connect through.

use std::time::Duration;

use http::HeaderMap;

use super::{ConfigError, ensure_time};

/// A proxy that a client connects through (CONNECT-UDP, RFC 9298).
///
/// **Not supported yet**: [`ClientConfig::validate`](super::ClientConfig::validate) refuses it, so that nobody believes
/// to be behind a proxy who is not. The fields are those that it will have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Where the proxy is: `https://proxy.example:443/`.
    pub url: String,
    /// Header fields for the proxy, such as `proxy-authorization`. Default: none.
    #[cfg_attr(feature = "serde", serde(default, with = "super::files::fields"))]
    pub headers: HeaderMap,
    /// Time in which the proxy has to answer. Default: 10 s.
    #[cfg_attr(
        feature = "serde",
        serde(default = "ten_seconds", with = "super::files::text")
    )]
    pub connect_timeout: Duration,
}

impl ProxyConfig {
    /// Names a proxy.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: HeaderMap::new(),
            connect_timeout: ten_seconds(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ensure_time("proxy.connect_timeout", self.connect_timeout)?;
        Err(ConfigError::new(
            "proxy.url",
            &self.url,
            "proxies are not supported yet: connect directly, or through a tunnel of the system",
        ))
    }
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
