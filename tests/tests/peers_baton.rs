//! The rules of devious baton that the public runner checks, against our server.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::time::Duration;

use peers::{client, site, within};
use wt::core::SessionError;
use wt::{BiStream, Client, Session, WriteError};
use wt_tests::interop::baton::{decode, encode};

/// A session with these terms.
async fn baton(query: &str) -> Session {
    let url = format!("{}/webtransport/devious-baton{query}", site().await);
    within(client().connect(url)).await.unwrap()
}

/// The value of the next unidirectional stream of the server.
async fn next_uni(session: &Session) -> u8 {
    let mut stream = within(session.accept_uni()).await.unwrap();
    decode(&within(stream.recv_to_end()).await).unwrap()
}

/// Sends a message on a new bidirectional stream.
async fn reply(session: &Session, value: u8) -> BiStream {
    let mut stream = session.open_bi().await.unwrap();
    stream.send.write_all(&encode(value)).await.unwrap();
    stream.send.finish().unwrap();
    stream
}

/// Sends bytes on a new unidirectional stream.
async fn send_uni(session: &Session, message: &[u8]) {
    let mut send = session.open_uni().await.unwrap();
    send.write_all(message).await.unwrap();
    send.finish().unwrap();
}

async fn closed(session: &Session) -> SessionError {
    within(session.closed()).await
}

/// Reading a whole stream, with its limit.
trait ReadAll {
    async fn recv_to_end(&mut self) -> bytes::Bytes;
}

impl ReadAll for wt::RecvStream {
    async fn recv_to_end(&mut self) -> bytes::Bytes {
        self.read_to_end(1 << 20).await.unwrap()
    }
}

/// Rules 1 to 3.
#[tokio::test]
async fn impossible_terms_are_refused() {
    let (origin, client) = (site().await, client());
    for query in [
        "version=99",
        "count=999999",
        "baton=0",
        "baton=256",
        "count=0",
        "count=x",
    ] {
        let url = format!("{origin}/webtransport/devious-baton?{query}");
        let error = within(client.connect(url)).await.unwrap_err();
        assert_eq!(error.status().map(|s| s.as_u16()), Some(400), "{query}");
    }
}

/// Rule 4.
#[tokio::test]
async fn the_server_starts_all_batons() {
    let session = baton("?baton=42&count=3").await;
    let mut values = Vec::new();
    for _ in 0..3 {
        values.push(next_uni(&session).await);
    }
    assert!(values.contains(&42) && !values.contains(&0), "{values:?}");

    let session = baton("?baton=7&baton=9").await;
    let mut values = [next_uni(&session).await, next_uni(&session).await];
    values.sort_unstable();
    assert_eq!(values, [7, 9]);
}

/// Rule 5.
#[tokio::test]
async fn a_reply_is_answered_on_its_stream() {
    let session = baton("?baton=10").await;
    assert_eq!(next_uni(&session).await, 10);
    let mut stream = reply(&session, 11).await;
    assert_eq!(decode(&within(stream.recv.recv_to_end()).await), Some(12));
    // And the answer to that, on a unidirectional stream, on a stream of the server.
    send_uni(&session, &encode(13)).await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    assert_eq!(decode(&within(stream.recv.recv_to_end()).await), Some(14));
    assert_eq!(session.close_reason(), None);
}

/// Rule 6.
#[tokio::test]
async fn a_new_baton_goes_round_all_kinds_of_streams() {
    let session = baton("?count=1&baton=10").await;
    assert_eq!(next_uni(&session).await, 10);
    send_uni(&session, &encode(50)).await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    assert_eq!(decode(&within(stream.recv.recv_to_end()).await), Some(51));
    stream.send.write_all(&encode(52)).await.unwrap();
    stream.send.finish().unwrap();
    assert_eq!(next_uni(&session).await, 53);
}

/// Rule 7.
#[tokio::test]
async fn multiples_of_seven_are_shown_in_a_datagram() {
    let session = baton("?baton=10").await;
    send_uni(&session, &encode(7)).await;
    assert_eq!(
        decode(&within(session.recv_datagram()).await.unwrap()),
        Some(7)
    );
}

