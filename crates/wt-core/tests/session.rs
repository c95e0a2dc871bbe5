//! Sessions through the public API, over real QUIC on loopback.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::time::Duration;

use common::{Pair, configs, eventually, pair, pair_with, raw, recv, session, within};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use wt_core::{
    Accept, AnswerError, ConnectError, ConnectionError, ErrorCode, ExportError, Initiator,
    ProtocolViolation, ReadError, SendDatagramError, Session, SessionError, SessionRequest,
    WriteError, config::ServerConfig, tls::Identity,
};

/// Asks for a session; the request comes first.
async fn ask(
    pair: &Pair,
    path: &str,
    headers: HeaderMap,
    protocols: &[&str],
) -> (
    SessionRequest,
    tokio::task::JoinHandle<Result<Session, ConnectError>>,
) {
    let client = pair.client.clone();
    let path = path.to_owned();
    let protocols: Vec<_> = protocols.iter().map(|p| (*p).to_owned()).collect();
    let asking = tokio::spawn(async move {
        client
            .open_session("example.com:4433", &path, headers, &protocols)
            .await
    });
    let request = within(pair.server.accept_session()).await.unwrap();
    (request, asking)
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

fn closed(by: Initiator, code: u32, reason: &str) -> SessionError {
    SessionError::Closed {
        by,
        code,
        reason: reason.to_owned(),
    }
}

/// A session at work: streams with both halves in use, and tasks that wait in every way there is.
struct Busy {
    waiting: tokio::task::JoinSet<Result<(), SessionError>>,
}

/// Starts one task for everything that can wait in a session.
///
/// The peer must read nothing, send nothing and open nothing but streams that it leaves alone.
async fn busy(session: &Session, peer: &Session) -> Busy {
    let mut waiting = tokio::task::JoinSet::new();
    let mut reading = session.open_bi().await.unwrap();
    reading.send.flush().await.unwrap();
    let mut closing = session.open_bi().await.unwrap();
    closing.send.write_all(b"x").await.unwrap();
    let mut writing = session.open_uni().await.unwrap();
    writing.flush().await.unwrap();
    let mut peers = peer.open_bi().await.unwrap();
    peers.send.write_all(b"x").await.unwrap();
    let mut accepted = within(session.accept_bi()).await.unwrap();
    let s = session.clone();
    waiting.spawn(async move { s.accept_bi().await.map(drop) });
    let s = session.clone();
    waiting.spawn(async move { s.accept_uni().await.map(drop) });
    let s = session.clone();
    waiting.spawn(async move { s.recv_datagram().await.map(drop) });
    let s = session.clone();
    waiting.spawn(async move { s.draining().await });
    let s = session.clone();
    waiting.spawn(async move { Err(s.closed().await) });
    let s = session.clone();
    waiting.spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(s.open_uni().await?);
        }
    });
    // The streams of a session that the peer closes may end before the word of it arrives.
    let gone = |code| {
        assert_eq!(code, ErrorCode::WT_SESSION_GONE);
        SessionError::Aborted(code)
    };
    let read = move |error| match error {
        ReadError::Session(error) => error,
        ReadError::Reset(code) => gone(code),
        other => panic!("{other}"),
    };
    let write = move |error| match error {
        WriteError::Session(error) => error,
        WriteError::Stopped(code) => gone(code),
        other => panic!("{other}"),
    };
    waiting.spawn(async move {
        let result = reading.recv.read_chunk(10).await;
        result.map(drop).map_err(read)
    });
    waiting.spawn(async move {
        accepted.recv.read_exact(&mut [0]).await.unwrap();
        match accepted.recv.closed().await {
            Ok(code) => Err(gone(code.unwrap())),
            Err(error) => Err(read(error)),
        }
    });
    waiting.spawn(async move { closing.send.closed().await.map_err(write) });
    waiting.spawn(async move {
        let block = vec![7; 1 << 20];
        loop {
            writing.write_all(&block).await.map_err(write)?;
        }
    });
    waiting.spawn(async move {
        // Nobody does anything with this one until the session ends.
        match peers.send.stopped().await {
            Ok(code) => Err(gone(code.unwrap())),
            Err(error) => Err(error.0),
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    Busy { waiting }
}

impl Busy {
    /// Checks that every waiting task is told so.
    async fn ended(mut self, errors: &[SessionError]) {
        while let Some(result) = within(self.waiting.join_next()).await {
            let error = result.unwrap().unwrap_err();
            let gone = SessionError::Aborted(ErrorCode::WT_SESSION_GONE);
            assert!(error == gone || errors.contains(&error), "{error:?}");
        }
    }
}

#[tokio::test]
async fn bidirectional_stream_echo() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let echo = tokio::spawn(async move {
        let mut stream = server.accept_bi().await.unwrap();
        let bytes = stream.recv.read_to_end(1 << 20).await.unwrap();
        stream.send.write_chunk(bytes).await.unwrap();
        stream.send.finish().unwrap();
        stream.send.closed().await.unwrap();
        server
    });
    let mut stream = client.open_bi().await.unwrap();
    stream.send.write_all(b"hello").await.unwrap();
    stream.send.finish().unwrap();
    assert_eq!(&stream.recv.read_to_end(100).await.unwrap()[..], b"hello");
    echo.await.unwrap();
}

#[tokio::test]
async fn datagrams_go_both_ways() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    client.send_datagram(b"ping").unwrap();
    assert_eq!(&server.recv_datagram().await.unwrap()[..], b"ping");
    server.send_datagram(b"pong").unwrap();
    assert_eq!(&client.recv_datagram().await.unwrap()[..], b"pong");
}

