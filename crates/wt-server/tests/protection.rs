//! Limits on clients, per address and in total: the one beyond is refused with its cause, the others go on, and room
//! comes back.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinSet, time::timeout};
use wt_core::{
    ConnectError, Connection, Endpoint,
    config::{ClientConfig, Limits, Rate, Retry},
    http::{HeaderMap, StatusCode},
    tls::ServerVerification,
};
use wt_server::{Identity, RefusalCause as Cause, Server, ServerConfig, Session};

/// No test waits longer than this for what has to happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A time in which nothing comes back.
const HOUR: Duration = Duration::from_secs(3600);

async fn soon<F: Future>(what: F) -> F::Output {
    timeout(LIMIT, what).await.expect("it takes too long")
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let looking = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(LIMIT, looking).await.is_ok(), "never: {what}");
}

/// A server that accepts every session and holds it, and clients at several addresses of this machine.
struct Scene {
    server: Server,
    address: SocketAddr,
    verification: ServerVerification,
}

impl Scene {
    fn start(change: impl FnOnce(&mut Limits)) -> Self {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let hash = identity.certificate_hash();
        let mut config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
        change(&mut config.limits);
        let server = Server::bind(&config).unwrap();
        let serving = server.clone();
        tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Some(request) = serving.accept().await {
                sessions.spawn(async move {
                    if let Ok(session) = request.accept().await {
                        session.closed().await;
                    }
                });
            }
        });
        Self {
            address: server.local_addr().unwrap(),
            server,
            verification: ServerVerification::Hashes(vec![hash]),
        }
    }

    /// Returns a client at 127.0.0.`host`.
    fn at(&self, host: u8) -> Endpoint {
        let config = ClientConfig::new()
            .with_bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
            .with_verification(self.verification.clone());
        Endpoint::client(&config).unwrap()
    }

    /// Connects a new client at 127.0.0.`host`.
    async fn connect(&self, host: u8) -> Result<Connection, ConnectError> {
        soon(self.at(host).connect(self.address, "localhost")).await
    }

    /// Connects a client at 127.0.0.`host` as soon as there is room.
    async fn connect_again(&self, host: u8) -> Connection {
        soon(async {
            loop {
                if let Ok(connection) = self.connect(host).await {
                    return connection;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Expects a client at 127.0.0.`host` to be refused for this and nothing else.
    async fn refuses(&self, host: u8, cause: Cause) {
        let before = self.server.refusals();
        let error = self.connect(host).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        let now = self.server.refusals();
        assert_eq!(now.get(cause), before.get(cause) + 1, "{now:?}");
        assert_eq!(now.total(), before.total() + 1, "{now:?}");
    }
}

async fn open(connection: &Connection) -> Result<Session, ConnectError> {
    soon(connection.open_session("localhost", "/", HeaderMap::new(), &[])).await
}

/// Expects a session to be refused, and returns the status and the header fields.
async fn refused(connection: &Connection) -> (StatusCode, HeaderMap) {
    match open(connection).await.unwrap_err() {
        ConnectError::Refused { status, headers } => (status, *headers),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn connections_of_one_address_are_limited_and_another_address_does_not_notice() {
    let scene = Scene::start(|limits| limits.connections_per_address = Some(2));
    let first = scene.connect(1).await.unwrap();
    let second = scene.connect(1).await.unwrap();
    scene.refuses(1, Cause::ConnectionsPerAddress).await;
    scene.refuses(1, Cause::ConnectionsPerAddress).await;
    let other = scene.connect(2).await.unwrap();
    for connection in [&first, &second, &other] {
        open(connection).await.unwrap();
    }
    assert_eq!(scene.server.stats().connections_rejected, 2);
    drop(first);
    let again = scene.connect_again(1).await;
    open(&again).await.unwrap();
    scene.refuses(1, Cause::ConnectionsPerAddress).await;
}

#[tokio::test]
async fn connections_in_total_are_limited() {
    let scene = Scene::start(|limits| limits.connections = Some(2));
    let first = scene.connect(1).await.unwrap();
    let second = scene.connect(2).await.unwrap();
    scene.refuses(2, Cause::TooManyConnections).await;
    open(&second).await.unwrap();
    drop(first);
    scene.connect_again(3).await;
}

#[tokio::test]
async fn handshakes_of_one_address_are_limited_and_those_beyond_come_again() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let mut config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
    config.limits.handshakes_per_address = Some(1);
    // Nothing but the limit keeps them from being handed out.
    let server = Endpoint::server(&config).unwrap();
    let address = server.local_addr().unwrap();
    let connect = |host| {
        let config = ClientConfig::new()
            .with_bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
            .with_verification(verification.clone());
        let endpoint = Endpoint::client(&config).unwrap();
        tokio::spawn(async move { endpoint.connect(address, "localhost").await })
    };
    let first = connect(1);
    let held = soon(server.accept()).await.unwrap();
    assert_eq!(server.stats().handshakes, 1);
    // While its handshake is not over, another one of that address is passed over.
    let second = connect(1);
    let cause = Cause::HandshakesPerAddress;
    let (third, accepted) = {
        let looking = server.clone();
        let passed_over = eventually("passed over", move || looking.refusals().get(cause) > 0);
        let accepting = async {
            let incoming = server.accept().await.unwrap();
            assert_eq!(incoming.remote_address().ip(), Ipv4Addr::new(127, 0, 0, 2));
            incoming.accept().await.unwrap()
        };
        let third = async {
            passed_over.await;
            connect(2).await.unwrap().unwrap()
        };
        soon(async { tokio::join!(third, accepting) }).await
    };
    // Then it gets in, without having been told anything.
    let first_accepted = soon(held.accept()).await.unwrap();
    let again = soon(server.accept()).await.unwrap();
    let second_accepted = soon(again.accept()).await.unwrap();
    soon(first).await.unwrap().unwrap();
    soon(second).await.unwrap().unwrap();
    assert_eq!(server.stats().handshakes, 0);
    drop((first_accepted, second_accepted, third, accepted));
}

#[tokio::test]
async fn connections_in_a_time_are_limited_by_address() {
    let rate = Rate::new(2, HOUR);
    let scene = Scene::start(|limits| limits.connection_rate_per_address = Some(rate));
    let first = scene.connect(1).await.unwrap();
    drop(scene.connect(1).await.unwrap());
    scene.refuses(1, Cause::ConnectionRatePerAddress).await;
    let other = scene.connect(2).await.unwrap();
    open(&first).await.unwrap();
    open(&other).await.unwrap();

    let rate = Rate::new(1, Duration::from_millis(300));
    let scene = Scene::start(|limits| limits.connection_rate_per_address = Some(rate));
    for _ in 0..3 {
        scene.connect_again(1).await;
    }
}

#[tokio::test]
async fn connections_in_a_time_are_limited_in_total() {
    let scene = Scene::start(|limits| limits.connection_rate = Some(Rate::new(3, HOUR)));
    let first = scene.connect(1).await.unwrap();
    drop(scene.connect(1).await.unwrap());
    drop(scene.connect(2).await.unwrap());
    scene.refuses(2, Cause::ConnectionRate).await;
    scene.refuses(3, Cause::ConnectionRate).await;
    open(&first).await.unwrap();
}

#[tokio::test]
async fn sessions_of_one_address_are_limited_over_all_its_connections() {
    let scene = Scene::start(|limits| limits.sessions_per_address = Some(2));
    let (one, two) = (
        scene.connect(1).await.unwrap(),
        scene.connect(1).await.unwrap(),
    );
    let first = open(&one).await.unwrap();
    let second = open(&two).await.unwrap();
    for connection in [&one, &two] {
        let (status, headers) = refused(connection).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(!headers.contains_key("retry-after"));
    }
    let refusals = scene.server.refusals();
    assert_eq!(refusals.get(Cause::SessionsPerAddress), 2);
    let other = scene.connect(2).await.unwrap();
    let others = [open(&other).await.unwrap(), open(&other).await.unwrap()];
    // Room comes back with the end of a session, and with the end of a connection.
    first.close(0, "");
    let mut again = None;
    soon(async {
        while again.is_none() {
            again = open(&two).await.ok();
        }
    })
    .await;
    drop((second, again, two));
    soon(async { while open(&one).await.is_err() {} }).await;
    assert!(
        others
            .iter()
            .all(|session| session.close_reason().is_none())
    );
}

#[tokio::test]
async fn sessions_in_total_are_limited() {
    let scene = Scene::start(|limits| limits.sessions = Some(2));
    let (one, two) = (
        scene.connect(1).await.unwrap(),
        scene.connect(2).await.unwrap(),
    );
    let first = open(&one).await.unwrap();
    let _second = open(&two).await.unwrap();
    let (status, _) = refused(&two).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(scene.server.refusals().get(Cause::Sessions), 1);
    first.close(0, "");
    soon(async { while open(&two).await.is_err() {} }).await;
}

#[tokio::test]
async fn requests_in_a_time_are_limited_by_address_and_in_total() {
    let scene = Scene::start(|limits| {
        limits.session_rate_per_address = Some(Rate::new(2, HOUR));
        limits.session_rate = Some(Rate::new(3, HOUR));
    });
    let (one, two) = (
        scene.connect(1).await.unwrap(),
        scene.connect(2).await.unwrap(),
    );
    open(&one).await.unwrap();
    open(&one).await.unwrap();
    let (status, headers) = refused(&one).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1800).contains(&seconds), "{seconds}");
    open(&two).await.unwrap();
    let (status, headers) = refused(&two).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(headers.contains_key("retry-after"));
    let refusals = scene.server.refusals();
    let seen: HashMap<_, _> = refusals.iter().collect();
    let expected = [(Cause::SessionRatePerAddress, 1), (Cause::SessionRate, 1)];
    assert_eq!(seen, HashMap::from(expected));
    assert_eq!(scene.server.stats().requests_rejected, 2);

    let rate = Rate::new(1, Duration::from_millis(300));
    let scene = Scene::start(|limits| limits.session_rate_per_address = Some(rate));
    let connection = scene.connect(1).await.unwrap();
    for _ in 0..3 {
        soon(async { while open(&connection).await.is_err() {} }).await;
    }
}

#[tokio::test]
async fn clients_show_their_address_never_under_load_or_always() {
    for (retry, handshakes, expected) in [
        (Retry::Never, 1, 0),
        (Retry::UnderLoad, 1024, 0),
        (Retry::UnderLoad, 1, 3),
        (Retry::Always, 1024, 3),
    ] {
        let scene = Scene::start(|limits| {
            limits.retry = retry;
            limits.handshakes = handshakes;
        });
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(scene.connect(1).await.unwrap());
        }
        let stats = scene.server.stats();
        assert_eq!(stats.addresses_validated, expected, "{retry} {handshakes}");
        assert_eq!(stats.connections_rejected, 0);
    }
}

/// Records the first packets of clients that want to connect.
async fn first_packets(scene: &Scene, count: usize) -> Vec<Vec<u8>> {
    let recorder = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = recorder.local_addr().unwrap();
    let client = scene.at(1);
    let mut attempts = JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        attempts.spawn(async move { drop(client.connect(address, "localhost").await) });
    }
    let mut packets = HashMap::new();
    let mut packet = vec![0; 65_536];
    while packets.len() < count {
        let (len, _) = soon(recorder.recv_from(&mut packet)).await.unwrap();
        // The connection id that the client chose for the server (RFC 9000, 17.2).
        let end = 6 + usize::from(packet[5]);
        packets
            .entry(packet[6..end].to_vec())
            .or_insert_with(|| packet[..len].to_vec());
    }
    packets.into_values().collect()
}

#[tokio::test]
async fn who_forges_an_address_cannot_use_up_what_belongs_to_it() {
    let scene = Scene::start(|limits| {
        limits.connections_per_address = Some(8);
        limits.connection_rate_per_address = Some(Rate::new(8, HOUR));
    });
    let packets = first_packets(&scene, 20).await;
    // What comes back is not seen by who forged the address.
    let forger = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0))
        .await
        .unwrap();
    let server = scene.server.clone();
    soon(async {
        while server.stats().addresses_validated < 16 {
            for packet in &packets {
                forger.send_to(packet, scene.address).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // Half of what the address may have, and no more.
    assert_eq!(server.stats().handshakes_active, 4);
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(scene.connect(2).await.unwrap());
    }
    for connection in &connections {
        open(connection).await.unwrap();
    }
    assert_eq!(server.refusals().total(), 0);
    // The rest is taken by handshakes that come to nothing.
    scene.refuses(2, Cause::ConnectionsPerAddress).await;
}

#[tokio::test]
async fn addresses_that_are_remembered_are_bounded() {
    let scene = Scene::start(|limits| {
        limits.connection_rate_per_address = Some(Rate::new(1, HOUR));
        limits.addresses = 4;
    });
    for host in 1..=12 {
        drop(scene.connect(host).await.unwrap());
        let server = &scene.server;
        eventually("closed", || server.endpoint().open_connections() == 0).await;
        let known = scene.server.stats().addresses_known;
        assert!((1..=4).contains(&known), "{known}");
    }
    // Some were forgotten, the last was not.
    scene.refuses(12, Cause::ConnectionRatePerAddress).await;

    // Without rates nothing is remembered of those that hold nothing.
    let scene = Scene::start(|limits| limits.connections_per_address = Some(1));
    let connection = scene.connect(1).await.unwrap();
    assert_eq!(scene.server.stats().addresses_known, 1);
    drop(connection);
    eventually("forgotten", || scene.server.stats().addresses_known == 0).await;
}

#[tokio::test]
async fn limits_that_cannot_work_are_refused_with_their_name() {
    type Change = fn(&mut Limits);
    let cases: [(&str, Change); 9] = [
        ("limits.connections_per_address", |limits| {
            limits.connections_per_address = Some(0)
        }),
        ("limits.handshakes_per_address", |limits| {
            limits.handshakes_per_address = Some(0)
        }),
        ("limits.sessions", |limits| limits.sessions = Some(0)),
        ("limits.sessions_per_address", |limits| {
            limits.sessions_per_address = Some(0)
        }),
        ("limits.connection_rate", |limits| {
            limits.connection_rate = Some(Rate::per_second(0))
        }),
        ("limits.connection_rate_per_address", |limits| {
            limits.connection_rate_per_address = Some(Rate::new(1, Duration::ZERO))
        }),
        ("limits.session_rate", |limits| {
            limits.session_rate = Some(Rate::new(1, Duration::MAX))
        }),
        ("limits.session_rate_per_address", |limits| {
            limits.session_rate_per_address = Some(Rate::per_second(u32::MAX))
        }),
        ("limits.addresses", |limits| limits.addresses = 0),
    ];
    for (key, change) in cases {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let mut config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
        change(&mut config.limits);
        let error = Server::bind(&config).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