/// Rule 8.
#[tokio::test]
async fn multiples_of_five_are_padded() {
    let session = baton("?baton=20").await;
    let mut stream = within(session.accept_uni()).await.unwrap();
    let message = within(stream.recv_to_end()).await;
    assert_eq!(decode(&message), Some(20));
    assert!(message.len() > 2, "no padding in {message:?}");
}

/// Rule 9.
#[tokio::test]
async fn malformed_messages_close_the_session() {
    let messages: [&[u8]; 5] = [&[0x40, 100, 0], &[], &[0], &[0, 1, 2], &[0xc0]];
    for message in messages {
        let session = baton("?baton=10").await;
        send_uni(&session, message).await;
        assert_eq!(closed(&session).await.code(), Some(2), "{message:?}");
    }
}

/// Rule 10.
#[tokio::test]
async fn wrong_values_close_the_session() {
    let session = baton("?baton=10").await;
    assert_eq!(next_uni(&session).await, 10);
    let _stream = reply(&session, 99).await;
    assert_eq!(closed(&session).await.code(), Some(3));

    let session = baton("?baton=10").await;
    send_uni(&session, &encode(50)).await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    stream.send.write_all(&encode(51)).await.unwrap();
    stream.send.finish().unwrap();
    assert_eq!(closed(&session).await.code(), Some(3));
}

/// Rule 11.
#[tokio::test]
async fn stopping_a_stream_does_no_harm() {
    let session = baton("?baton=10").await;
    let mut stream = within(session.accept_uni()).await.unwrap();
    stream.stop(1);
    still_plays(&session).await;
}

/// Rule 12.
#[tokio::test]
async fn resetting_a_stream_does_no_harm() {
    let session = baton("?baton=10").await;
    assert_eq!(next_uni(&session).await, 10);
    let mut send = session.open_uni().await.unwrap();
    send.write_all(b"padding").await.unwrap();
    send.reset(3);
    still_plays(&session).await;
    // Nor does it end the session a little later.
    let end = tokio::time::timeout(Duration::from_secs(2), session.closed()).await;
    assert!(end.is_err(), "{end:?}");
}

/// Starts another baton, which must come back.
async fn still_plays(session: &Session) {
    send_uni(session, &encode(60)).await;
    let mut stream = within(session.accept_bi()).await.unwrap();
    assert_eq!(decode(&within(stream.recv.recv_to_end()).await), Some(61));
}

/// Rule 13.
#[tokio::test]
async fn the_last_zero_ends_the_session() {
    let session = baton("?baton=255").await;
    assert_eq!(next_uni(&session).await, 255);
    let stream = reply(&session, 0).await;
    let end = closed(&session).await;
    assert_eq!((end.is_closed_by_peer(), end.code()), (true, Some(0)));
    drop(stream);

    // A 0 of the server's ends a baton as well: 254 comes, 255 goes back, 0 comes.
    let session = baton("?baton=254").await;
    assert_eq!(next_uni(&session).await, 254);
    let mut stream = reply(&session, 255).await;
    match within(stream.recv.read_to_end(100)).await {
        Ok(message) => assert_eq!(decode(&message), Some(0)),
        // The end of the session may overtake it.
        Err(error) => assert!(session.close_reason().is_some(), "{error}"),
    }
    assert_eq!(closed(&session).await.code(), Some(0));
}

#[tokio::test]
async fn one_of_two_batons_does_not_end_the_session() {
    let session = baton("?baton=255&baton=255").await;
    assert_eq!(
        [next_uni(&session).await, next_uni(&session).await],
        [255, 255]
    );
    let mut first = reply(&session, 0).await;
    // Nothing comes on it but its end, or nothing at all: it was the last word.
    let outcome = within(first.send.closed()).await;
    assert!(
        !matches!(outcome, Err(WriteError::Session(_))),
        "{outcome:?}"
    );
    still_plays(&session).await;
}

#[tokio::test]
async fn sessions_of_one_client_play_apart() {
    let origin = site().await;
    let client: Client = client().with_pooling(true);
    let mut sessions = Vec::new();
    for start in 200..210 {
        let url = format!("{origin}/webtransport/devious-baton?baton={start}");
        sessions.push(within(client.connect(url)).await.unwrap());
    }
    for session in &sessions {
        within(wt_tests::interop::baton::play(session))
            .await
            .unwrap();
    }
}
