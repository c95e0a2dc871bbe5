//! The certificate and key that one side shows.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::hash::{BASE64, CertificateHash};
use super::leaf::Leaf;
use super::provider::{provider, sha256};
use super::roots::{parse_certificates, read};
use super::self_signed::SelfSigned;

/// A certificate chain and the private key that belongs to it.
///
/// Whoever makes one has the two checked against each other. A clone is cheap; the key never shows in `Debug`.
///
/// # Examples
///
/// ```
/// use wt_core::tls::Identity;
///
/// let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
/// println!("serverCertificateHashes: {}", identity.certificate_hash());
/// # Ok::<(), wt_core::tls::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
    hash: CertificateHash,
    spki_hash: [u8; 32],
    not_after: SystemTime,
    /// The files that chain and key were read from.
    files: Option<Arc<(PathBuf, PathBuf)>>,
}

impl Identity {
    /// Makes a self-signed certificate for DNS names and IP addresses.
    ///
    /// It is what browsers accept by hash: an ECDSA key on P-256, valid for 13 days in all, of which one hour has
    /// passed. Names that parse as IP addresses are certified as such. [`self_signed_with`](Self::self_signed_with)
    /// has more to choose.
    pub fn self_signed(names: impl IntoIterator<Item: Into<String>>) -> Result<Self, TlsError> {
        Self::self_signed_with(&SelfSigned::new(names))
    }

    /// Makes a self-signed certificate as described.
    pub fn self_signed_with(options: &SelfSigned) -> Result<Self, TlsError> {
        let (chain, key) = options.generate()?;
        Self::from_der(chain, key)
    }

    /// Takes a certificate chain, the own certificate first, and its private key, as DER.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        Self::checked(chain, key, "the chain given", "the key given")
    }

    /// Takes a certificate chain, the own certificate first, and its private key, as PEM.
    ///
    /// Sections of other kinds are ignored, so that both may be the same text.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::parse(chain, key, "the chain given", "the key given")
    }

    /// Reads a certificate chain, the own certificate first, and its private key from PEM files.
    ///
    /// Sections of other kinds are ignored, so that both may be the same file.
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let places = (chain.display().to_string(), key.display().to_string());
        let mut identity = Self::parse(&read(chain)?, &read(key)?, &places.0, &places.1)?;
        identity.files = Some(Arc::new((chain.to_owned(), key.to_owned())));
        Ok(identity)
    }

    fn parse(
        chain: &[u8],
        key: &[u8],
        chain_place: &str,
        key_place: &str,
    ) -> Result<Self, TlsError> {
        let chain = parse_certificates(chain, chain_place)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoPrivateKey {
                place: key_place.to_owned(),
            },
            error => TlsError::InvalidPem {
                place: key_place.to_owned(),
                source: Arc::new(error),
            },
        })?;
        Self::checked(chain, key, chain_place, key_place)
    }

    fn checked(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        chain_place: &str,
        key_place: &str,
    ) -> Result<Self, TlsError> {
        let place = || chain_place.to_owned();
        let Some(own) = chain.first() else {
            return Err(TlsError::NoCertificate { place: place() });
        };
        let invalid = |reason| TlsError::InvalidCertificate {
            place: place(),
            reason,
        };
        let leaf = Leaf::parse(own).map_err(invalid)?;
        let parsed =
            ParsedCertificate::try_from(own).map_err(|error| invalid(error.to_string()))?;
        let spki = parsed.subject_public_key_info();
        let hash = CertificateHash::of(own);
        let signer = provider()
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|source| TlsError::InvalidPrivateKey {
                place: key_place.to_owned(),
                source,
            })?;
        if signer.public_key().is_some_and(|public| public != spki) {
            return Err(TlsError::KeyMismatch {
                certificate: place(),
                key: key_place.to_owned(),
            });
        }
        Ok(Self {
            hash,
            spki_hash: sha256(&spki),
            not_after: leaf.expires(),
            key: Arc::new(key),
            certified: Arc::new(CertifiedKey::new(chain, signer)),
            files: None,
        })
    }

    /// Returns the certificate chain, the own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Returns the private key.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// Returns the hash of the own certificate, by which clients can trust it.
    pub fn certificate_hash(&self) -> CertificateHash {
        self.hash
    }

    /// Returns the base64 of the SHA-256 of the public key (SubjectPublicKeyInfo), as Chromium's
    /// `--ignore-certificate-errors-spki-list` takes it.
    pub fn spki_base64(&self) -> String {
        BASE64.encode(self.spki_hash)
    }

    /// Returns when the own certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Writes the certificate chain and the private key as PEM, in this order.
    pub fn to_pem(&self) -> (String, String) {
        let chain = self.chain().iter();
        let chain: String = chain.map(|der| encode("CERTIFICATE", der)).collect();
        let tag = match *self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        (chain, encode(tag, self.key.secret_der()))
    }

    /// Returns the files that chain and key were read from; `None` when they were given otherwise.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        let files = self.files.as_deref()?;
        Some((&files.0, &files.1))
    }

    /// Returns the chain and key as rustls takes them.
    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate_hash", &self.hash)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn encode(tag: &str, der: &[u8]) -> String {
    let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
    ::pem::encode_config(&::pem::Pem::new(tag, der), config)
}
