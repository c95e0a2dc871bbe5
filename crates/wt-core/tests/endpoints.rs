//! Endpoints: trust, addresses, moves and losses.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use common::{configs, connect, echo, eventually, pair, pair_with, pattern, recv, session, within};
use rustls::pki_types::PrivatePkcs8KeyDer;
use wt_core::{
    BindError, ConnectError, Connection, ConnectionError, Endpoint, ErrorCode, SessionError,
    config::{ClientConfig, ServerConfig},
    tls::{CertificateHash, ClientAuth, Identity, ServerVerification},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// Connects a client to a server; what each of them says.
async fn handshake(
    server: &ServerConfig,
    client: &ClientConfig,
    name: &str,
) -> (
    Result<Connection, ConnectionError>,
    Result<Connection, ConnectError>,
    [Endpoint; 2],
) {
    let server = Endpoint::server(server).unwrap();
    let client = Endpoint::client(client).unwrap();
    let address = server.local_addr().unwrap();
    let (accepted, connected) = within(async {
        tokio::join!(
            async { server.accept().await.unwrap().accept().await },
            client.connect(address, name),
        )
    })
    .await;
    (accepted, connected, [server, client])
}

/// Checks that a handshake fails at both ends, and returns the client's words.
async fn refused(server: &ServerConfig, client: &ClientConfig, name: &str) -> String {
    let (accepted, connected, _endpoints) = handshake(server, client, name).await;
    let error = accepted.map(drop).unwrap_err();
    assert!(matches!(error, ConnectionError::Tls { .. }), "{error}");
    connected.map(drop).unwrap_err().to_string()
}

fn trusting(verification: ServerVerification) -> ClientConfig {
    ClientConfig::new()
        .with_bind(loopback())
        .with_verification(verification)
}

#[tokio::test]
async fn a_hash_is_enough_whatever_the_name() {
    let (server, client) = configs();
    let (accepted, connected, _endpoints) = handshake(&server, &client, "elsewhere.example").await;
    let (server, client) = (accepted.unwrap(), connected.unwrap());
    within(session(&server, &client)).await;
}

#[tokio::test]
async fn another_hash_is_refused() {
    let (server, _) = configs();
    let hash = CertificateHash::of(&Identity::self_signed(["localhost"]).unwrap().chain()[0]);
    let client = trusting(ServerVerification::Hashes(vec![hash]));
    let words = refused(&server, &client, "localhost").await;
    assert!(
        words.contains("the server's certificate has the hash"),
        "{words}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_spite_of_its_hash() {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::now_utc() - 3 * DAY;
    params.not_after = params.not_before + DAY;
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = vec![params.self_signed(&key).unwrap().into()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let identity = Identity::from_der(chain, key.into()).unwrap();
    let hash = identity.certificate_hash();
    let server = ServerConfig::new(identity).with_bind(loopback());
    let client = trusting(ServerVerification::Hashes(vec![hash]));
    let words = refused(&server, &client, "localhost").await;
    assert!(words.contains("expired"), "{words}");
}

#[tokio::test]
async fn own_roots_are_trusted_for_the_right_name() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let roots = ServerVerification::Roots(identity.chain().to_vec());
    let server = ServerConfig::new(identity).with_bind(loopback());
    let client = trusting(roots);
    let (accepted, connected, _endpoints) = handshake(&server, &client, "localhost").await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    within(session(&accepted, &connected)).await;

    let words = refused(&server, &client, "other.example").await;
    assert!(words.contains("other.example"), "{words}");

    let stranger = Identity::self_signed(["localhost"]).unwrap();
    let stranger = ServerConfig::new(stranger).with_bind(loopback());
    let words = refused(&stranger, &client, "localhost").await;
    assert!(words.contains("certificate"), "{words}");
}

#[tokio::test]
async fn a_client_certificate_is_seen_by_the_server() {
    let (server, client) = configs();
    let known = Identity::self_signed(["client"]).unwrap();
    let certificate = known.chain()[0].clone();
    let server = server.with_client_auth(ClientAuth::Required(vec![certificate.clone()]));
    let with = client.clone().with_identity(known);
    let (accepted, connected, _endpoints) = handshake(&server, &with, "localhost").await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    let (server_session, _client) = within(session(&accepted, &connected)).await;
    let seen = accepted.peer_certificates();
    assert_eq!(seen, [certificate]);
    assert_eq!(server_session.peer_certificates(), seen);

    for identity in [None, Some(Identity::self_signed(["client"]).unwrap())] {
        let mut without = client.clone();
        without.identity = identity;
        // A client learns of it only after its own handshake.
        let (accepted, connected, _endpoints) = handshake(&server, &without, "localhost").await;
        let error = accepted.map(drop).unwrap_err();
        assert!(matches!(error, ConnectionError::Tls { .. }), "{error}");
        let error = match connected {
            Ok(connection) => within(connection.closed()).await.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn alpn_without_a_common_protocol_is_refused() {
    let (server, mut client) = configs();
    client.alpn = vec![b"h4".to_vec()];
    let words = refused(&server, &client, "localhost").await;
    assert!(words.contains("protocol"), "{words}");
}

#[tokio::test]
async fn connecting_to_nobody_times_out() {
    let (_, mut client) = configs();
    client.transport.keep_alive = None;
    client.transport.idle_timeout = Some(Duration::from_millis(300));
    let endpoint = Endpoint::client(&client).unwrap();
    // Bound, so that nobody else is there, and never read.
    let silent = UdpSocket::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap();
    let error = within(endpoint.connect(address, "localhost")).await;
    let error = error.map(drop).unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test]
async fn what_cannot_be_dialled_is_said_at_once() {
    let (server, client) = configs();
    let client = Endpoint::client(&client).unwrap();
    let server = Endpoint::server(&server).unwrap();
    let somewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 4433));
    for (endpoint, address, name) in [
        (&client, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), "a"),
        (&client, SocketAddr::from((Ipv6Addr::LOCALHOST, 4433)), "a"),
        (&client, somewhere, ""),
        (&server, somewhere, "a"),
    ] {
        let error = within(endpoint.connect(address, name)).await;
        let error = error.map(drop).unwrap_err();
        assert!(matches!(error, ConnectError::Address { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_said_with_what_to_do() {
    let (server, _) = configs();
    let first = Endpoint::server(&server).unwrap();
    let second = server.with_bind(first.local_addr().unwrap());
    let error = Endpoint::server(&second).unwrap_err();
    assert!(matches!(error, BindError::Socket { .. }), "{error}");
    assert!(error.to_string().contains("choose another port"), "{error}");
}

#[test]
fn without_a_runtime_there_is_no_endpoint() {
    let (server, _) = configs();
    let error = Endpoint::server(&server).unwrap_err();
    assert!(matches!(error, BindError::NoRuntime), "{error}");
}

#[tokio::test]
async fn ipv4_ipv6_and_both() {
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let (server, client) = configs();
    if UdpSocket::bind((v6, 0)).is_err() {
        // Nothing to see on a machine without IPv6.
        return;
    }
    for (listen, dial, from) in [
        (v4, v4, v4),
        (v6, v6, v6),
        (any, v4, v4),
        (any, v6, v6),
        (any, v4, any),
        (any, v6, any),
        (v4, v4, any),
    ] {
        let server = server.clone().with_bind((listen, 0).into());
        let client = client.clone().with_bind((from, 0).into());
        let server = Endpoint::server(&server).unwrap();
        let client = Endpoint::client(&client).unwrap();
        let address = SocketAddr::from((dial, server.local_addr().unwrap().port()));
        let (accepted, connected) = within(connect(&server, &client, address)).await;
        let (server_session, client_session) = within(session(&accepted, &connected)).await;
        echo(server_session);
        let mut stream = client_session.open_bi().await.unwrap();
        common::send(&mut stream.send, pattern(1000)).await;
        assert_eq!(recv(&mut stream.recv).await, Ok(pattern(1000)));
    }
}

#[tokio::test]
async fn a_client_moves_while_a_transfer_runs() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let before = server.remote_address();
    let mut tx = client.open_uni().await.unwrap();
    let sent = pattern(16 << 20);
    let sending = async {
        for (n, piece) in sent.chunks(1 << 20).enumerate() {
            tx.write_all(piece).await.unwrap();
            if n == 5 {
                let socket = UdpSocket::bind(loopback()).unwrap();
                pair.client_endpoint.rebind(socket).unwrap();
            }
        }
        tx.finish().unwrap();
    };
    let receiving = async {
        let mut rx = server.accept_uni().await.unwrap();
        recv(&mut rx).await.unwrap()
    };
    let ((), got) = within(async { tokio::join!(sending, receiving) }).await;
    assert!(got == sent);
    let after = pair.client_endpoint.local_addr().unwrap();
    assert_ne!(after, before);
    assert_eq!(server.remote_address(), after);
}

#[tokio::test]
async fn a_silent_peer_times_out() {
    let (mut server, mut client) = configs();
    client.transport.keep_alive = None;
    server.transport.idle_timeout = Some(Duration::from_millis(300));
    server.limits.linger = Duration::from_secs(60);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let timed_out = SessionError::Connection(ConnectionError::TimedOut);
    // The smaller timeout of both is that of both.
    assert_eq!(within(server.closed()).await, timed_out);
    assert_eq!(within(client.closed()).await, timed_out);
    assert!(within(pair.server.closed()).await.is_timeout());
}

#[tokio::test]
async fn keep_alive_keeps_a_silent_connection() {
    let (mut server, mut client) = configs();
    client.transport.keep_alive = Some(Duration::from_millis(100));
    server.transport.idle_timeout = Some(Duration::from_millis(400));
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(server.close_reason(), None);
    assert_eq!(client.close_reason(), None);
}

#[tokio::test]
async fn a_closed_endpoint_tells_its_peers() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    pair.client_endpoint
        .close(ErrorCode::H3_INTERNAL_ERROR, "going down");
    let told = ConnectionError::ClosedByPeer {
        code: ErrorCode::H3_INTERNAL_ERROR,
        reason: "going down".to_owned(),
    };
    assert_eq!(within(pair.server.closed()).await, told);
    assert_eq!(
        within(server.closed()).await,
        SessionError::Connection(told)
    );
    let local = SessionError::Connection(ConnectionError::LocallyClosed);
    assert_eq!(within(client.closed()).await, local);
    within(pair.client_endpoint.wait_idle(Duration::from_secs(10))).await;
    assert_eq!(pair.client_endpoint.open_connections(), 0);
    pair.server_endpoint.close(ErrorCode::H3_NO_ERROR, "");
    assert!(within(pair.server_endpoint.accept()).await.is_none());
}

#[test]
fn a_peer_whose_runtime_is_gone_is_noticed_by_both_ends() {
    // The client's runtime goes, with all its tasks, as a process does that is killed.
    let (mut server, client) = configs();
    server.transport.idle_timeout = Some(Duration::from_millis(500));
    let own = tokio::runtime::Runtime::new().unwrap();
    let other = tokio::runtime::Runtime::new().unwrap();
    let endpoint = own.block_on(async { Endpoint::server(&server).unwrap() });
    let address = endpoint.local_addr().unwrap();
    let accepting = own.spawn({
        let endpoint = endpoint.clone();
        async move {
            let connection = endpoint.accept().await.unwrap().accept().await.unwrap();
            let request = connection.accept_session().await.unwrap();
            request.accept().await.unwrap()
        }
    });
    let client = other.block_on(async {
        let endpoint = Endpoint::client(&client).unwrap();
        let connection = within(endpoint.connect(address, "localhost"))
            .await
            .unwrap();
        let opening = connection.open_session("localhost", "/", http::HeaderMap::new(), &[]);
        within(opening).await.unwrap()
    });
    let server = own.block_on(accepting).unwrap();
    other.shutdown_timeout(Duration::from_secs(10));
    own.block_on(async {
        within(server.closed()).await;
        // Nor does its own handle wait for ever.
        within(client.closed()).await;
    });
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_room_comes_back() {
    let (mut server, client) = configs();
    server.limits.connections = Some(2);
    let server = Endpoint::server(&server).unwrap();
    let address = server.local_addr().unwrap();
    let accepting = server.clone();
    let (accepted, mut accepts) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let connection = incoming.accept().await.unwrap();
            accepted.send(connection).await.unwrap();
        }
    });
    let endpoint = Endpoint::client(&client).unwrap();
    let first = within(endpoint.connect(address, "localhost"))
        .await
        .unwrap();
    let first_server = within(accepts.recv()).await.unwrap();
    let _second = within(endpoint.connect(address, "localhost"))
        .await
        .unwrap();
    let _second_server = within(accepts.recv()).await.unwrap();
    let third = within(endpoint.connect(address, "localhost")).await;
    assert!(third.is_err());
    drop(first);
    // The server's handle is still there, but the connection is not.
    within(first_server.closed()).await;
    within(async {
        while endpoint.connect(address, "localhost").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections() {
    let (server, client) = configs();
    let pair = pair_with(&server, &client).await;
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let hash = identity.certificate_hash();
    let mut renewed = server.clone();
    renewed.identity = identity;
    pair.server_endpoint.set_server_config(&renewed).unwrap();
    let address = pair.server_endpoint.local_addr().unwrap();
    let old = Endpoint::client(&client).unwrap();
    let new = Endpoint::client(&trusting(ServerVerification::Hashes(vec![hash]))).unwrap();
    let accepting = pair.server_endpoint.clone();
    let serving = tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.accept().await {
                    connection.closed().await;
                }
            });
        }
    });
    assert!(within(old.connect(address, "localhost")).await.is_err());
    within(new.connect(address, "localhost")).await.unwrap();
    // The old connection stays.
    pair.session().await;
    pair.server_endpoint.stop_accepting();
    let mut impatient = client;
    impatient.transport.keep_alive = None;
    impatient.transport.idle_timeout = Some(Duration::from_millis(300));
    let late = Endpoint::client(&impatient).unwrap();
    let error = within(late.connect(address, "localhost")).await;
    assert!(error.map(drop).unwrap_err().is_timeout());
    pair.session().await;
    serving.abort();
}

#[tokio::test]
async fn a_client_can_be_asked_to_show_its_address() {
    let (server, client) = configs();
    let server = Endpoint::server(&server).unwrap();
    let client = Endpoint::client(&client).unwrap();
    let address = server.local_addr().unwrap();
    let accepting = async {
        let incoming = server.accept().await.unwrap();
        assert!(!incoming.is_validated());
        incoming.retry().unwrap();
        let incoming = server.accept().await.unwrap();
        assert!(incoming.is_validated());
        let incoming = *incoming.retry().unwrap_err();
        assert_eq!(incoming.remote_address(), client.local_addr().unwrap());
        incoming.accept().await.unwrap()
    };
    let both = async { tokio::join!(accepting, client.connect(address, "localhost")) };
    let (accepted, connected) = within(both).await;
    within(session(&accepted, &connected.unwrap())).await;
}

#[tokio::test]
async fn a_refused_client_knows() {
    let (server, client) = configs();
    let server = Endpoint::server(&server).unwrap();
    let client = Endpoint::client(&client).unwrap();
    let address = server.local_addr().unwrap();
    let refusing = async { server.accept().await.unwrap().refuse() };
    let both = async { tokio::join!(refusing, client.connect(address, "localhost")) };
    let ((), connected) = within(both).await;
    let error = connected.map(drop).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    eventually(|| server.open_connections() == 0).await;
}
