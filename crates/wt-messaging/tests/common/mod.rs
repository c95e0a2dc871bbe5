//! A session on loopback, joined through the public API.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use wt_core::{
    BiStream, Connection, Endpoint, Session,
    config::{ClientConfig, ServerConfig},
    http::HeaderMap,
    tls::{Identity, ServerVerification},
};

/// The longest that anything in a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits, but not forever.
#[track_caller]
pub fn within<F: IntoFuture>(future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    let future = future.into_future();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened for {LIMIT:?} at {place}"),
        }
    }
}

/// Both ends of a session.
pub struct Pair {
    pub server: Session,
    pub client: Session,
    _connections: [Connection; 2],
    _endpoints: [Endpoint; 2],
}

/// Makes a session.
pub async fn pair() -> Pair {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Endpoint::server(&ServerConfig::new(identity).with_bind(loopback)).unwrap();
    let config = ClientConfig::new()
        .with_bind(loopback)
        .with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Endpoint::client(&config).unwrap();
    let address = server.local_addr().unwrap();
    let (accepted, made) = within(async {
        tokio::join!(
            async { server.accept().await.unwrap().accept().await.unwrap() },
            async { client.connect(address, "localhost").await.unwrap() },
        )
    })
    .await;
    let sessions = within(async {
        tokio::join!(
            async {
                let request = accepted.accept_session().await.unwrap();
                request.accept().await.unwrap()
            },
            async {
                let opened = made.open_session("localhost", "/", HeaderMap::new(), &[]);
                opened.await.unwrap()
            },
        )
    })
    .await;
    Pair {
        server: sessions.0,
        client: sessions.1,
        _connections: [accepted, made],
        _endpoints: [server, client],
    }
}

impl Pair {
    /// Opens a stream, which the other end accepts; the server's end comes first.
    pub async fn stream(&self) -> (BiStream, BiStream) {
        let mut client = within(self.client.open_bi()).await.unwrap();
        within(client.send.flush()).await.unwrap();
        let server = within(self.server.accept_bi()).await.unwrap();
        (server, client)
    }
}
