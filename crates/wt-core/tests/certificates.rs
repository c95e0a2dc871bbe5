//! Certificates that change while their server runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use common::{configs, echo, eventually, pattern, recv, send, within};
use futures_util::future::join_all;
use wt_core::{
    Connection, Endpoint, Session,
    config::{CertificateConfig, ClientConfig, ServerConfig},
    events::Events,
    http::HeaderMap,
    observe::Observe,
    tls::{
        CertificateChange, CertificateEvent, CertificateHash, CertificateIssue, Certificates,
        Identity, SelfSigned, ServerVerification, TlsError,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A pair of files that goes when the test ends.
struct Files(PathBuf);

impl Files {
    fn new(test: &str, identity: &Identity) -> Self {
        let name = format!("wt-core-certificates-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.put(identity);
        files
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.0.join("cert.pem"), self.0.join("key.pem"))
    }

    fn put(&self, identity: &Identity) {
        self.put_chain(&identity.to_pem().0);
        self.put_key(&identity.to_pem().1);
    }

    fn put_chain(&self, text: &str) {
        fs::write(self.paths().0, text).unwrap();
    }

    fn put_key(&self, text: &str) {
        fs::write(self.paths().1, text).unwrap();
    }

    fn read(&self) -> Identity {
        let (chain, key) = self.paths();
        Identity::from_pem_files(chain, key).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn localhost() -> Identity {
    Identity::self_signed(["localhost"]).unwrap()
}

/// A server that looks at files only when it is asked to.
fn by_hand(identity: Identity) -> ServerConfig {
    let (mut config, _) = configs();
    config.certificates.check_interval = Some(DAY);
    config.with_identity(identity)
}

/// A server that echoes on every session of every connection.
fn serve(config: &ServerConfig) -> (Endpoint, Certificates, SocketAddr) {
    let endpoint = Endpoint::server(config).unwrap();
    let certificates = endpoint.certificates().unwrap().clone();
    let address = endpoint.local_addr().unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move {
                // A client that does not like the certificate gives up.
                let Ok(connection) = incoming.accept().await else {
                    return;
                };
                while let Ok(request) = connection.accept_session().await {
                    if let Ok(session) = request.accept().await {
                        drop(echo(session));
                    }
                }
            });
        }
    });
    (endpoint, certificates, address)
}

fn client_with(verification: ServerVerification) -> Endpoint {
    let (_, client) = configs();
    Endpoint::client(&client.with_verification(verification)).unwrap()
}

fn client_of(identities: &[&Identity]) -> Endpoint {
    let hashes = identities
        .iter()
        .map(|identity| identity.certificate_hash());
    client_with(ServerVerification::Hashes(hashes.collect()))
}

/// The certificate that a server shows a new client that asks for `name`.
async fn shown(address: SocketAddr, name: &str) -> CertificateHash {
    let client = client_with(ServerVerification::Insecure);
    seen(&within(client.connect(address, name)).await.unwrap())
}

fn seen(connection: &Connection) -> CertificateHash {
    CertificateHash::of(&connection.peer_certificates()[0])
}

async fn open(connection: &Connection) -> Session {
    let opening = connection.open_session("localhost", "/", HeaderMap::new(), &[]);
    within(opening).await.unwrap()
}

async fn echoes(session: &Session, bytes: Bytes) {
    let mut stream = within(session.open_bi()).await.unwrap();
    send(&mut stream.send, bytes.clone()).await;
    assert_eq!(recv(&mut stream.recv).await.unwrap(), bytes);
}

