//! `wtctl doctor` and what it says of servers of ours and of others.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use peers::{identity, loopback, within};
use serde_json::Value;
use tokio::process::Command;
use wt::{DialectSet, Identity, Server, ServerConfig};
use wt_tests::wtctl;

/// What a run of `wtctl doctor` said, and its exit status.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    /// Expects each of these rows in the output; spaces count as one.
    #[track_caller]
    fn says(&self, rows: &[&str]) {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = self.out.lines().map(squeezed).collect();
        for row in rows {
            let found = lines.iter().any(|line| line.contains(row));
            assert!(found, "no {row:?} in:\n{}{}", self.out, self.err);
        }
    }

    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

async fn doctor(url: &str, args: &[&str]) -> Said {
    let binary = tokio::task::spawn_blocking(wtctl::binary).await.unwrap();
    let run = Command::new(binary)
        .args([&["doctor", url], args].concat())
        .env_remove("RUST_LOG")
        .kill_on_drop(true)
        .output();
    let output = within(run).await.unwrap();
    Said {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Each dialect with whether it works, as JSON has them.
fn dialects(json: &Value) -> Vec<(&str, bool)> {
    let dialects = json["dialects"].as_array().unwrap();
    dialects
        .iter()
        .map(|dialect| {
            let works = dialect["works"].as_bool().unwrap();
            assert_eq!(works, dialect["offered"].as_bool().unwrap(), "{dialect}");
            (dialect["dialect"].as_str().unwrap(), works)
        })
        .collect()
}

/// Each browser with whether it connects, as JSON has them.
fn browsers(json: &Value) -> Vec<(&str, bool)> {
    let browsers = json["browsers"].as_array().unwrap();
    browsers
        .iter()
        .map(|browser| {
            let connects = browser["connects"].as_bool().unwrap();
            (browser["browser"].as_str().unwrap(), connects)
        })
        .collect()
}

const ALL_BROWSERS: [(&str, bool); 3] = [("chromium", true), ("firefox", true), ("safari", true)];

#[tokio::test]
async fn of_wtctl_serve_it_says_that_all_is_well() {
    let start = || wtctl::Server::start(&["--protocols", "chat-2,chat-1"]);
    let server = tokio::task::spawn_blocking(start).await.unwrap();
    let url = format!("{}echo", server.url());
    let args = [
        "--protocol",
        "chat-1",
        "--cert-hash",
        &server.certificate_sha256,
    ];
    let said = doctor(&url, &args).await;
    said.says(&[
        &url,
        &format!("Addresses ok 127.0.0.1:{} answers in ", server.port),
        "Certificate names localhost, 127.0.0.1, ::1",
        " UTC: 13 days, 13 days left",
        "key ECDSA on P-256, self-signed",
        &format!("SHA-256 {}", server.certificate_sha256),
        "- by authority not trusted: the certificate is self-signed",
        "ok by hash browsers trust it",
        "ok hash it is the one given",
        "Offers datagrams of up to ",
        "subprotocol chat-1",
        "0x33 = 1 HTTP datagrams",
        "0x2b603742 = 1 draft-02",
        "Dialects ok draft-02 session in ",
        "ok draft-15/16 session in ",
        "Browsers ok Chromium 156 connects with draft-02 when the page names the hash",
        "ok Firefox 153 connects with draft-02 when the page names the hash",
        "ok Safari 26.4 connects with draft-13/14 when the page names the hash, as others report",
        "All is well: every dialect offered works, and Chromium 156 and Firefox 153 would connect.",
    ]);
    assert_eq!((said.status, &said.err[..]), (Some(0), ""), "{}", said.out);
    // No colours and no signs in a pipe.
    assert!(
        said.out.is_ascii() && !said.out.contains('\u{1b}'),
        "{}",
        said.out
    );

    let json = doctor(&url, &["--json"]).await;
    assert_eq!(json.status, Some(0));
    let json = json.json();
    assert_eq!(json["good"], true);
    assert_eq!(json["url"], url);
    let all = ["draft-02", "draft-07", "draft-13/14", "draft-15/16"];
    assert_eq!(dialects(&json), all.map(|dialect| (dialect, true)));
    assert_eq!(browsers(&json), ALL_BROWSERS);
    let certificate = &json["certificate"];
    assert_eq!(certificate["sha256"], server.certificate_sha256);
    assert_eq!(certificate["covers_host"], true);
    assert_eq!(certificate["by_hash"]["trusted"], true);
    assert_eq!(certificate["by_authority"]["trusted"], false);
    assert!(json["flow_control"]["max_data"].as_u64().unwrap() > 0);
    let settings = json["settings"].as_array().unwrap();
    let datagrams = settings.iter().find(|setting| setting["id"] == "0x33");
    assert_eq!(datagrams.unwrap()["name"], "SETTINGS_H3_DATAGRAM");

    // The server logs nothing odd, and a wrong path is found out in every dialect.
    let said = doctor(&format!("{}nowhere", server.url()), &[]).await;
    assert_eq!((said.status, &said.err[..]), (Some(1), ""));
    said.says(&[
        "no draft-02 the server refused the session with status 404 Not Found",
        "-> see whether the server knows this path",
        "no Chromium 156 the server refused the session with status 404 Not Found",
        "Not all is well: draft-02, draft-07, draft-13/14, draft-15/16, Chromium 156, Firefox 153.",
    ]);
    // Another certificate than pages expect.
    let other = Identity::self_signed(["a"]).unwrap().certificate_hash();
    let said = doctor(&url, &["--cert-hash", &other.to_hex()]).await;
    assert_eq!(said.status, Some(1));
    said.says(&[
        "no hash it is not the one given",
        "no Firefox 153 the certificate has another hash than the one given",
        &format!("-> have pages name {}", server.certificate_sha256),
    ]);
}

/// A server of wtransport that takes every session.
fn wtransport_server(identity: &Identity) -> String {
    use wtransport::{Endpoint, ServerConfig};

    let (chain, key) = (identity.chain().to_vec(), identity.key().clone_key());
    let provider = rustls::crypto::ring::default_provider().into();
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let mut tls = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = ServerConfig::builder()
        .with_bind_address(loopback())
        .with_custom_tls(tls);
    let server = Endpoint::server(config.build()).unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let incoming = server.accept().await;
            tokio::spawn(async move {
                let session = incoming.await.ok()?.accept().await.ok()?;
                session.closed().await;
                Some(())
            });
        }
    });
    format!("https://127.0.0.1:{port}/")
}

