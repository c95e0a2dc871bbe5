//! Certificates and how they are verified.
//!
//! An [`Identity`] is the certificate chain and key that one side shows, a [`ServerVerification`] how a client
//! decides whom to trust, and a [`ClientAuth`] whether a server asks its clients for certificates. Browsers accept a
//! self-signed certificate by its [`CertificateHash`]; [`Identity::self_signed`] makes one that qualifies. Those of a
//! server that runs are its [`Certificates`].
//!
//! TLS comes from rustls, with cryptography by ring or, with the feature `aws-lc-rs`, by aws-lc-rs. A client offers
//! AES-128-GCM with SHA-256, then AES-256-GCM and ChaCha20-Poly1305; a server takes what its client has first.

mod certificates;
mod error;
mod hash;
mod identity;
mod leaf;
mod provider;
mod roots;
mod self_signed;
mod verify;

use std::sync::Arc;

pub use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;

pub use self::certificates::{
    CertificateChange, CertificateEvent, CertificateIssue, CertificateStats, CertificateStatus,
    Certificates,
};
pub(crate) use self::certificates::{Shown, Watch};
pub use self::error::TlsError;
pub use self::hash::{CertificateHash, InvalidHash};
pub use self::identity::Identity;
pub(crate) use self::provider::{hmac_sha256, random};
pub use self::roots::{
    ClientAuth, ServerVerification, certificates_from_pem, certificates_from_pem_file,
};
pub use self::self_signed::SelfSigned;
pub use self::verify::CertificateRefused;
use crate::config::{ClientConfig, ServerConfig};

/// Makes the TLS configuration of a server that shows what `certificates` chooses.
///
/// There is no early data: a session request that is replayed could do harm.
pub(crate) fn server(
    config: &ServerConfig,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<rustls::ServerConfig, TlsError> {
    let builder = rustls::ServerConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?;
    let builder = match config.client_auth.verifier()? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut tls = builder.with_cert_resolver(certificates);
    tls.alpn_protocols.clone_from(&config.alpn);
    if config.key_log {
        tls.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok(tls)
}

/// Makes the TLS configuration of a client.
pub(crate) fn client(config: &ClientConfig) -> Result<Arc<rustls::ClientConfig>, TlsError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(config.verification.verifier()?);
    let mut tls = match &config.identity {
        Some(identity) => builder.with_client_cert_resolver(resolver(identity)),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols.clone_from(&config.alpn);
    if config.key_log {
        tls.key_log = Arc::new(rustls::KeyLogFile::new());
    }
    Ok(Arc::new(tls))
}

/// Makes what hands a client's identity to rustls.
fn resolver(identity: &Identity) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(Arc::clone(identity.certified())))
}

#[cfg(test)]
mod tests;
