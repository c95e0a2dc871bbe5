//! Limits that the public API can reach; `docs/limits.md` has all of them.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::time::Duration;

use common::{configs, pair_with};
use http::{HeaderMap, StatusCode};
use tokio::time::{sleep, timeout};
use wt_core::{BiStream, RefusalCause, Session, config::StreamCredit};

/// No test waits longer than this for what has to happen.
const LIMIT: Duration = Duration::from_secs(20);

/// How long something is watched that must not happen.
const WATCH: Duration = Duration::from_millis(300);

/// Looks again and again until `done`.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let looking = async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(LIMIT, looking).await.is_ok(), "never: {what}");
}

#[tokio::test]
async fn requests_that_nobody_answers_are_refused_beyond_the_limit() {
    let (mut server, client) = configs();
    server.limits.pending_requests = 2;
    let pair = pair_with(&server, &client).await;
    let ask = || {
        let client = pair.client.clone();
        tokio::spawn(async move {
            client
                .open_session("localhost", "/", HeaderMap::new(), &[])
                .await
        })
    };
    let waiting = [ask(), ask()];
    until("two requests", || pair.server.session_count() == 2).await;
    let refused = timeout(LIMIT, ask()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::TOO_MANY_REQUESTS));
    let counted: Vec<_> = pair.server_endpoint.refusals().iter().collect();
    assert_eq!(counted, [(RefusalCause::TooManyRequests, 1)]);
    for answer in waiting {
        let session = pair
            .server
            .accept_session()
            .await
            .unwrap()
            .accept()
            .await
            .unwrap();
        timeout(LIMIT, answer).await.unwrap().unwrap().unwrap();
        session.close(0, "");
    }
}

#[tokio::test]
async fn streams_are_allowed_as_they_are_used_up_to_a_bound() {
    let (mut server, client) = configs();
    server.transport.streams_bidi = StreamCredit::new(2, 8);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let mut held = Vec::new();
    // The CONNECT stream is one of the eight.
    for _ in 0..7 {
        held.push(open_bi(&client, &server).await);
    }
    assert!(timeout(WATCH, client.open_bi()).await.is_err());
    // QUIC gives credit back in steps of more than an eighth.
    held.truncate(5);
    held.push(open_bi(&client, &server).await);
    held.push(open_bi(&client, &server).await);
}

/// Opens a stream, and holds both ends.
async fn open_bi(client: &Session, server: &Session) -> [BiStream; 2] {
    let mut here = timeout(LIMIT, client.open_bi()).await.unwrap().unwrap();
    here.send.flush().await.unwrap();
    let there = timeout(LIMIT, server.accept_bi()).await.unwrap().unwrap();
    [here, there]
}

#[tokio::test]
async fn writes_wait_for_a_reader_beyond_the_window_of_a_stream() {
    const WINDOW: u64 = 64 * 1024;
    const LEN: usize = 1 << 20;
    let (mut server, client) = configs();
    server.transport.stream_receive_window = WINDOW;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let mut send = client.open_uni().await.unwrap();
    assert!(timeout(WATCH, send.write_all(&[7; LEN])).await.is_err());
    let accepted = send.info().bytes_sent;
    // The header of the stream is within the window too.
    assert!((WINDOW - 16..WINDOW).contains(&accepted), "{accepted}");

    let rest = LEN - usize::try_from(accepted).unwrap();
    let writing = tokio::spawn(async move {
        send.write_all(&vec![7; rest]).await.unwrap();
        send.finish().unwrap();
        send.closed().await.unwrap();
    });
    let mut recv = server.accept_uni().await.unwrap();
    let read = timeout(LIMIT, recv.read_to_end(LEN))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.len(), LEN);
    timeout(LIMIT, writing).await.unwrap().unwrap();
}

/// Sends `total` bytes through a stream whose other end reads, and returns the window afterwards.
async fn window_after(server: &Session, client: &Session, total: usize) -> u64 {
    let [mut ours, mut theirs] = open_bi(client, server).await;
    let sending = tokio::spawn(async move {
        ours.send.write_chunk(vec![7; total].into()).await.unwrap();
        ours.send.finish().unwrap();
        ours.send.closed().await.unwrap();
        ours
    });
    let read = timeout(LIMIT, theirs.recv.read_to_end(total)).await;
    assert_eq!(read.unwrap().unwrap().len(), total);
    sending.await.unwrap();
    server.stats().recv_window.unwrap()
}

#[tokio::test]
async fn the_window_of_a_session_grows_with_a_quick_reader() {
    let (mut server, client) = configs();
    server.session.max_data = 1 << 20;
    for (auto_scale, grows) in [(true, true), (false, false)] {
        server.session.auto_scale = auto_scale;
        let pair = pair_with(&server, &client).await;
        let (theirs, ours) = pair.session().await;
        // What the path is like decides how soon; that it never comes is what must not be.
        let mut window = window_after(&theirs, &ours, 16 << 20).await;
        for _ in 0..8 {
            if window > 1 << 20 {
                break;
            }
            window = window_after(&theirs, &ours, 16 << 20).await;
        }
        assert_eq!(
            window > 1 << 20,
            grows,
            "auto_scale {auto_scale}: window {window}"
        );
        assert!(window <= server.transport.receive_window);
    }
}

#[tokio::test]
async fn a_connection_that_is_never_used_is_closed() {
    let (mut server, client) = configs();
    server.limits.unused_timeout = Duration::from_millis(200);
    let pair = pair_with(&server, &client).await;
    let end = timeout(LIMIT, pair.client.closed()).await.unwrap();
    assert!(end.is_graceful(), "{end}");
    // One that is used is not.
    let pair = pair_with(&server, &client).await;
    let (_server, session) = pair.session().await;
    assert!(timeout(WATCH * 2, session.closed()).await.is_err());
}