#[tokio::test]
async fn of_a_wtransport_server_it_says_what_is_missing() {
    let identity = identity();
    let url = wtransport_server(&identity);
    let said = doctor(&url, &[]).await;
    said.says(&[
        "names localhost, 127.0.0.1, ::1",
        &format!("SHA-256 {}", identity.certificate_hash()),
        "flow control none of sessions",
        "0xc671706a = 1 draft-07, 1 session on a connection",
        "ok draft-02 session in ",
        "ok draft-07 session in ",
        "- draft-13/14 not offered",
        "- draft-15/16 not offered",
        "ok Chromium 156 connects with draft-02 when the page names the hash",
        "ok Firefox 153 connects with draft-02 when the page names the hash",
        "ok Safari 26.4 connects with draft-07 when the page names the hash, as others report",
        "All is well: every dialect offered works, and Chromium 156 and Firefox 153 would connect.",
    ]);
    assert_eq!((said.status, &said.err[..]), (Some(0), ""), "{}", said.out);
}

/// A server of web-transport-quinn that takes every session.
fn web_transport_server(identity: &Identity) -> String {
    let (chain, key) = (identity.chain().to_vec(), identity.key().clone_key());
    // The port is known only when it was chosen before.
    let address = std::net::UdpSocket::bind(loopback())
        .unwrap()
        .local_addr()
        .unwrap();
    let mut server = web_transport_quinn::ServerBuilder::new()
        .with_addr(address)
        .with_certificate(chain, key)
        .unwrap();
    tokio::spawn(async move {
        while let Some(request) = server.accept().await {
            tokio::spawn(async move {
                let session = request.ok().await.ok()?;
                session.closed().await;
                Some(())
            });
        }
    });
    format!("https://{address}/")
}

