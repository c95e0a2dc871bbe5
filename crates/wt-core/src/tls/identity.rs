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
    not_before: SystemTime,
    not_after: SystemTime,
    names: Arc<[String]>,
    origin: Origin,
}

/// Where an identity comes from, which says how there may be a newer one.
#[derive(Clone)]
enum Origin {
    /// From memory: it stays as it is.
    Given,
    /// Read from files.
    Files(Arc<Files>),
    /// Made by this crate.
    Made(Arc<SelfSigned>),
}

/// The files that chain and key were read from.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    /// Of what was in them.
    digest: Digest,
}

/// Tells contents of a pair of files apart.
pub(super) type Digest = [u8; 32];

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
        Self::made(options, SystemTime::now())
    }

    /// Makes a self-signed certificate whose time begins at `now`.
    pub(super) fn made(options: &SelfSigned, now: SystemTime) -> Result<Self, TlsError> {
        let (chain, key) = options.generate(now)?;
        let mut identity = Self::from_der(chain, key)?;
        identity.origin = Origin::Made(Arc::new(options.clone()));
        Ok(identity)
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
        Contents::read(chain.as_ref(), key.as_ref())?.identity()
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
            not_before: leaf.begins(),
            not_after: leaf.expires(),
            names: leaf.names.into(),
            key: Arc::new(key),
            certified: Arc::new(CertifiedKey::new(chain, signer)),
            origin: Origin::Given,
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

    /// Returns the DNS names and IP addresses that the own certificate is for (subjectAltName); `*.` begins a wildcard.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns from when on the own certificate is valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
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
        match &self.origin {
            Origin::Files(files) => Some((&files.chain, &files.key)),
            _ => None,
        }
    }

    /// Returns what the certificate was made of; `None` when it was not made here by [`Self::self_signed`] or
    /// [`Self::self_signed_with`].
    pub fn self_signed_options(&self) -> Option<&SelfSigned> {
        match &self.origin {
            Origin::Made(options) => Some(options),
            _ => None,
        }
    }

    /// What was in the files when they were read.
    pub(super) fn digest(&self) -> Option<Digest> {
        match &self.origin {
            Origin::Files(files) => Some(files.digest),
            _ => None,
        }
    }

    /// Whether clients see the same of both.
    pub(super) fn shows_same(&self, other: &Self) -> bool {
        self.chain() == other.chain()
    }

    /// Whether both are clones of one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certified, &other.certified)
    }

    /// Returns the chain and key as rustls takes them.
    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// What is in a pair of files.
pub(super) struct Contents {
    files: (PathBuf, PathBuf),
    chain: Vec<u8>,
    key: Vec<u8>,
    pub(super) digest: Digest,
}

impl Contents {
    pub(super) fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = (chain.to_owned(), key.to_owned());
        let (chain, key) = (read(chain)?, read(key)?);
        let digest = sha256(&[sha256(&chain), sha256(&key)].concat());
        Ok(Self {
            files,
            chain,
            key,
            digest,
        })
    }

    pub(super) fn identity(self) -> Result<Identity, TlsError> {
        let (chain, key) = self.files;
        let places = (chain.display().to_string(), key.display().to_string());
        let mut identity = Identity::parse(&self.chain, &self.key, &places.0, &places.1)?;
        let digest = self.digest;
        identity.origin = Origin::Files(Arc::new(Files { chain, key, digest }));
        Ok(identity)
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
