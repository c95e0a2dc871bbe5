//! Both ends of a session on loopback, joined through the public API.

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

use bytes::Bytes;
use wt_core::{
    Connection, Endpoint, Session,
    config::{ClientConfig, ServerConfig},
    http::HeaderMap,
    tls::{Identity, ServerVerification},
};
use wt_datagram::{DatagramConfig, DatagramTransport};

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
#[track_caller]
pub fn eventually(mut check: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !check() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

/// Both ends of a session.
pub struct Pair {
    pub server_endpoint: Endpoint,
    pub client_endpoint: Endpoint,
    pub server: Connection,
    pub client: Connection,
    /// The server's end.
    pub far: Session,
    /// The client's end.
    pub near: Session,
}

pub async fn pair() -> Pair {
    pair_with(|_| {}).await
}

/// Makes a session, with a client of this configuration.
pub async fn pair_with(configure: impl FnOnce(&mut ClientConfig)) -> Pair {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut server = ServerConfig::new(identity).with_bind(loopback);
    // No discovery: sizes do not change under a test.
    server.transport.mtu_upper_bound = 1200;
    let mut client = ClientConfig::new()
        .with_bind(loopback)
        .with_verification(ServerVerification::Hashes(vec![hash]));
    client.transport.mtu_upper_bound = 1200;
    configure(&mut client);
    let server_endpoint = Endpoint::server(&server).unwrap();
    let client_endpoint = Endpoint::client(&client).unwrap();
    let address = server_endpoint.local_addr().unwrap();
    let (server, client) = within(async {
        tokio::join!(
            async {
                let incoming = server_endpoint.accept().await.unwrap();
                incoming.accept().await.unwrap()
            },
            async { client_endpoint.connect(address, "localhost").await.unwrap() },
        )
    })
    .await;
    let (far, near) = within(session(&server, &client)).await;
    Pair {
        server_endpoint,
        client_endpoint,
        server,
        client,
        far,
        near,
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

impl Pair {
    /// A transport on the client's end.
    pub fn sender(&self, config: &DatagramConfig) -> DatagramTransport {
        DatagramTransport::with_config(self.near.clone(), config).unwrap()
    }

    /// A transport on the server's end.
    pub fn receiver(&self) -> DatagramTransport {
        DatagramTransport::new(self.far.clone()).unwrap()
    }

    /// Receives so many datagrams, which are text.
    pub async fn receive(&self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(text(&within(self.far.recv_datagram()).await.unwrap()));
        }
        all
    }
}

/// The text of a datagram.
pub fn text(data: &Bytes) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}
