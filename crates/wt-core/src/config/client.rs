//! Configuration of a client.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use wt_proto::DialectSet;

use super::{
    ALPN_H3, ConfigError, Limits, ProxyConfig, SessionConfig, TransportConfig, ensure, ensure_alpn,
    ensure_time,
};
use crate::tls::{CertificateDer, Identity, ServerVerification};

/// Everything that can be set on a client.
///
/// # Examples
///
/// ```
/// use wt_core::config::ClientConfig;
/// use wt_core::tls::ServerVerification;
///
/// let hash = "6a:09:e6:67:bb:67:ae:85:3c:6e:f3:72:a5:4f:f5:3a:51:0e:52:7f:9b:05:68:8c:1f:83:d9:ab:5b:e0:cd:19";
/// let config = ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash.parse()?]));
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Local address and UDP port. Default: `[::]:0`, any address of either family and a free port; where there is
    /// no IPv6, `0.0.0.0:0` in its place.
    pub bind: SocketAddr,
    /// How servers are verified. Default: [`ServerVerification::SystemRoots`].
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub verification: ServerVerification,
    /// Certificate and key for servers that ask for one. Default: none.
    pub identity: Option<Identity>,
    /// Application protocols of the TLS handshake, the preferred first. Default: `h3` alone.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub alpn: Vec<Vec<u8>>,
    /// The QUIC connections underneath. Default: [`TransportConfig::client`].
    pub transport: TransportConfig,
    /// What a server may use in each session.
    pub session: SessionConfig,
    /// What servers can make the client hold.
    pub limits: Limits,
    /// The versions of WebTransport that may be spoken; the newest common one is. Default: all.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub dialects: DialectSet,
    /// Time in which a session has to be established, from the first packet on. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "super::files::text"))]
    pub connect_timeout: Duration,
    /// Header fields that each session request carries. Default: none.
    #[cfg_attr(feature = "serde", serde(with = "super::files::fields"))]
    pub headers: HeaderMap,
    /// A proxy to connect through; see [`ProxyConfig`], which is refused for now. Default: none.
    pub proxy: Option<ProxyConfig>,
    /// The `user-agent` header field of session requests; `None` sends none. Default: `wt/` and the version.
    pub user_agent: Option<String>,
    /// Whether to write TLS secrets to the file that the environment variable `SSLKEYLOGFILE` names, so that packet
    /// captures can be decrypted. Default: `false`.
    pub key_log: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            verification: ServerVerification::default(),
            identity: None,
            alpn: vec![ALPN_H3.to_vec()],
            transport: TransportConfig::client(),
            session: SessionConfig::default(),
            limits: Limits::default(),
            dialects: DialectSet::ALL,
            connect_timeout: Duration::from_secs(30),
            headers: HeaderMap::new(),
            proxy: None,
            user_agent: Some(concat!("wt/", env!("CARGO_PKG_VERSION")).to_owned()),
            key_log: false,
        }
    }
}

impl ClientConfig {
    /// Makes a configuration with default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a configuration for trying things out: as [`Self::new`], trusting any certificate, and writing TLS secrets
    /// where `SSLKEYLOGFILE` says.
    ///
    /// **Dangerous** outside a network where no one else is, see [`ServerVerification::Insecure`]. With the hash of the
    /// server's certificate, [`ServerVerification::Hashes`] is as simple and safe.
    #[doc(alias = "create_for_development")]
    pub fn for_development() -> Self {
        Self {
            verification: ServerVerification::Insecure,
            key_log: true,
            ..Self::default()
        }
    }

    /// Makes a configuration for the open network: servers have to show a certificate that leads to one of `roots`, or
    /// of the system's where there are none, and names them. `identity` is for servers that ask for one.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `roots` is empty.
    #[doc(alias = "create_for_production")]
    pub fn for_production(
        roots: Option<Vec<CertificateDer<'static>>>,
        identity: Option<Identity>,
    ) -> Result<Self, ConfigError> {
        let config = Self {
            verification: roots.map_or(ServerVerification::SystemRoots, ServerVerification::Roots),
            identity,
            ..Self::default()
        };
        config.validate()?;
        Ok(config)
    }

    /// Sets the local address and port.
    pub fn with_bind(mut self, bind: SocketAddr) -> Self {
        self.bind = bind;
        self
    }

    /// Sets how servers are verified.
    pub fn with_verification(mut self, verification: ServerVerification) -> Self {
        self.verification = verification;
        self
    }

    /// Sets the certificate and key for servers that ask for one.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the QUIC settings.
    pub fn with_transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }

    /// Sets what a server may use in each session.
    pub fn with_session(mut self, session: SessionConfig) -> Self {
        self.session = session;
        self
    }

    /// Sets what servers can make the client hold.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the versions of WebTransport that may be spoken.
    pub fn with_dialects(mut self, dialects: DialectSet) -> Self {
        self.dialects = dialects;
        self
    }

    /// Sets the application protocols of the TLS handshake.
    pub fn with_alpn(mut self, alpn: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = alpn.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the header fields that each session request carries.
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the `user-agent` header field; `None` sends none.
    pub fn with_user_agent(mut self, agent: impl Into<Option<String>>) -> Self {
        self.user_agent = agent.into();
        self
    }

    /// Sets whether to write TLS secrets to the file that `SSLKEYLOGFILE` names.
    pub fn with_key_log(mut self, key_log: bool) -> Self {
        self.key_log = key_log;
        self
    }

    /// Sets the time in which a session has to be established.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let has_anchor = match &self.verification {
            ServerVerification::Roots(roots) => !roots.is_empty(),
            ServerVerification::Hashes(hashes) => !hashes.is_empty(),
            ServerVerification::SystemRoots | ServerVerification::Insecure => true,
        };
        ensure(
            has_anchor,
            "verification",
            &self.verification,
            "needs at least one certificate or hash, or no server can be trusted",
        )?;
        ensure_alpn(&self.alpn)?;
        ensure_time("connect_timeout", self.connect_timeout)?;
        if let Some(proxy) = &self.proxy {
            proxy.validate()?;
        }
        if let Some(agent) = &self.user_agent {
            let valid = HeaderValue::from_str(agent).is_ok();
            ensure(
                valid,
                "user_agent",
                agent,
                "must be a valid header field value",
            )?;
        }
        self.transport.validate()?;
        self.session.validate()?;
        self.limits.validate()
    }
}
