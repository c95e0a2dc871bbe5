//! What drives the TLS handshakes of a server whose certificates may change.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use quinn::{
    ConnectionId,
    crypto::{self, Keys, UnsupportedVersion, rustls::QuicServerConfig},
};
use quinn_proto::transport_parameters::TransportParameters;
use rustls::server::ServerSessionMemoryCache;

use crate::{
    lock::lock,
    tls::{Certificates, Shown, TlsError},
};

/// TLS sessions that clients can resume, of all clients; those used least lately are forgotten first.
const RESUMABLE: usize = 256;

/// Begins each handshake with the certificates of that moment.
///
/// A client that resumes a TLS session is not shown any certificate (RFC 8446, 2.2). So that nobody keeps an old one by
/// resuming, the sessions that can be resumed belong to the certificates that they began with: a change forgets all of
/// them, and a handshake that is under way during a change adds its own to those that are forgotten.
pub(super) struct Server {
    /// All but the certificates and the sessions.
    template: rustls::ServerConfig,
    certificates: Certificates,
    current: Mutex<Current>,
}

/// What new handshakes begin with.
struct Current {
    shown: Arc<Shown>,
    quic: Arc<QuicServerConfig>,
}

impl Server {
    pub(super) fn new(
        template: rustls::ServerConfig,
        certificates: Certificates,
    ) -> Result<Self, TlsError> {
        let current = Current::new(&template, certificates.shown())?;
        Ok(Self {
            template,
            certificates,
            current: Mutex::new(current),
        })
    }

    fn current(&self) -> Arc<QuicServerConfig> {
        let shown = self.certificates.shown();
        let mut current = lock(&self.current);
        if !Arc::ptr_eq(&current.shown, &shown) {
            match Current::new(&self.template, shown) {
                Ok(new) => *current = new,
                // It has not to do with certificates, so the first one would have failed too.
                Err(error) => tracing::error!(%error, "the old certificates stay"),
            }
        }
        Arc::clone(&current.quic)
    }
}

impl Current {
    fn new(template: &rustls::ServerConfig, shown: Arc<Shown>) -> Result<Self, TlsError> {
        let mut tls = template.clone();
        tls.cert_resolver = shown.clone();
        tls.session_storage = ServerSessionMemoryCache::new(RESUMABLE);
        let quic = QuicServerConfig::try_from(tls).map_err(|_| TlsError::NoInitialCipherSuite)?;
        let quic = Arc::new(quic);
        Ok(Self { shown, quic })
    }
}

impl crypto::ServerConfig for Server {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        lock(&self.current).quic.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        let quic = Arc::clone(&lock(&self.current).quic);
        quic.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        self.current().start_session(version, params)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
