//! Identities and trust, through what is public.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::error::Error as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::QuicServerConfig;
use rustls::CipherSuite;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use wt_core::Endpoint;
use wt_core::config::ClientConfig;
use wt_core::tls::{
    CertificateHash, Identity, SelfSigned, ServerVerification, TlsError, certificates_from_pem,
    certificates_from_pem_file,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Files that go when the test ends.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let name = format!("wt-core-tls-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn parse(identity: &Identity) -> Certificate {
    Certificate::from_der(&identity.chain()[0]).unwrap()
}

#[test]
fn self_signed_is_valid_for_13_days_around_now() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let certificate = parse(&identity);
    let validity = certificate.tbs_certificate().validity();
    let (start, end) = (
        validity.not_before.to_system_time(),
        validity.not_after.to_system_time(),
    );
    let now = SystemTime::now();
    assert_eq!(end.duration_since(start).unwrap(), 13 * DAY);
    assert!(now.duration_since(start).unwrap() >= Duration::from_secs(60 * 60));
    assert!(end.duration_since(now).unwrap() > 12 * DAY);
    assert_eq!(identity.not_after(), end);
}

#[test]
fn self_signed_certifies_dns_names_and_addresses_as_each_is() {
    let names = ["localhost", "*.example.org", "127.0.0.1", "::1"];
    let certificate = parse(&Identity::self_signed(names).unwrap());
    let (_, alt) = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>()
        .unwrap()
        .unwrap();
    let found: Vec<String> = alt.0.iter().map(show).collect();
    let v6 = "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]";
    assert_eq!(found, ["localhost", "*.example.org", "[127, 0, 0, 1]", v6]);
}

fn show(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(name) => name.to_string(),
        GeneralName::IpAddress(address) => format!("{:?}", address.as_bytes()),
        other => panic!("unexpected name {other:?}"),
    }
}

#[test]
fn self_signed_refuses_what_is_no_name() {
    for name in ["", "bücher.example", "a b", "https://localhost", "*"] {
        let error = Identity::self_signed([name]).unwrap_err();
        assert!(
            matches!(&error, TlsError::InvalidName { name: said } if said == name),
            "{error}"
        );
    }
    let error = Identity::self_signed(Vec::<String>::new()).unwrap_err();
    assert!(matches!(error, TlsError::InvalidName { .. }), "{error}");
}

#[test]
fn self_signed_validity_is_a_choice_within_reason() {
    let year = SelfSigned::new(["localhost"]).with_validity(365 * DAY);
    let identity = Identity::self_signed_with(&year).unwrap();
    assert!(identity.not_after() > SystemTime::now() + 364 * DAY);

    for options in [
        SelfSigned::new(["localhost"]).with_validity(Duration::ZERO),
        SelfSigned::new(["localhost"]).with_backdate(14 * DAY),
        SelfSigned::new(["localhost"]).with_validity(Duration::MAX),
        SelfSigned::new(["localhost"]).with_validity(3_000_000 * DAY),
    ] {
        let error = Identity::self_signed_with(&options).unwrap_err();
        assert!(matches!(error, TlsError::InvalidValidity), "{error}");
    }
}

#[test]
fn each_self_signed_identity_is_new() {
    let (a, b) = (
        Identity::self_signed(["localhost"]).unwrap(),
        Identity::self_signed(["localhost"]).unwrap(),
    );
    assert_ne!(a.certificate_hash(), b.certificate_hash());
    assert_ne!(a.spki_base64(), b.spki_base64());
}

#[test]
fn identity_survives_pem() {
    let made = Identity::self_signed(["localhost"]).unwrap();
    let (chain, key) = made.to_pem();
    assert!(
        chain.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{chain}"
    );
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    for (chain, key) in [
        (&chain, &key),
        (&format!("{key}{chain}"), &format!("{chain}{key}")),
    ] {
        let read = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(read.chain(), made.chain());
        assert_eq!(read.key(), made.key());
        assert_eq!(read.to_pem(), made.to_pem());
        assert_eq!(read.certificate_hash(), made.certificate_hash());
        assert_eq!(read.spki_base64(), made.spki_base64());
        assert_eq!(read.not_after(), made.not_after());
    }
}

#[test]
fn identity_survives_files() {
    let files = Files::new("survives");
    let made = Identity::self_signed(["localhost"]).unwrap();
    let (chain, key) = made.to_pem();
    let (chain, key) = (
        files.write("cert.pem", &chain),
        files.write("key.pem", &key),
    );
    let read = Identity::from_pem_files(&chain, key).unwrap();
    assert_eq!(read.certificate_hash(), made.certificate_hash());
    assert_eq!(certificates_from_pem_file(&chain).unwrap(), made.chain());
    assert_eq!(
        ServerVerification::roots_from_pem_file(&chain).unwrap(),
        ServerVerification::Roots(made.chain().to_vec())
    );
}

