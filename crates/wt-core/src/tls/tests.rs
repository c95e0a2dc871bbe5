//! Handshakes in memory between the TLS configurations of both sides.

use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConnection, Connection, Error, ServerConnection};
use time::{Duration, OffsetDateTime};

use super::*;

const RSA_KEY: &str = include_str!("../../tests/data/rsa-2048.key.pem");

/// What a handshake came to.
struct Outcome {
    server: Result<(), Error>,
    client: Result<(), Error>,
    /// What the client showed.
    client_chain: Vec<CertificateDer<'static>>,
}

impl Outcome {
    fn succeeded(&self) -> bool {
        self.server.is_ok() && self.client.is_ok()
    }

    /// Why the client refused the server's certificate.
    fn refused(self) -> CertificateError {
        match self.client {
            Err(Error::InvalidCertificate(error)) => error,
            other => panic!("expected a refused certificate, got {other:?}"),
        }
    }

    /// Why the client refused to trust the server's certificate by its hash.
    fn hash_refused(self) -> CertificateRefused {
        match self.refused() {
            CertificateError::Other(error) => *error.0.downcast_ref().unwrap(),
            other => panic!("expected a refusal of ours, got {other:?}"),
        }
    }
}

fn handshake(server: &ServerConfig, client: &ClientConfig) -> Outcome {
    shake(server_tls(server), client)
}

fn server_tls(config: &ServerConfig) -> Arc<rustls::ServerConfig> {
    let shown = Certificates::new(config).shown();
    Arc::new(super::server(config, shown).unwrap())
}

fn shake(server: Arc<rustls::ServerConfig>, client: &ClientConfig) -> Outcome {
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(super::client(client).unwrap(), name).unwrap();
    let mut client = Connection::from(client);
    let mut server = Connection::from(ServerConnection::new(server).unwrap());
    let (mut at_server, mut at_client) = (Ok(()), Ok(()));
    while client.wants_write() || server.wants_write() {
        at_server = at_server.and(pass(&mut client, &mut server));
        at_client = at_client.and(pass(&mut server, &mut client));
    }
    Outcome {
        server: at_server,
        client: at_client,
        client_chain: server.peer_certificates().unwrap_or_default().to_vec(),
    }
}

