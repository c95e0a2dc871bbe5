//! Certificates of servers that run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use common::{LIMIT, client, config};
use tokio::time::timeout;
use wt_client::{Client, ClientConfig, ServerVerification};
use wt_core::observe::Observe;
use wt_server::{
    CertificateEvent, CertificateIssue, Identity, Issue, Router, Server, ServerCluster,
    ServerConfig, Session,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A pair of files that goes when the test ends.
struct Files(PathBuf);

impl Files {
    fn new(test: &str, identity: &Identity) -> Self {
        let name = format!("wt-server-certificates-{test}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.put(identity);
        files
    }

    fn put(&self, identity: &Identity) {
        let (chain, key) = identity.to_pem();
        fs::write(self.0.join("cert.pem"), chain).unwrap();
        fs::write(self.0.join("key.pem"), key).unwrap();
    }

    /// A server that reads the files again only when it is asked to.
    fn config(&self) -> ServerConfig {
        let identity = Identity::from_pem_files(self.0.join("cert.pem"), self.0.join("key.pem"));
        let mut config = config().with_identity(identity.unwrap());
        config.certificates.check_interval = None;
        config
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn localhost() -> Identity {
    Identity::self_signed(["localhost", "127.0.0.1"]).unwrap()
}

fn trusting(identity: &Identity) -> Client {
    let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    Client::new(ClientConfig::new().with_verification(verification)).unwrap()
}

#[tokio::test]
async fn diagnostics_tell_of_each_certificate_and_its_end() {
    let files = Files::new("diagnostics", &localhost());
    let other = Identity::self_signed(["a.example", "*.a.example"]).unwrap();
    let config = files.config().with_identities([other.clone()]);
    let server = Server::bind(&config).unwrap();
    let mut seen = server.diagnostics();
    assert_eq!(seen.issues(), []);
    let names: Vec<_> = seen.certificates.iter().map(|one| &one.names[..]).collect();
    assert_eq!(names, [config.identity.names(), other.names()]);
    let [default, renewing] = &seen.certificates[..] else {
        panic!("two of them");
    };
    assert_eq!(default.not_after, config.identity.not_after());
    assert_eq!(default.renewed_at, None);
    assert!(default.is_default && !renewing.is_default);
    assert!((11..=13).contains(&default.days_left(SystemTime::now())));
    assert!(default.files.is_some() && renewing.files.is_none());
    // The one that is renewed by itself is not worth a warning before that should have been.
    assert_eq!(renewing.renewed_at, Some(other.not_after() - DAY));
    assert_eq!(renewing.warn_at, other.not_after() - DAY / 2);
    assert!(
        seen.to_string().contains("\ncertificates: 2, 12 days left"),
        "{seen}"
    );

    seen.at = default.not_after - 2 * DAY;
    let issue = Issue::Certificate(CertificateIssue::Expires {
        name: "localhost".to_owned(),
        left: 2 * DAY,
    });
    assert_eq!(seen.issues(), [issue]);
    assert!(
        seen.to_string()
            .ends_with("\n! The certificate for localhost expires in 2 days."),
        "{seen}"
    );

    // A monitor sees the same by name.
    let observed = server.observe();
    let left = observed.get("certificate_expiry_seconds").unwrap();
    let days = left / DAY.as_secs_f64();
    assert!((11.0..=13.0).contains(&days), "{days}");
    assert_eq!(observed.get("certificates_expiring"), Some(0.0));
    assert_eq!(observed.get("certificates"), Some(2.0));

    // What is wrong with new files is there too.
    fs::write(files.0.join("key.pem"), other.to_pem().1).unwrap();
    server.reload_certificates().await.unwrap_err();
    let issues = server.diagnostics().issues();
    assert!(
        matches!(
            &issues[..],
            [Issue::Certificate(CertificateIssue::NotRefreshed { reason, .. })]
                if reason.contains("does not belong")
        ),
        "{issues:?}"
    );
    assert_eq!(server.observe().counter("certificate_failures"), Some(1));
    let said = server.observe().issues.join("");
    assert!(
        said.starts_with("There is no newer certificate for localhost: "),
        "{said}"
    );
}

#[tokio::test]
async fn an_application_can_hand_the_new_hash_to_its_pages() {
    let server = Server::bind(&config()).unwrap();
    let mut events = server.certificates().events();
    let end = server.config().identity.not_after();
    assert_eq!(server.certificates().check(end), 1);
    let event = timeout(LIMIT, events.recv()).await.unwrap();
    let Some(Ok(CertificateEvent::Changed { new, .. })) = event else {
        panic!("{event:?}");
    };
    assert_eq!(server.certificates().identity().certificate_hash(), new);
    assert_eq!(server.diagnostics().certificate, new);
    assert_ne!(server.config().identity.certificate_hash(), new);
}

#[tokio::test]
async fn a_cluster_reads_the_certificates_of_all_its_servers_again() {
    let (old, new) = (localhost(), localhost());
    let files = Files::new("cluster", &old);
    let router = Router::new().route("/", async |session: Session| drop(session.closed().await));
    let cluster = ServerCluster::new(router, [files.config(), files.config()]).unwrap();
    cluster.start_all().await.unwrap();
    let servers = cluster.servers().await;
    let mut sessions = Vec::new();
    for server in &servers {
        let url = format!("https://{}/", server.local_addr().unwrap());
        sessions.push(client(server).connect(&url).await.unwrap());
    }
    files.put(&new);
    assert_eq!(cluster.reload_certificates().await.unwrap(), 2);
    for (server, session) in servers.iter().zip(&sessions) {
        let url = format!("https://{}/", server.local_addr().unwrap());
        trusting(&new).connect(&url).await.unwrap();
        // It goes on.
        timeout(LIMIT, session.open_uni()).await.unwrap().unwrap();
    }
    fs::remove_file(files.0.join("cert.pem")).unwrap();
    cluster.reload_certificates().await.unwrap_err();
    cluster.stop_all().await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_application_reads_its_certificate_again_on_sighup() {
    use std::{net::UdpSocket, process::Command};

    use wt_server::ServerApp;

    let signal = |name: &str| {
        let pid = std::process::id().to_string();
        let kill = Command::new("kill").args([name, &pid]).status();
        assert!(kill.unwrap().success());
    };
    let (old, new) = (localhost(), localhost());
    let files = Files::new("sighup", &old);
    // A port that is free.
    let address = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let app = ServerApp::new(files.config())
        .bind(address)
        .route("/", async |session: Session| drop(session.closed().await));
    let serving = tokio::spawn(app.serve());
    let url = format!("https://{address}/");
    let connect = async |identity: &Identity| {
        let client = trusting(identity);
        let connecting = async {
            loop {
                if let Ok(session) = client.connect(&url).await {
                    break session;
                }
            }
        };
        timeout(LIMIT, connecting).await.unwrap()
    };
    let before = connect(&old).await;
    files.put(&new);
    signal("-HUP");
    connect(&new).await;
    timeout(LIMIT, before.open_uni()).await.unwrap().unwrap();
    signal("-TERM");
    timeout(LIMIT, serving).await.unwrap().unwrap().unwrap();
}
