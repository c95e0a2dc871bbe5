//! Limits that the public API can reach; `docs/limits.md` has all of them.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::time::Duration;

use common::{
    configs, pair_with,
    raw::{self, RawClient, RawSession, reset_code},
    within,
};
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use wt_core::{
    BiStream, Endpoint, ErrorCode, RefusalCause, Session,
    config::{ServerConfig, StreamCredit},
};

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

/// A server, a client that a test plays by hand, and a session as both have it.
async fn raw_session(config: &ServerConfig) -> (Endpoint, RawClient, RawSession, Session) {
    let endpoint = Endpoint::server(config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let settings = raw::settings();
    let connecting = RawClient::connect(address, &config.identity, &settings);
    let accepting = async { endpoint.accept().await.unwrap().accept().await.unwrap() };
    let (client, server) = within(async { tokio::join!(connecting, accepting) }).await;
    let (session, theirs) = tokio::join!(client.session(), async {
        let request = server.accept_session().await.unwrap();
        request.accept().await.unwrap()
    });
    (endpoint, client, session, theirs)
}

#[tokio::test]
async fn who_opens_streams_one_by_one_is_not_told_of_each_few_that_ended() {
    let (config, _) = configs();
    let (_endpoint, client, session, theirs) = raw_session(&config).await;
    let request = async || {
        let (mut send, mut recv) = client.open_bi(&session).await;
        send.finish().unwrap();
        let mut stream = within(theirs.accept_bi()).await.unwrap();
        assert!(
            within(stream.recv.read_to_end(10))
                .await
                .unwrap()
                .is_empty()
        );
        stream.send.finish().unwrap();
        assert!(within(recv.read_to_end(10)).await.unwrap().is_empty());
    };
    let announcements = || client.quic.stats().frame_rx.max_streams_bidi;
    for _ in 0..8 {
        request().await;
    }
    until("more streams", || announcements() > 0).await;
    sleep(WATCH).await;
    let before = announcements();
    for _ in 0..90 {
        request().await;
    }
    sleep(WATCH).await;
    // One for each nine; with 16 streams it would be one for each three.
    let since = announcements() - before;
    assert!((8..=12).contains(&since), "{since}");
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

#[tokio::test]
async fn streams_with_half_a_header_are_rejected_beyond_the_limit() {
    let (mut config, _) = configs();
    config.limits.pending_headers = 3;
    config.limits.header_timeout = Duration::from_secs(60);
    let (_endpoint, client, session, theirs) = raw_session(&config).await;
    let header = wt_proto::stream_header::encode_bi(session.id);
    let (first, rest) = header.as_slice().split_at(1);
    let half = async || {
        let (mut send, recv) = within(client.quic.open_bi()).await.unwrap();
        send.write_all(first).await.unwrap();
        (send, recv)
    };
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(half().await);
    }
    let rejected = ErrorCode::WT_BUFFERED_STREAM_REJECTED;
    for _ in 0..2 {
        let (_send, mut recv) = half().await;
        assert_eq!(reset_code(&mut recv).await, rejected);
    }
    // Whose header becomes whole is served, and leaves its place to another.
    for _ in 0..3 {
        let (mut send, _recv) = waiting.remove(0);
        send.write_all(rest).await.unwrap();
        send.write_all(b"whole").await.unwrap();
        send.finish().unwrap();
        let mut stream = within(theirs.accept_bi()).await.unwrap();
        let body = within(stream.recv.read_to_end(10)).await.unwrap();
        assert_eq!(&body[..], b"whole");
        waiting.push(half().await);
    }
}

/// The numbers of the datagrams that arrive up to that of `last`.
async fn datagrams_up_to(session: &Session, last: u8) -> Vec<u8> {
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        let datagram = within(session.recv_datagram()).await.unwrap();
        got.push(datagram[0]);
    }
    got
}

#[tokio::test]
async fn datagrams_beyond_the_send_buffer_push_out_the_oldest_or_wait() {
    const LEN: usize = 1000;
    let (server, mut client) = configs();
    client.transport.datagram_send_buffer = 4 * (LEN + 100);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    // On this one thread, nothing is sent before the test waits.
    for n in 0..100_u8 {
        client.send_datagram([n; LEN]).unwrap();
    }
    let got = datagrams_up_to(&server, 99).await;
    assert_eq!(got, [96, 97, 98, 99]);

    let mut taken = 0_u8;
    while let Some(sent) = client.send_datagram_wait([taken; LEN]).now_or_never() {
        sent.unwrap();
        taken += 1;
    }
    assert_eq!(taken, 4);
    let sending = async {
        for n in taken..100 {
            within(client.send_datagram_wait([n; LEN])).await.unwrap();
        }
    };
    let ((), got) = tokio::join!(sending, datagrams_up_to(&server, 99));
    assert!(got.iter().copied().eq(0..100), "{got:?}");
}

#[tokio::test]
async fn handshakes_beyond_the_limit_wait_at_their_clients() {
    let (mut server, client) = configs();
    server.transport.max_incoming = 2;
    let server = Endpoint::server(&server).unwrap();
    let client = Endpoint::client(&client).unwrap();
    let address = server.local_addr().unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        let client = client.clone();
        asking.spawn(async move { client.connect(address, "localhost").await.unwrap() });
    }
    let first = within(server.accept()).await.unwrap();
    let second = within(server.accept()).await.unwrap();
    // The others have asked as well, and nothing is kept of them.
    assert!(timeout(WATCH, server.accept()).await.is_err());
    let mut served = Vec::new();
    for incoming in [first, second] {
        served.push(within(incoming.accept()).await.unwrap());
    }
    // QUIC asks again.
    for _ in 0..2 {
        let incoming = within(server.accept()).await.unwrap();
        served.push(within(incoming.accept()).await.unwrap());
    }
    for client in within(asking.join_all()).await {
        assert!(client.close_reason().is_none());
    }
}
