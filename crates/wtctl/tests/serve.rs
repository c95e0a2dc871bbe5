//! Every path of the contract of `wtctl serve`, against the binary.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use common::{Server, echo, pattern, soon};
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};
use wt::{
    BiStream, Client, ReadError, RecvStream, SendStream, Session, SessionError, WriteError,
    core::config::StreamCredit,
};

// ---- echo

#[tokio::test]
async fn bidi_streams_are_echoed_on_every_path_of_echo() {
    let server = Server::start().await;
    for path in ["/", "/echo", "/echo/", "/echo/a/b?c=d"] {
        let session = server.connect(path).await;
        echo(&session, b"").await;
        echo(&session, &pattern(300_000)).await;
    }
}

#[tokio::test]
async fn bidi_bytes_come_back_before_fin() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let mut stream = session.open_bi().await.unwrap();
    for part in [&b"one"[..], b"two", b"three"] {
        stream.send.write_all(part).await.unwrap();
        let mut back = vec![0; part.len()];
        soon(stream.recv.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, part);
    }
    stream.send.finish().unwrap();
    assert_eq!(soon(stream.recv.read_chunk(10)).await.unwrap(), None);
}

#[tokio::test]
async fn a_reset_is_answered_by_a_reset_with_the_same_code() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    for code in [0, 29, 30, u32::MAX] {
        let mut stream = session.open_bi().await.unwrap();
        stream.send.write_all(b"x").await.unwrap();
        soon(stream.recv.read_exact(&mut [0])).await.unwrap();
        stream.send.reset(code);
        let error = soon(stream.recv.read_chunk(10)).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
    }
}

#[tokio::test]
async fn a_reset_is_answered_although_the_echo_is_not_read() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let mut stream = session.open_bi().await.unwrap();
    // As much as fits: the echo is stuck in the server then.
    let bytes = pattern(64 * 1024);
    while let Ok(written) = timeout(Duration::from_millis(300), stream.send.write_all(&bytes)).await
    {
        written.unwrap();
    }
    stream.send.reset(77);
    let code = soon(stream.recv.closed()).await.unwrap();
    assert_eq!(code.and_then(|code| code.to_application()), Some(77));
    echo(&session, b"the session goes on").await;
}

#[tokio::test]
async fn a_client_that_stops_the_echo_is_stopped() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let mut stream = session.open_bi().await.unwrap();
    stream.recv.stop(5);
    let bytes = pattern(64 * 1024);
    let error = soon(async {
        loop {
            if let Err(error) = stream.send.write_all(&bytes).await {
                break error;
            }
        }
    });
    assert_eq!(error.await.code(), Some(5));
}

#[tokio::test]
async fn uni_streams_are_answered_by_one_each() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let sizes: Vec<usize> = (0..20).map(|i| i * 5000).collect();
    for size in &sizes {
        let mut send = soon(session.open_uni()).await.unwrap();
        send.write_all(&pattern(*size)).await.unwrap();
        send.finish().unwrap();
    }
    let mut seen = Vec::new();
    for _ in &sizes {
        let mut recv = soon(session.accept_uni()).await.unwrap();
        let bytes = soon(recv.read_to_end(1 << 20)).await.unwrap();
        assert_eq!(bytes, pattern(bytes.len()));
        seen.push(bytes.len());
    }
    seen.sort_unstable();
    assert_eq!(seen, sizes);
}

#[tokio::test]
async fn uni_bytes_come_back_before_fin_and_a_reset_with_its_code() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let mut send = session.open_uni().await.unwrap();
    send.write_all(b"early").await.unwrap();
    let mut recv = soon(session.accept_uni()).await.unwrap();
    let mut back = [0; 5];
    soon(recv.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"early");
    send.reset(9);
    let error = soon(recv.read_chunk(10)).await.unwrap_err();
    assert_eq!(error.code(), Some(9), "{error}");
}

