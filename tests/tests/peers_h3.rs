//! h3 0.0.8 with h3-quinn and h3-webtransport: plain HTTP/3, and a server that speaks draft-02.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h3::client::{Connection as ClientDriver, SendRequest};
use h3::ext::Protocol;
use h3_quinn::{Connection as H3Quinn, OpenStreams};
use h3_webtransport::server::{AcceptedBi, WebTransportSession};
use http::{Method, Request, Response, StatusCode};
use peers::{Ours, client, exercise_server, identity, loopback, within};
use quinn::crypto::rustls::QuicServerConfig;
use tokio::io::AsyncWriteExt;
use wt::Dialect;
use wt::client::ConnectError;
use wt_tests::raw::Raw;

type Requests = SendRequest<OpenStreams, Bytes>;

/// An h3 client on this connection.
async fn h3_client(raw: &Raw) -> Requests {
    let mut builder = h3::client::builder();
    builder.enable_extended_connect(true).enable_datagram(true);
    let quic = H3Quinn::new(raw.quic.clone());
    let built: (ClientDriver<_, _>, Requests) = within(builder.build(quic)).await.unwrap();
    let (mut driver, requests) = built;
    tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
    requests
}

fn request(method: Method, server: &Ours, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(server.url(path))
        .body(())
        .unwrap()
}

/// Sends a request without a body and returns the status.
async fn status(requests: &mut Requests, request: Request<()>) -> StatusCode {
    within(async {
        let mut stream = requests.send_request(request).await.unwrap();
        stream.finish().await.unwrap();
        let response = stream.recv_response().await.unwrap();
        assert!(stream.recv_data().await.unwrap().is_none());
        response.status()
    })
    .await
}

#[tokio::test]
async fn plain_requests_are_answered_and_sessions_live_on() {
    let server = Ours::start();
    // Our own session, on a connection beside.
    let client = client();
    let session = within(client.connect(server.url("/"))).await.unwrap();

    let raw = Raw::client(server.port).await;
    let mut requests = h3_client(&raw).await;
    let mut get = async |path| status(&mut requests, request(Method::GET, &server, path)).await;
    assert_eq!(get("/").await, StatusCode::NOT_FOUND);
    assert_eq!(get("/favicon.ico?x=1").await, StatusCode::NOT_FOUND);

    // A session on the same connection as the requests, begun by h3 and used by hand.
    let mut connect = request(Method::CONNECT, &server, "/");
    connect.extensions_mut().insert(Protocol::WEB_TRANSPORT);
    let draft = http::HeaderValue::from_static("1");
    connect
        .headers_mut()
        .insert("sec-webtransport-http3-draft02", draft);
    let mut stream = within(requests.send_request(connect)).await.unwrap();
    let response = within(stream.recv_response()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let id = stream.id().into_inner();
    raw.echo(id, b"before").await;

    let mut ask = async |request| status(&mut requests, request).await;
    for number in 0..20 {
        let path = format!("/{number}");
        assert_eq!(
            ask(request(Method::GET, &server, &path)).await,
            StatusCode::NOT_FOUND
        );
    }
    // What is no request for a session, in other ways.
    assert_eq!(
        ask(request(Method::HEAD, &server, "/")).await,
        StatusCode::NOT_FOUND
    );
    let mut connect = request(Method::CONNECT, &server, "/");
    connect.extensions_mut().insert(Protocol::CONNECT_UDP);
    assert_eq!(ask(connect).await, StatusCode::NOT_IMPLEMENTED);
    raw.echo(id, b"after").await;

    let mut stream = session.open_bi().await.unwrap();
    stream.send.write_all(b"beside").await.unwrap();
    stream.send.finish().unwrap();
    assert_eq!(
        &within(stream.recv.read_to_end(100)).await.unwrap()[..],
        b"beside"
    );
}

#[tokio::test]
async fn a_post_with_a_body_is_answered_too() {
    let server = Ours::start();
    let raw = Raw::client(server.port).await;
    let mut requests = h3_client(&raw).await;
    let mut stream = within(requests.send_request(request(Method::POST, &server, "/")))
        .await
        .unwrap();
    // The server answers without reading, and may stop the rest.
    let chunk = Bytes::from_static(&[7; 64 * 1024]);
    while let Ok(()) = within(stream.send_data(chunk.clone())).await {
        if raw.quic.stats().frame_rx.stop_sending > 0 {
            break;
        }
    }
    let response = within(stream.recv_response()).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let get = request(Method::GET, &server, "/");
    assert_eq!(status(&mut requests, get).await, StatusCode::NOT_FOUND);
}

/// A QUIC server for h3.
fn endpoint() -> quinn::Endpoint {
    let identity = identity();
    let provider = rustls::crypto::ring::default_provider().into();
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let (chain, key) = (identity.chain().to_vec(), identity.key().clone_key());
    let mut tls = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    quinn::Endpoint::server(config, loopback()).unwrap()
}

/// A server of plain HTTP/3, which answers everything with 200.
fn plain_server() -> String {
    let endpoint = endpoint();
    let url = format!("https://{}/", endpoint.local_addr().unwrap());
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let quic = H3Quinn::new(incoming.await.unwrap());
                let mut connection = h3::server::Connection::<_, Bytes>::new(quic).await.unwrap();
                while let Ok(Some(resolver)) = connection.accept().await {
                    let (_, mut stream) = resolver.resolve_request().await.unwrap();
                    stream.send_response(Response::new(())).await.unwrap();
                    stream.finish().await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_server_without_webtransport_is_named_as_such() {
    let url = plain_server();
    let error = within(client().connect(url)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Session(wt::core::ConnectError::Unavailable(_))
        ),
        "{error:?}"
    );
    let expected = "the server offers no dialect of WebTransport that this client may speak";
    assert_eq!(error.to_string(), expected);
}

/// h3-webtransport's server, which echoes.
fn webtransport_server() -> String {
    let endpoint = endpoint();
    let url = format!("https://{}/", endpoint.local_addr().unwrap());
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(serve(incoming));
        }
    });
    url
}