#[tokio::test]
async fn of_a_web_transport_quinn_server_it_says_what_is_missing() {
    let url = web_transport_server(&identity());
    let said = doctor(&url, &["--json"]).await;
    let json = said.json();
    let expected = [
        ("draft-02", true),
        ("draft-07", true),
        ("draft-13/14", false),
        ("draft-15/16", false),
    ];
    assert_eq!(dialects(&json), expected, "{json}");
    assert_eq!(browsers(&json), ALL_BROWSERS);
    assert_eq!(json["flow_control"], Value::Null);
    assert_eq!(said.status, Some(0), "{json}");
}

/// A server of ours with these dialects and this certificate.
fn ours(identity: Identity, dialects: DialectSet) -> String {
    let mut config = ServerConfig::new(identity).with_bind(loopback());
    config.dialects = dialects;
    let server = Server::bind(&config).unwrap();
    let url = format!("https://{}/", server.local_addr().unwrap());
    tokio::spawn(async move {
        while let Some(request) = server.accept().await {
            let session = request.accept().await.unwrap();
            tokio::spawn(async move { session.closed().await });
        }
    });
    url
}

#[tokio::test]
async fn of_a_server_with_the_newest_drafts_alone_it_says_what_to_add() {
    let url = ours(identity(), DialectSet::only(wt::Dialect::Draft15));
    let said = doctor(&url, &[]).await;
    assert_eq!((said.status, &said.err[..]), (Some(1), ""));
    said.says(&[
        "- draft-02 not offered",
        "ok draft-15/16 session in ",
        "no Chromium 156 it speaks draft-02 only, which the server does not offer",
        "-> have the server send SETTINGS_ENABLE_WEBTRANSPORT (0x2b603742) = 1",
        "no Safari 26.4 it speaks draft-13 or draft-07, and the server offers neither",
        "-> have the server send SETTINGS_WT_MAX_SESSIONS (0x14e9cd29) = 1",
    ]);
    let said = doctor(&url, &["--browser", "safari", "--json"]).await;
    assert_eq!(said.status, Some(1));
    assert_eq!(said.json()["good"], false);
}

#[tokio::test]
async fn browsers_that_matter_can_be_chosen() {
    let draft07 = DialectSet::only(wt::Dialect::Draft07);
    let url = ours(identity(), draft07);
    assert_eq!(doctor(&url, &["--browser", "safari"]).await.status, Some(0));
    let both = ["--browser", "safari", "--browser", "firefox"];
    assert_eq!(doctor(&url, &both).await.status, Some(1));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_found_out() {
    let other = Identity::self_signed(["example.com"]).unwrap();
    let ca = peers::folder("doctor_a_certificate").join("ca.pem");
    let (cert, _) = other.to_pem();
    std::fs::write(&ca, cert).unwrap();
    let url = ours(other, DialectSet::ALL);
    let said = doctor(&url, &[]).await;
    said.says(&[
        "names example.com (not this host)",
        "- by authority not trusted: the certificate is for example.com, not for 127.0.0.1",
    ]);
    // By its hash it is as good as any.
    assert_eq!(said.status, Some(0), "{}", said.out);
    let said = doctor(&url, &["--ca", ca.to_str().unwrap()]).await;
    said.says(&["the certificate is for example.com, not for 127.0.0.1"]);

    let right = identity();
    std::fs::write(&ca, right.to_pem().0).unwrap();
    let url = ours(right, DialectSet::ALL);
    let said = doctor(&url, &["--ca", ca.to_str().unwrap()]).await;
    said.says(&[
        "ok by authority browsers trust it",
        "ok Chromium 156 connects with draft-02",
    ]);
    assert_eq!(said.status, Some(0), "{}", said.out);
}

#[tokio::test]
async fn a_server_without_webtransport_is_named_as_such() {
    let url = ours(identity(), DialectSet::EMPTY);
    let said = doctor(&url, &["--insecure"]).await;
    assert_eq!((said.status, &said.err[..]), (Some(1), ""));
    said.says(&[
        "Dialects - draft-02 not offered",
        "- draft-15/16 not offered",
        "no Firefox 153 it speaks draft-02 only, which the server does not offer",
        "Not all is well: no dialect of WebTransport, Chromium 156, Firefox 153.",
    ]);
}
