//! `wtctl demo`: the native part, and the page as an HTTP client gets it.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use common::{Running, echo, fails, soon, wtctl};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wt::{Client, ClientConfig, ServerVerification};

#[tokio::test]
async fn once_shows_every_step_and_ends_with_0() {
    let output = wtctl(&["demo", "--once"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for step in [
        "certificate",
        "server",
        "session",
        "subprotocol",
        "bidirectional stream",
        "unidirectional stream",
        "datagrams",
        "second session",
        "both at once",
        "close by the server",
        "close by the client",
    ] {
        let line = text
            .lines()
            .find(|line| line.contains(&format!(" ms  {step:<22} ")));
        let line = line.unwrap_or_else(|| panic!("no line for {step:?}:\n{text}"));
        assert!(line.starts_with("ok "), "{line}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe:\n{text}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn an_address_in_use_ends_with_2() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = wtctl(&["demo", "--once", "--listen", &address]).await;
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&address), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    fails(2, &["demo", "--page", "8080"]).await;
}

/// Starts the demo and returns it with the port of its page.
async fn start() -> (Running, u16) {
    let mut demo = Running::start(&["demo"]);
    loop {
        let line = demo.line().await;
        assert_ne!(line, "", "the demo ended without a page");
        if let Some((_, port)) = line.split_once("http://localhost:") {
            let port = port.trim().parse().unwrap();
            return (demo, port);
        }
    }
}

async fn request(port: u16, head: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    soon(stream.read_to_string(&mut response)).await.unwrap();
    response
}

/// Returns a setting of the page.
fn setting<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\"{name}\": \"")).unwrap();
    rest.split_once('"').unwrap().0
}

#[tokio::test]
async fn the_page_leads_to_the_server() {
    let (demo, port) = start().await;
    let page = request(port, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(!page.contains("{{"), "a placeholder is left");

    let hash = setting(&page, "hash").parse().unwrap();
    let trust = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(trust)).unwrap();
    let connect = client
        .connect(setting(&page, "url"))
        .protocols([setting(&page, "protocol")]);
    let session = soon(connect).await.unwrap();
    assert_eq!(session.protocol(), Some(setting(&page, "protocol")));
    echo(&session, b"as the page does").await;

    let missing = request(port, "GET /nowhere HTTP/1.1\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    end(demo).await;
}

#[cfg(unix)]
async fn end(demo: Running) {
    demo.signal(rustix::process::Signal::INT);
    assert_eq!(demo.end().await.0, Some(0));
}

#[cfg(not(unix))]
async fn end(demo: Running) {
    drop(demo);
}
