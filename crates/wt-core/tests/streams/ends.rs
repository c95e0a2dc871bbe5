//! How streams end: finished, reset, stopped or dropped.

use bytes::Bytes;
use futures_util::FutureExt;
use wt_core::{ReadError, WriteError};

use crate::{
    bi,
    common::{configs, eventually, pair, pair_with, pattern, recv, send, within},
    uni,
};

const CODES: [u32; 7] = [0, 1, 29, 30, 31, u32::MAX - 1, u32::MAX];

#[tokio::test]
async fn reset_codes_arrive_both_ways() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for (opener, accepter) in [(&client, &server), (&server, &client)] {
        for code in CODES {
            let (mut ours, mut theirs) = bi(opener, accepter).await;
            ours.send.reset(code);
            let error = within(theirs.recv.read_chunk(1)).await.unwrap_err();
            assert_eq!(error.code(), Some(code));
            theirs.send.reset(code);
            assert_eq!(
                within(ours.recv.closed()).await.map(|c| c.unwrap()),
                Ok(wt_core::ErrorCode::from_application(code))
            );
            let error = within(ours.recv.read_chunk(1)).await.unwrap_err();
            assert_eq!(error.code(), Some(code), "after closed()");
        }
    }
}

#[tokio::test]
async fn stop_codes_arrive_both_ways() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for (opener, accepter) in [(&client, &server), (&server, &client)] {
        for code in CODES {
            let (mut ours, mut theirs) = bi(opener, accepter).await;
            theirs.recv.stop(code);
            let error = within(ours.send.closed()).await.unwrap_err();
            assert_eq!(error.code(), Some(code));
            let error = within(ours.send.write_all(b"x")).await.unwrap_err();
            assert_eq!(error.code(), Some(code));
            assert_eq!(theirs.recv.read_chunk(1).await, Err(ReadError::Closed));

            ours.recv.stop(code);
            let stopped = within(theirs.send.stopped()).await.unwrap().unwrap();
            assert_eq!(stopped.to_application(), Some(code));
        }
    }
}

#[tokio::test]
async fn a_finished_stream_takes_no_more() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    tx.write_all(b"all").await.unwrap();
    tx.finish().unwrap();
    assert_eq!(tx.write_all(b"more").await, Err(WriteError::Closed));
    assert_eq!(
        tx.write_chunk(Bytes::from_static(b"more")).await,
        Err(WriteError::Closed)
    );
    assert_eq!(tx.finish(), Err(WriteError::Closed));
    assert_eq!(&recv(&mut rx).await.unwrap()[..], b"all");
    within(tx.closed()).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_was_reset_is_not_closed_in_order() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, _rx) = uni(&client, &server).await;
    tx.reset(1);
    assert_eq!(tx.write_all(b"x").await, Err(WriteError::Closed));
    assert_eq!(within(tx.closed()).await, Err(WriteError::Closed));
}

#[tokio::test]
async fn finish_alone_is_an_empty_stream() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut tx = client.open_uni().await.unwrap();
    tx.finish().unwrap();
    drop(tx);
    let mut rx = within(server.accept_uni()).await.unwrap();
    assert_eq!(recv(&mut rx).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn an_empty_stream_leaves_even_when_the_window_is_full() {
    let (mut server, client) = configs();
    server.transport.receive_window = 100_000;
    server.transport.stream_receive_window = 100_000;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let (mut full, mut full_rx) = uni(&client, &server).await;
    let mut empty = client.open_uni().await.unwrap();
    // More than the peer takes without reading.
    let filling = tokio::spawn(async move {
        full.write_chunk(pattern(1 << 20)).await.unwrap();
        full.finish().unwrap();
        full
    });
    eventually(|| client.stats().send_credit < Some((4 << 20) - 90_000)).await;
    empty.finish().unwrap();
    let (full, empty_rx) = tokio::join!(recv(&mut full_rx), within(server.accept_uni()));
    assert!(full.unwrap() == pattern(1 << 20));
    let mut empty_rx = empty_rx.unwrap();
    assert_eq!(empty_rx.id(), empty.id());
    assert_eq!(recv(&mut empty_rx).await, Ok(Bytes::new()));
    within(empty.closed()).await.unwrap();
    within(filling).await.unwrap();
}

#[tokio::test]
async fn dropping_an_unfinished_stream_resets_it() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    tx.write_all(b"half").await.unwrap();
    let mut half = [0; 4];
    within(rx.read_exact(&mut half)).await.unwrap();
    drop(tx);
    let error = within(rx.read_chunk(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(0));
}

#[tokio::test]
async fn dropping_a_finished_stream_delivers_it() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let sent = pattern(2 << 20);
    let sending = async {
        send(&mut tx, sent.clone()).await;
        drop(tx);
    };
    let ((), got) = tokio::join!(sending, recv(&mut rx));
    assert!(got.unwrap() == sent);
}

#[tokio::test]
async fn dropping_a_receiving_half_stops_it() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, rx) = uni(&client, &server).await;
    drop(rx);
    let error = within(tx.closed()).await.unwrap_err();
    assert_eq!(error.code(), Some(0));
}

#[tokio::test]
async fn closed_sees_the_end_behind_unread_data() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    tx.write_all(&pattern(10_000)).await.unwrap();
    assert_eq!(rx.closed().now_or_never(), None);
    tx.finish().unwrap();
    assert_eq!(within(rx.closed()).await, Ok(None));
    assert_eq!(recv(&mut rx).await, Ok(pattern(10_000)));
}

#[tokio::test]
async fn what_was_taken_before_a_reset_is_read_before_it() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    tx.write_all(&pattern(1000)).await.unwrap();
    let first = within(rx.read_chunk(10)).await.unwrap().unwrap();
    let unread = server.diagnostics().unread;
    tx.reset(7);
    let closed = within(rx.closed()).await.unwrap();
    assert_eq!(closed.and_then(|code| code.to_application()), Some(7));
    let mut rest = 0;
    let error = loop {
        match within(rx.read_chunk(usize::MAX)).await {
            Ok(Some(chunk)) => rest += chunk.len() as u64,
            Ok(None) => panic!("a reset is no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Reset(_)) && error.code() == Some(7));
    assert_eq!(first.len(), 10);
    assert!(unread > 0 && rest >= unread, "{rest} bytes of {unread}");
}
