//! A session that is made again whenever it is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{Running, check_echo, client, client_config, echo, identity, within};
use http::StatusCode;
use wt_client::{
    Client, ConnectFailure, ReconnectError, ReconnectEvent, ReconnectingClient, RetryPolicy,
    TransportConfig,
};

const MS: Duration = Duration::from_millis(1);

/// Pauses that fit a test; every session counts as a success.
fn quick() -> RetryPolicy {
    RetryPolicy::new()
        .with_delay(MS * 20, MS * 200)
        .with_stable_after(Duration::ZERO)
}

/// Takes all events up to the end of the stream.
async fn all_events(mut events: wt_core::events::Events<ReconnectEvent>) -> Vec<ReconnectEvent> {
    let mut all = Vec::new();
    while let Some(event) = events.recv().await {
        all.push(event.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_restarts_of_the_server_lose_no_session_beyond_those_cut() {
    let identity = identity();
    let mut server = Running::echo(&identity, 0).await;
    let port = server.port;
    // The port is free again within a tenth of a second or so; an attempt that comes too early takes a
    // second, until its packet is sent again.
    let policy = quick().with_delay(MS * 150, MS * 300).with_jitter(false);
    let connect = client(&identity).connect(server.url());
    let (reconnecting, events) = ReconnectingClient::with_events(connect, policy.clone()).unwrap();
    let events = tokio::spawn(all_events(events));
    for round in 0..20 {
        let session = within(reconnecting.session()).await.unwrap();
        check_echo(&session, &format!("round {round}")).await;
        server.kill().await;
        within(session.closed()).await;
        server = Running::echo(&identity, port).await;
    }
    let session = within(reconnecting.session()).await.unwrap();
    check_echo(&session, "still there").await;
    assert!(reconnecting.is_connected());
    reconnecting.close().await;

    let (mut established, mut lost) = (0, 0);
    for event in within(events).await.unwrap() {
        match event {
            ReconnectEvent::Established { .. } => established += 1,
            ReconnectEvent::Lost { .. } => lost += 1,
            ReconnectEvent::Waiting {
                failures, delay, ..
            } => {
                assert!(delay <= policy.longest_pause(failures), "{delay:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((established, lost), (21, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_without_a_word_is_noticed_and_found_again() {
    let identity = identity();
    let dying = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (of_server, start) = (identity.clone(), dying.handle().clone());
    let server = start.spawn(async move { Running::echo(&of_server, 0).await });
    let server = server.await.unwrap();
    let (port, url) = (server.port, server.url());

    let mut transport = TransportConfig::client();
    transport.idle_timeout = Some(MS * 800);
    transport.keep_alive = Some(MS * 100);
    let client = Client::new(client_config(&identity).with_transport(transport)).unwrap();
    let connect = client.connect(url).timeout(MS * 500);
    let reconnecting = connect.reconnecting(quick()).unwrap();
    let first = within(reconnecting.session()).await.unwrap();
    check_echo(&first, "before").await;

    // Nothing of it runs any more, not even to say goodbye.
    dying.shutdown_background();
    drop(server);
    let end = within(first.closed()).await;
    assert_eq!(end.code(), None, "{end}");
    let _server = Running::echo(&identity, port).await;
    let second = within(reconnecting.session()).await.unwrap();
    check_echo(&second, "after").await;
}

#[tokio::test]
async fn the_retry_limit_ends_it_and_says_what_happened_last() {
    let identity = identity();
    let (_socket, port) = common::silent_port();
    let url = format!("https://127.0.0.1:{port}/");
    let policy = quick().with_max_retries(2);
    let connect = client(&identity).connect(&url).timeout(MS * 50);
    let (reconnecting, events) = ReconnectingClient::with_events(connect, policy).unwrap();
    let events = tokio::spawn(all_events(events));
    let error = within(reconnecting.session()).await.unwrap_err();
    let ReconnectError::RetriesExceeded { failures, last } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*failures, 3);
    assert!(matches!(last, ConnectFailure::Connect(error) if error.is_timeout()));
    assert_eq!(error.to_string(), "gave up after 3 failures in a row");
    let cause = error.source().unwrap().to_string();
    assert!(
        cause.contains("no answer") || cause.contains("no session"),
        "{cause}"
    );
    assert!(matches!(
        reconnecting.end(),
        Some(ReconnectError::RetriesExceeded { .. })
    ));
    let events = within(events).await.unwrap();
    let [
        ReconnectEvent::Waiting { failures: 1, .. },
        ReconnectEvent::Waiting { failures: 2, .. },
        ReconnectEvent::Failed(ReconnectError::RetriesExceeded { .. }),
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(reconnecting.url(), url);
}

#[tokio::test]
async fn sessions_that_do_not_last_count_as_failures() {
    let identity = identity();
    let server = Running::start(&identity, 0, |request| async move {
        let session = request.accept().await.unwrap();
        session.close(7, "not you again");
        session.closed().await;
    })
    .await;
    let policy = quick()
        .with_max_retries(3)
        .with_stable_after(Duration::from_secs(600));
    let connect = client(&identity).connect(server.url());
    let (reconnecting, events) = ReconnectingClient::with_events(connect, policy).unwrap();
    let events = within(all_events(events)).await;
    let attempts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ReconnectEvent::Established { attempt, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
    let error = reconnecting.end().unwrap();
    let ReconnectError::RetriesExceeded { failures: 4, last } = error else {
        panic!("{error:?}");
    };
    let ConnectFailure::Lost { error, .. } = last else {
        panic!("{last:?}");
    };
    assert_eq!(error.code(), Some(7));
}

#[tokio::test]
async fn a_session_that_lasted_ends_the_row_of_failures() {
    let identity = identity();
    let served = Arc::new(AtomicUsize::new(0));
    let server = Running::start(&identity, 0, move |request| {
        let served = served.clone();
        async move {
            if served.fetch_add(1, SeqCst) < 20 {
                request.accept().await.unwrap().close(0, "");
            } else {
                echo(request).await;
            }
        }
    })
    .await;
    // No two failures in a row are allowed, and there are twenty losses.
    let policy = quick().with_max_retries(1).with_delay(MS, MS);
    let connect = client(&identity).connect(server.url());
    let (reconnecting, mut events) = ReconnectingClient::with_events(connect, policy).unwrap();
    let mut lost = 0;
    while lost < 20 {
        let event = within(events.recv()).await.unwrap().unwrap();
        lost += usize::from(matches!(event, ReconnectEvent::Lost { .. }));
    }
    let session = within(reconnecting.session()).await.unwrap();
    check_echo(&session, "at last").await;
}

#[tokio::test]
async fn what_no_repetition_can_mend_is_told_at_once() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    for url in [format!("{}refused", server.url()), "no url".to_owned()] {
        let reconnecting = client.connect(url).reconnecting(quick()).unwrap();
        let error = within(reconnecting.session()).await.unwrap_err();
        assert!(matches!(error, ReconnectError::Permanent(_)), "{error:?}");
        assert!(error.source().is_some());
    }
    let broken = RetryPolicy::new().with_factor(0.0);
    let error = client.connect(server.url()).reconnecting(broken);
    assert_eq!(error.unwrap_err().key, "RetryPolicy.factor");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let identity = identity();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Running::start(&identity, 0, move |request| {
        let turn = count.fetch_add(1, SeqCst);
        async move {
            match turn {
                0 => request.reject(StatusCode::SERVICE_UNAVAILABLE).unwrap(),
                1 => request.reject(StatusCode::TOO_MANY_REQUESTS).unwrap(),
                _ => echo(request).await,
            }
        }
    })
    .await;
    let connect = client(&identity).connect(server.url());
    let reconnecting = connect.reconnecting(quick()).unwrap();
    let session = within(reconnecting.session()).await.unwrap();
    check_echo(&session, "not busy any more").await;
    assert_eq!(asked.load(SeqCst), 3);
}

#[tokio::test]
async fn close_ends_the_session_and_wakes_who_waits() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let connect = client(&identity).connect(server.url());
    let reconnecting = connect.reconnecting(quick()).unwrap();
    let events = reconnecting.events();
    let session = within(reconnecting.session()).await.unwrap();
    reconnecting.close().await;
    reconnecting.close().await;
    assert!(within(session.closed()).await.is_closed_locally());
    assert!(!reconnecting.is_connected());
    assert!(reconnecting.current().is_none());
    assert!(matches!(
        within(reconnecting.session()).await,
        Err(ReconnectError::Closed)
    ));
    within(all_events(events)).await;

    // Nobody answers here, so there is somebody who waits.
    let (_socket, port) = common::silent_port();
    let connect = client(&identity).connect(format!("https://127.0.0.1:{port}/"));
    let reconnecting = connect.reconnecting(quick()).unwrap();
    let waiting = reconnecting.clone();
    let waiting = tokio::spawn(async move { waiting.session().await });
    tokio::task::yield_now().await;
    reconnecting.close().await;
    let waited = within(waiting).await.unwrap();
    assert!(matches!(waited, Err(ReconnectError::Closed)));
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let identity = identity();
    let (sender, mut ended) = tokio::sync::mpsc::channel(1);
    let server = Running::start(&identity, 0, move |request| {
        let sender = sender.clone();
        async move {
            let session = request.accept().await.unwrap();
            sender.send(session.closed().await).await.unwrap();
        }
    })
    .await;
    let connect = client(&identity).connect(server.url());
    let reconnecting = connect.reconnecting(quick()).unwrap();
    let events = reconnecting.events();
    let another = reconnecting.clone();
    within(another.session()).await.unwrap();
    drop(reconnecting);
    assert!(another.is_connected());
    drop(another);
    // The session goes with it, and the events end.
    let end = within(ended.recv()).await.unwrap();
    assert_eq!(end.code(), Some(0));
    within(all_events(events)).await;
}

#[tokio::test]
async fn a_closed_client_is_the_end() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let reconnecting = client.connect(server.url()).reconnecting(quick()).unwrap();
    within(reconnecting.session()).await.unwrap().close(0, "");
    within(client.close()).await;
    let error = loop {
        match within(reconnecting.session()).await {
            // It may have come back just before.
            Ok(session) => drop(within(session.closed()).await),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReconnectError::Permanent(_)), "{error:?}");
}
