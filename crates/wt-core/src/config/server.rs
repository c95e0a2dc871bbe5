//! Configuration of a server.

use std::net::{Ipv6Addr, SocketAddr};

use wt_proto::DialectSet;

use super::{ALPN_H3, ConfigError, Limits, SessionConfig, TransportConfig, ensure, ensure_alpn};
use crate::tls::{ClientAuth, Identity};

/// Everything that can be set on a server.
///
/// # Examples
///
/// ```
/// use wt_core::config::ServerConfig;
/// use wt_core::tls::Identity;
///
/// let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
/// let mut config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 4433).into());
/// config.limits.sessions_per_connection = 8;
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address and UDP port to listen on; port 0 takes a free one. Default: `[::]:4433`, which takes IPv4 too.
    pub bind: SocketAddr,
    /// Certificate and key that clients are shown.
    pub identity: Identity,
    /// Whether clients are asked for a certificate. Default: [`ClientAuth::None`].
    pub client_auth: ClientAuth,
    /// Application protocols of the TLS handshake, the preferred first. Default: `h3` alone.
    pub alpn: Vec<Vec<u8>>,
    /// The QUIC connections underneath.
    pub transport: TransportConfig,
    /// What a client may use in each session.
    pub session: SessionConfig,
    /// What clients can make the server hold.
    pub limits: Limits,
    /// The versions of WebTransport that are offered. Default: all.
    pub dialects: DialectSet,
    /// Whether to write TLS secrets to the file that the environment variable `SSLKEYLOGFILE` names, so that packet
    /// captures can be decrypted. Default: `false`.
    pub key_log: bool,
}

impl ServerConfig {
    /// Makes a configuration with default settings for a server that shows `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            bind: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 4433)),
            identity,
            client_auth: ClientAuth::None,
            alpn: vec![ALPN_H3.to_vec()],
            transport: TransportConfig::default(),
            session: SessionConfig::default(),
            limits: Limits::default(),
            dialects: DialectSet::ALL,
            key_log: false,
        }
    }

    /// Sets the address and port to listen on.
    pub fn with_bind(mut self, bind: SocketAddr) -> Self {
        self.bind = bind;
        self
    }

    /// Sets whether clients are asked for a certificate.
    pub fn with_client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// Sets the QUIC settings.
    pub fn with_transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }

    /// Sets what a client may use in each session.
    pub fn with_session(mut self, session: SessionConfig) -> Self {
        self.session = session;
        self
    }

    /// Sets what clients can make the server hold.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ensure_alpn(&self.alpn)?;
        ensure(
            self.client_auth
                .roots()
                .is_none_or(|roots| !roots.is_empty()),
            "client_auth",
            &self.client_auth,
            "needs at least one root certificate to verify clients with",
        )?;
        ensure(
            self.transport.streams_bidi.initial > 0,
            "transport.streams_bidi",
            self.transport.streams_bidi,
            "must start with at least 1 on a server, or no client can open a session",
        )?;
        self.transport.validate()?;
        self.session.validate()?;
        self.limits.validate()
    }
}
