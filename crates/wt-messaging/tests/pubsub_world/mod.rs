//! A server with a broker and clients on loopback, for the tests of pub/sub.

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

use http::HeaderMap;
use wt_core::{
    BiStream, Connection, Endpoint, Session,
    config::{ClientConfig, ServerConfig},
    tls::{Identity, ServerVerification},
};
use wt_messaging::pubsub::{Broker, PubSubService, Subscription};

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

/// Two endpoints on loopback.
pub struct World {
    server: Endpoint,
    client: Endpoint,
}

impl World {
    pub fn new() -> Self {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let hash = identity.certificate_hash();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = ServerConfig::new(identity).with_bind(loopback);
        let client = ClientConfig::new()
            .with_bind(loopback)
            .with_verification(ServerVerification::Hashes(vec![hash]));
        Self {
            server: Endpoint::server(&server).unwrap(),
            client: Endpoint::client(&client).unwrap(),
        }
    }

    /// A world whose server is this broker.
    pub fn serving<B: Broker>(service: &PubSubService<B>) -> Self {
        let world = Self::new();
        let (server, service) = (world.server.clone(), service.clone());
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let connection = incoming.accept().await.unwrap();
                    while let Ok(request) = connection.accept_session().await {
                        let service = service.clone();
                        tokio::spawn(async move {
                            let session = request.accept().await.unwrap();
                            service.serve(&session).await;
                        });
                    }
                });
            }
        });
        world
    }

    async fn dial(&self) -> Connection {
        let address = self.server.local_addr().unwrap();
        within(self.client.connect(address, "localhost"))
            .await
            .unwrap()
    }

    /// A session of a new connection with the broker.
    pub async fn session(&self) -> Session {
        self.session_at("/").await
    }

    /// The same, with a path.
    pub async fn session_at(&self, path: &str) -> Session {
        let connection = self.dial().await;
        let opened = connection.open_session("localhost", path, HeaderMap::new(), &[]);
        within(opened).await.unwrap()
    }

    /// Both ends of a session without a broker; the server's comes first.
    pub async fn pair(&self) -> (Session, Session) {
        let accepted = async {
            let connection = self.server.accept().await.unwrap().accept().await.unwrap();
            connection
                .accept_session()
                .await
                .unwrap()
                .accept()
                .await
                .unwrap()
        };
        within(async { tokio::join!(accepted, self.session()) }).await
    }
}

/// A stream on which a test says lines itself.
pub struct Raw(pub BiStream);

impl Raw {
    pub async fn open(session: &Session) -> Self {
        Self(within(session.open_bi()).await.unwrap())
    }

    pub async fn accept(session: &Session) -> Self {
        Self(within(session.accept_bi()).await.unwrap())
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.send.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next bytes have to be these.
    #[track_caller]
    pub fn hear(&mut self, expected: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let mut heard = vec![0; expected.len()];
            if let Err(error) = within(self.0.recv.read_exact(&mut heard)).await {
                panic!("{error} instead of {expected:?} at {place}");
            }
            let heard = String::from_utf8_lossy(&heard);
            assert_eq!(heard, expected, "at {place}");
        }
    }
}

/// The next message, as text.
pub async fn text(subscription: &mut Subscription) -> String {
    let message = within(subscription.recv()).await.unwrap();
    message.text().unwrap().to_owned()
}

/// All that still comes, as text.
pub async fn rest(subscription: &mut Subscription) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(message) = within(subscription.recv()).await {
        texts.push(message.text().unwrap().to_owned());
    }
    texts
}
