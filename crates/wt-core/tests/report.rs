//! What an endpoint adds up of all its connections.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use common::{
    connect, eventually, pair, pattern,
    raw::{self, RawClient},
    recv, send, within,
};
use http::{HeaderMap, StatusCode};
use wt_core::{
    DatagramDrop, Dialect, Endpoint, HandshakeOutcome, RefusalCause, config::ServerConfig,
    tls::Identity,
};

#[tokio::test]
async fn a_report_adds_up_what_is_alive_and_what_is_over() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(100_000)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    recv(&mut rx).await.unwrap();
    let mut waiting = client.open_bi().await.unwrap();
    waiting.send.write_all(b"x").await.unwrap();
    client.send_datagram(b"x").unwrap();
    let endpoint = &pair.server_endpoint;
    eventually(|| {
        let holds = endpoint.report(0).holdings;
        (holds.streams_waiting, holds.datagrams_waiting) == (1, 1)
    })
    .await;

    let alive = endpoint.report(10);
    assert_eq!((alive.stats.connections, alive.samples.len()), (1, 1));
    assert_eq!((alive.holdings.sessions, alive.holdings.streams), (1, 2));
    let traffic = alive.traffic;
    assert_eq!((traffic.streams_opened, traffic.streams_accepted), (0, 2));
    assert_eq!((traffic.streams_bidi, traffic.datagrams_received), (1, 1));
    assert!(traffic.bytes_received > 100_000 && traffic.packets_sent > 0);
    let other = pair.client_endpoint.report(10).traffic;
    assert_eq!((other.streams_opened, other.datagrams_sent), (2, 1));

    // The session is over, then its connection: what they did stays, and is there once.
    client.close(0, "");
    within(server.closed()).await;
    eventually(|| endpoint.report(0).holdings.sessions == 0).await;
    let same = |traffic: wt_core::Traffic| {
        assert_eq!((traffic.streams_accepted, traffic.streams_bidi), (2, 1));
        assert_eq!(traffic.datagrams_received, 1);
        assert!((100_000..200_000).contains(&traffic.bytes_received));
    };
    same(endpoint.report(0).traffic);
    drop((rx, waiting));
    within(pair.client.close(0, "")).await;
    within(pair.server.closed()).await;
    eventually(|| endpoint.report(10).samples.is_empty()).await;
    let past = endpoint.report(10);
    assert_eq!(past.stats.sessions_ended, 1);
    assert!(past.traffic.bytes_received >= traffic.bytes_received);
    same(past.traffic);
}

#[tokio::test]
async fn handshakes_are_counted_by_dialect_and_outcome() {
    let pair = pair().await;
    let _open = pair.session().await;
    let ask = || {
        pair.client
            .open_session("localhost", "/no", HeaderMap::new(), &[])
    };
    let (request, asked) = tokio::join!(
        async {
            let request = within(pair.server.accept_session()).await.unwrap();
            request.reject(StatusCode::FORBIDDEN)
        },
        within(ask()),
    );
    request.unwrap();
    asked.unwrap_err();
    // The client gives up before it is answered.
    let request = tokio::select! {
        _ = ask() => unreachable!("nobody answers"),
        request = within(pair.server.accept_session()) => request.unwrap(),
    };
    let newest = |endpoint: &Endpoint| {
        let seen = endpoint.report(0).handshakes;
        HandshakeOutcome::ALL
            .iter()
            .map(|outcome| seen.get(Dialect::Draft15, *outcome))
            .collect::<Vec<_>>()
    };
    eventually(|| newest(&pair.server_endpoint) == [1, 1, 1]).await;
    // Answering it now changes nothing.
    request.reject(StatusCode::FORBIDDEN).unwrap();
    assert_eq!(newest(&pair.server_endpoint), [1, 1, 1]);
    assert_eq!(newest(&pair.client_endpoint)[..2], [1, 1]);
    let others = [Dialect::Draft02, Dialect::Draft07, Dialect::Draft13];
    let seen = pair.server_endpoint.report(0).handshakes;
    for (dialect, outcome) in others
        .iter()
        .flat_map(|dialect| HandshakeOutcome::ALL.iter().map(move |o| (*dialect, *o)))
    {
        assert_eq!(seen.get(dialect, outcome), 0, "{dialect} {outcome:?}");
    }
}

#[tokio::test]
async fn samples_take_turns() {
    let pair = pair().await;
    let address = pair.server_endpoint.local_addr().unwrap();
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(
            within(connect(
                &pair.server_endpoint,
                &pair.client_endpoint,
                address,
            ))
            .await,
        );
    }
    let endpoint = &pair.server_endpoint;
    assert_eq!(endpoint.report(0).samples.len(), 0);
    assert_eq!(endpoint.report(3).samples.len(), 3);
    assert_eq!(endpoint.report(100).samples.len(), 5);
    // One of the five has received much more than the others: it comes once in five times.
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(500_000)).await;
    recv(&mut within(server.accept_uni()).await.unwrap())
        .await
        .unwrap();
    let one = || endpoint.report(1).samples[0].bytes_received > 500_000;
    let seen = (0..10).filter(|_| one()).count();
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn dropped_datagrams_are_counted_by_reason() {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let mut config =
        ServerConfig::new(identity.clone()).with_bind(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.limits.datagram_queue = 2;
    config.limits.early_datagrams = 1;
    config.limits.early_age = Duration::from_millis(200);
    let endpoint = Endpoint::server(&config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let serving = async {
        let connection = endpoint.accept().await.unwrap().accept().await.unwrap();
        let session = connection.accept_session().await.unwrap();
        session.accept().await.unwrap()
    };
    let settings = raw::settings();
    let dialling = async {
        let client = RawClient::connect(address, &identity, &settings).await;
        let session = client.session().await;
        (client, session)
    };
    let (session, (client, _connect)) = within(async { tokio::join!(serving, dialling) }).await;
    // The first byte is a quarter of the session's id.
    let to = |quarter: u8| client.quic.send_datagram(Bytes::from(vec![quarter, 1]));
    let dropped = |reason| endpoint.report(0).traffic.datagrams_dropped(reason);

    for _ in 0..5 {
        to(0).unwrap();
    }
    eventually(|| dropped(DatagramDrop::QueueFull) == 3).await;
    assert_eq!(endpoint.report(0).holdings.datagrams_waiting, 2);
    // For a session that is not there yet there is room for one.
    for _ in 0..3 {
        to(1).unwrap();
    }
    eventually(|| dropped(DatagramDrop::EarlyFull) == 2).await;
    eventually(|| dropped(DatagramDrop::EarlyExpired) == 1).await;
    session.close(0, "");
    to(0).unwrap();
    eventually(|| dropped(DatagramDrop::NoSession) == 1).await;
    assert_eq!(dropped(DatagramDrop::QueueFull), 3);
}

#[test]
fn names_are_for_labels() {
    let causes = RefusalCause::ALL.iter().map(|cause| cause.name());
    let drops = DatagramDrop::ALL.iter().map(|reason| reason.name());
    let outcomes = HandshakeOutcome::ALL.iter().map(|outcome| outcome.name());
    let names: Vec<_> = causes.chain(drops).chain(outcomes).collect();
    for (at, name) in names.iter().enumerate() {
        let fine = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(!name.is_empty() && name.chars().all(fine), "{name}");
        assert!(!names[at + 1..].contains(name), "{name}");
    }
}
