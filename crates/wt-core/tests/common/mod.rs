//! A server and a client on loopback, joined through the public API.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

pub mod raw;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;

use http::HeaderMap;
use wt_core::{
    Connection, Endpoint, ReadToEndError, RecvStream, SendStream, Session,
    config::{ClientConfig, ServerConfig},
    tls::{Identity, ServerVerification},
};

/// The longest that anything in a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits, but not forever.
#[track_caller]
pub fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for {LIMIT:?} at {place}"),
        }
    }
}

/// Checks again and again, at most for the time limit, until `check` says that it is so.
///
/// For what no event tells of, such as a counter.
#[track_caller]
pub fn eventually(mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !check() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Makes bytes that tell their place.
pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

/// Writes and finishes.
pub async fn send(stream: &mut SendStream, bytes: Bytes) {
    within(stream.write_chunk(bytes)).await.unwrap();
    stream.finish().unwrap();
}

/// Reads to the end.
pub async fn recv(stream: &mut RecvStream) -> Result<Bytes, ReadToEndError> {
    within(stream.read_to_end(usize::MAX)).await
}

/// Echoes the bidirectional streams of a session until it ends.
pub fn echo(session: Session) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(mut stream) = session.accept_bi().await {
            tokio::spawn(async move {
                while let Ok(Some(chunk)) = stream.recv.read_chunk(usize::MAX).await {
                    if stream.send.write_chunk(chunk).await.is_err() {
                        return;
                    }
                }
                let _ = stream.send.finish();
                let _ = stream.send.closed().await;
            });
        }
    })
}

/// Both ends of a connection.
pub struct Pair {
    pub server_endpoint: Endpoint,
    pub client_endpoint: Endpoint,
    pub server: Connection,
    pub client: Connection,
}

/// Returns configurations that fit each other: the client pins the server's certificate.
pub fn configs() -> (ServerConfig, ClientConfig) {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = ServerConfig::new(identity).with_bind(loopback);
    let client = ClientConfig::new()
        .with_bind(loopback)
        .with_verification(ServerVerification::Hashes(vec![hash]));
    (server, client)
}

/// Makes a connection.
pub async fn pair() -> Pair {
    let (server, client) = configs();
    pair_with(&server, &client).await
}

/// Makes a connection with these configurations.
pub async fn pair_with(server: &ServerConfig, client: &ClientConfig) -> Pair {
    let server_endpoint = Endpoint::server(server).unwrap();
    let client_endpoint = Endpoint::client(client).unwrap();
    let address = server_endpoint.local_addr().unwrap();
    let (server, client) = within(connect(&server_endpoint, &client_endpoint, address)).await;
    Pair {
        server_endpoint,
        client_endpoint,
        server,
        client,
    }
}

/// Makes a connection between two endpoints.
pub async fn connect(
    server_endpoint: &Endpoint,
    client_endpoint: &Endpoint,
    address: SocketAddr,
) -> (Connection, Connection) {
    tokio::join!(
        async {
            server_endpoint
                .accept()
                .await
                .unwrap()
                .accept()
                .await
                .unwrap()
        },
        async { client_endpoint.connect(address, "localhost").await.unwrap() },
    )
}

impl Pair {
    /// Opens a session; the server's end comes first.
    pub async fn session(&self) -> (Session, Session) {
        within(session(&self.server, &self.client)).await
    }

    /// Opens sessions; the server's ends come first.
    pub async fn sessions(&self, count: usize) -> (Vec<Session>, Vec<Session>) {
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (server, client) = self.session().await;
            servers.push(server);
            clients.push(client);
        }
        (servers, clients)
    }
}

/// Opens a session; the server's end comes first.
pub async fn session(server: &Connection, client: &Connection) -> (Session, Session) {
    tokio::join!(
        async {
            let request = server.accept_session().await.unwrap();
            request.accept().await.unwrap()
        },
        async {
            client
                .open_session("localhost", "/", HeaderMap::new(), &[])
                .await
                .unwrap()
        },
    )
}
