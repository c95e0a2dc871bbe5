//! Streams: content, ends, priorities and cancellation.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{configs, echo, eventually, pair, pair_with, pattern, recv, send, within};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wt_core::{
    BiStream, IncomingStream, ReadError, ReadExactError, ReadToEndError, RecvStream, SendStream,
    Session, WriteError,
};

const CODES: [u32; 7] = [0, 1, 29, 30, 31, u32::MAX - 1, u32::MAX];

/// Opens a bidirectional stream with one byte in each direction; the opener's end comes first.
async fn bi(opener: &Session, accepter: &Session) -> (BiStream, BiStream) {
    let mut ours = within(opener.open_bi()).await.unwrap();
    ours.send.flush().await.unwrap();
    let theirs = within(accepter.accept_bi()).await.unwrap();
    (ours, theirs)
}

/// Opens a unidirectional stream.
async fn uni(opener: &Session, accepter: &Session) -> (SendStream, RecvStream) {
    let mut ours = within(opener.open_uni()).await.unwrap();
    ours.flush().await.unwrap();
    let theirs = within(accepter.accept_uni()).await.unwrap();
    (ours, theirs)
}

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
async fn a_flush_announces_a_stream() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut silent = client.open_bi().await.unwrap();
    let mut uni = client.open_uni().await.unwrap();
    silent.send.flush().await.unwrap();
    uni.flush().await.unwrap();
    let mut accepted = within(server.accept_bi()).await.unwrap();
    within(server.accept_uni()).await.unwrap();
    // It works the other way round while nothing was written this way.
    accepted.send.write_all(b"first").await.unwrap();
    let mut buf = [0; 5];
    within(silent.recv.read_exact(&mut buf)).await.unwrap();
    assert_eq!(&buf, b"first");
}

#[tokio::test]
async fn incoming_streams_come_in_one_stream() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut incoming = pin!(server.incoming());
    let (mut bi, mut uni) = (
        client.open_bi().await.unwrap(),
        client.open_uni().await.unwrap(),
    );
    bi.send.flush().await.unwrap();
    uni.flush().await.unwrap();
    let mut seen = [0, 0];
    for _ in 0..2 {
        match within(incoming.next()).await.unwrap() {
            IncomingStream::Bi(stream) => {
                assert_eq!(stream.id(), bi.id());
                seen[0] += 1;
            }
            IncomingStream::Uni(stream) => {
                assert_eq!(stream.id(), uni.id());
                seen[1] += 1;
            }
            _ => unreachable!(),
        }
    }
    assert_eq!(seen, [1, 1]);
    client.close(0, "");
    assert!(within(incoming.next()).await.is_none());
}

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
async fn a_stream_of_high_priority_overtakes() {
    let (server, mut client) = configs();
    // A narrow way: what was written waits in the sender's QUIC, where priorities count.
    client.transport.congestion = wt_core::config::Congestion::NewReno;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let (mut low, mut low_rx) = uni(&client, &server).await;
    let (mut high, mut high_rx) = uni(&client, &server).await;
    low.set_priority(-1);
    high.set_priority(7);
    assert_eq!((low.priority(), high.priority()), (-1, 7));
    // Both are written before the connection's task can send: a current-thread runtime switches only at an await
    // that waits, and neither write waits.
    let len = 400_000;
    low.write_chunk(pattern(len))
        .now_or_never()
        .unwrap()
        .unwrap();
    high.write_chunk(pattern(len))
        .now_or_never()
        .unwrap()
        .unwrap();
    low.finish().unwrap();
    high.finish().unwrap();
    let mut ends = Vec::new();
    let (mut low_got, mut high_got) = (0, 0);
    within(async {
        while ends.len() < 2 {
            tokio::select! {
                biased;
                chunk = low_rx.read_chunk(usize::MAX), if !ends.contains(&"low") => match chunk.unwrap() {
                    Some(chunk) => low_got += chunk.len(),
                    None => ends.push("low"),
                },
                chunk = high_rx.read_chunk(usize::MAX), if !ends.contains(&"high") => match chunk.unwrap() {
                    Some(chunk) => high_got += chunk.len(),
                    None => {
                        assert!(low_got < len / 2, "{low_got} bytes of low priority came before");
                        ends.push("high");
                    }
                },
            }
        }
    })
    .await;
    assert_eq!(ends, ["high", "low"]);
    assert_eq!((low_got, high_got), (len, len));
}

#[tokio::test]
async fn streams_of_an_urgent_session_overtake_those_of_others() {
    let (server, mut client) = configs();
    client.transport.congestion = wt_core::config::Congestion::NewReno;
    let pair = pair_with(&server, &client).await;
    let open = async |request: &str, answer: &str| {
        let field = |value: &str| {
            let value = http::HeaderValue::from_str(value).unwrap();
            http::HeaderMap::from_iter([(http::header::HeaderName::from_static("priority"), value)])
        };
        let asking = pair
            .client
            .open_session("localhost", "/", field(request), &[]);
        let answering = async {
            let asked = pair.server.accept_session().await.unwrap();
            let answer = wt_core::Accept::new().headers(field(answer));
            asked.accept_with(answer).await.unwrap()
        };
        let (client, server) = within(async { tokio::join!(asking, answering) }).await;
        (server, client.unwrap())
    };
    // The server's word counts more, and nobody's counts where there is none.
    let (usual_server, usual) = open("u=1", "u=4").await;
    let (urgent_server, urgent) = open("u=2", "i").await;
    let (mut low, mut low_rx) = uni(&usual, &usual_server).await;
    let (mut high, mut high_rx) = uni(&urgent, &urgent_server).await;
    // Within their sessions they may have any priority.
    low.set_priority(i32::MAX);
    high.set_priority(i32::MIN);
    assert_eq!(low.priority(), (1 << 27) - 1);
    assert_eq!(high.priority(), -(1 << 27));
    let len = 400_000;
    for stream in [&mut low, &mut high] {
        let written = stream.write_chunk(pattern(len)).now_or_never();
        written.unwrap().unwrap();
        stream.finish().unwrap();
    }
    let mut low_got = 0;
    let mut high_got = 0;
    within(async {
        while high_got < len {
            tokio::select! {
                biased;
                chunk = low_rx.read_chunk(usize::MAX), if low_got < len => low_got += chunk.unwrap().map_or(0, |c| c.len()),
                chunk = high_rx.read_chunk(usize::MAX) => high_got += chunk.unwrap().map_or(0, |c| c.len()),
            }
        }
    })
    .await;
    assert!(low_got < len / 2, "{low_got} bytes came before");
    assert_eq!(recv(&mut low_rx).await.unwrap().len(), len - low_got);
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_accepters_miss_no_stream() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    const STREAMS: usize = 2000;
    let accepters: Vec<_> = (0..8)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while let Ok(mut rx) = server.accept_uni().await {
                    count += 1;
                    let got = rx.read_to_end(100).await.unwrap();
                    assert_eq!(&got[..], b"one");
                }
                count
            })
        })
        .collect();
    for _ in 0..STREAMS {
        let mut tx = within(client.open_uni()).await.unwrap();
        tx.write_all(b"one").await.unwrap();
        tx.finish().unwrap();
    }
    let stats = server.clone();
    eventually(move || {
        let stats = stats.stats();
        stats.streams_accepted == STREAMS as u64 && stats.streams_active == 0
    })
    .await;
    client.close(0, "");
    let mut total = 0;
    for accepter in accepters {
        total += within(accepter).await.unwrap();
    }
    assert_eq!(total, STREAMS);
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