async fn next(events: &mut Events<CertificateEvent>) -> CertificateEvent {
    within(events.recv()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_200_open_sessions_drops_when_the_files_change_and_new_ones_get_the_new_certificate()
 {
    let (old, new) = (localhost(), localhost());
    let files = Files::new("200-sessions", &old);
    let (mut config, _) = configs();
    config.certificates.check_interval = Some(Duration::from_millis(50));
    let (_endpoint, certificates, address) = serve(&config.with_identity(files.read()));
    let client = client_of(&[&old, &new]);
    let connect = async || within(client.connect(address, "localhost")).await.unwrap();
    let connections = [
        connect().await,
        connect().await,
        connect().await,
        connect().await,
        connect().await,
    ];
    let mut sessions = Vec::new();
    for connection in &connections {
        assert_eq!(seen(connection), old.certificate_hash());
        for _ in 0..40 {
            sessions.push(open(connection).await);
        }
    }
    assert_eq!(sessions.len(), 200);
    // Half an echo is under way on each while the certificate changes.
    let mut streams = Vec::new();
    for session in &sessions {
        echoes(session, pattern(1000)).await;
        let mut stream = within(session.open_bi()).await.unwrap();
        within(stream.send.write_all(b"before ")).await.unwrap();
        streams.push(stream);
    }

    let mut events = certificates.events();
    files.put(&new);
    let event = next(&mut events).await;
    assert!(
        matches!(
            &event,
            CertificateEvent::Changed { change: CertificateChange::Reloaded, old: Some(from), new: to, .. }
                if (*from, *to) == (old.certificate_hash(), new.certificate_hash())
        ),
        "{event}"
    );

    for stream in &mut streams {
        send(&mut stream.send, Bytes::from_static(b"after")).await;
        assert_eq!(recv(&mut stream.recv).await.unwrap(), "before after");
    }
    join_all(
        sessions
            .iter()
            .map(|session| echoes(session, pattern(1000))),
    )
    .await;
    assert!(connections.iter().all(|one| one.session_count() == 40));
    assert_eq!(shown(address, "localhost").await, new.certificate_hash());
    // The same client, which has TLS sessions to resume.
    let connection = connect().await;
    assert_eq!(seen(&connection), new.certificate_hash());
    echoes(&open(&connection).await, pattern(1000)).await;
}

#[tokio::test]
async fn a_client_that_comes_back_is_shown_the_new_certificate() {
    let old = localhost();
    let (_endpoint, certificates, address) = serve(&by_hand(old.clone()));
    // It trusts the old one alone, and would not look at any when it resumed a TLS session.
    let client = client_of(&[&old]);
    for _ in 0..3 {
        let connection = within(client.connect(address, "localhost")).await.unwrap();
        // What there is to resume has come by then.
        echoes(&open(&connection).await, pattern(10)).await;
    }
    certificates.set_default(localhost());
    let error = within(client.connect(address, "localhost")).await;
    let error = error.map(drop).unwrap_err();
    assert!(error.to_string().contains("handshake"), "{error}");
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let default = Identity::self_signed(["default.example"]).unwrap();
    let one = Identity::self_signed(["one.example", "www.one.example"]).unwrap();
    let wild = Identity::self_signed(["*.two.example"]).unwrap();
    let config = by_hand(default.clone()).with_identities([one.clone(), wild.clone()]);
    let (_endpoint, certificates, address) = serve(&config);
    for (name, identity) in [
        ("default.example", &default),
        ("one.example", &one),
        ("www.one.example", &one),
        ("a.two.example", &wild),
        ("two.example", &default),
        ("a.b.two.example", &default),
        ("elsewhere.example", &default),
        ("127.0.0.1", &default),
    ] {
        let hash = identity.certificate_hash();
        assert_eq!(shown(address, name).await, hash, "{name}");
        assert_eq!(
            certificates.for_name(name).certificate_hash(),
            hash,
            "{name}"
        );
    }

    let late = Identity::self_signed(["a.two.example"]).unwrap();
    certificates.add(late.clone()).unwrap();
    assert_eq!(
        shown(address, "a.two.example").await,
        late.certificate_hash()
    );
    assert!(certificates.remove(late.certificate_hash()));
    assert_eq!(
        shown(address, "a.two.example").await,
        wild.certificate_hash()
    );
    // The default one is there for everybody else.
    assert!(!certificates.remove(default.certificate_hash()));
}

#[tokio::test]
async fn there_are_as_many_certificates_as_allowed() {
    let mut config = by_hand(localhost());
    config.certificates.max = 2;
    let (_endpoint, certificates, _) = serve(&config);
    let named = |name: &str| Identity::self_signed([name]).unwrap();
    let mut events = certificates.events();
    certificates.add(named("one.example")).unwrap();
    let error = certificates.add(named("two.example")).unwrap_err();
    assert!(matches!(error, TlsError::TooManyCertificates { max: 2 }));
    // One for the same names takes the place of the old one.
    let newer = named("one.example");
    certificates.add(newer.clone()).unwrap();
    assert_eq!(certificates.identities().len(), 2);
    let mut changes = Vec::new();
    for _ in 0..2 {
        match next(&mut events).await {
            CertificateEvent::Changed { change, new, .. } => changes.push((change, new)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(changes[0].0, CertificateChange::Added);
    let replaced = (CertificateChange::Replaced, newer.certificate_hash());
    assert_eq!(changes[1], replaced);

    config.identities = vec![named("a.example"), named("b.example")];
    let error = config.validate().unwrap_err();
    assert_eq!(error.key, "certificates.max");
    config.certificates.max = 3;
    config.validate().unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_certificate() {
    let (old, new) = (localhost(), localhost());
    let files = Files::new("broken", &old);
    let (endpoint, certificates, address) = serve(&by_hand(files.read()));
    let hash = old.certificate_hash();
    let now = SystemTime::now();
    let mut events = certificates.events();

    // By hand it is told at once what is wrong, and the next look that finds the same says nothing more.
    files.put_chain("garbage");
    let error = certificates.reload().unwrap_err();
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    assert_eq!(certificates.check(now), 0);
    fs::remove_file(files.paths().0).unwrap();
    let error = certificates.reload().unwrap_err();
    assert!(matches!(error, TlsError::ReadFile { .. }), "{error}");
    // A key of another certificate.
    files.put_chain(&new.to_pem().0);
    let error = certificates.reload().unwrap_err();
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");
    for _ in 0..3 {
        let event = next(&mut events).await;
        assert!(matches!(event, CertificateEvent::Failed { .. }), "{event}");
    }

    // The old one is shown all the while, and diagnostics say why.
    assert_eq!(shown(address, "localhost").await, hash);
    let status = certificates.status().remove(0);
    assert_eq!((status.hash, status.is_default), (hash, true));
    assert!(matches!(status.failure, Some(TlsError::KeyMismatch { .. })));
    let issues = status.issues(now);
    assert!(
        matches!(&issues[..], [CertificateIssue::NotRefreshed { name, .. }] if name == "localhost"),
        "{issues:?}"
    );
    assert_eq!(endpoint.observe().counter("certificate_failures"), Some(3));

    // The old files are back: nothing is wrong, and nothing new.
    files.put(&old);
    assert_eq!(certificates.reload().unwrap(), 0);
    assert!(certificates.status()[0].failure.is_none());
    files.put(&new);
    assert_eq!(certificates.reload().unwrap(), 1);
    assert_eq!(shown(address, "localhost").await, new.certificate_hash());
    assert_eq!(endpoint.observe().counter("certificate_changes"), Some(1));
}

#[tokio::test]
async fn half_a_pair_is_waited_for() {
    let (old, new) = (localhost(), localhost());
    let files = Files::new("half", &old);
    let (_endpoint, certificates, _) = serve(&by_hand(files.read()));
    let now = SystemTime::now();
    let mut events = certificates.events();

    // The certificate is there before its key: nobody is told, and the next look finds both.
    files.put_chain(&new.to_pem().0);
    assert_eq!(certificates.check(now), 0);
    assert!(certificates.status()[0].failure.is_none());
    files.put_key(&new.to_pem().1);
    assert_eq!(certificates.check(now), 1);
    let event = next(&mut events).await;
    assert!(matches!(event, CertificateEvent::Changed { .. }), "{event}");

    // What stays half is told, once.
    files.put_key(&old.to_pem().1);
    for _ in 0..4 {
        assert_eq!(certificates.check(now), 0);
    }
    let event = next(&mut events).await;
    assert!(
        matches!(&event, CertificateEvent::Failed { hash, .. } if *hash == new.certificate_hash()),
        "{event}"
    );
    assert_eq!(certificates.stats().failures, 1);
}

#[tokio::test]
async fn files_are_left_alone_without_an_interval() {
    let (old, new) = (localhost(), localhost());
    let files = Files::new("alone", &old);
    let mut config = by_hand(files.read());
    config.certificates.check_interval = None;
    let (_endpoint, certificates, _) = serve(&config);
    files.put(&new);
    assert_eq!(certificates.check(SystemTime::now()), 0);
    assert_eq!(certificates.reload().unwrap(), 1);
    assert_eq!(
        certificates.identity().certificate_hash(),
        new.certificate_hash()
    );
}

#[tokio::test]
async fn self_signed_certificates_are_renewed_a_day_before_their_end() {
    let identity = localhost();
    let (old, end) = (identity.certificate_hash(), identity.not_after());
    let (_endpoint, certificates, address) = serve(&by_hand(identity));
    let mut events = certificates.events();
    let status = certificates.status().remove(0);
    assert_eq!(status.renewed_at, Some(end - DAY));
    assert_eq!(certificates.check(end - DAY - Duration::from_secs(1)), 0);
    assert_eq!(certificates.identity().certificate_hash(), old);

    assert_eq!(certificates.check(end - DAY), 1);
    let renewed = certificates.identity();
    assert_eq!(renewed.names(), ["localhost"]);
    // 13 days again, of which one hour is over.
    let hour = Duration::from_secs(60 * 60);
    assert_eq!(renewed.not_after(), end - DAY + 13 * DAY - hour);
    let event = next(&mut events).await;
    let CertificateEvent::Changed {
        change, new, names, ..
    } = event
    else {
        panic!("{event}");
    };
    assert_eq!(change, CertificateChange::Renewed);
    assert_eq!(
        (new, &names[..]),
        (renewed.certificate_hash(), renewed.names())
    );
    assert_ne!(new, old);
    assert_eq!(shown(address, "localhost").await, new);
    // Once is enough.
    assert_eq!(certificates.check(end - DAY), 0);
}

#[tokio::test]
async fn self_signed_certificates_are_renewed_while_the_server_runs() {
    let options = SelfSigned::new(["localhost"]).with_validity(Duration::from_secs(4));
    let identity = Identity::self_signed_with(&options.with_backdate(Duration::ZERO)).unwrap();
    let old = identity.certificate_hash();
    let (mut config, _) = configs();
    config = config.with_identity(identity);
    let (_endpoint, certificates, address) = serve(&config);
    let mut events = certificates.events();
    let event = next(&mut events).await;
    assert!(
        matches!(
            event,
            CertificateEvent::Changed {
                change: CertificateChange::Renewed,
                ..
            }
        ),
        "{event}"
    );
    assert_ne!(shown(address, "localhost").await, old);
}

#[tokio::test]
async fn who_renews_by_itself_is_not_renewed() {
    let identity = localhost();
    let end = identity.not_after();
    let given = Identity::from_der(identity.chain().to_vec(), identity.key().clone_key()).unwrap();
    let (_endpoint, certificates, _) = serve(&by_hand(given));
    assert_eq!(certificates.check(end + DAY), 0);
    let config = by_hand(identity).with_certificates(CertificateConfig::new().with_renew(false));
    let (_endpoint, certificates, _) = serve(&config);
    assert_eq!(certificates.check(end + DAY), 0);
    assert_eq!(certificates.status()[0].renewed_at, None);
}

#[tokio::test]
async fn the_end_of_a_certificate_is_seen_in_time() {
    let identity = localhost();
    let end = identity.not_after();
    let config = by_hand(identity).with_certificates(
        CertificateConfig::new()
            .with_renew(false)
            .with_expiry_warning(3 * DAY),
    );
    let (endpoint, certificates, _) = serve(&config);
    let status = certificates.status().remove(0);
    assert_eq!(
        (status.not_after, status.name()),
        (end, "localhost".to_owned())
    );
    for (now, issue) in [
        (end - 4 * DAY, None),
        (
            end - 3 * DAY,
            Some("The certificate for localhost expires in 3 days."),
        ),
        (
            end - DAY,
            Some("The certificate for localhost expires in 24 hours."),
        ),
        (
            end + DAY,
            Some("The certificate for localhost has expired."),
        ),
    ] {
        let issues = status.issues(now);
        let words: Vec<String> = issues.iter().map(ToString::to_string).collect();
        assert_eq!(words.first().map(|words| &words[..]), issue);
    }
    assert_eq!(status.days_left(end - 3 * DAY), 3);
    assert_eq!(status.left(end + DAY), Duration::ZERO);

    let figures = endpoint.observe();
    let left = figures.get("certificate_expiry_seconds").unwrap();
    let expected = end.duration_since(SystemTime::now()).unwrap();
    assert!((left - expected.as_secs_f64()).abs() < 600.0, "{left}");
    assert_eq!(figures.get("certificates_expiring"), Some(0.0));
    assert_eq!(figures.get("certificates"), Some(1.0));

    // The first one to end counts.
    let short = SelfSigned::new(["short.example"]).with_validity(Duration::from_secs(3601));
    certificates
        .add(Identity::self_signed_with(&short).unwrap())
        .unwrap();
    let figures = certificates.observe();
    assert!(figures.get("certificate_expiry_seconds").unwrap() <= 1.0);
    eventually(|| certificates.observe().get("certificates_expiring") == Some(1.0)).await;
    eventually(|| {
        let figures = certificates.observe();
        let left = figures.get("certificate_expiry_seconds").unwrap();
        let issue = "The certificate for short.example has expired.";
        left < 0.0 && figures.issues == [issue]
    })
    .await;
}

#[tokio::test]
async fn the_watch_ends_with_the_endpoint() {
    let files = Files::new("ends", &localhost());
    let (config, _) = configs();
    let endpoint = Endpoint::server(&config.with_identity(files.read())).unwrap();
    let mut events = endpoint.certificates().unwrap().events();
    endpoint.close(wt_core::ErrorCode::H3_NO_ERROR, "");
    drop(endpoint);
    // Nobody is left who could tell of anything.
    assert!(within(events.recv()).await.is_none());
    let client = Endpoint::client(&ClientConfig::new()).unwrap();
    assert!(client.certificates().is_none());
    assert_eq!(client.observe().get("certificate_expiry_seconds"), None);
}
