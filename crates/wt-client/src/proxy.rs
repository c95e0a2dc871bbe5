//! Proxies: a setting that is understood and refused.

use std::time::Duration;

use http::HeaderMap;

/// A proxy between client and servers.
///
/// WebTransport needs UDP, so it takes a proxy that speaks CONNECT-UDP (RFC 9298). This client does
/// not yet: with a proxy set, connecting fails at once with
/// [`ConnectError::ProxyUnsupported`](crate::ConnectError::ProxyUnsupported), and no packet leaves.
/// Nothing is sent past a proxy that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// The URL of the proxy, with its port.
    pub url: String,
    /// Header fields of the request to the proxy. Default: none.
    pub headers: HeaderMap,
    /// Time in which the proxy has to answer. Default: 10 s.
    pub connect_timeout: Duration,
}

impl ProxyConfig {
    /// Makes the settings of the proxy at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: HeaderMap::new(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}
