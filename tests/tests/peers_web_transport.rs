//! web-transport-quinn 0.13: it speaks draft-02 and draft-07 and closes by capsule and then with the connection.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use peers::{Ours, Peer, client, exercise, exercise_server, identity, loopback, within};
use web_transport_quinn::{
    ClientBuilder, Request, Server, ServerBuilder, Session, SessionError, WebTransportError, http,
};

use wt::Dialect;

async fn connect(url: String) -> Session {
    let client = ClientBuilder::new()
        .dangerous()
        .with_no_certificate_verification()
        .unwrap();
    let url: url::Url = url.parse().unwrap();
    within(client.connect(url)).await.unwrap()
}

impl Peer for Session {
    async fn bidi(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut send, mut recv) = self.open_bi().await.unwrap();
        let write = async {
            send.write_all(bytes).await.unwrap();
            send.finish().unwrap();
        };
        let ((), answer) = tokio::join!(write, recv.read_to_end(2 << 20));
        answer.unwrap()
    }

    async fn uni(&self, bytes: &[u8]) -> Vec<u8> {
        let mut send = self.open_uni().await.unwrap();
        let write = async {
            send.write_all(bytes).await.unwrap();
            send.finish().unwrap();
        };
        let read = async {
            let mut recv = self.accept_uni().await.unwrap();
            recv.read_to_end(2 << 20).await.unwrap()
        };
        tokio::join!(write, read).1
    }

    async fn datagram(&self, bytes: &[u8]) -> Vec<u8> {
        self.send_datagram(bytes.to_vec().into()).unwrap();
        self.read_datagram().await.unwrap().to_vec()
    }
}

#[tokio::test]
async fn its_client_and_our_server() {
    let mut server = Ours::speaking(Dialect::Draft07);
    let session = connect(server.url("/")).await;
    exercise(&session).await;
    session.close(9, b"nine");
    let end = server.end().await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"));
}

#[tokio::test]
async fn its_client_learns_of_our_close() {
    let mut server = Ours::speaking(Dialect::Draft07);
    let session = connect(server.url("/close")).await;
    assert!(server.end().await.is_closed_locally());
    let end = within(session.closed()).await;
    let SessionError::WebTransportError(WebTransportError::Closed(code, reason)) = end else {
        panic!("{end}");
    };
    assert_eq!((code, reason.as_str()), (7, "seven"));
}

#[tokio::test]
async fn resets_keep_their_codes() {
    let server = Ours::speaking(Dialect::Draft07);
    let session = connect(server.url("/")).await;
    let (mut send, mut recv) = session.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut byte = [0];
    within(recv.read_exact(&mut byte)).await.unwrap();
    // The echo answers a reset with the same.
    send.reset(4_000_000_000).unwrap();
    let code = within(recv.received_reset()).await.unwrap();
    assert_eq!(code, Some(4_000_000_000));
}

#[tokio::test]
async fn fifty_sessions_of_its_client() {
    let mut server = Ours::speaking(Dialect::Draft07);
    for number in 0..50 {
        let session = connect(server.url("/")).await;
        assert_eq!(within(session.bidi(&[number; 10])).await, [number; 10]);
        session.close(u32::from(number), b"");
        assert_eq!(server.end().await.code(), Some(u32::from(number)));
    }
    server.empty().await;
}

/// Its server, which echoes; `/close` closes with 7 and "seven".
fn start() -> String {
    let identity = identity();
    let (chain, key) = (identity.chain().to_vec(), identity.key().clone_key());
    // The port is known only when it was chosen before.
    let address = std::net::UdpSocket::bind(loopback())
        .unwrap()
        .local_addr()
        .unwrap();
    let server = ServerBuilder::new()
        .with_addr(address)
        .with_certificate(chain, key)
        .unwrap();
    tokio::spawn(accept(server));
    format!("https://{address}")
}

async fn accept(mut server: Server) {
    while let Some(request) = server.accept().await {
        tokio::spawn(serve(request));
    }
}

async fn serve(request: Request) -> Option<()> {
    let path = request.url.path().to_owned();
    if path == "/forbidden" {
        // Dropped at once, the connection takes the answer along.
        let connection = request.conn().clone();
        request.reject(http::StatusCode::FORBIDDEN).await.ok()?;
        connection.closed().await;
        return None;
    }
    let session = request.ok().await.ok()?;
    if path == "/close" {
        session.close(7, b"seven");
        session.closed().await;
        return None;
    }
    loop {
        tokio::select! {
            stream = session.accept_bi() => {
                let (mut send, mut recv) = stream.ok()?;
                tokio::spawn(async move {
                    tokio::io::copy(&mut recv, &mut send).await.ok()?;
                    send.finish().ok()
                });
            }
            stream = session.accept_uni() => {
                let mut recv = stream.ok()?;
                let mut send = session.open_uni().await.ok()?;
                tokio::spawn(async move {
                    tokio::io::copy(&mut recv, &mut send).await.ok()?;
                    send.finish().ok()
                });
            }
            datagram = session.read_datagram() => {
                session.send_datagram(datagram.ok()?).ok()?;
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
    // With its refusal it ends its control stream, which breaks a rule: what arrives first is what is told.
    let connect = client.connect(format!("{origin}/forbidden"));
    let error = within(connect).await.unwrap_err();
    let status = error.status().map(|status| status.as_u16());
    assert!(
        status == Some(403) || error.to_string().contains("critical stream"),
        "{error}"
    );

    let session = within(client.connect(format!("{origin}/close")))
        .await
        .unwrap();
    let end = within(session.closed()).await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(7), "seven"));
}
