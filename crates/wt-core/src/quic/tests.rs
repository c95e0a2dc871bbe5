//! Connections over loopback with the configurations made here.

use std::net::Ipv6Addr;

use futures_util::FutureExt;
use quinn::{Connection, Endpoint, TokioRuntime};

use super::*;
use crate::config::StreamCredit;
use crate::tls::{Identity, ServerVerification};

/// Binds an endpoint to any address and free port.
fn endpoint(config: &TransportConfig, server: Option<quinn::ServerConfig>) -> Endpoint {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let socket = bind_socket(any, config).unwrap();
    Endpoint::new(
        endpoint_config(config),
        server,
        socket,
        Arc::new(TokioRuntime),
    )
    .unwrap()
}

/// Both ends of a connection, and what keeps them alive.
struct Pair {
    server: Connection,
    client: Connection,
    _endpoints: [Endpoint; 2],
}

async fn pair(transport: &TransportConfig) -> Pair {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let hash = identity.certificate_hash();
    let server = ServerConfig::new(identity).with_transport(transport.clone());
    let client = ClientConfig::new()
        .with_transport(transport.clone())
        .with_verification(ServerVerification::Hashes(vec![hash]));
    server.validate().unwrap();
    client.validate().unwrap();

    let listener = endpoint(
        transport,
        Some(server_config(&server, &Certificates::new(&server), &Qlog::default()).unwrap()),
    );
    let dialer = endpoint(transport, None);
    let address = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    let connecting = dialer
        .connect_with(
            client_config(&client, &Qlog::default()).unwrap(),
            address.into(),
            "localhost",
        )
        .unwrap();
    let accepted = async { listener.accept().await.unwrap().await.unwrap() };
    let (server, client) = tokio::join!(accepted, connecting);
    Pair {
        server,
        client: client.unwrap(),
        _endpoints: [listener, dialer],
    }
}

#[tokio::test]
async fn both_sides_agree_on_protocol_and_datagrams() {
    let pair = pair(&TransportConfig::default()).await;
    for side in [&pair.server, &pair.client] {
        let data = side.handshake_data().unwrap();
        let data: Box<quinn::crypto::rustls::HandshakeData> = data.downcast().unwrap();
        assert_eq!(data.protocol.as_deref(), Some(&b"h3"[..]));
        assert!(side.max_datagram_size().unwrap() > 1000);
    }
}

#[tokio::test]
async fn stream_credit_starts_at_initial() {
    let transport = TransportConfig {
        streams_bidi: StreamCredit::new(2, 10),
        streams_uni: StreamCredit::new(3, 10),
        ..TransportConfig::default()
    };
    let Pair { client, server, .. } = pair(&transport).await;
    for connection in [client, server] {
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(connection.open_bi().await.unwrap());
        }
        assert!(connection.open_bi().now_or_never().is_none());
        for _ in 0..3 {
            connection.open_uni().await.unwrap();
        }
        assert!(connection.open_uni().now_or_never().is_none());
    }
}

#[tokio::test]
async fn every_congestion_control_connects() {
    for congestion in [Congestion::Cubic, Congestion::NewReno, Congestion::Bbr] {
        let mut transport = TransportConfig::client();
        transport.congestion = congestion;
        transport.mtu_upper_bound = transport.initial_mtu;
        pair(&transport).await;
    }
}

#[tokio::test]
async fn idle_timeout_is_in_force() {
    let transport = TransportConfig {
        idle_timeout: Some(Duration::from_millis(100)),
        ..TransportConfig::default()
    };
    let pair = pair(&transport).await;
    assert_eq!(pair.client.closed().await, quinn::ConnectionError::TimedOut);
}

#[test]
fn endpoint_takes_packets_as_large_as_it_probes() {
    let mut transport = TransportConfig::default();
    assert_eq!(endpoint_config(&transport).get_max_udp_payload_size(), 1472);
    transport.mtu_upper_bound = 6400;
    assert_eq!(endpoint_config(&transport).get_max_udp_payload_size(), 6400);
}

#[tokio::test]
async fn the_largest_packet_is_found_with_one_probe() {
    for (minimum_change, probes) in [(None, 1), (Some(20), 4)] {
        let mut transport = TransportConfig::default();
        transport.mtu_minimum_change = minimum_change.unwrap_or(transport.mtu_minimum_change);
        let pair = pair(&transport).await;
        let found = async {
            while pair.client.stats().path.current_mtu < transport.mtu_upper_bound {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), found).await;
        let path = pair.client.stats().path;
        assert!(found.is_ok(), "{path:?}");
        // On a busy machine one may seem lost and be sent again.
        assert!(path.sent_plpmtud_probes <= probes + path.lost_plpmtud_probes);
    }
}

#[test]
fn port_in_use_is_an_error() {
    let config = TransportConfig::default();
    let first = bind_socket((Ipv4Addr::LOCALHOST, 0).into(), &config).unwrap();
    let error = bind_socket(first.local_addr().unwrap(), &config).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn unreasonable_socket_buffer_is_no_error() {
    let config = TransportConfig {
        socket_buffer: 1 << 30,
        ..TransportConfig::default()
    };
    bind_socket((Ipv4Addr::LOCALHOST, 0).into(), &config).unwrap();
}

#[test]
fn only_missing_ipv6_falls_back() {
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let missing = io::Error::from(io::ErrorKind::AddrNotAvailable);
    assert!(lacks_ipv6(v6, &missing));
    assert!(!lacks_ipv6(v4, &missing));
    assert!(!lacks_ipv6(v6, &io::ErrorKind::AddrInUse.into()));
    assert!(!lacks_ipv6(v6, &io::ErrorKind::PermissionDenied.into()));
}