#[tokio::test]
async fn close_tells_code_and_reason() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    client.close(7, "bye");
    let closed = |by| SessionError::Closed {
        by,
        code: 7,
        reason: "bye".to_owned(),
    };
    assert_eq!(client.closed().await, closed(Initiator::Local));
    assert_eq!(server.closed().await, closed(Initiator::Peer));
}

#[tokio::test]
async fn silent_close_is_code_0_and_no_reason() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    server.close_silently();
    let closed = |by| SessionError::Closed {
        by,
        code: 0,
        reason: String::new(),
    };
    assert_eq!(server.closed().await, closed(Initiator::Local));
    assert_eq!(client.closed().await, closed(Initiator::Peer));
}

#[tokio::test]
async fn codes_of_http3_pass_as_they_are() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut ours = client.open_bi().await.unwrap();
    ours.send.write_all(b"x").await.unwrap();
    let mut theirs = server.accept_bi().await.unwrap();
    theirs.send.reset_with(ErrorCode::H3_REQUEST_CANCELLED);
    theirs.recv.stop_with(ErrorCode::H3_INTERNAL_ERROR);

    let reset = ours.recv.read_chunk(1).await.unwrap_err();
    assert_eq!(reset, ReadError::Reset(ErrorCode::H3_REQUEST_CANCELLED));
    assert_eq!(reset.code(), None);
    let stopped = ours.send.closed().await.unwrap_err();
    assert_eq!(stopped, WriteError::Stopped(ErrorCode::H3_INTERNAL_ERROR));
}

#[tokio::test]
async fn a_stream_tells_what_went_through_it() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut ours = client.open_bi().await.unwrap();
    ours.send.write_all(b"hello").await.unwrap();
    ours.send.finish().unwrap();
    let mut theirs = server.accept_bi().await.unwrap();
    theirs.recv.read_to_end(100).await.unwrap();
    let (ours, theirs) = (ours.info(), theirs.info());
    assert_eq!((ours.bytes_sent, ours.bytes_received), (5, 0));
    assert_eq!((theirs.bytes_sent, theirs.bytes_received), (0, 5));
    assert_eq!(
        (ours.opened_by, theirs.opened_by),
        (Initiator::Local, Initiator::Peer)
    );
    assert_eq!(ours.session, client.id());
    let text = theirs.to_string();
    assert!(text.contains("opened by the peer"), "{text}");
    assert!(text.contains("0 bytes sent, 5 received"), "{text}");
    assert!(
        theirs
            .fields()
            .contains(&("bytes_received", "5".to_owned()))
    );
}

