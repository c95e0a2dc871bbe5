//! What is written is what is read, however it is written and read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wt_core::{ReadExactError, ReadToEndError};

use crate::{
    common::{echo, pair, pattern, recv, send, within},
    uni,
};

#[tokio::test]
async fn bidirectional_streams_echo_any_size_both_ways() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for (opener, accepter) in [(&client, &server), (&server, &client)] {
        let echo = echo(accepter.clone());
        for len in [0, 1, 64 << 10, 8 << 20] {
            let (mut tx, mut rx) = within(opener.open_bi()).await.unwrap().split();
            let sent = pattern(len);
            let ((), got) = tokio::join!(send(&mut tx, sent.clone()), recv(&mut rx));
            assert!(got.unwrap() == sent, "{len} bytes changed on their way");
        }
        echo.abort();
    }
}

#[tokio::test]
async fn unidirectional_streams_carry_any_size_both_ways() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for (opener, accepter) in [(&client, &server), (&server, &client)] {
        for len in [0, 1, 64 << 10, 8 << 20] {
            let sent = pattern(len);
            let sending = async {
                let mut tx = opener.open_uni().await.unwrap();
                send(&mut tx, sent.clone()).await;
                within(tx.closed()).await.unwrap();
            };
            let receiving = async {
                let mut rx = within(accepter.accept_uni()).await.unwrap();
                recv(&mut rx).await.unwrap()
            };
            let ((), got) = tokio::join!(sending, receiving);
            assert!(got == sent, "{len} bytes changed on their way");
        }
    }
}

#[tokio::test]
async fn a_hundred_streams_at_once_keep_their_bytes_apart() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    echo(server);
    let streams = (0..100_u32).map(|n| {
        let client = client.clone();
        async move {
            let (mut tx, mut rx) = client.open_bi().await.unwrap().split();
            let sent = Bytes::from(n.to_be_bytes().repeat(5000));
            let ((), got) = tokio::join!(send(&mut tx, sent.clone()), recv(&mut rx));
            assert!(got.unwrap() == sent, "stream {n}");
        }
    });
    within(futures_util::future::join_all(streams)).await;
}

#[tokio::test]
async fn tokio_traits_read_and_write() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    echo(server);
    let mut stream = client.open_bi().await.unwrap();
    let sent = pattern(300_000);
    let mut got = Vec::new();
    within(async {
        AsyncWriteExt::write_all(&mut stream, &sent[..1000])
            .await
            .unwrap();
        AsyncWriteExt::flush(&mut stream).await.unwrap();
        let mut start = vec![0; 1000];
        AsyncReadExt::read_exact(&mut stream, &mut start)
            .await
            .unwrap();
        got.extend(start);
        let (mut tx, mut rx) = stream.split();
        let writing = async {
            AsyncWriteExt::write_all(&mut tx, &sent[1000..])
                .await
                .unwrap();
            AsyncWriteExt::shutdown(&mut tx).await.unwrap();
        };
        let ((), read) = tokio::join!(writing, AsyncReadExt::read_to_end(&mut rx, &mut got));
        read.unwrap();
        assert_eq!(rx.read(&mut [0; 4]).await, Ok(None));
    })
    .await;
    assert!(got == sent);
}

#[tokio::test]
async fn reads_in_pieces_of_any_kind_see_the_same_bytes() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let sent = pattern(200_000);
    let sending = send(&mut tx, sent.clone());
    let reading = async {
        let mut got = Vec::new();
        let mut buf = [0; 777];
        rx.read_exact(&mut buf).await.unwrap();
        got.extend_from_slice(&buf);
        for max in (1..).step_by(97) {
            match rx.read_chunk(max).await.unwrap() {
                Some(chunk) => {
                    assert!(!chunk.is_empty() && chunk.len() <= max);
                    got.extend_from_slice(&chunk);
                }
                None => break,
            }
            match rx.read(&mut buf).await.unwrap() {
                Some(n) => got.extend_from_slice(&buf[..n]),
                None => break,
            }
        }
        got
    };
    let ((), got) = tokio::join!(sending, within(reading));
    assert!(got == sent);
    assert_eq!(rx.read_chunk(1).await, Ok(None), "the end stays the end");
    assert_eq!(rx.closed().await, Ok(None));
}

#[tokio::test]
async fn read_exact_says_how_much_there_was() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    send(&mut tx, Bytes::from_static(b"abc")).await;
    let mut buf = [0; 5];
    let result = within(rx.read_exact(&mut buf)).await;
    assert_eq!(result, Err(ReadExactError::FinishedEarly(3)));
    assert_eq!(&buf[..3], b"abc");
}

#[tokio::test]
async fn read_to_end_takes_the_limit_and_stops_beyond() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for len in [10, 100_000] {
        let (mut tx, mut rx) = uni(&client, &server).await;
        send(&mut tx, pattern(len)).await;
        assert_eq!(within(rx.read_to_end(len)).await, Ok(pattern(len)));
        let (mut tx, mut rx) = uni(&client, &server).await;
        within(tx.write_chunk(pattern(len))).await.unwrap();
        let reading = tokio::spawn(async move { rx.read_to_end(len - 1).await });
        // It does not wait for the end of a stream that is too long already.
        let result = within(reading).await.unwrap();
        assert_eq!(result, Err(ReadToEndError::TooLong(len - 1)));
        let closed = within(tx.closed()).await.unwrap_err();
        assert_eq!(closed.code(), Some(0));
    }
}

#[tokio::test]
async fn chunks_of_any_size_and_reads_into_buffers_take_turns() {
    let pair = pair().await;
    let begun = Instant::now();
    let (server, client) = pair.session().await;
    let (mut tx, mut rx) = uni(&client, &server).await;
    let sent = pattern(300_000);
    let whole = sent.clone();
    let writer = tokio::spawn(async move {
        // Small writes, so that much arrives in pieces of its own.
        for part in whole.chunks(701) {
            tx.write_all(part).await.unwrap();
        }
        tx.finish().unwrap();
    });
    let (mut got, mut buffer, mut ahead) = (Vec::new(), [0; 333], 0);
    'all: loop {
        for max in [1, 100, usize::MAX] {
            let Some(chunk) = within(rx.read_chunk(max)).await.unwrap() else {
                break 'all;
            };
            assert!(!chunk.is_empty() && chunk.len() <= max);
            got.extend_from_slice(&chunk);
            let unread = server.diagnostics().unread;
            ahead = ahead.max(unread);
            // Eight packets; from a second on the driver takes what has arrived, to count it.
            if begun.elapsed() < Duration::from_millis(900) {
                assert!(unread <= 8 * 1500, "{unread} bytes ahead");
            }
        }
        let Some(read) = within(rx.read(&mut buffer)).await.unwrap() else {
            break;
        };
        got.extend_from_slice(&buffer[..read]);
    }
    assert!(got == sent, "{} bytes arrived, or others", got.len());
    within(writer).await.unwrap();
    // What is taken from QUIC ahead of the reader is told, and nothing of it is left.
    assert!(ahead > 0);
    assert_eq!(server.diagnostics().unread, 0);
}
