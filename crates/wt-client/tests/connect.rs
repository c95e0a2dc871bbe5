//! The client against a server on loopback.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{net::Ipv4Addr, time::Duration};

use http::StatusCode;
use wt_client::{Client, ClientConfig, ConnectError, ServerVerification};
use wt_server::{Accept, Identity, Server, ServerConfig};

/// Starts a server that accepts `/`, speaks the subprotocol `b`, and refuses other paths.
fn server() -> (Server, Client, String) {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
    let server = Server::bind(&config).unwrap();
    let url = format!("https://127.0.0.1:{}", server.local_addr().unwrap().port());
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            if request.path() != "/" {
                request.reject(StatusCode::NOT_FOUND).unwrap();
                continue;
            }
            let agent = request.headers()["user-agent"].clone();
            let mut answer = Accept::new();
            answer.headers.insert("x-agent", agent);
            if request.protocols().iter().any(|p| p == "b") {
                answer = answer.protocol("b");
            }
            let session = request.accept_with(answer).await.unwrap();
            tokio::spawn(async move { session.closed().await });
        }
    });
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification)).unwrap();
    (server, client, url)
}

#[tokio::test]
async fn headers_and_subprotocol_reach_both_sides() {
    let (_server, client, url) = server();
    let connect = client
        .connect(&url)
        .header("User-Agent", "test/1")
        .protocols(["a", "b"]);
    let session = connect.await.unwrap();
    assert_eq!(session.protocol(), Some("b"));
    assert_eq!(session.response_headers()["x-agent"], "test/1");
}

#[tokio::test]
async fn an_early_session_is_handed_out_before_the_answer() {
    let (_server, client, url) = server();
    let session = client.connect(&url).early(true).await.unwrap();
    session.established().await.unwrap();
    assert_eq!(session.status(), StatusCode::OK);
    // Whether there is such a path is not known yet.
    let session = client.connect(format!("{url}/nowhere")).early(true);
    let session = session.await.unwrap();
    let error = session.established().await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_refused_path_tells_its_status() {
    let (_server, client, url) = server();
    let error = client.connect(format!("{url}/nowhere")).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(
        error.to_string(),
        "the server refused the session with status 404 Not Found"
    );
}

#[tokio::test]
async fn pooled_sessions_share_a_connection() {
    let (server, client, url) = server();
    let client = client.with_pooling(true);
    let one = client.connect(&url).await.unwrap();
    let two = client.connect(&url).await.unwrap();
    assert_eq!(one.connection().stable_id(), two.connection().stable_id());
    let apart = client.connect(&url).pooling(false).await.unwrap();
    assert_ne!(one.connection().stable_id(), apart.connection().stable_id());
    assert_eq!(server.connections().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_an_error_within_the_time_limit() {
    let (_server, client, _) = server();
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://127.0.0.1:{}/", socket.local_addr().unwrap().port());
    let limit = Duration::from_millis(300);
    let error = client.connect(url).timeout(limit).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test]
async fn invalid_headers_are_named() {
    let (_server, client, url) = server();
    let error = client
        .connect(&url)
        .header("bad name", "x")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::InvalidHeader { ref name, .. } if name == "bad name"));
    let error = client
        .connect(&url)
        .header("connection", "close")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("connection"), "{error}");
}

#[tokio::test]
async fn closing_the_client_tells_the_server() {
    let (server, client, url) = server();
    let session = client.connect(&url).await.unwrap();
    let connection = server.connections().pop().unwrap();
    session.close(3, "enough");
    drop(session);
    client.close().await;
    assert!(connection.closed().await.is_graceful());
}

#[tokio::test]
async fn handles_of_a_closed_session_do_not_hold_up_the_client() {
    let (server, client, url) = server();
    let session = client.connect(&url).await.unwrap();
    let stream = session.open_bi().await.unwrap();
    let connection = server.connections().pop().unwrap();
    session.close(3, "enough");
    let most = client.config().limits.close_timeout / 2;
    tokio::time::timeout(most, client.close()).await.unwrap();
    assert!(connection.closed().await.is_graceful());
    assert_eq!(session.close_reason().unwrap().code(), Some(3));
    drop(stream);
}

#[tokio::test]
async fn closing_the_server_ends_sessions_in_order() {
    let (server, client, url) = server();
    let session = client.connect(&url).await.unwrap();
    let closing = tokio::spawn(async move { server.close(Duration::from_millis(400)).await });
    session.draining().await.unwrap();
    let end = session.closed().await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!(end.code(), Some(0));
    closing.await.unwrap();
}