#[tokio::test]
async fn both_ends_know_what_was_asked_and_answered() {
    let pair = pair().await;
    let asked = headers(&[("x-token", "secret"), ("origin", "https://example.com")]);
    let (request, asking) = ask(&pair, "/chat/room?user=me&x=%20", asked, &["a", "b;c"]).await;
    assert_eq!(request.path(), "/chat/room");
    assert_eq!(request.query(), Some("user=me&x=%20"));
    assert_eq!(request.authority(), "example.com:4433");
    assert_eq!(request.headers()["x-token"], "secret");
    assert_eq!(request.origin(), Some("https://example.com"));
    assert_eq!(request.protocols(), ["a", "b;c"]);
    assert_eq!(
        request.remote_address(),
        pair.client_endpoint.local_addr().unwrap()
    );
    let answer = Accept::new()
        .headers(headers(&[("server", "test"), ("x-answer", "1")]))
        .status(StatusCode::ACCEPTED)
        .protocol("b;c");
    let server = request.accept_with(answer).await.unwrap();
    let client = within(asking).await.unwrap().unwrap();
    for session in [&server, &client] {
        assert_eq!(session.path(), "/chat/room");
        assert_eq!(session.query(), Some("user=me&x=%20"));
        assert_eq!(session.authority(), "example.com:4433");
        assert_eq!(session.headers()["x-token"], "secret");
        assert_eq!(session.status(), StatusCode::ACCEPTED);
        assert_eq!(session.response_headers()["x-answer"], "1");
        assert_eq!(session.protocol(), Some("b;c"));
        assert_eq!(session.stream_id(), session.id().stream_id());
    }
    assert_eq!(server.id(), client.id());
    let (ours, theirs) = (
        pair.server_endpoint.local_addr().unwrap(),
        pair.client_endpoint.local_addr().unwrap(),
    );
    assert_eq!(client.remote_address(), ours);
    assert_eq!(server.remote_address(), theirs);
    if let Some(ip) = server.local_ip() {
        assert_eq!(ip, ours.ip());
    }
    assert_eq!(client.peer_certificates().len(), 1);
    assert_eq!(server.peer_certificates().len(), 0);
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_refused_here() {
    let pair = pair().await;
    let open = |headers, protocols: &[&str]| {
        let protocols: Vec<_> = protocols.iter().map(|p| (*p).to_owned()).collect();
        let client = pair.client.clone();
        async move {
            client
                .open_session("localhost", "/", headers, &protocols)
                .await
        }
    };
    for (headers, protocols) in [
        (headers(&[("connection", "close")]), &[][..]),
        (headers(&[]), &["not\nascii"][..]),
    ] {
        let error = within(open(headers, protocols)).await.unwrap_err();
        assert!(matches!(error, ConnectError::InvalidRequest(_)), "{error}");
    }
    pair.session().await;
}

#[tokio::test]
async fn an_accepted_session_begins_when_its_answer_is_on_its_way() {
    let (server, mut client) = configs();
    // Streams that overtake the answer are lost.
    client.limits.early_streams = 0;
    let pair = pair_with(&server, &client).await;
    let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
    let server = within(request.accept()).await.unwrap();
    let mut stream = server.open_uni().await.unwrap();
    stream.write_all(b"first").await.unwrap();
    stream.finish().unwrap();
    let client = within(asking).await.unwrap().unwrap();
    let mut stream = within(client.accept_uni()).await.unwrap();
    assert_eq!(within(stream.read_to_end(10)).await.unwrap(), "first");
}

#[tokio::test]
async fn a_refusal_tells_status_and_headers() {
    let pair = pair().await;
    let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
    let answer = headers(&[("retry-after", "120")]);
    request
        .reject_with(StatusCode::TOO_MANY_REQUESTS, answer)
        .unwrap();
    match within(asking).await.unwrap().unwrap_err() {
        ConnectError::Refused { status, headers } => {
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(headers["retry-after"], "120");
        }
        other => panic!("{other}"),
    }
    // The connection goes on.
    pair.session().await;
}

#[tokio::test]
async fn a_request_that_is_dropped_is_answered_with_503() {
    let pair = pair().await;
    let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
    drop(request);
    let error = within(asking).await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn answers_that_cannot_be_sent_are_errors_and_500() {
    let pair = pair().await;
    let wrong = |answer: Accept, expected: fn(&AnswerError) -> bool| {
        let pair = &pair;
        async move {
            let (request, asking) = ask(pair, "/", HeaderMap::new(), &["known"]).await;
            let error = request.accept_with(answer).await.unwrap_err();
            assert!(expected(&error), "{error}");
            let error = within(asking).await.unwrap().unwrap_err();
            assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        }
    };
    let status = |e: &AnswerError| matches!(e, AnswerError::Status(_));
    wrong(Accept::new().status(StatusCode::NOT_FOUND), status).await;
    let headers = headers(&[("transfer-encoding", "chunked")]);
    wrong(Accept::new().headers(headers), |e| {
        matches!(e, AnswerError::Header(_))
    })
    .await;
    wrong(
        Accept::new().protocol("unknown"),
        |e| matches!(e, AnswerError::Protocol(p) if p == "unknown"),
    )
    .await;
    let mut large = HeaderMap::new();
    large.insert("x-long", "0".repeat(17_000).try_into().unwrap());
    wrong(Accept::new().headers(large), |e| {
        *e == AnswerError::TooLarge
    })
    .await;
    let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
    let error = request.reject(StatusCode::OK).unwrap_err();
    assert_eq!(error, AnswerError::Status(StatusCode::OK));
    let error = within(asking).await.unwrap().unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
}

#[tokio::test]
async fn a_client_that_gave_up_cannot_be_accepted() {
    let pair = pair().await;
    let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
    asking.abort();
    eventually(|| pair.server.session_count() == 0).await;
    let error = request.accept().await.unwrap_err();
    assert!(matches!(error, AnswerError::Session(_)), "{error}");
    // Given up before the server looked: there is nothing to look at.
    let giving_up = pair
        .client
        .open_session("localhost", "/gone", HeaderMap::new(), &[]);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), giving_up)
            .await
            .is_err()
    );
    eventually(|| pair.server.session_count() == 0).await;
    let (request, _asking) = ask(&pair, "/next", HeaderMap::new(), &[]).await;
    assert_eq!(request.path(), "/next");
}