/// Passes on what one side has to say, and answers what the other thinks of it.
fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A certificate for `localhost` with a key of choice, valid from `starts` from now on for `lasts`.
fn certificate(key: &KeyPair, starts: Duration, lasts: Duration) -> Identity {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() + starts;
    params.not_after = params.not_before + lasts;
    let chain = vec![params.self_signed(key).unwrap().into()];
    Identity::from_der(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into()).unwrap()
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn localhost() -> Identity {
    Identity::self_signed(["localhost"]).unwrap()
}

fn verifying(verification: ServerVerification) -> ClientConfig {
    ClientConfig::new().with_verification(verification)
}

fn pinning(identity: &Identity) -> ClientConfig {
    verifying(ServerVerification::Hashes(vec![
        identity.certificate_hash(),
    ]))
}

fn rooted_in(identity: &Identity) -> ClientConfig {
    verifying(ServerVerification::Roots(identity.chain().to_vec()))
}

fn server_showing(identity: &Identity) -> ServerConfig {
    ServerConfig::new(identity.clone())
}

#[test]
fn root_is_trusted() {
    let identity = localhost();
    assert!(handshake(&server_showing(&identity), &rooted_in(&identity)).succeeded());
}

#[test]
fn other_root_is_refused() {
    let outcome = handshake(&server_showing(&localhost()), &rooted_in(&localhost()));
    assert_eq!(outcome.client, Err(CertificateError::BadSignature.into()));
}

#[test]
fn other_name_is_refused() {
    let identity = Identity::self_signed(["example.org", "127.0.0.1"]).unwrap();
    let outcome = handshake(&server_showing(&identity), &rooted_in(&identity));
    let refused = outcome.refused();
    assert!(
        matches!(refused, CertificateError::NotValidForNameContext { .. }),
        "{refused:?}"
    );
}

#[test]
fn expired_certificate_is_refused_with_its_root() {
    let identity = certificate(&p256(), Duration::days(-10), Duration::days(9));
    let refused = handshake(&server_showing(&identity), &rooted_in(&identity)).refused();
    assert!(
        matches!(refused, CertificateError::ExpiredContext { .. }),
        "{refused:?}"
    );
}

#[test]
fn system_roots_do_not_trust_a_self_signed_certificate() {
    let client = verifying(ServerVerification::SystemRoots);
    if matches!(super::client(&client), Err(TlsError::NoSystemRoots { .. })) {
        return;
    }
    let refused = handshake(&server_showing(&localhost()), &client).refused();
    assert_eq!(refused, CertificateError::UnknownIssuer);
}

#[test]
fn pinned_certificate_is_trusted_under_any_name() {
    for name in ["localhost", "example.org"] {
        let identity = Identity::self_signed([name]).unwrap();
        assert!(handshake(&server_showing(&identity), &pinning(&identity)).succeeded());
    }
}

#[test]
fn one_of_several_hashes_suffices() {
    let (old, new) = (localhost(), localhost());
    let hashes = [&old, &new].map(Identity::certificate_hash).to_vec();
    let client = verifying(ServerVerification::Hashes(hashes));
    assert!(handshake(&server_showing(&old), &client).succeeded());
    assert!(handshake(&server_showing(&new), &client).succeeded());
}

#[test]
fn other_hash_is_refused_and_named() {
    let identity = localhost();
    let outcome = handshake(&server_showing(&identity), &pinning(&localhost()));
    let hash = identity.certificate_hash();
    assert!(
        outcome
            .client
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains(&hash.to_hex())
    );
    assert_eq!(
        outcome.hash_refused(),
        CertificateRefused::UnknownHash(hash)
    );
}

#[test]
fn pinned_certificate_has_to_be_valid_now() {
    let expired = certificate(&p256(), Duration::days(-10), Duration::days(9));
    let refused = handshake(&server_showing(&expired), &pinning(&expired)).refused();
    assert!(
        matches!(refused, CertificateError::ExpiredContext { .. }),
        "{refused:?}"
    );

    let future = certificate(&p256(), Duration::days(1), Duration::days(9));
    let refused = handshake(&server_showing(&future), &pinning(&future)).refused();
    assert!(
        matches!(refused, CertificateError::NotValidYetContext { .. }),
        "{refused:?}"
    );
}

#[test]
fn pinned_certificate_is_valid_for_14_days_at_most() {
    let hour_ago = Duration::hours(-1);
    let longest = certificate(&p256(), hour_ago, Duration::days(14));
    assert!(handshake(&server_showing(&longest), &pinning(&longest)).succeeded());

    let validity = Duration::days(14) + Duration::SECOND;
    let longer = certificate(&p256(), hour_ago, validity);
    let refused = handshake(&server_showing(&longer), &pinning(&longer)).hash_refused();
    assert_eq!(
        refused,
        CertificateRefused::ValidityTooLong(validity.unsigned_abs())
    );
}

#[test]
fn pinned_certificate_has_to_have_a_p256_key() {
    for key in [
        KeyPair::from_pem(RSA_KEY).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
    ] {
        let identity = certificate(&key, Duration::ZERO, Duration::days(9));
        let outcome = handshake(&server_showing(&identity), &pinning(&identity));
        assert_eq!(outcome.hash_refused(), CertificateRefused::KeyNotP256);
    }
}

#[test]
fn insecure_accepts_what_everyone_else_refuses() {
    let key = KeyPair::from_pem(RSA_KEY).unwrap();
    let identity = certificate(&key, Duration::days(-100), Duration::days(20));
    let client = verifying(ServerVerification::Insecure);
    assert!(handshake(&server_showing(&identity), &client).succeeded());
}

#[test]
fn server_has_to_own_the_key_of_its_certificate() {
    let (shown, owned) = (localhost(), localhost());
    let stolen = CertifiedKey::new(shown.chain().to_vec(), Arc::clone(&owned.certified().key));
    let mut server = Arc::unwrap_or_clone(server_tls(&server_showing(&owned)));
    server.cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
    let server = Arc::new(server);
    for client in [
        pinning(&shown),
        rooted_in(&shown),
        verifying(ServerVerification::Insecure),
    ] {
        let refused = shake(Arc::clone(&server), &client).refused();
        assert_eq!(
            refused,
            CertificateError::BadSignature,
            "{:?}",
            client.verification
        );
    }
}

#[test]
fn client_that_is_not_asked_shows_nothing() {
    let (server, client) = (localhost(), localhost());
    let outcome = handshake(
        &server_showing(&server),
        &pinning(&server).with_identity(client),
    );
    assert!(outcome.succeeded());
    assert!(outcome.client_chain.is_empty());
}

#[test]
fn optional_client_certificate_is_verified_when_shown() {
    let (server, known) = (localhost(), localhost());
    let auth = ClientAuth::Optional(known.chain().to_vec());
    let config = server_showing(&server).with_client_auth(auth);

    let without = handshake(&config, &pinning(&server));
    assert!(without.succeeded());
    assert!(without.client_chain.is_empty());

    let with = handshake(&config, &pinning(&server).with_identity(known.clone()));
    assert!(with.succeeded());
    assert_eq!(with.client_chain, known.chain());

    let unknown = handshake(&config, &pinning(&server).with_identity(localhost()));
    assert!(
        matches!(unknown.server, Err(Error::InvalidCertificate(_))),
        "{:?}",
        unknown.server
    );
    assert!(
        matches!(unknown.client, Err(Error::AlertReceived(_))),
        "{:?}",
        unknown.client
    );
}

#[test]
fn required_client_certificate_has_to_be_shown() {
    let (server, known) = (localhost(), localhost());
    let auth = ClientAuth::Required(known.chain().to_vec());
    let config = server_showing(&server).with_client_auth(auth);

    let without = handshake(&config, &pinning(&server));
    assert_eq!(without.server, Err(Error::NoCertificatesPresented));

    let with = handshake(&config, &pinning(&server).with_identity(known.clone()));
    assert!(with.succeeded());
    assert_eq!(with.client_chain, known.chain());
}

#[test]
fn sides_without_a_common_protocol_part() {
    let identity = localhost();
    let mut client = pinning(&identity);
    client.alpn = vec![b"other".to_vec()];
    let outcome = handshake(&server_showing(&identity), &client);
    assert_eq!(outcome.server, Err(Error::NoApplicationProtocol));
}

#[test]
fn garbage_is_no_root() {
    let roots = vec![
        localhost().chain()[0].clone(),
        CertificateDer::from(&b"garbage"[..]),
    ];
    let error = ServerVerification::Roots(roots).verifier().unwrap_err();
    assert!(
        matches!(error, TlsError::InvalidRoot { index: 1, .. }),
        "{error}"
    );
}
