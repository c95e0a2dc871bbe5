//! How streams reach the other end, and who accepts them.

use std::pin::pin;

use futures_util::StreamExt;
use wt_core::IncomingStream;

use crate::common::{eventually, pair, within};

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
