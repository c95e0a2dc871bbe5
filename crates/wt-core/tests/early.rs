//! Sessions that are used before the server has answered (draft-16, 4.2).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Pair, echo, eventually, pair, pattern, recv, send, within};
use http::{HeaderMap, HeaderValue, StatusCode};
use wt_core::{Accept, ConnectError, ErrorCode, Session, SessionError, SessionState};

async fn ask(pair: &Pair) -> Session {
    let protocols = ["chat".to_owned()];
    let asked = pair
        .client
        .open_session_early("localhost", "/early", HeaderMap::new(), &protocols);
    within(asked).await.unwrap()
}

/// Shows that a session on the same connection works.
async fn beside(pair: &Pair) {
    let opened = pair
        .client
        .open_session("localhost", "/beside", HeaderMap::new(), &[]);
    let (client, server) = tokio::join!(opened, async {
        let request = pair.server.accept_session().await.unwrap();
        request.accept().await.unwrap()
    });
    echo(server);
    let mut stream = within(client.unwrap().open_bi()).await.unwrap();
    send(&mut stream.send, pattern(1000)).await;
    assert_eq!(recv(&mut stream.recv).await.unwrap(), pattern(1000));
}

#[tokio::test]
async fn streams_and_datagrams_go_out_before_the_answer() {
    let pair = pair().await;
    let session = ask(&pair).await;
    assert_eq!(session.state(), SessionState::Connecting);
    assert_eq!(session.status(), StatusCode::CONTINUE);
    assert!(session.response_headers().is_empty());
    assert_eq!((session.path(), session.protocol()), ("/early", None));

    let mut bi = within(session.open_bi()).await.unwrap();
    send(&mut bi.send, pattern(3000)).await;
    let mut uni = within(session.open_uni()).await.unwrap();
    send(&mut uni, pattern(2000)).await;
    session.send_datagram("early").unwrap();
    // The server has them before anybody there has looked at the request.
    let received = || pair.server.stats().datagram_frames_received;
    eventually(|| received() > 0).await;

    let request = within(pair.server.accept_session()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-answer", HeaderValue::from_static("42"));
    let answer = Accept::new().headers(headers).protocol("chat");
    let server = within(request.accept_with(answer)).await.unwrap();
    within(session.established()).await.unwrap();
    assert_eq!(session.state(), SessionState::Established);
    assert_eq!(session.status(), StatusCode::OK);
    assert_eq!(session.response_headers()["x-answer"], "42");
    assert_eq!(session.protocol(), Some("chat"));

    let mut early = within(server.accept_uni()).await.unwrap();
    assert_eq!(recv(&mut early).await.unwrap(), pattern(2000));
    assert_eq!(within(server.recv_datagram()).await.unwrap(), "early");
    echo(server);
    assert_eq!(recv(&mut bi.recv).await.unwrap(), pattern(3000));
    // A second time it is known at once.
    within(session.established()).await.unwrap();
}

#[tokio::test]
async fn its_credit_is_renewed_as_that_of_others() {
    let pair = pair().await;
    let session = ask(&pair).await;
    let window = session.stats().recv_window.unwrap();
    let mut stream = within(session.open_bi()).await.unwrap();
    stream.send.flush().await.unwrap();
    let request = within(pair.server.accept_session()).await.unwrap();
    let server = within(request.accept()).await.unwrap();
    within(session.established()).await.unwrap();
    // Several windows of the session, both ways.
    let size = usize::try_from(window).unwrap() * 3;
    echo(server);
    let (mut sending, mut receiving) = stream.split();
    let sent = tokio::spawn(async move { send(&mut sending, pattern(size)).await });
    assert!(recv(&mut receiving).await.unwrap() == pattern(size));
    within(sent).await.unwrap();
}

#[tokio::test]
async fn a_refusal_ends_what_was_begun_and_nothing_else() {
    let pair = pair().await;
    let session = ask(&pair).await;
    let mut stream = within(session.open_bi()).await.unwrap();
    send(&mut stream.send, pattern(100)).await;
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.accept_bi().await.map(|_| ()) }
    });
    let request = within(pair.server.accept_session()).await.unwrap();
    request.reject(StatusCode::FORBIDDEN).unwrap();

    let error = within(session.established()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::FORBIDDEN));
    let end = within(session.closed()).await;
    assert_eq!(end, SessionError::Refused(Box::new(error)));
    assert_eq!(session.state(), SessionState::Closed);
    assert_eq!(within(waiting).await.unwrap().unwrap_err(), end);
    assert_eq!(within(session.open_uni()).await.unwrap_err(), end);
    assert!(recv(&mut stream.recv).await.is_err());
    assert!(end.to_string().contains("403"), "{end}");
    beside(&pair).await;
}

#[tokio::test]
async fn dropping_or_closing_it_gives_the_request_up() {
    let pair = pair().await;
    drop(ask(&pair).await);
    let closed = ask(&pair).await;
    closed.close(7, "not any more");
    let error = within(closed.established()).await.unwrap_err();
    let cancelled = ConnectError::Rejected(ErrorCode::H3_REQUEST_CANCELLED);
    assert_eq!(error, cancelled);
    let end = within(closed.closed()).await;
    assert!(end.is_closed_locally(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(7), "not any more"));
    // Neither is a request any more once the server has learned of it.
    beside(&pair).await;
    eventually(|| pair.server.session_count() <= 1).await;
}

#[tokio::test]
async fn the_end_of_the_connection_ends_it() {
    let pair = pair().await;
    let session = ask(&pair).await;
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.established().await }
    });
    pair.server.abort(ErrorCode::H3_INTERNAL_ERROR, "gone");
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectError::Connection(_)), "{error}");
    within(session.closed()).await;
}
