//! The cryptography in use.
//!
//! It is handed to rustls explicitly, so that neither a process-wide default nor the features that other crates
//! choose have a say.

use std::sync::{Arc, LazyLock};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as backend;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as backend;
use rustls::{
    CipherSuite, SupportedCipherSuite,
    crypto::{CryptoProvider, tls13::OkmBlock},
};

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("wt-core needs one of its features `ring` and `aws-lc-rs`");

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(preferring_aes_128(backend::default_provider())));

/// Puts the suite first that every QUIC endpoint has (RFC 8446, 9.1), as browsers do.
///
/// rustls begins with AES-256 and SHA-384. A handshake hashes for dozens of keys, and processors that have instructions for
/// AES mostly have them for SHA-256, not for SHA-384. A server takes what comes first on the client's list.
fn preferring_aes_128(mut provider: CryptoProvider) -> CryptoProvider {
    let is_preferred =
        |suite: &SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
    // Of those that are equal the order stays.
    provider
        .cipher_suites
        .sort_by_key(|suite| !is_preferred(suite));
    provider
}

/// The provider that all TLS configurations share.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// The SHA-256 of `data`.
pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = backend::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .map(|suite| suite.common.hash_provider.hash(data));
    digest
        .and_then(|digest| digest.as_ref().try_into().ok())
        .expect("a suite of TLS 1.3 with SHA-256")
}

/// Fills `bytes` with numbers that nobody can guess.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), rustls::crypto::GetRandomFailed> {
    PROVIDER.secure_random.fill(bytes)
}

/// The HMAC-SHA-256 of `data`.
pub(crate) fn hmac_sha256(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let tag = backend::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .map(|suite| suite.hkdf_provider.hmac_sign(&OkmBlock::new(key), data));
    tag.and_then(|tag| tag.as_ref().try_into().ok())
        .expect("a suite of TLS 1.3 with SHA-256")
}
