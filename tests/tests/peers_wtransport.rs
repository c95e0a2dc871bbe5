//! wtransport 0.7: it speaks draft-02 and draft-07 and sends no close capsule.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use peers::{Ours, Peer, client, exercise, exercise_server, identity, loopback, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wt::Dialect;
use wt::core::{ConnectionError, SessionError};
use wtransport::endpoint::IncomingSession;
use wtransport::endpoint::endpoint_side::{Client, Server};
use wtransport::{ClientConfig, Connection, Endpoint, ServerConfig, VarInt};

fn endpoint() -> Endpoint<Client> {
    let config = ClientConfig::builder()
        .with_bind_address(loopback())
        .with_no_cert_validation();
    Endpoint::client(config.build()).unwrap()
}

impl Peer for Connection {
    async fn bidi(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut send, mut recv) = self.open_bi().await.unwrap().await.unwrap();
        let write = async {
            send.write_all(bytes).await.unwrap();
            send.finish().await.unwrap();
        };
        let mut answer = Vec::new();
        let ((), read) = tokio::join!(write, recv.read_to_end(&mut answer));
        read.unwrap();
        answer
    }

    async fn uni(&self, bytes: &[u8]) -> Vec<u8> {
        let mut send = self.open_uni().await.unwrap().await.unwrap();
        let write = async {
            send.write_all(bytes).await.unwrap();
            send.finish().await.unwrap();
        };
        let read = async {
            let mut answer = Vec::new();
            let mut recv = self.accept_uni().await.unwrap();
            recv.read_to_end(&mut answer).await.unwrap();
            answer
        };
        tokio::join!(write, read).1
    }

    async fn datagram(&self, bytes: &[u8]) -> Vec<u8> {
        self.send_datagram(bytes).unwrap();
        self.receive_datagram().await.unwrap().payload().to_vec()
    }
}

#[tokio::test]
async fn its_client_and_our_server() {
    let mut server = Ours::speaking(Dialect::Draft07);
    let endpoint = endpoint();
    let session = within(endpoint.connect(server.url("/"))).await.unwrap();
    exercise(&session).await;

    // It closes the QUIC connection with the bare code.
    session.close(VarInt::from_u32(9), b"nine");
    let SessionError::Connection(ConnectionError::ClosedByPeer { code, reason }) =
        server.end().await
    else {
        panic!("not the close of a connection");
    };
    assert_eq!((code.get(), reason.as_str()), (9, "nine"));
}

#[tokio::test]
async fn its_client_learns_of_our_close() {
    let mut server = Ours::speaking(Dialect::Draft07);
    let session = within(endpoint().connect(server.url("/close")))
        .await
        .unwrap();
    // `closed` only says that it ended the connection for it.
    let end = within(session.accept_bi()).await.unwrap_err();
    assert!(server.end().await.is_closed_locally());
    let wtransport::error::ConnectionError::ApplicationClosed(close) = end else {
        panic!("{end}");
    };
    assert_eq!(
        (close.code().into_inner(), close.reason()),
        (7, &b"seven"[..])
    );
}

#[tokio::test]
async fn fifty_sessions_of_its_client() {
    let mut server = Ours::speaking(Dialect::Draft07);
    let endpoint = endpoint();
    for number in 0..50 {
        let session = within(endpoint.connect(server.url("/"))).await.unwrap();
        assert_eq!(within(session.bidi(&[number; 10])).await, [number; 10]);
        session.close(VarInt::from_u32(0), b"");
        server.end().await;
    }
    server.empty().await;
}

/// Its server, which echoes; `/close` closes with 7.
fn start() -> String {
    let identity = identity();
    let (cert, key) = (identity.chain()[0].clone(), identity.key().clone_key());
    let tls = rustls_config(cert, key);
    let config = ServerConfig::builder()
        .with_bind_address(loopback())
        .with_custom_tls(tls);
    let server = Endpoint::server(config.build()).unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(accept(server));
    format!("https://127.0.0.1:{port}")
}

fn rustls_config(
    cert: rustls::pki_types::CertificateDer<'static>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
) -> rustls::ServerConfig {
    let provider = rustls::crypto::ring::default_provider().into();
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let builder = builder
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let mut tls = builder
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls
}

async fn accept(server: Endpoint<Server>) {
    loop {
        let incoming = server.accept().await;
        tokio::spawn(serve(incoming));
    }
}

async fn serve(incoming: IncomingSession) -> Option<()> {
    let request = incoming.await.ok()?;
    let path = request.path().to_owned();
    if path == "/forbidden" {
        request.forbidden().await;
        return None;
    }
    let session = request.accept().await.ok()?;
    if path == "/close" {
        // It takes the connection along, and with it an answer that was not delivered.
        session.receive_datagram().await.ok()?;
        session.close(VarInt::from_u32(7), b"seven");
        return None;
    }
    loop {
        tokio::select! {
            stream = session.accept_bi() => {
                let (mut send, mut recv) = stream.ok()?;
                tokio::spawn(async move {
                    tokio::io::copy(&mut recv, &mut send).await.ok()?;
                    send.finish().await.ok()
                });
            }
            stream = session.accept_uni() => {
                let mut recv = stream.ok()?;
                let mut send = session.open_uni().await.ok()?.await.ok()?;
                tokio::spawn(async move {
                    tokio::io::copy(&mut recv, &mut send).await.ok()?;
                    send.shutdown().await.ok()
                });
            }
            datagram = session.receive_datagram() => {
                session.send_datagram(datagram.ok()?.payload()).ok()?;
            }
        }
    }
}

#[tokio::test]
async fn our_client_and_its_server() {
    exercise_server(&start(), Dialect::Draft07).await;
}

#[tokio::test]
async fn our_client_learns_how_its_server_ends() {
    let origin = start();
    let client = client();
    let error = within(client.connect(format!("{origin}/forbidden")))
        .await
        .unwrap_err();
    assert_eq!(
        error.status().map(|status| status.as_u16()),
        Some(403),
        "{error}"
    );

    let session = within(client.connect(format!("{origin}/close")))
        .await
        .unwrap();
    session.send_datagram(b"close").unwrap();
    let end = within(session.closed()).await;
    let SessionError::Connection(ConnectionError::ClosedByPeer { code, reason }) = end else {
        panic!("{end}");
    };
    assert_eq!((code.get(), reason.as_str()), (7, "seven"));
}
