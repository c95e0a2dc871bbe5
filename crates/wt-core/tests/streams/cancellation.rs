//! What is cancelled loses nothing and costs nothing: reads, writes, accepts, opens and whole streams.

use std::time::Duration;

use futures_util::FutureExt;
use wt_core::IncomingStream;

use crate::{
    bi,
    common::{configs, pair, pair_with, pattern, recv, send, within},
    uni,
};

#[tokio::test]
async fn dropped_reads_lose_nothing() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let sent = pattern(500_000);
    let sending = async {
        for piece in sent.chunks(1000) {
            tx.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        tx.finish().unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        let mut buf = [0; 900];
        let mut dropped = 0;
        loop {
            // Polled once and dropped unless ready.
            match rx.read(&mut buf).now_or_never() {
                Some(read) => match read.unwrap() {
                    Some(n) => got.extend_from_slice(&buf[..n]),
                    None => return (got, dropped),
                },
                None => dropped += 1,
            }
            match rx.read_chunk(500).now_or_never() {
                Some(read) => match read.unwrap() {
                    Some(chunk) => got.extend_from_slice(&chunk),
                    None => return (got, dropped),
                },
                None => dropped += 1,
            }
            let _ = rx.closed().now_or_never();
            tokio::task::yield_now().await;
        }
    };
    let ((), (got, dropped)) = within(async { tokio::join!(sending, reading) }).await;
    assert!(got == sent);
    assert!(dropped > 0);
}

#[tokio::test]
async fn dropped_writes_write_nothing() {
    let (mut server, client) = configs();
    server.transport.stream_receive_window = 10_000;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let sent = pattern(300_000);
    let writing = async {
        let mut at = 0;
        let mut dropped = 0;
        while at < sent.len() {
            match tx
                .write(&sent[at..(at + 7000).min(sent.len())])
                .now_or_never()
            {
                Some(n) => at += n.unwrap(),
                None => {
                    dropped += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
        tx.finish().unwrap();
        dropped
    };
    let (dropped, got) = within(async { tokio::join!(writing, recv(&mut rx)) }).await;
    assert!(got.unwrap() == sent);
    assert!(dropped > 0);
}

#[tokio::test]
async fn dropped_writes_of_a_buffer_take_nothing_from_it() {
    // What keeps the writer waiting: the window of the stream, or credit of the session.
    for (stream_window, session_window) in [(10_000, 4 << 20), (4 << 20, 1 << 20)] {
        let (mut server, client) = configs();
        server.transport.stream_receive_window = stream_window;
        server.session.max_data = session_window;
        server.session.auto_scale = false;
        let pair = pair_with(&server, &client).await;
        let (server, client) = pair.session().await;
        let (mut tx, mut rx) = uni(&client, &server).await;
        let sent = pattern(3 << 20);
        let writing = async {
            let (mut left, mut dropped, mut parts) = (sent.clone(), 0, 0);
            while !left.is_empty() {
                let before = left.len();
                match tx.write_buf(&mut left).now_or_never() {
                    Some(n) => {
                        assert_eq!(n.unwrap(), before - left.len());
                        parts += 1;
                    }
                    None => {
                        assert_eq!(left.len(), before);
                        dropped += 1;
                        tokio::task::yield_now().await;
                    }
                }
            }
            assert_eq!(tx.write_buf(&mut left).await, Ok(0));
            tx.finish().unwrap();
            (dropped, parts)
        };
        let ((dropped, parts), got) = within(async { tokio::join!(writing, recv(&mut rx)) }).await;
        assert!(got.unwrap() == sent);
        assert!(dropped > 0 && parts > 1, "{dropped} {parts}");
    }
}

#[tokio::test]
async fn dropped_accepts_lose_no_stream() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let opening = async {
        for n in 0..200_u32 {
            let mut tx = client.open_uni().await.unwrap();
            tx.write_all(&n.to_be_bytes()).await.unwrap();
            tx.finish().unwrap();
            tokio::task::yield_now().await;
        }
    };
    let accepting = async {
        let mut seen = Vec::new();
        while seen.len() < 200 {
            match server.accept().now_or_never() {
                Some(Ok(IncomingStream::Uni(mut rx))) => {
                    let bytes = recv(&mut rx).await.unwrap();
                    seen.push(u32::from_be_bytes(bytes[..].try_into().unwrap()));
                }
                Some(other) => panic!("{other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
        seen
    };
    let ((), seen) = within(async { tokio::join!(opening, accepting) }).await;
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn cancelled_opens_cost_no_credit() {
    let (mut server, client) = configs();
    server.session.max_streams_bidi = 5;
    server.session.max_streams_uni = 5;
    server.transport.streams_bidi = wt_core::config::StreamCredit::new(4, 4);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    // One of the four streams that QUIC allows is the session itself.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bi(&client, &server).await);
    }
    for _ in 0..100 {
        assert!(client.open_bi().now_or_never().is_none());
        within(client.open_uni()).await.unwrap();
    }
    held.pop();
    within(bi(&client, &server)).await;
    // All five of the session can be open at a time once QUIC allows.
    within(uni(&client, &server)).await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_cost_no_credit() {
    let (mut server, client) = configs();
    server.session.max_streams_uni = 10;
    server.session.max_streams_bidi = 10;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    for n in 0..200 {
        let mut tx = within(client.open_uni()).await.unwrap();
        // The reset overtakes these, and the stream's header with them.
        tx.write_all(&[0; 1000]).await.unwrap();
        tx.reset(n);
        let mut stream = within(client.open_bi()).await.unwrap();
        stream.send.write_all(&[0; 1000]).await.unwrap();
        stream.abort(n);
        // Some arrive, most do not.
        while let Some(stream) = server.accept().now_or_never() {
            drop(stream.unwrap());
        }
    }
    let (mut tx, mut rx) = uni(&client, &server).await;
    send(&mut tx, pattern(10)).await;
    assert_eq!(recv(&mut rx).await, Ok(pattern(10)));
}

#[tokio::test]
async fn a_silent_stream_can_wait_for_longer_than_a_read() {
    // A read that times out leaves the stream as it was.
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let short = Duration::from_millis(1);
    assert!(
        tokio::time::timeout(short, rx.read_chunk(10))
            .await
            .is_err()
    );
    tx.write_all(b"late").await.unwrap();
    let chunk = within(rx.read_chunk(10)).await.unwrap().unwrap();
    assert_eq!(&chunk[..], b"late");
}