#[tokio::test]
async fn key_material_is_the_same_at_both_ends_and_of_one_session() {
    let pair = pair().await;
    let (first, second) = (pair.session().await, pair.session().await);
    let export = |session: &Session, label: &[u8], context: &[u8]| {
        let mut out = [0; 32];
        let done = session.export_keying_material(&mut out, label, context);
        done.map(|()| out)
    };
    let key = export(&first.0, b"label", b"context").unwrap();
    assert_eq!(export(&first.1, b"label", b"context"), Ok(key));
    for other in [
        export(&first.0, b"label2", b"context"),
        export(&first.0, b"label", b""),
        export(&first.0, b"labelc", b"ontext"),
        export(&second.0, b"label", b"context"),
    ] {
        assert_ne!(other.unwrap(), key);
    }
    let long = [0; 256];
    assert_eq!(export(&first.0, &long, b""), Err(ExportError::TooLong(256)));
    assert_eq!(export(&first.0, b"", &long), Err(ExportError::TooLong(256)));
}

#[tokio::test]
async fn reasons_are_cut_between_characters() {
    let pair = pair().await;
    for (reason, expected) in [
        ("x".repeat(1024), "x".repeat(1024)),
        ("x".repeat(1025), "x".repeat(1024)),
        // Of three bytes each: the 342nd would end at 1026.
        ("\u{20ac}".repeat(400), "\u{20ac}".repeat(341)),
    ] {
        let (server, client) = pair.session().await;
        server.close(u32::MAX, &reason);
        let end = within(client.closed()).await;
        assert_eq!(end, closed(Initiator::Peer, u32::MAX, &expected));
        assert_eq!(end.code(), Some(u32::MAX));
        assert_eq!(end.reason(), expected);
        assert!(end.is_closed_by_peer());
        let end = within(server.closed()).await;
        assert_eq!(end, closed(Initiator::Local, u32::MAX, &expected));
    }
}

