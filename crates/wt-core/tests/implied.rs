//! Streams that exist only because a later one does: nothing of them has arrived.
//!
//! Chromium's QPACK encoder stream is one for as long as it has nothing to say.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::time::Duration;

use common::{configs, pair_with};
use tokio::time::timeout;
use wt_core::config::StreamCredit;

/// No test takes this long.
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_stream_may_stay_unused_for_longer_than_a_header_may_take() {
    let (mut server, client) = configs();
    server.limits.header_timeout = Duration::from_millis(50);
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let mut unused = [
        client.open_uni().await.unwrap(),
        client.open_uni().await.unwrap(),
    ];
    let mut unused_bi = client.open_bi().await.unwrap();
    client.open_uni().await.unwrap().finish().unwrap();
    client.open_bi().await.unwrap().send.finish().unwrap();
    // The later ones arrived, and so the server knows of the others.
    server.accept_uni().await.unwrap();
    server.accept_bi().await.unwrap();

    let long = Duration::from_millis(300);
    let refused = timeout(long, unused[0].stopped()).await;
    assert!(refused.is_err(), "{refused:?}");

    for send in unused.iter_mut().chain([&mut unused_bi.send]) {
        send.write_all(b"late").await.unwrap();
        send.finish().unwrap();
    }
    for _ in 0..unused.len() {
        let mut recv = timeout(LIMIT, server.accept_uni()).await.unwrap().unwrap();
        assert_eq!(&recv.read_to_end(10).await.unwrap()[..], b"late");
    }
    let mut stream = timeout(LIMIT, server.accept_bi()).await.unwrap().unwrap();
    assert_eq!(&stream.recv.read_to_end(10).await.unwrap()[..], b"late");
}

#[tokio::test]
async fn many_streams_may_be_used_in_any_order() {
    let (mut server, client) = configs();
    server.transport.streams_bidi = StreamCredit::new(500, 500);
    server.limits.pending_headers = 1;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let mut streams = Vec::new();
    for _ in 0..400 {
        streams.push(timeout(LIMIT, client.open_bi()).await.unwrap().unwrap());
    }
    let ids: Vec<_> = streams.iter().map(wt_core::BiStream::id).collect();
    let mut seen = Vec::new();
    // With the last one all of them come to be; the others follow when the server knows.
    for part in [399..400, 0..399] {
        for stream in &mut streams[part.clone()] {
            stream.send.write_all(b"x").await.unwrap();
            stream.send.finish().unwrap();
        }
        for _ in part {
            let mut stream = timeout(LIMIT, server.accept_bi()).await.unwrap().unwrap();
            assert_eq!(&stream.recv.read_to_end(10).await.unwrap()[..], b"x");
            seen.push(stream.id());
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, ids);
}
