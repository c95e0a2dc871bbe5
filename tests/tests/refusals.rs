//! Who is turned away is counted by cause, and the log says the cause in words.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    io::{BufRead, BufReader, Read},
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use http::StatusCode;
use wt::{
    Accept, Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification,
    client::ConnectError, core::AnswerError, server::RefusalCause as Cause,
};
use wt_tests::{
    raw::{Raw, wire, within},
    wtctl,
};

/// The settings of a server whose limits are soon reached.
fn config() -> ServerConfig {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let mut config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
    config.limits.settings_timeout = Duration::from_millis(200);
    config.limits.sessions_per_connection = 1;
    config.limits.pending_requests = 1;
    config
}

struct Scene {
    server: Server,
    port: u16,
}

impl Scene {
    fn start(config: &ServerConfig) -> Self {
        let server = Server::bind(config).unwrap();
        let port = server.local_addr().unwrap().port();
        Self { server, port }
    }

    /// Waits until something was refused, and expects `cause` to be the only one.
    async fn refused_for(&self, cause: Cause) {
        let server = &self.server;
        within(&format!("refused: {cause}"), async {
            while server.refusals().total() == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        let all: Vec<_> = server.refusals().iter().collect();
        assert_eq!(all, [(cause, 1)]);
    }

    async fn connect(&self, config: ClientConfig) -> Result<wt::Session, ConnectError> {
        let client = Client::new(config).unwrap();
        let url = format!("https://127.0.0.1:{}/", self.port);
        within("an answer", async { client.connect(url).await }).await
    }
}

fn anyone() -> ClientConfig {
    ClientConfig::new().with_verification(ServerVerification::Insecure)
}

#[tokio::test]
async fn a_client_without_a_common_protocol() {
    let scene = Scene::start(&config());
    let mut config = anyone();
    config.alpn = vec![b"hq-29".to_vec()];
    let error = scene.connect(config).await.unwrap_err();
    let words =
        "the peer gave up the TLS handshake: no common application protocol (ALPN) (alert 120)";
    assert_eq!(error.to_string(), words);
    scene.refused_for(Cause::NoCommonAlpn).await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate() {
    let scene = Scene::start(&config());
    let other = Identity::self_signed(["localhost"]).unwrap();
    let trust = ServerVerification::Hashes(vec![other.certificate_hash()]);
    let config = ClientConfig::new().with_verification(trust);
    let error = scene.connect(config).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the TLS handshake failed: the server's certificate has the hash "),
        "{error}"
    );
    scene.refused_for(Cause::Handshake).await;
}

#[tokio::test]
async fn more_connections_than_allowed() {
    let mut config = config();
    config.limits.connections = Some(1);
    let scene = Scene::start(&config);
    let _first = Raw::hello(scene.port).await;
    let error = scene.connect(anyone()).await.unwrap_err();
    assert!(error.to_string().contains("refused to accept"), "{error}");
    scene.refused_for(Cause::TooManyConnections).await;
}

#[tokio::test]
async fn a_client_that_never_sends_settings() {
    let scene = Scene::start(&config());
    let raw = Raw::client(scene.port).await;
    assert_eq!(raw.closed().await, wt::ErrorCode::H3_MISSING_SETTINGS.get());
    scene.refused_for(Cause::NoSettings).await;
}

#[tokio::test]
async fn a_client_whose_settings_do_not_suffice() {
    let scene = Scene::start(&config());
    let raw = Raw::client(scene.port).await;
    // The token of the newest drafts, without HTTP datagrams.
    raw.settings(&[(0x2c7c_f000, 1)]).await;
    raw.keep_bi(&wire::connect("/")).await;
    scene.refused_for(Cause::RequirementsNotMet).await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol() {
    let scene = Scene::start(&config());
    let raw = Raw::client(scene.port).await;
    raw.settings(&[(0x33, 7)]).await;
    raw.closed().await;
    scene.refused_for(Cause::Malformed).await;
}

#[tokio::test]
async fn a_request_that_is_for_no_session() {
    let scene = Scene::start(&config());
    let raw = Raw::hello(scene.port).await;
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    let (_, status) = raw.try_session(&wire::headers(&get)).await;
    assert_eq!(status, 404);
    scene.refused_for(Cause::NotWebTransport).await;
}

#[tokio::test]
async fn more_header_fields_than_allowed() {
    let mut config = config();
    config.limits.field_section_size = 1024;
    let scene = Scene::start(&config);
    let raw = Raw::hello(scene.port).await;
    let long = "x".repeat(2000);
    let fields = [&wire::connect_fields("/")[..], &[("x-long", &long)]].concat();
    let (_, status) = raw.try_session(&wire::headers(&fields)).await;
    assert_eq!(status, 431);
    scene.refused_for(Cause::TooLarge).await;
}

#[tokio::test]
async fn more_sessions_than_allowed() {
    let scene = Scene::start(&config());
    let raw = Raw::hello(scene.port).await;
    raw.keep_bi(&wire::connect("/first")).await;
    let _first = within("a request", scene.server.accept()).await.unwrap();
    raw.keep_bi(&wire::connect("/second")).await;
    scene.refused_for(Cause::TooManySessions).await;
}

#[tokio::test]
async fn a_session_that_the_application_refuses() {
    let scene = Scene::start(&config());
    let answering = async {
        let request = scene.server.accept().await.unwrap();
        request.reject(StatusCode::NOT_FOUND).unwrap();
    };
    let (error, ()) = tokio::join!(scene.connect(anyone()), answering);
    assert_eq!(error.unwrap_err().status(), Some(StatusCode::NOT_FOUND));
    scene.refused_for(Cause::Application).await;
}

#[tokio::test]
async fn an_answer_with_the_wrong_status() {
    let scene = Scene::start(&config());
    let answering = async {
        let request = scene.server.accept().await.unwrap();
        let wrong = Accept::new().status(StatusCode::FOUND);
        let error = request.accept_with(wrong).await.unwrap_err();
        assert_eq!(error, AnswerError::Status(StatusCode::FOUND));
    };
    let (error, ()) = tokio::join!(scene.connect(anyone()), answering);
    let status = Some(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(error.unwrap_err().status(), status);
    scene.refused_for(Cause::BadAnswer).await;
}

#[tokio::test]
async fn a_request_that_the_application_drops() {
    let scene = Scene::start(&config());
    let answering = async { drop(scene.server.accept().await) };
    let (error, ()) = tokio::join!(scene.connect(anyone()), answering);
    let status = Some(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(error.unwrap_err().status(), status);
    scene.refused_for(Cause::Unanswered).await;
}

/// `wtctl serve -v`, whose log the test reads.
struct Serve {
    child: Child,
    port: u16,
}

impl Serve {
    fn start() -> Self {
        let mut child = Command::new(wtctl::binary())
            .args(["serve", "--listen", "[::]:0", "--json", "-v"])
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let port = listening["port"].as_u64().unwrap().try_into().unwrap();
        Self { child, port }
    }

    /// Ends it in order and returns its log.
    fn end(mut self) -> String {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-INT", &id]).status();
        assert!(killed.unwrap().success());
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success());
        log
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_of_wtctl_serve_says_it_in_words() {
    let serve = Serve::start();
    let url = |path: &str| format!("https://127.0.0.1:{}{path}", serve.port);
    let client = Client::new(anyone()).unwrap();
    for (path, status) in [
        ("/nowhere", 404),
        ("/source?bytes=x", 400),
        ("/status/403", 403),
    ] {
        let error = within(path, async { client.connect(url(path)).await }).await;
        assert_eq!(error.unwrap_err().status().unwrap().as_u16(), status);
    }
    let mut other = anyone();
    other.alpn = vec![b"hq-29".to_vec()];
    let other = Client::new(other).unwrap();
    for _ in 0..2 {
        let refused = within("no ALPN", async { other.connect(url("/")).await }).await;
        assert!(refused.is_err());
    }
    let stranger = Identity::self_signed(["localhost"]).unwrap();
    let trust = ServerVerification::Hashes(vec![stranger.certificate_hash()]);
    let distrusting = ClientConfig::new().with_verification(trust);
    let distrusting = Client::new(distrusting).unwrap();
    let refused = within("no trust", async { distrusting.connect(url("/")).await }).await;
    assert!(refused.is_err());
    let raw = Raw::client(serve.port).await;
    raw.settings(&[(0x33, 7)]).await;
    raw.closed().await;
    let raw = Raw::hello(serve.port).await;
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
    ];
    let (_, status) = raw.try_session(&wire::headers(&fields)).await;
    assert_eq!(status, 501);

    let log = serve.end();
    // The server's socket takes IPv6 too, which does not show.
    assert!(!log.contains("::ffff:"), "{log}");
    for words in [
        "refused a session",
        "path=\"/nowhere\" status=404 Not Found why=\"unknown path\"",
        "why=\"bad parameter\" detail=\"bytes=\\\"x\\\" is not a number",
        "status=403 Forbidden why=\"as the path asks\"",
        "refused peer=127.0.0.1:",
        "cause=no common application protocol (ALPN) detail=",
        "cause=the handshake failed detail=the peer gave up the TLS handshake: ",
        "cause=the client broke the protocol detail=",
        "cause=not a request for a WebTransport session detail=",
        "answered with 501 Not Implemented",
        "refused in all cause=\"no common application protocol (ALPN)\" count=2",
        "refused in all cause=\"not a request for a WebTransport session\" count=1",
        "refused in all cause=\"unknown path\" count=1",
        "refused in all cause=\"the handshake failed\" count=1",
    ] {
        assert!(log.contains(words), "no {words:?} in:\n{log}");
    }
}
