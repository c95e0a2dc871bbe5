//! Verification of servers without a chain of trust.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use super::hash::CertificateHash;
use super::leaf::Leaf;
use super::provider::provider;

/// The longest validity of a certificate that is trusted by its hash.
const MAX_VALIDITY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A server's certificate was refused when it should be trusted by its hash.
///
/// It is the cause of the handshake's `rustls::CertificateError::Other`. A certificate that expired or is not valid
/// yet has variants of its own there.
///
/// `Debug` speaks in the same words as `Display`: rustls shows causes of its errors by `Debug` alone.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRefused {
    /// The certificate has another hash than those expected.
    #[error("the server's certificate has the hash {0}, which is none of those expected")]
    UnknownHash(CertificateHash),
    /// The certificate is valid for more than 14 days in all.
    #[error(
        "the server's certificate is valid for {} hours in all, and trust by hash ends at 14 days",
        .0.as_secs() / 3600
    )]
    ValidityTooLong(Duration),
    /// The certificate's key is not an ECDSA key on P-256.
    #[error("the key of the server's certificate is not ECDSA on P-256, which trust by hash needs")]
    KeyNotP256,
}

impl fmt::Debug for CertificateRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<CertificateRefused> for Error {
    fn from(refused: CertificateRefused) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

/// Trusts certificates with known hashes, by the rules of a browser's `serverCertificateHashes`.
#[derive(Debug)]
pub(super) struct PinnedHashes {
    hashes: Vec<CertificateHash>,
}

impl PinnedHashes {
    pub(super) fn new(hashes: Vec<CertificateHash>) -> Self {
        Self { hashes }
    }

    /// Checks a certificate at the time `now`.
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let hash = CertificateHash::of(certificate);
        if !self.hashes.contains(&hash) {
            return Err(CertificateRefused::UnknownHash(hash).into());
        }
        let leaf = Leaf::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
        check_dates(&leaf, now)?;
        if leaf.validity() > MAX_VALIDITY {
            return Err(CertificateRefused::ValidityTooLong(leaf.validity()).into());
        }
        if !leaf.is_p256 {
            return Err(CertificateRefused::KeyNotP256.into());
        }
        Ok(())
    }
}

fn check_dates(leaf: &Leaf, now: UnixTime) -> Result<(), CertificateError> {
    let not_before = UnixTime::since_unix_epoch(leaf.not_before);
    let not_after = UnixTime::since_unix_epoch(leaf.not_after);
    if now < not_before {
        let time = now;
        return Err(CertificateError::NotValidYetContext { time, not_before });
    }
    if now > not_after {
        let time = now;
        return Err(CertificateError::ExpiredContext { time, not_after });
    }
    Ok(())
}

impl ServerCertVerifier for PinnedHashes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // All of them, so that a server with another key is refused with a reason instead of at a loss.
        supported_schemes()
    }
}

/// Trusts anyone who owns the key of the certificate that they show.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        supported_schemes()
    }
}

fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = provider().signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signature, &algorithms)
}

fn supported_schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}

/// QUIC has TLS 1.3 only.
fn no_tls12() -> Error {
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into()
}