#[test]
fn known_certificate_has_known_hashes() {
    // As computed by OpenSSL.
    let known = Identity::from_pem(
        include_bytes!("data/known.cert.pem"),
        include_bytes!("data/rsa-2048.key.pem"),
    )
    .unwrap();
    assert_eq!(
        known.certificate_hash().to_hex(),
        "4366bbf954f4df05a6f8ece3f5c7de18db2187b7754ad12ccd4d26e936eacfed"
    );
    assert_eq!(
        known.certificate_hash(),
        CertificateHash::of(&known.chain()[0])
    );
    assert_eq!(
        known.spki_base64(),
        "tlZCSUZ8gK8eIRonkywBQbhEL5H33VZxnzW4MuDKEiA="
    );
}

#[test]
fn mismatch_of_key_and_certificate_names_both_files() {
    let files = Files::new("mismatch");
    let chain = Identity::self_signed(["localhost"]).unwrap().to_pem().0;
    let key = Identity::self_signed(["localhost"]).unwrap().to_pem().1;
    let (chain, key) = (
        files.write("cert.pem", &chain),
        files.write("key.pem", &key),
    );
    let error = Identity::from_pem_files(&chain, &key).unwrap_err();
    let TlsError::KeyMismatch { .. } = error else {
        panic!("{error}");
    };
    let said = error.to_string();
    assert!(said.contains(&chain.display().to_string()), "{said}");
    assert!(said.contains(&key.display().to_string()), "{said}");
}

#[test]
fn what_is_missing_is_said_with_its_place() {
    let files = Files::new("missing");
    let (chain, key) = Identity::self_signed(["localhost"]).unwrap().to_pem();
    let chain_file = files.write("cert.pem", &chain);
    let key_file = files.write("key.pem", &key);

    let error = Identity::from_pem_files(&key_file, &key_file).unwrap_err();
    assert!(
        matches!(&error, TlsError::NoCertificate { place } if place.ends_with("key.pem")),
        "{error}"
    );

    let error = Identity::from_pem_files(&chain_file, &chain_file).unwrap_err();
    assert!(
        matches!(&error, TlsError::NoPrivateKey { place } if place.ends_with("cert.pem")),
        "{error}"
    );

    let error = Identity::from_pem_files(files.0.join("none.pem"), &key_file).unwrap_err();
    assert!(
        matches!(&error, TlsError::ReadFile { path, .. } if path.ends_with("none.pem")),
        "{error}"
    );
    assert!(error.source().is_some());

    let error = Identity::from_der(
        vec![],
        Identity::from_pem(chain.as_bytes(), key.as_bytes())
            .unwrap()
            .key()
            .clone_key(),
    )
    .unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
}

#[test]
fn malformed_input_is_refused() {
    let (chain, key) = Identity::self_signed(["localhost"]).unwrap().to_pem();
    let cut = &chain.as_bytes()[..chain.len() / 2];
    let error = Identity::from_pem(cut, key.as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::InvalidPem { .. }), "{error}");

    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = Identity::from_pem(garbage.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(
        matches!(error, TlsError::InvalidCertificate { .. }),
        "{error}"
    );

    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let error = Identity::from_pem(chain.as_bytes(), garbage.as_bytes()).unwrap_err();
    assert!(
        matches!(error, TlsError::InvalidPrivateKey { .. }),
        "{error}"
    );

    let error = certificates_from_pem(b"no certificates here").unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
}

#[test]
fn debug_does_not_show_the_key() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let shown = format!("{identity:?}");
    assert!(shown.contains(&identity.certificate_hash().to_hex()));
    assert!(!shown.contains("key"), "{shown}");
}

#[test]
fn missing_root_file_is_an_error() {
    let error = ServerVerification::roots_from_pem_file(Path::new("no/such/file")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read no/such/file");
}

/// A server without a certificate, which notes what it is offered.
#[derive(Debug, Default)]
struct Offered(Mutex<Vec<CipherSuite>>);

impl ResolvesServerCert for Offered {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hello.cipher_suites().to_vec();
        None
    }
}

#[tokio::test]
async fn a_client_offers_the_suite_first_for_which_processors_have_instructions() {
    let offered = Arc::new(Offered::default());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(offered.clone());
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let server = quinn::Endpoint::server(config, loopback).unwrap();
    let hash = Identity::self_signed(["localhost"])
        .unwrap()
        .certificate_hash();
    let client = ClientConfig::new()
        .with_bind(loopback)
        .with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Endpoint::client(&client).unwrap();
    let address = server.local_addr().unwrap();
    let (refused, failed) = tokio::join!(
        async { server.accept().await.unwrap().await },
        client.connect(address, "localhost"),
    );
    assert!(refused.is_err() && failed.is_err(), "no certificate");
    assert_eq!(
        *offered.0.lock().unwrap(),
        [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ]
    );
}
