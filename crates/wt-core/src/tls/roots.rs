//! Whom each side trusts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::TlsError;
use super::hash::CertificateHash;
use super::provider::provider;
use super::verify::{AnyCertificate, PinnedHashes};

/// How a client decides whether to trust a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerVerification {
    /// The certificate chain has to lead to a root certificate of the system and name the server.
    #[default]
    SystemRoots,
    /// The certificate chain has to lead to one of these root certificates and name the server.
    ///
    /// A self-signed certificate is its own root.
    Roots(Vec<CertificateDer<'static>>),
    /// The certificate has to have one of these hashes, by the rules of a browser's `serverCertificateHashes`: valid
    /// now, for at most 14 days in all, with an ECDSA key on P-256. Neither its chain nor its names count.
    ///
    /// See [WebTransport, "verify a certificate hash"](https://www.w3.org/TR/webtransport/#verify-a-certificate-hash).
    Hashes(Vec<CertificateHash>),
    /// **Dangerous**: any certificate is accepted, so that anyone on the way can read and change everything.
    ///
    /// For experiments on networks where no one else is. The server still has to own the key of the certificate that
    /// it shows. [`Hashes`](Self::Hashes) is as simple and safe.
    Insecure,
}

impl ServerVerification {
    /// Trusts the root certificates in a PEM file.
    pub fn roots_from_pem_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        certificates_from_pem_file(path).map(Self::Roots)
    }

    /// Makes what verifies certificates in this way.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        Ok(match self {
            Self::SystemRoots => chain_verifier(system_roots()?)?,
            Self::Roots(roots) => chain_verifier(root_store(roots)?)?,
            Self::Hashes(hashes) => Arc::new(PinnedHashes::new(hashes.clone())),
            Self::Insecure => Arc::new(AnyCertificate),
        })
    }
}

/// Whether a server asks its clients for certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Clients are not asked.
    #[default]
    None,
    /// Clients are asked; one that shows a certificate is refused unless it leads to one of these roots.
    Optional(Vec<CertificateDer<'static>>),
    /// Clients are asked and refused unless they show a certificate that leads to one of these roots.
    Required(Vec<CertificateDer<'static>>),
}

impl ClientAuth {
    /// Returns the root certificates that clients are verified with.
    pub fn roots(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::None => None,
            Self::Optional(roots) | Self::Required(roots) => Some(roots),
        }
    }

    /// Makes what verifies clients in this way, if they are asked at all.
    pub(super) fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(roots) = self.roots() else {
            return Ok(None);
        };
        let store = Arc::new(root_store(roots)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(store, provider());
        if matches!(self, Self::Optional(_)) {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|_| TlsError::NoRoots)
    }
}

/// Reads all certificates in a PEM text; sections of other kinds are ignored.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    parse_certificates(text, "the text given")
}

/// Reads all certificates in a PEM file; sections of other kinds are ignored.
pub fn certificates_from_pem_file(
    path: impl AsRef<Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = path.as_ref();
    parse_certificates(&read(path)?, &path.display().to_string())
}

/// Reads the certificates in `text`, of which there has to be one; errors speak of `place`.
pub(super) fn parse_certificates(
    text: &[u8],
    place: &str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::InvalidPem {
            place: place.to_owned(),
            source: Arc::new(error),
        })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            place: place.to_owned(),
        });
    }
    Ok(certificates)
}

/// Reads a file; the error names it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::ReadFile {
        path: path.to_owned(),
        source: Arc::new(error),
    })
}

fn chain_verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| TlsError::NoRoots)
}

fn root_store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store
            .add(root.clone())
            .map_err(|source| TlsError::InvalidRoot { index, source })?;
    }
    Ok(store)
}

/// Loads the roots of the system. Some that rustls cannot use are nothing unusual; none at all is an error.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let (_, ignored) = store.add_parsable_certificates(found.certs);
    if !store.is_empty() {
        return Ok(store);
    }
    let reason = match found.errors.first() {
        Some(error) => error.to_string(),
        None => format!("{ignored} unusable ones found"),
    };
    Err(TlsError::NoSystemRoots { reason })
}
