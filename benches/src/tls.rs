//! The cryptography of the stacks that take a provider of rustls.

use std::sync::Arc;

use rustls::{
    CipherSuite, SupportedCipherSuite,
    crypto::{CryptoProvider, ring},
};

/// What rustls has by default, or with the cipher suite first that `wt` has first.
pub(crate) fn provider(as_wt: bool) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if as_wt {
        let is_first =
            |suite: &SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256;
        provider.cipher_suites.sort_by_key(|suite| !is_first(suite));
    }
    Arc::new(provider)
}
