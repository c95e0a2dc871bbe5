//! Configuration of a server.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use wt_proto::DialectSet;

use super::{
    ALPN_H3, CertificateConfig, ConfigError, Limits, SessionConfig, TransportConfig, ensure,
    ensure_alpn,
};
use crate::tls::{CertificateDer, ClientAuth, Identity, TlsError};

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
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address and UDP port to listen on; port 0 takes a free one. Default: `[::]:4433`, which takes IPv4 too.
    #[cfg_attr(feature = "serde", serde(default = "bind"))]
    pub bind: SocketAddr,
    /// Certificate and key that clients are shown who ask for no name, or for one that none of [`Self::identities`] is
    /// for.
    pub identity: Identity,
    /// Certificates and keys for clients that ask for one of their names (SNI). Default: none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub identities: Vec<Identity>,
    /// How certificates are kept fresh while the server runs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub certificates: CertificateConfig,
    /// Whether clients are asked for a certificate. Default: [`ClientAuth::None`].
    #[cfg_attr(feature = "serde", serde(default, with = "super::files::text"))]
    pub client_auth: ClientAuth,
    /// Application protocols of the TLS handshake, the preferred first. Default: `h3` alone.
    #[cfg_attr(
        feature = "serde",
        serde(default = "alpn", with = "super::files::text")
    )]
    pub alpn: Vec<Vec<u8>>,
    /// The QUIC connections underneath.
    #[cfg_attr(feature = "serde", serde(default))]
    pub transport: TransportConfig,
    /// What a client may use in each session.
    #[cfg_attr(feature = "serde", serde(default))]
    pub session: SessionConfig,
    /// What clients can make the server hold.
    #[cfg_attr(feature = "serde", serde(default))]
    pub limits: Limits,
    /// The versions of WebTransport that are offered. Default: all.
    #[cfg_attr(feature = "serde", serde(default, with = "super::files::text"))]
    pub dialects: DialectSet,
    /// Whether to write TLS secrets to the file that the environment variable `SSLKEYLOGFILE` names, so that packet
    /// captures can be decrypted. Default: `false`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub key_log: bool,
}

/// Where a server listens unless it says otherwise.
fn bind() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 4433))
}

fn alpn() -> Vec<Vec<u8>> {
    vec![ALPN_H3.to_vec()]
}

impl ServerConfig {
    /// Makes a configuration with default settings for a server that shows `identity`.
    pub fn new(identity: Identity) -> Self {
        Self {
            bind: bind(),
            identity,
            identities: Vec::new(),
            certificates: CertificateConfig::default(),
            client_auth: ClientAuth::None,
            alpn: alpn(),
            transport: TransportConfig::default(),
            session: SessionConfig::default(),
            limits: Limits::default(),
            dialects: DialectSet::ALL,
            key_log: false,
        }
    }

    /// Makes a configuration for trying things out: a new self-signed certificate for `localhost`, `127.0.0.1` and
    /// `::1`, on port 4433 of `127.0.0.1`, and TLS secrets written where `SSLKEYLOGFILE` says.
    ///
    /// Clients trust it by [`Identity::certificate_hash`].
    ///
    /// # Errors
    ///
    /// [`TlsError`] when no certificate can be made.
    #[doc(alias = "create_for_development")]
    pub fn for_development() -> Result<Self, TlsError> {
        let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
        let mut config = Self::new(identity).with_bind((Ipv4Addr::LOCALHOST, 4433).into());
        config.key_log = true;
        Ok(config)
    }

    /// Makes a configuration for the open network: as [`Self::new`], at most [`Self::PRODUCTION_CONNECTIONS`]
    /// connections at a time, and clients that show a certificate have to lead to one of `client_roots`, where there
    /// are some.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `client_roots` is empty.
    #[doc(alias = "create_for_production")]
    pub fn for_production(
        bind: SocketAddr,
        identity: Identity,
        client_roots: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::new(identity).with_bind(bind);
        config.limits.connections = Some(Self::PRODUCTION_CONNECTIONS);
        config.client_auth = client_roots.map_or(ClientAuth::None, ClientAuth::Optional);
        config.validate()?;
        Ok(config)
    }

    /// The `limits.connections` of [`Self::for_production`].
    pub const PRODUCTION_CONNECTIONS: usize = 3000;

    /// Sets the certificate and key that clients are shown.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Sets the certificates and keys for clients that ask for one of their names.
    pub fn with_identities(mut self, identities: impl IntoIterator<Item = Identity>) -> Self {
        self.identities = identities.into_iter().collect();
        self
    }

    /// Sets how certificates are kept fresh.
    pub fn with_certificates(mut self, certificates: CertificateConfig) -> Self {
        self.certificates = certificates;
        self
    }

    /// Sets the versions of WebTransport that are offered.
    pub fn with_dialects(mut self, dialects: DialectSet) -> Self {
        self.dialects = dialects;
        self
    }

    /// Sets the application protocols of the TLS handshake.
    pub fn with_alpn(mut self, alpn: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        self.alpn = alpn.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether to write TLS secrets to the file that `SSLKEYLOGFILE` names.
    pub fn with_key_log(mut self, key_log: bool) -> Self {
        self.key_log = key_log;
        self
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
        self.certificates.validate(1 + self.identities.len())?;
        self.transport.validate()?;
        self.session.validate()?;
        self.limits.validate()
    }
}
