//! What endpoints, connections and sessions tell while they live.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{
    configs, eventually, pair, pair_with, pattern,
    raw::{self, RawClient},
    recv, send, session, within,
};
use futures_util::StreamExt;
use http::HeaderMap;
use wt_core::{
    ConnectionError, ConnectionState, Endpoint, ErrorCode, Initiator, ProtocolViolation,
    SessionState,
    events::{Event, EventKind, Events},
    observe::{Observe, State},
};

/// The kinds of all events up to the end.
async fn rest(events: Events<Event>) -> Vec<EventKind> {
    within(events.map(|event| event.unwrap().kind()).collect()).await
}

#[tokio::test]
async fn a_connection_tells_its_life_up_to_its_end() {
    let (server, client) = configs();
    let server_endpoint = Endpoint::server(&server).unwrap();
    let client_endpoint = Endpoint::client(&client).unwrap();
    let address = server_endpoint.local_addr().unwrap();
    let mut all = server_endpoint.events();
    let mut of_client = client_endpoint.events();
    let (server, client) =
        within(common::connect(&server_endpoint, &client_endpoint, address)).await;
    let local = client_endpoint.local_addr().unwrap();
    let id = server.stable_id();
    // SETTINGS may be quicker than the word of the handshake.
    let made = all.wait_for(None, |event| {
        event.kind() == EventKind::ConnectionEstablished
    });
    let made = within(made).await.unwrap();
    assert_eq!(
        made,
        Event::ConnectionEstablished {
            connection: id,
            remote: local
        }
    );
    assert!(made.to_string().contains(&local.to_string()), "{made}");
    let (here, there) = (server.events(), client.events());
    let (server_session, client_session) = within(session(&server, &client)).await;
    let mut of_session = client_session.events();
    client_session.drain();
    client_session.close(7, "enough");
    within(server_session.closed()).await;
    let last = loop {
        match within(of_session.next()).await {
            Some(event) => {
                let event = event.unwrap();
                if let Event::SessionClosed { error, .. } = &event {
                    break error.clone();
                }
            }
            None => panic!("the stream ends without the word that the session does"),
        }
    };
    assert_eq!((last.code(), last.reason()), (Some(7), "enough"));
    assert!(within(of_session.next()).await.is_none());
    assert!(within(client_session.events().next()).await.is_none());
    within(client.close(0, "")).await;
    within(server.closed()).await;
    let here: Vec<_> = rest(here).await;
    let here: Vec<_> = here
        .iter()
        .filter(|k| k.name() != "settings_received")
        .collect();
    let expected = [
        EventKind::SessionRequest,
        EventKind::SessionReady,
        EventKind::SessionDraining,
        EventKind::SessionClosed,
        EventKind::ConnectionClosed,
    ];
    assert_eq!(here, expected.iter().collect::<Vec<_>>());
    let there = rest(there).await;
    assert!(there.ends_with(&expected[3..]), "{there:?}");
    let settings = of_client.wait_for(None, |event| event.kind() == EventKind::SettingsReceived);
    within(settings).await.unwrap();
    // The endpoint tells the same, and goes on.
    let end = all.wait_for(None, |event| event.kind() == EventKind::ConnectionClosed);
    assert_eq!(within(end).await.unwrap().connection(), Some(id));
    assert_eq!(server.state(), ConnectionState::Closed);
}

#[tokio::test]
async fn streams_are_told_when_they_open_and_when_they_are_let_go() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut events = server.events();
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(10)).await;
    let rx = within(server.accept_uni()).await.unwrap();
    let id = rx.id();
    drop(rx);
    let opened = within(events.next()).await.unwrap().unwrap();
    let Event::StreamOpened { stream, by, .. } = opened else {
        panic!("{opened}");
    };
    assert_eq!((stream, by), (id, Initiator::Peer));
    let closed = within(events.next()).await.unwrap().unwrap();
    assert_eq!(closed.kind(), EventKind::StreamClosed);
    let fields = closed.fields();
    assert!(
        fields.contains(&("stream_id", id.to_string())),
        "{fields:?}"
    );
}

