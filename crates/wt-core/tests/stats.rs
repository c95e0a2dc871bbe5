//! Figures of sessions and connections.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::time::Duration;

use common::{configs, eventually, pair, pair_with, pattern, recv, send, within};

#[tokio::test]
async fn streams_are_counted_while_they_are_open() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for session in [&server, &client] {
        let stats = session.stats();
        assert_eq!((stats.streams_opened, stats.streams_accepted), (0, 0));
        assert_eq!(stats.streams_active, 0);
    }
    let mut uni = client.open_uni().await.unwrap();
    uni.write_all(b"x").await.unwrap();
    let mut bi = server.open_bi().await.unwrap();
    bi.send.write_all(b"x").await.unwrap();
    let uni_rx = within(server.accept_uni()).await.unwrap();
    let (bi_tx, bi_rx) = within(client.accept_bi()).await.unwrap().split();
    for session in [&server, &client] {
        let stats = session.stats();
        assert_eq!((stats.streams_opened, stats.streams_accepted), (1, 1));
        assert_eq!(stats.streams_active, 2);
    }
    drop((uni, uni_rx, bi));
    assert_eq!(server.stats().streams_active, 0);
    assert_eq!(client.stats().streams_active, 1);
    drop(bi_rx);
    assert_eq!(client.stats().streams_active, 1, "one half is open");
    drop(bi_tx);
    let stats = client.stats();
    assert_eq!((stats.streams_opened, stats.streams_accepted), (1, 1));
    assert_eq!(stats.streams_active, 0);
}

#[tokio::test]
async fn datagrams_are_counted() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for n in 1..=5 {
        client.send_datagram(b"x").unwrap();
        eventually(|| server.stats().datagrams_received == n).await;
    }
    client.send_datagram_wait(b"x").await.unwrap();
    assert!(client.send_datagram(vec![0; 70_000]).is_err());
    assert_eq!(client.stats().datagrams_sent, 6);
    assert_eq!(client.stats().datagrams_received, 0);
    assert_eq!(server.stats().datagrams_sent, 0);
    for _ in 0..6 {
        within(server.recv_datagram()).await.unwrap();
    }
    let stats = server.stats();
    assert_eq!((stats.datagrams_received, stats.datagrams_dropped), (6, 0));
}

#[tokio::test]
async fn credit_goes_down_with_data_and_up_with_reading() {
    let (mut server, client) = configs();
    server.session.max_data = 1 << 20;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let full = Some(1 << 20);
    assert_eq!(client.stats().send_credit, full);
    assert_eq!(server.stats().recv_credit, full);
    let mut tx = client.open_uni().await.unwrap();
    tx.write_chunk(pattern(600_000)).await.unwrap();
    let left = Some((1 << 20) - 600_000);
    assert_eq!(client.stats().send_credit, left);
    let mut rx = within(server.accept_uni()).await.unwrap();
    rx.read_exact(&mut [0; 100_000]).await.unwrap();
    // What has arrived counts, though not all was read.
    assert!(server.stats().recv_credit <= Some((1 << 20) - 100_000));
    tx.finish().unwrap();
    recv(&mut rx).await.unwrap();
    // Announced once half of the window was read.
    eventually(|| client.stats().send_credit > Some((1 << 20) - 100_000)).await;
}

#[tokio::test]
async fn time_and_bytes_of_a_connection_move() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let before = (pair.server.stats(), pair.client.stats(), server.stats());
    let mut tx = client.open_uni().await.unwrap();
    send(&mut tx, pattern(1 << 20)).await;
    let mut rx = within(server.accept_uni()).await.unwrap();
    recv(&mut rx).await.unwrap();
    within(tx.closed()).await.unwrap();
    let after = (pair.server.stats(), pair.client.stats(), server.stats());
    assert!(after.0.bytes_received - before.0.bytes_received > 1 << 20);
    assert!(after.1.bytes_sent - before.1.bytes_sent > 1 << 20);
    assert!(after.0.bytes_sent > before.0.bytes_sent, "acknowledgements");
    assert!(after.0.packets_received - before.0.packets_received > 500);
    assert!(after.1.packets_sent - before.1.packets_sent > 500);
    assert!(after.1.packets_received > before.1.packets_received);
    assert!(after.1.mtu >= 1200);
    assert!(after.1.congestion_window > 0);
    assert!(after.1.rtt > Duration::ZERO && after.1.rtt < Duration::from_secs(5));
    assert!(after.2.uptime > before.2.uptime);
    assert_eq!(pair.server.session_count(), 1);
    client.close(0, "");
    assert_eq!(pair.client.session_count(), 0);
    eventually(|| pair.server.session_count() == 0).await;
}