async fn datagrams_come_back(session: &Session, count: u32) {
    let mut missing: HashSet<u32> = (0..count).collect();
    while !missing.is_empty() {
        for number in &missing {
            session
                .send_datagram_wait(number.to_be_bytes())
                .await
                .unwrap();
        }
        // Some may be lost: those are sent again.
        while let Ok(datagram) = timeout(Duration::from_millis(200), session.recv_datagram()).await
        {
            let number = datagram.unwrap()[..].try_into().unwrap();
            missing.remove(&u32::from_be_bytes(number));
            if missing.is_empty() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn datagrams_are_echoed() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    soon(datagrams_come_back(&session, 100)).await;
}

// ---- the other paths

/// Fails if a stream or datagram of the server is waiting after an exchange on the session.
async fn stays_silent(session: &Session) {
    let silence = Duration::from_millis(200);
    assert!(timeout(silence, session.accept()).await.is_err());
    assert!(timeout(silence, session.recv_datagram()).await.is_err());
}

#[tokio::test]
async fn discard_reads_and_drops_everything() {
    let server = Server::start().await;
    let session = server.connect("/discard").await;
    // More than any window, so that it has to be read.
    let bytes = pattern(1 << 20);
    let (mut send, mut recv) = session.open_bi().await.unwrap().split();
    let mut uni = session.open_uni().await.unwrap();
    for _ in 0..8 {
        soon(send.write_all(&bytes)).await.unwrap();
        soon(uni.write_all(&bytes)).await.unwrap();
    }
    session.send_datagram(b"gone").unwrap();
    send.finish().unwrap();
    uni.finish().unwrap();
    soon(uni.closed()).await.unwrap();
    assert_eq!(&soon(recv.read_to_end(1)).await.unwrap()[..], b"");
    stays_silent(&session).await;
}

#[tokio::test]
async fn source_sends_as_many_bytes_as_asked_for() {
    let server = Server::start().await;
    for bytes in [0, 1, 65_536, 5_000_000] {
        let session = server.connect(&format!("/source?bytes={bytes}")).await;
        for _ in 0..2 {
            let mut stream = session.open_bi().await.unwrap();
            stream.send.flush().await.unwrap();
            let got = soon(stream.recv.read_to_end(10_000_000)).await.unwrap();
            assert_eq!(got.len(), bytes);
            // What the client says is taken.
            soon(stream.send.write_all(&pattern(100_000)))
                .await
                .unwrap();
            stream.send.finish().unwrap();
            soon(stream.send.closed()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn push_opens_streams_and_then_echoes() {
    let server = Server::start().await;
    let session = server.connect("/push?uni=5&bidi=3&size=1000").await;
    for _ in 0..5 {
        let mut recv = soon(session.accept_uni()).await.unwrap();
        assert_eq!(soon(recv.read_to_end(1 << 20)).await.unwrap().len(), 1000);
    }
    for _ in 0..3 {
        let mut stream = soon(session.accept_bi()).await.unwrap();
        let got = soon(stream.recv.read_to_end(1 << 20)).await.unwrap();
        assert_eq!(got.len(), 1000);
    }
    stays_silent(&session).await;
    echo(&session, &pattern(10_000)).await;
}

#[tokio::test]
async fn push_opens_more_streams_than_the_client_takes_at_a_time() {
    let server = Server::start().await;
    let session = server.connect("/push?uni=3000&size=10").await;
    for number in 0..3000 {
        let mut recv = soon(session.accept_uni()).await.unwrap();
        let got = soon(recv.read_to_end(100)).await.unwrap();
        assert_eq!(got.len(), 10, "stream {number}");
    }
}

#[tokio::test]
async fn close_ends_the_session_with_code_and_reason() {
    let server = Server::start().await;
    for (query, code, reason) in [
        ("", 0, ""),
        ("?code=7", 7, ""),
        (
            "?code=4294967295&reason=gr%C3%BC%C3%9Fe%20%26%20more",
            u32::MAX,
            "grüße & more",
        ),
    ] {
        let session = server.connect(&format!("/close{query}")).await;
        let end = soon(session.closed()).await;
        assert!(end.is_closed_by_peer(), "{end}");
        assert_eq!((end.code(), end.reason()), (Some(code), reason));
    }
}

#[tokio::test]
async fn reset_resets_and_stops_at_the_first_bytes() {
    let server = Server::start().await;
    for code in [0, 255, u32::MAX] {
        let session = server.connect(&format!("/reset?code={code}")).await;
        let mut stream = session.open_bi().await.unwrap();
        stream.send.flush().await.unwrap();
        let early = timeout(Duration::from_millis(100), stream.recv.read_chunk(1)).await;
        assert!(early.is_err(), "reset before the first bytes");
        stream.send.write_all(b"x").await.unwrap();
        let error = soon(stream.recv.read_chunk(1)).await.unwrap_err();
        assert!(matches!(error, ReadError::Reset(_)), "{error}");
        assert_eq!(error.code(), Some(code));
        let error = soon(stream.send.closed()).await.unwrap_err();
        assert!(matches!(error, WriteError::Stopped(_)), "{error}");
        assert_eq!(error.code(), Some(code));

        let mut uni = session.open_uni().await.unwrap();
        uni.write_all(b"x").await.unwrap();
        assert_eq!(soon(uni.closed()).await.unwrap_err().code(), Some(code));
    }
}

#[tokio::test]
async fn drain_asks_at_once_and_then_echoes() {
    let server = Server::start().await;
    let session = server.connect("/drain").await;
    soon(session.draining()).await.unwrap();
    echo(&session, &pattern(10_000)).await;
    let calm = server.connect("/echo").await;
    echo(&calm, b"x").await;
    assert!(!calm.is_draining());
}

#[tokio::test]
async fn headers_sends_the_fields_of_the_request() {
    let server = Server::start().await;
    let connect = server.client.connect(server.url("/headers?a=%20b"));
    let connect = connect
        .header("x-one", "1")
        .header("x-two", "a")
        .header("x-two", "b");
    let session = soon(connect.header("cookie", "a=b")).await.unwrap();
    let mut recv = soon(session.accept_uni()).await.unwrap();
    let json = soon(recv.read_to_end(1 << 16)).await.unwrap();
    let fields: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(fields[":method"], "CONNECT");
    assert_eq!(fields[":scheme"], "https");
    assert_eq!(fields[":path"], "/headers?a=%20b");
    assert_eq!(fields[":authority"], format!("127.0.0.1:{}", server.port()));
    assert!(
        fields[":protocol"]
            .as_str()
            .unwrap()
            .starts_with("webtransport")
    );
    assert_eq!(fields["x-one"], "1");
    assert_eq!(fields["x-two"], "a, b");
    assert_eq!(fields["cookie"], "a=b");
    echo(&session, &pattern(10_000)).await;
}

#[tokio::test]
async fn sessions_are_refused_with_the_status_asked_for() {
    let server = Server::start().await;
    for status in [300, 403, 404, 418, 429, 500, 503, 599] {
        assert_eq!(server.refused(&format!("/status/{status}")).await, status);
    }
}

#[tokio::test]
async fn unknown_paths_are_refused_with_404_and_bad_parameters_with_400() {
    let server = Server::start().await;
    for path in ["/nowhere", "/echoes", "/close/", "/status"] {
        assert_eq!(server.refused(path).await, 404, "{path}");
    }
    for path in [
        "/source?bytes=x",
        "/close?code=4294967296",
        "/slow?ms=-1",
        "/status/200",
    ] {
        assert_eq!(server.refused(path).await, 400, "{path}");
    }
}

#[tokio::test]
async fn slow_answers_late_and_then_echoes() {
    let server = Server::start().await;
    let start = Instant::now();
    let session = server.connect("/slow?ms=400").await;
    assert!(start.elapsed() >= Duration::from_millis(400));
    echo(&session, &pattern(10_000)).await;
}

// ---- subprotocols

#[tokio::test]
async fn the_first_of_the_offer_that_the_server_speaks_is_chosen() {
    let server = Server::start_with(&["--protocols", "a,b", "--protocols", "c d"]).await;
    for (offer, chosen) in [
        (&["x", "b", "a"][..], Some("b")),
        (&["a", "b"], Some("a")),
        (&["c d"], Some("c d")),
        (&["x", "A"], None),
        (&[], None),
    ] {
        let connect = server
            .client
            .connect(server.url("/"))
            .protocols(offer.iter().copied());
        let session = soon(connect).await.unwrap();
        assert_eq!(session.protocol(), chosen, "{offer:?}");
    }
}

#[tokio::test]
async fn a_server_without_protocols_chooses_none() {
    let server = Server::start().await;
    let session = soon(server.client.connect(server.url("/")).protocols(["a"]))
        .await
        .unwrap();
    assert_eq!(session.protocol(), None);
}

// ---- many at once

#[tokio::test]
async fn a_thousand_streams_of_each_kind_are_granted_at_a_time() {
    let server = Server::start().await;
    // The client has to take as many answers.
    let mut config = server.client.config().clone();
    config.transport.streams_uni = StreamCredit::new(1280, 1280);
    config.session.max_streams_uni = 1200;
    let client = Client::new(config).unwrap();
    let session = soon(client.connect(server.url("/echo"))).await.unwrap();
    let mut open = VecDeque::new();
    // As some end, others may begin: also when few end, and when all do.
    for ending in [0, 1, 10, 100, 1000, 1000] {
        for (mut stream, mut uni, mut back) in open.drain(..ending) {
            finish(&mut stream, &mut uni, &mut back).await;
        }
        while open.len() < 1000 {
            let mut stream = soon(session.open_bi()).await.unwrap();
            stream.send.write_all(b"x").await.unwrap();
            soon(stream.recv.read_exact(&mut [0])).await.unwrap();
            let mut uni = soon(session.open_uni()).await.unwrap();
            uni.write_all(b"y").await.unwrap();
            let mut back = soon(session.accept_uni()).await.unwrap();
            soon(back.read_exact(&mut [0])).await.unwrap();
            open.push_back((stream, uni, back));
        }
    }
}

async fn finish(stream: &mut BiStream, uni: &mut SendStream, back: &mut RecvStream) {
    stream.send.finish().unwrap();
    uni.finish().unwrap();
    assert_eq!(soon(stream.recv.read_chunk(1)).await.unwrap(), None);
    assert_eq!(soon(back.read_chunk(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_that_is_not_read_holds_up_no_other() {
    let server = Server::start().await;
    let session = server.connect("/echo").await;
    let mut stuck = session.open_bi().await.unwrap();
    let bytes = pattern(64 * 1024);
    while let Ok(written) = timeout(Duration::from_millis(300), stuck.send.write_all(&bytes)).await
    {
        written.unwrap();
    }
    echo(&session, &pattern(100_000)).await;
}

#[tokio::test]
async fn sessions_on_one_connection_do_not_disturb_each_other() {
    let server = Server::start().await;
    let client = server.client.clone().with_pooling(true);
    let mut sessions = Vec::new();
    for number in 0..8 {
        let connect = client.connect(server.url(&format!("/echo/{number}")));
        sessions.push(soon(connect).await.unwrap());
    }
    let connection = sessions[0].connection();
    assert!(
        sessions
            .iter()
            .all(|s| s.connection().stable_id() == connection.stable_id())
    );
    let mut echoes = JoinSet::new();
    for session in sessions.clone() {
        echoes.spawn(async move { echo(&session, &pattern(200_000)).await });
    }
    while let Some(result) = soon(echoes.join_next()).await {
        result.unwrap();
    }
    sessions[0].close(1, "first");
    let ended = soon(client.connect(server.url("/close?code=2")))
        .await
        .unwrap();
    assert!(matches!(
        soon(ended.closed()).await,
        SessionError::Closed { code: 2, .. }
    ));
    for session in &sessions[1..] {
        echo(session, b"still here").await;
    }
}