async fn serve(incoming: quinn::Incoming) -> Option<()> {
    let quic = H3Quinn::new(incoming.await.ok()?);
    let mut builder = h3::server::builder();
    builder
        .enable_webtransport(true)
        .enable_extended_connect(true)
        .enable_datagram(true)
        .max_webtransport_sessions(1);
    let mut connection = builder.build::<_, Bytes>(quic).await.ok()?;
    let (request, stream) = connection
        .accept()
        .await
        .ok()??
        .resolve_request()
        .await
        .ok()?;
    let session = WebTransportSession::accept(request, stream, connection)
        .await
        .ok()?;

    // All in one task: whichever accepts takes streams of both kinds from QUIC, and wakes nobody else.
    let bidi = async {
        while let Ok(Some(AcceptedBi::BidiStream(_, stream))) = session.accept_bi().await {
            let (mut send, mut recv) = h3::quic::BidiStream::split(stream);
            tokio::spawn(async move {
                tokio::io::copy(&mut recv, &mut send).await.ok()?;
                send.shutdown().await.ok()
            });
        }
    };
    let unis = async {
        while let Ok(Some((id, mut recv))) = session.accept_uni().await {
            let Ok(mut send) = session.open_uni(id).await else {
                return;
            };
            tokio::spawn(async move {
                tokio::io::copy(&mut recv, &mut send).await.ok()?;
                send.shutdown().await.ok()
            });
        }
    };
    let mut reader = session.datagram_reader();
    let mut sender = session.datagram_sender();
    let datagrams = async {
        while let Ok(datagram) = reader.read_datagram().await {
            if sender.send_datagram(datagram.into_payload()).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = bidi => {}
        () = unis => {}
        () = datagrams => {}
    }
    Some(())
}

#[tokio::test]
async fn our_client_and_its_server() {
    exercise_server(&webtransport_server(), Dialect::Draft02).await;
}
