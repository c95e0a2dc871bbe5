//! Each dialect of WebTransport, as client and as server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use common::{Pair, configs, echo, pair_with, pattern, recv, send, within};
use futures_util::future::join_all;
use http::HeaderMap;
use wt_core::{ConnectError, Dialect, DialectSet, Endpoint, Session};
use wt_proto::connection::CannotConnect;

/// Sends bytes and a datagram there and back, and closes with a code.
async fn exercise(server: Session, client: Session) {
    echo(server.clone());
    let (mut tx, mut rx) = within(client.open_bi()).await.unwrap().split();
    let sent = pattern(200_000);
    let ((), got) = tokio::join!(send(&mut tx, sent.clone()), recv(&mut rx));
    assert!(got.unwrap() == sent);
    client.send_datagram(b"ping").unwrap();
    assert_eq!(&within(server.recv_datagram()).await.unwrap()[..], b"ping");
    client.close(42, "done");
    let end = within(server.closed()).await;
    assert_eq!((end.code(), end.reason()), (Some(42), "done"));
}

#[tokio::test]
async fn one_server_serves_a_client_of_each_dialect_and_knows_which() {
    let (server, client) = configs();
    let server = Endpoint::server(&server).unwrap();
    let address = server.local_addr().unwrap();
    let clients = Dialect::ALL.map(|dialect| {
        let mut config = client.clone();
        config.dialects = DialectSet::only(dialect);
        let endpoint = Endpoint::client(&config).unwrap();
        let name = format!("/{dialect:?}");
        tokio::spawn(async move {
            let connection = within(endpoint.connect(address, "localhost"))
                .await
                .unwrap();
            let opening = connection.open_session("localhost", &name, HeaderMap::new(), &[]);
            let session = within(opening).await.unwrap();
            assert_eq!(session.dialect(), dialect);
            let mut stream = session.open_bi().await.unwrap();
            send(&mut stream.send, pattern(70_000)).await;
            assert!(recv(&mut stream.recv).await.unwrap() == pattern(70_000));
            session.send_datagram(name.as_bytes()).unwrap();
            within(session.recv_datagram()).await.unwrap();
            session.close(dialect as u32, "end");
            within(connection.close(0, "")).await;
        })
    });
    let serving = async {
        let mut seen = Vec::new();
        let mut ends = Vec::new();
        for _ in clients.iter() {
            let incoming = within(server.accept()).await.unwrap();
            let connection = within(incoming.accept()).await.unwrap();
            let request = within(connection.accept_session()).await.unwrap();
            let dialect = request.dialect();
            assert_eq!(request.path(), format!("/{dialect:?}"));
            assert_eq!(connection.peer_dialects(), DialectSet::only(dialect));
            let session = request.accept().await.unwrap();
            assert_eq!(session.dialect(), dialect);
            seen.push(dialect);
            echo(session.clone());
            ends.push(async move {
                let datagram = within(session.recv_datagram()).await.unwrap();
                assert_eq!(datagram, format!("/{dialect:?}"));
                session.send_datagram(datagram).unwrap();
                let end = within(session.closed()).await;
                assert_eq!(end.code(), Some(dialect as u32));
                drop(connection);
            });
        }
        join_all(ends).await;
        seen.sort_by_key(|dialect| *dialect as u8);
        seen
    };
    let seen = serving.await;
    for client in clients {
        within(client).await.unwrap();
    }
    assert_eq!(seen, Dialect::ALL);
}

#[tokio::test]
async fn our_client_reaches_a_server_of_each_dialect() {
    for dialect in Dialect::ALL {
        let (mut server, client) = configs();
        server.dialects = DialectSet::only(dialect);
        let pair = pair_with(&server, &client).await;
        let (server, client) = pair.session().await;
        assert_eq!(pair.client.peer_dialects(), DialectSet::only(dialect));
        for session in [&server, &client] {
            assert_eq!(session.dialect(), dialect);
            let flow = session.stats().send_credit.is_some();
            assert_eq!(flow, dialect.has_flow_control());
        }
        exercise(server, client).await;
    }
}

#[tokio::test]
async fn sessions_share_a_connection_where_the_dialect_allows() {
    for dialect in Dialect::ALL {
        let (mut server, client) = configs();
        server.dialects = DialectSet::only(dialect);
        server.limits.sessions_per_connection = 3;
        let pair = pair_with(&server, &client).await;
        let (servers, clients) = pair.sessions(3).await;
        let pairs = servers.into_iter().zip(clients);
        let others: Vec<_> = pairs.collect();
        if dialect != Dialect::Draft15 {
            // The server has said how many.
            let error = pair.client.can_open_session().unwrap_err();
            assert!(
                matches!(
                    error,
                    ConnectError::Unavailable(CannotConnect::TooManySessions)
                ),
                "{dialect}: {error}"
            );
        }
        join_all(others.into_iter().map(|(s, c)| exercise(s, c))).await;
        // All are over: there is room again.
        let (server, client) = pair.session().await;
        exercise(server, client).await;
    }
}

#[tokio::test]
async fn a_session_too_many_is_rejected_by_the_server() {
    let (mut server, client) = configs();
    server.dialects = DialectSet::only(Dialect::Draft15);
    server.limits.sessions_per_connection = 2;
    let pair = pair_with(&server, &client).await;
    let (servers, clients) = pair.sessions(2).await;
    // This draft does not tell a client how many sessions a server takes.
    let opening = pair
        .client
        .open_session("localhost", "/", HeaderMap::new(), &[]);
    let error = within(opening).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Rejected(wt_core::ErrorCode::H3_REQUEST_REJECTED)
        ),
        "{error}"
    );
    clients[0].close(0, "");
    within(servers[0].closed()).await;
    pair.session().await;
}

#[tokio::test]
async fn without_flow_control_the_newest_draft_carries_one_session() {
    let (server, mut client) = configs();
    client.session.flow_control = false;
    let pair: Pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    assert_eq!(client.dialect(), Dialect::Draft15);
    assert_eq!(client.stats().send_credit, None);
    let error = pair.client.can_open_session().unwrap_err();
    assert!(matches!(
        error,
        ConnectError::Unavailable(CannotConnect::TooManySessions)
    ));
    exercise(server, client).await;
    pair.session().await;
}

#[tokio::test]
async fn no_common_dialect_is_said_clearly() {
    let (mut server, mut client) = configs();
    server.dialects = DialectSet::only(Dialect::Draft02);
    client.dialects = DialectSet::only(Dialect::Draft15);
    let pair = pair_with(&server, &client).await;
    let opening = pair
        .client
        .open_session("localhost", "/", HeaderMap::new(), &[]);
    let error = within(opening).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Unavailable(CannotConnect::Unsupported)),
        "{error}"
    );
}