#[tokio::test]
async fn the_first_close_wins() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    client.close(1, "first");
    client.close(2, "second");
    assert_eq!(
        client.close_reason(),
        Some(closed(Initiator::Local, 1, "first"))
    );
    assert_eq!(
        within(server.closed()).await,
        closed(Initiator::Peer, 1, "first")
    );
    server.close(3, "late");
    assert_eq!(
        server.close_reason(),
        Some(closed(Initiator::Peer, 1, "first"))
    );
}

#[tokio::test]
async fn nothing_works_in_a_session_that_is_over() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut stream = client.open_bi().await.unwrap();
    stream.send.flush().await.unwrap();
    client.close(5, "over");
    let end = closed(Initiator::Local, 5, "over");
    assert_eq!(client.open_bi().await.map(drop), Err(end.clone()));
    assert_eq!(client.open_uni().await.map(drop), Err(end.clone()));
    assert_eq!(client.accept_bi().await.map(drop), Err(end.clone()));
    assert_eq!(client.accept_uni().await.map(drop), Err(end.clone()));
    assert_eq!(client.recv_datagram().await, Err(end.clone()));
    let sent = client.send_datagram(b"x");
    assert_eq!(sent, Err(SendDatagramError::Session(end.clone())));
    let sent = client.send_datagram_wait(b"x").await;
    assert_eq!(sent, Err(SendDatagramError::Session(end.clone())));
    let written = stream.send.write_all(b"x").await;
    assert_eq!(written, Err(WriteError::Session(end.clone())));
    assert_eq!(stream.send.finish(), Err(WriteError::Session(end.clone())));
    let read = stream.recv.read_chunk(1).await;
    assert_eq!(read, Err(ReadError::Session(end.clone())));
    assert_eq!(client.draining().await, Err(end));
    within(server.closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_waits_wakes_when_a_session_is_closed() {
    let (mut server, mut client) = configs();
    server.session.max_streams_uni = 20;
    client.session.max_streams_uni = 20;
    let pair = pair_with(&server, &client).await;
    for closer in [Initiator::Local, Initiator::Peer] {
        let (server, client) = pair.session().await;
        let busy = busy(&server, &client).await;
        match closer {
            Initiator::Local => server.close(9, "done"),
            Initiator::Peer => client.close(9, "done"),
        }
        // One of the tasks waits at the other end.
        let ends = [Initiator::Local, Initiator::Peer].map(|by| closed(by, 9, "done"));
        busy.ended(&ends).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_waits_wakes_when_the_connection_is_lost() {
    let (mut server, mut client) = configs();
    server.session.max_streams_uni = 20;
    client.session.max_streams_uni = 20;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let busy = busy(&server, &client).await;
    pair.client.abort(ErrorCode::H3_EXCESSIVE_LOAD, "too much");
    let lost = SessionError::Connection(ConnectionError::ClosedByPeer {
        code: ErrorCode::H3_EXCESSIVE_LOAD,
        reason: "too much".to_owned(),
    });
    let local = SessionError::Connection(ConnectionError::LocallyClosed);
    assert_eq!(within(server.closed()).await, lost);
    assert_eq!(within(client.closed()).await, local);
    busy.ended(&[lost, local]).await;
}

#[tokio::test]
async fn draining_is_told_to_both_ends_and_the_session_goes_on() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    assert!(!client.is_draining());
    assert!(client.draining().now_or_never().is_none());
    server.drain();
    within(client.draining()).await.unwrap();
    assert!(client.is_draining() && server.is_draining());
    within(server.draining()).await.unwrap();
    let (server2, client2) = pair.session().await;
    client2.drain();
    within(server2.draining()).await.unwrap();
    let mut tx = client.open_uni().await.unwrap();
    common::send(&mut tx, common::pattern(9)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    assert_eq!(recv(&mut rx).await, Ok(common::pattern(9)));
}

#[tokio::test]
async fn goaway_drains_all_sessions_and_refuses_new_ones() {
    let pair = pair().await;
    let (_servers, clients) = pair.sessions(3).await;
    pair.server.goaway();
    for client in &clients {
        within(client.draining()).await.unwrap();
    }
    let error = pair.client.can_open_session().unwrap_err();
    assert!(matches!(error, ConnectError::Unavailable(_)), "{error}");
    let opening = pair
        .client
        .open_session("localhost", "/", HeaderMap::new(), &[]);
    let error = within(opening).await.unwrap_err();
    assert!(error.to_string().contains("GOAWAY"), "{error}");
    clients[0].close(1, "");
    assert_eq!(clients[1].close_reason(), None);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_with_code_0() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let clone = client.clone();
    let stream = client.open_bi().await.unwrap();
    drop(client);
    drop(clone);
    // A stream holds its session.
    assert_eq!(server.closed().now_or_never(), None);
    drop(stream);
    assert_eq!(
        within(server.closed()).await,
        closed(Initiator::Peer, 0, "")
    );
}

#[tokio::test]
async fn the_last_words_of_a_session_come_before_the_end_of_its_connection() {
    // Whoever drops everything right after closing must not cut off what it said.
    for _ in 0..20 {
        let pair = pair().await;
        let (server, client) = pair.session().await;
        let Pair { client: handle, .. } = pair;
        client.close(77, "bye");
        drop((client, handle));
        let end = within(server.closed()).await;
        assert_eq!(end, closed(Initiator::Peer, 77, "bye"));
    }
}

#[tokio::test]
async fn closing_a_connection_closes_its_sessions_first() {
    let pair = pair().await;
    let (servers, _clients) = pair.sessions(3).await;
    within(pair.client.close(4, "shutdown")).await;
    for server in servers {
        let end = within(server.closed()).await;
        assert_eq!(end, closed(Initiator::Peer, 4, "shutdown"));
    }
    let end = within(pair.server.closed()).await;
    assert!(end.is_graceful(), "{end}");
}

#[tokio::test]
async fn streams_right_after_the_answer_are_not_lost() {
    let pair = pair().await;
    for _ in 0..50 {
        let (request, asking) = ask(&pair, "/", HeaderMap::new(), &[]).await;
        let server = request.accept().await.unwrap();
        for n in 0..5_u8 {
            let mut tx = server.open_uni().await.unwrap();
            tx.write_all(&[n]).await.unwrap();
            tx.finish().unwrap();
        }
        server.send_datagram(b"early").unwrap();
        let client = within(asking).await.unwrap().unwrap();
        for n in 0..5_u8 {
            let mut rx = within(client.accept_uni()).await.unwrap();
            assert_eq!(&recv(&mut rx).await.unwrap()[..], [n]);
        }
        assert_eq!(&within(client.recv_datagram()).await.unwrap()[..], b"early");
    }
}

// ---- seen by a peer that looks at the bytes

async fn raw_pair(
    configure: impl FnOnce(&mut ServerConfig),
) -> (wt_core::Endpoint, wt_core::Connection, raw::RawClient) {
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let mut config = ServerConfig::new(identity.clone()).with_bind(([127, 0, 0, 1], 0).into());
    configure(&mut config);
    let endpoint = wt_core::Endpoint::server(&config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let settings = raw::settings();
    let (server, client) = tokio::join!(
        async {
            let incoming = within(endpoint.accept()).await.unwrap();
            incoming.accept().await.unwrap()
        },
        raw::RawClient::connect(address, &identity, &settings),
    );
    (endpoint, server, client)
}

async fn raw_session(
    server: &wt_core::Connection,
    client: &raw::RawClient,
) -> (Session, raw::RawSession) {
    tokio::join!(
        async {
            let request = within(server.accept_session()).await.unwrap();
            request.accept().await.unwrap()
        },
        client.session(),
    )
}

#[tokio::test]
async fn streams_of_a_closed_session_are_reset_though_nobody_touches_them() {
    let (_endpoint, server, client) = raw_pair(|_| {}).await;
    for by_peer in [false, true] {
        let (session, mut raw_session) = raw_session(&server, &client).await;
        // Accepted and held, accepted never, and opened by the server.
        let (tx1, mut rx1) = client.open_bi(&raw_session).await;
        let accepted = within(session.accept_bi()).await.unwrap();
        let (tx2, mut rx2) = client.open_bi(&raw_session).await;
        let tx3 = client.open_uni(&raw_session).await;
        eventually(|| session.stats().streams_accepted == 3).await;
        let mut opened = session.open_bi().await.unwrap();
        opened.send.write_all(b"x").await.unwrap();
        let (tx4, mut rx4) = within(client.quic.accept_bi()).await.unwrap();
        if by_peer {
            raw_session.send.finish().unwrap();
        } else {
            session.close(1, "");
        }
        within(session.closed()).await;
        for rx in [&mut rx1, &mut rx2, &mut rx4] {
            assert_eq!(raw::reset_code(rx).await, ErrorCode::WT_SESSION_GONE);
        }
        for tx in [&tx1, &tx2, &tx3, &tx4] {
            assert_eq!(raw::stop_code(tx).await, ErrorCode::WT_SESSION_GONE);
        }
        // Streams that come later go the same way.
        let (tx5, mut rx5) = client.open_bi(&raw_session).await;
        assert_eq!(raw::stop_code(&tx5).await, ErrorCode::WT_SESSION_GONE);
        assert_eq!(raw::reset_code(&mut rx5).await, ErrorCode::WT_SESSION_GONE);
        drop((accepted, opened));
    }
}

#[tokio::test]
async fn every_end_of_a_connect_stream_ends_the_session() {
    let (_endpoint, server, client) = raw_pair(|_| {}).await;
    let (session, mut raw) = raw_session(&server, &client).await;
    raw.send.finish().unwrap();
    assert_eq!(
        within(session.closed()).await,
        closed(Initiator::Peer, 0, "")
    );
    assert_eq!(raw.end().await, raw::Next::Fin);

    let (session, mut raw) = raw_session(&server, &client).await;
    let code = ErrorCode::H3_REQUEST_CANCELLED;
    let quic_code = quinn::VarInt::from_u64(code.get()).unwrap();
    raw.send.reset(quic_code).unwrap();
    assert_eq!(within(session.closed()).await, SessionError::Aborted(code));

    let (session, mut raw) = raw_session(&server, &client).await;
    raw.recv.stop(quic_code).unwrap();
    assert_eq!(within(session.closed()).await, SessionError::Aborted(code));

    // Cut off within a capsule.
    let (session, mut raw) = raw_session(&server, &client).await;
    raw.send.write_all(&[0x00, 0x02, 0x68, 0x43]).await.unwrap();
    raw.send.finish().unwrap();
    let end = within(session.closed()).await;
    let cut = ProtocolViolation::CapsuleTruncated;
    assert_eq!(end, SessionError::Violation(cut));
    assert_eq!(raw.end().await, raw::Next::Reset(cut.code()));
    assert_eq!(server.session_count(), 0);
}

#[tokio::test]
async fn how_a_session_ended_is_known_though_the_connection_ended_with_it() {
    // Peers leave like this: the last capsule and CONNECTION_CLOSE in one flight.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let config = ServerConfig::new(identity.clone()).with_bind(([127, 0, 0, 1], 0).into());
    let endpoint = wt_core::Endpoint::server(&config).unwrap();
    let address = endpoint.local_addr().unwrap();
    // The client runs on threads of its own, so that it can act while the server stands still.
    let others = tokio::runtime::Runtime::new().unwrap();
    let connecting = others.spawn(async move {
        let client = raw::RawClient::connect(address, &identity, &raw::settings()).await;
        let session = client.session().await;
        (client, session)
    });
    let incoming = within(endpoint.accept()).await.unwrap();
    let server = incoming.accept().await.unwrap();
    let request = within(server.accept_session()).await.unwrap();
    let session = request.accept().await.unwrap();
    let (client, mut raw) = within(connecting).await.unwrap();
    let (left, has_left) = std::sync::mpsc::channel();
    others.spawn(async move {
        let close = wt_proto::capsule::CloseSession::new(3, "leaving");
        raw.write(&wt_proto::capsule::Capsule::Close(close)).await;
        raw.send.finish().unwrap();
        let before = client.quic.stats().udp_tx.datagrams;
        while client.quic.stats().udp_tx.datagrams == before {
            tokio::task::yield_now().await;
        }
        client.quic.close(0x100_u32.into(), b"");
        tokio::time::sleep(Duration::from_millis(100)).await;
        left.send(()).unwrap();
    });
    has_left.recv_timeout(Duration::from_secs(30)).unwrap();
    let end = within(session.closed()).await;
    assert_eq!(end, closed(Initiator::Peer, 3, "leaving"));
    others.shutdown_background();
}

#[tokio::test]
async fn a_peer_that_does_not_end_its_side_is_not_waited_for_forever() {
    let (endpoint, server, client) = raw_pair(|config| {
        config.limits.close_timeout = Duration::from_millis(300);
        config.limits.linger = Duration::from_secs(3600);
    })
    .await;
    let (session, raw) = raw_session(&server, &client).await;
    session.close(1, "");
    // The stream of the session is torn down, and the connection goes on.
    assert_eq!(raw::stop_code(&raw.send).await, ErrorCode::WT_SESSION_GONE);
    let (session, raw) = raw_session(&server, &client).await;
    // When nobody is left, the connection goes too.
    session.close(2, "");
    drop((session, server));
    within(client.quic.closed()).await;
    drop(raw);
    eventually(|| endpoint.open_connections() == 0).await;
}

#[tokio::test]
async fn a_server_leaves_a_connection_without_sessions_after_a_while() {
    let (mut server, client) = configs();
    server.limits.linger = Duration::from_millis(200);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    drop(client);
    within(server.closed()).await;
    let again = session(&pair.server, &pair.client);
    let (server, client) = within(again).await;
    // Longer than it lingers: an open session holds the connection.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pair.server.close_reason(), None);
    client.close(6, "end");
    assert_eq!(
        within(server.closed()).await,
        closed(Initiator::Peer, 6, "end")
    );
    let end = within(pair.client.closed()).await;
    assert!(end.is_graceful(), "{end}");
}

#[tokio::test]
async fn without_linger_the_last_words_still_arrive() {
    let (mut server, client) = configs();
    server.limits.linger = Duration::ZERO;
    for _ in 0..20 {
        let pair = pair_with(&server, &client).await;
        let (server, client) = pair.session().await;
        server.close(8, "that was it");
        let end = within(client.closed()).await;
        assert_eq!(end, closed(Initiator::Peer, 8, "that was it"));
        within(pair.client.closed()).await;
    }
}
