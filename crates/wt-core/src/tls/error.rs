//! What is wrong with certificates, keys and roots.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem;

/// A certificate, a key or a root cannot be used.
///
/// Where a variant has a `place`, it is the file in question, or says how the data was passed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why it could not be read.
        source: Arc<io::Error>,
    },
    /// A text is not PEM.
    #[error("{place} is not valid PEM")]
    InvalidPem {
        /// Where the text comes from.
        place: String,
        /// What is wrong with it.
        source: Arc<pem::Error>,
    },
    /// There is no certificate where one was expected.
    #[error("no certificate in {place}: expected PEM with a section BEGIN CERTIFICATE")]
    NoCertificate {
        /// Where it was expected.
        place: String,
    },
    /// There is no private key where one was expected.
    #[error(
        "no private key in {place}: expected PEM with an unencrypted PKCS#8, SEC1 or PKCS#1 key"
    )]
    NoPrivateKey {
        /// Where it was expected.
        place: String,
    },
    /// A certificate is malformed.
    #[error("cannot understand the certificate in {place}: {reason}")]
    InvalidCertificate {
        /// Where the certificate comes from.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A private key is malformed or of a kind that cannot be used for TLS.
    #[error("cannot use the private key in {place}")]
    InvalidPrivateKey {
        /// Where the key comes from.
        place: String,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// A private key does not belong to the certificate that came with it.
    #[error(
        "the private key in {key} does not belong to the first certificate in {certificate}: \
         pass the key that this certificate was issued for, and the server's own certificate first"
    )]
    KeyMismatch {
        /// Where the certificate comes from.
        certificate: String,
        /// Where the key comes from.
        key: String,
    },
    /// A certificate cannot be made for such a name.
    #[error(
        "cannot certify the name {name:?}: pass DNS names (in ASCII) or IP addresses, at least one"
    )]
    InvalidName {
        /// The name, empty if there was none.
        name: String,
    },
    /// A certificate cannot be valid for that long.
    #[error(
        "cannot make a certificate with this validity: it must be longer than its backdating and end before the year 9999"
    )]
    InvalidValidity,
    /// A server has as many certificates as it may.
    #[error("the server has as many certificates as `certificates.max` allows: {max}")]
    TooManyCertificates {
        /// How many there may be.
        max: usize,
    },
    /// Making a certificate failed.
    #[error("cannot make a certificate: {reason}")]
    Generate {
        /// What failed.
        reason: String,
    },
    /// The system has no root certificates that can be used.
    #[error(
        "no usable root certificates on this system ({reason}): install them (package ca-certificates) or pass roots"
    )]
    NoSystemRoots {
        /// What was found instead.
        reason: String,
    },
    /// A root certificate cannot be used.
    #[error("cannot use root certificate {index} of those passed")]
    InvalidRoot {
        /// Which one, counted from 0.
        index: usize,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// No root certificates were passed where they decide whom to trust.
    #[error("no root certificates to verify with: pass at least one")]
    NoRoots,
    /// The cryptography in use lacks TLS 1.3.
    #[error("the cryptography in use cannot do TLS 1.3")]
    Provider(#[source] rustls::Error),
    /// The cryptography in use lacks TLS_AES_128_GCM_SHA256, which each QUIC connection starts with.
    #[error("the cryptography in use lacks TLS_AES_128_GCM_SHA256, which QUIC needs")]
    NoInitialCipherSuite,
}
