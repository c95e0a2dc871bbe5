//! The HTTP listener, as clients that send bytes of their own see it.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wt_core::{
    bytes::Bytes,
    http::{HeaderValue, Response, StatusCode},
};
use wt_monitor::http::{Access, HttpConfig, HttpError, HttpListener, Pages};

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn bind(pages: Pages, config: HttpConfig) -> HttpListener {
    HttpListener::bind(LOCAL.into(), pages, config)
        .await
        .unwrap()
}

/// Sends `request` and returns all that comes back.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn pages_are_made_anew_for_each_request() {
    let count = AtomicU32::new(0);
    let pages = Pages::new()
        .page("/count", "text/plain", move || {
            format!("{}\n", count.fetch_add(1, Relaxed))
        })
        .route("/query", |request| {
            let mut response = Response::new(Bytes::from(request.uri().to_string()));
            *response.status_mut() = StatusCode::ACCEPTED;
            response
        });
    let listener = bind(pages, HttpConfig::default()).await;
    let address = listener.local_addr();

    let first = get(address, "/count").await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(first.contains("content-type: text/plain\r\n"), "{first}");
    assert!(first.contains("cache-control: no-store\r\n"), "{first}");
    assert!(first.ends_with("\r\n\r\n0\n"), "{first}");
    let second = get(address, "/count?a=1").await;
    assert!(second.ends_with("\r\n\r\n1\n"), "{second}");

    let query = get(address, "/query?a=1").await;
    assert!(query.starts_with("HTTP/1.1 202 "), "{query}");
    assert!(query.ends_with("/query?a=1"), "{query}");

    let head = ask(address, "HEAD /count HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-length: 2\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");

    let unknown = get(address, "/counts").await;
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    let post = "POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let post = ask(address, post).await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert!(post.contains("allow: GET, HEAD\r\n"), "{post}");

    listener.close().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_guard_decides_who_sees_pages() {
    let pages = Pages::new()
        .page("/", "text/plain", || "in")
        .guard(|headers| async move {
            tokio::task::yield_now().await;
            match headers.get("authorization").map(HeaderValue::as_bytes) {
                Some(b"Bearer right") => Access::Allow,
                Some(_) => Access::Deny,
                None => Access::Challenge(HeaderValue::from_static("Bearer")),
            }
        });
    let listener = bind(pages, HttpConfig::default()).await;
    let address = listener.local_addr();
    let with = |token| format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n");

    let right = ask(address, &with("Bearer right")).await;
    assert!(right.starts_with("HTTP/1.1 200 "), "{right}");
    let wrong = ask(address, &with("Bearer wrong")).await;
    assert!(wrong.starts_with("HTTP/1.1 403 "), "{wrong}");
    assert!(!wrong.ends_with("in"), "{wrong}");
    // Not even which pages there are.
    let none = get(address, "/unknown").await;
    assert!(none.starts_with("HTTP/1.1 401 "), "{none}");
    assert!(none.contains("www-authenticate: Bearer\r\n"), "{none}");
}

#[tokio::test]
async fn large_headers_are_refused() {
    let config = HttpConfig::default().with_max_header_bytes(8192);
    let listener = bind(Pages::new().page("/", "text/plain", || "in"), config).await;
    let fill = "x".repeat(10_000);
    let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Fill: {fill}\r\n\r\n");
    // The connection may be closed before all of it was taken, with a reset after the answer.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    // Others are served.
    let answer = get(listener.local_addr(), "/").await;
    assert!(answer.ends_with("in"), "{answer}");
}

#[tokio::test]
async fn clients_that_say_nothing_are_dropped_and_make_room() {
    let config = HttpConfig::default()
        .with_max_connections(2)
        .with_request_timeout(Duration::from_millis(500));
    let pages = Pages::new().page("/", "text/plain", || "in");
    let listener = bind(pages, config).await;
    let address = listener.local_addr();
    let mut silent = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        silent.push(stream);
    }
    // Answered when the first of the silent ones is gone.
    let answer = get(address, "/").await;
    assert!(answer.ends_with("in"), "{answer}");
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        let rest = String::from_utf8(rest).unwrap();
        assert!(!rest.contains("200"), "{rest}");
    }
}

#[tokio::test]
async fn a_dropped_listener_is_gone() {
    let listener = bind(Pages::new(), HttpConfig::default()).await;
    let address = listener.local_addr();
    drop(listener);
    // The task ends when the runtime comes to it.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused() {
    let taken = bind(Pages::new(), HttpConfig::default()).await;
    let bound = HttpListener::bind(taken.local_addr(), Pages::new(), HttpConfig::default()).await;
    let error = bound.unwrap_err();
    assert!(matches!(error, HttpError::Bind { .. }), "{error}");
    let address = taken.local_addr().to_string();
    assert!(error.to_string().contains(&address), "{error}");

    for pages in [
        Pages::new().page("metrics", "text/plain", || ""),
        Pages::new().page("/?a", "text/plain", || ""),
        Pages::new().page("/", "text/plain\n", || ""),
        Pages::new()
            .page("/", "text/plain", || "")
            .page("/", "text/html", || ""),
    ] {
        let bound = HttpListener::bind(LOCAL.into(), pages, HttpConfig::default()).await;
        assert!(matches!(bound, Err(HttpError::Page { .. })), "{bound:?}");
    }
    for config in [
        HttpConfig::default().with_max_connections(0),
        HttpConfig::default().with_max_header_bytes(8191),
        HttpConfig::default().with_request_timeout(Duration::ZERO),
    ] {
        let bound = HttpListener::bind(LOCAL.into(), Pages::new(), config).await;
        assert!(matches!(bound, Err(HttpError::Config(_))), "{bound:?}");
    }
}