#[tokio::test]
async fn credit_of_the_peer_is_told() {
    let (mut server, client) = configs();
    server.session.max_data = 1 << 20;
    server.session.max_streams_uni = 4;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let mut events = client.connection().events();
    for _ in 0..4 {
        let mut tx = client.open_uni().await.unwrap();
        let mut rx = {
            send(&mut tx, pattern(400_000)).await;
            within(server.accept_uni()).await.unwrap()
        };
        recv(&mut rx).await.unwrap();
    }
    let more = |event: &Event| matches!(event, Event::SessionMaxDataUpdated { max_data, .. } if *max_data > 1 << 20);
    within(events.wait_for(None, more)).await.unwrap();
    let mut events = client.connection().events();
    let mut tx = within(client.open_uni()).await.unwrap();
    send(&mut tx, pattern(1)).await;
    // All four were let go, so more were or are about to be granted.
    drop(within(server.accept_uni()).await.unwrap());
    for _ in 0..8 {
        let mut tx = within(client.open_uni()).await.unwrap();
        send(&mut tx, pattern(1)).await;
        drop(within(server.accept_uni()).await.unwrap());
    }
    let more = |event: &Event| event.kind() == EventKind::SessionMaxStreamsUniUpdated;
    within(events.wait_for(None, more)).await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_fails_is_told() {
    let (server, mut client) = configs();
    client.alpn = vec![b"h9".to_vec()];
    let server_endpoint = Endpoint::server(&server).unwrap();
    let address = server_endpoint.local_addr().unwrap();
    let client_endpoint = Endpoint::client(&client).unwrap();
    let (mut here, mut there) = (server_endpoint.events(), client_endpoint.events());
    let (accepted, connected) = within(async {
        tokio::join!(
            async { server_endpoint.accept().await.unwrap().accept().await },
            client_endpoint.connect(address, "localhost"),
        )
    })
    .await;
    assert!(accepted.is_err() && connected.is_err());
    for events in [&mut here, &mut there] {
        let told = within(events.next()).await.unwrap().unwrap();
        assert_eq!(told.kind(), EventKind::ConnectionFailed, "{told}");
        assert_eq!(told.connection(), None);
    }
    assert_eq!(server_endpoint.stats().connections_failed, 1);
    assert_eq!(server_endpoint.stats().connections_made, 0);
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_told_and_counted() {
    let (config, _) = configs();
    let endpoint = Endpoint::server(&config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let mut all = endpoint.events();
    let settings = raw::settings();
    let (server, client) = within(async {
        tokio::join!(
            async { endpoint.accept().await.unwrap().accept().await.unwrap() },
            RawClient::connect(address, &config.identity, &settings),
        )
    })
    .await;
    within(server.ready()).await.unwrap();
    // A second control stream.
    let mut second = client.quic.open_uni().await.unwrap();
    second.write_all(&[0]).await.unwrap();
    let violation = ProtocolViolation::DuplicateCriticalStream;
    let told = all.wait_for(None, |event| event.kind() == EventKind::ProtocolError);
    let told = within(told).await.unwrap();
    let connection = server.stable_id();
    assert_eq!(
        told,
        Event::ProtocolError {
            connection,
            violation
        }
    );
    let told = all.wait_for(None, |event| event.kind() == EventKind::ConnectionLost);
    let told = within(told).await.unwrap();
    let error = ConnectionError::Violation(violation);
    assert_eq!(told, Event::ConnectionLost { connection, error });
    assert!(server.diagnostics().errors > 0);
    assert_eq!(endpoint.stats().connections_lost, 1);
    assert_eq!(endpoint.stats().refusals, 1);
}

#[tokio::test]
async fn a_connection_that_is_aborted_is_told_as_lost_with_its_sessions_before_it() {
    let pair = pair().await;
    let (server, _client) = pair.session().await;
    let events = pair.server.events();
    pair.client
        .abort(ErrorCode::H3_INTERNAL_ERROR, "on purpose");
    within(server.closed()).await;
    assert_eq!(
        rest(events).await,
        [EventKind::SessionClosed, EventKind::ConnectionLost]
    );
    assert_eq!(pair.server.state(), ConnectionState::Failed);
    assert_eq!(pair.server_endpoint.stats().connections_lost, 1);
    let late = pair.server.events();
    assert!(rest(late).await.is_empty());
}

#[test]
fn kinds_have_the_names_of_pywebtransport() {
    let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let expected = "capsule_received connection_established connection_lost connection_failed \
        connection_closed datagram_error datagram_received datagram_sent protocol_error \
        settings_received session_closed session_draining session_max_data_updated \
        session_max_streams_bidi_updated session_max_streams_uni_updated session_ready \
        session_request stream_closed stream_data_received stream_error stream_opened \
        timeout_error";
    assert_eq!(names.join(" "), expected);
    for kind in EventKind::ALL {
        assert_eq!(kind.name().parse(), Ok(*kind));
        let groups = [
            kind.is_connection_event(),
            kind.is_session_event(),
            kind.is_stream_event(),
            kind.is_datagram_event(),
        ];
        let others = [
            "capsule_received",
            "protocol_error",
            "settings_received",
            "timeout_error",
        ];
        let lonely = others.contains(&kind.name());
        assert_eq!(
            groups.iter().filter(|in_it| **in_it).count(),
            usize::from(!lonely)
        );
        assert_eq!(kind.is_error_event(), kind.name().ends_with("error"));
    }
    assert!("session_lost".parse::<EventKind>().is_err());
}

#[tokio::test]
async fn what_can_be_observed_tells_state_and_figures() {
    let pair = pair().await;
    let endpoint = pair.server_endpoint.observe();
    assert_eq!((endpoint.kind, endpoint.state), ("endpoint", State::Active));
    assert_eq!(endpoint.counter("connections_made"), Some(1));
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(1000)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    let watch = rx.watch();
    recv(&mut rx).await.unwrap();
    let session = server.observe();
    assert_eq!((session.kind, session.state), ("session", State::Active));
    assert_eq!(session.counter("streams_accepted"), Some(1));
    assert_eq!(session.get("streams_active"), Some(1.0));
    assert!(session.get("receive_credit_bytes").unwrap() > 0.0);
    let connection = pair.server.observe();
    assert_eq!(
        (connection.kind, connection.state),
        ("connection", State::Active)
    );
    assert!(connection.get("rtt_seconds").unwrap() > 0.0);
    assert!(connection.counter("received_bytes").unwrap() > 1000);
    assert_eq!(watch.observe().counter("received_bytes"), Some(1000));
    assert_eq!(watch.observe().state, State::Closed);
    for snapshot in [&endpoint, &session, &connection] {
        assert_eq!(snapshot.issues, Vec::<String>::new());
        let mut names: Vec<_> = snapshot.fields().map(|(name, _)| name).collect();
        assert!(names.len() > 5);
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "each name once");
    }
    // As a trait object, as monitors hold it.
    let all: Vec<Box<dyn Observe>> = vec![
        Box::new(pair.server_endpoint.clone()),
        Box::new(pair.server.clone()),
        Box::new(server.clone()),
    ];
    assert!(
        all.iter()
            .all(|observed| !observed.observe().state.is_over())
    );
    pair.server_endpoint.close(ErrorCode::H3_NO_ERROR, "");
    within(server.closed()).await;
    let states: Vec<_> = all
        .iter()
        .map(|observed| observed.observe().state)
        .collect();
    assert_eq!(states, [State::Closed; 3]);
}

#[tokio::test]
async fn looking_now_and_then_ends_with_what_is_looked_at() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut looks = wt_core::observe::every(server.clone(), Duration::from_millis(5));
    for _ in 0..3 {
        let snapshot = within(looks.next()).await.unwrap();
        assert_eq!(snapshot.state, State::Active);
    }
    client.close(0, "");
    let states = within(looks.map(|snapshot| snapshot.state).collect::<Vec<_>>()).await;
    assert_eq!(states.last(), Some(&State::Closed));
}

#[tokio::test]
async fn states_follow_what_happens() {
    let pair = pair().await;
    within(pair.client.ready()).await.unwrap();
    assert_eq!(pair.client.state(), ConnectionState::Connected);
    let (server, client) = pair.session().await;
    assert_eq!(client.state(), SessionState::Established);
    pair.server.goaway();
    assert_eq!(pair.server.state(), ConnectionState::Draining);
    eventually(|| pair.client.state() == ConnectionState::Draining).await;
    eventually(|| client.state() == SessionState::Draining).await;
    client.close(0, "");
    assert_eq!(client.state(), SessionState::Closed);
    within(server.closed()).await;
    within(pair.client.close(0, "")).await;
    assert_eq!(pair.client.state(), ConnectionState::Closed);
    let refused = pair
        .client
        .open_session("localhost", "/", HeaderMap::new(), &[])
        .await;
    assert!(refused.is_err());
}
