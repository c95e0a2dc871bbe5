//! Messages that are acknowledged, sent again, told apart and put in order, over real datagrams.
//!
//! The lossy network is in `tests/tests/datagrams.rs` of the workspace; here the other end is a session whose datagrams
//! the test reads and writes itself, so that it decides what is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Pair, eventually, pair, text, within};
use wt_datagram::{
    DatagramConfig, DatagramTransport, OpenError, ReceiveError, ReliabilityLayer, SendError,
    reliability::{DeliveryError, ReliabilityConfig},
};

const MS: Duration = Duration::from_millis(1);

fn layer(pair: &Pair, config: &ReliabilityConfig) -> ReliabilityLayer {
    let transport = pair.sender(&DatagramConfig::new());
    ReliabilityLayer::with_config(transport, config).unwrap()
}

/// Layers at both ends, the client's first.
fn layers(pair: &Pair, config: &ReliabilityConfig) -> (ReliabilityLayer, ReliabilityLayer) {
    let far = ReliabilityLayer::with_config(pair.receiver(), config).unwrap();
    (layer(pair, config), far)
}

fn data(sequence: u32, payload: &str) -> Vec<u8> {
    let mut frame = b"\x04DATA".to_vec();
    frame.extend(sequence.to_be_bytes());
    frame.extend(payload.as_bytes());
    frame
}

fn ack(sequence: u32) -> String {
    format!("\x03ACK{sequence}")
}

/// Sends a datagram from the far end, and waits for one back.
async fn answered(pair: &Pair, datagram: impl AsRef<[u8]>) -> Bytes {
    pair.far.send_datagram(datagram).unwrap();
    within(pair.far.recv_datagram()).await.unwrap()
}

#[tokio::test]
async fn messages_go_both_ways_and_the_senders_learn_of_it() {
    let pair = pair().await;
    let (near, far) = layers(&pair, &ReliabilityConfig::new());
    for n in 0..50 {
        let there = near.send(format!("there {n}")).await.unwrap();
        let back = far.send(format!("back {n}")).await.unwrap();
        assert_eq!(within(far.receive()).await.unwrap(), format!("there {n}"));
        assert_eq!(within(near.receive()).await.unwrap(), format!("back {n}"));
        for delivery in [there, back] {
            let delivered = within(delivery).await.unwrap();
            assert!(delivered.transmissions >= 1);
        }
    }
    within(near.flush()).await;
    let stats = near.stats();
    assert_eq!((stats.sent, stats.delivered, stats.failed), (50, 50, 0));
    assert_eq!((stats.received, stats.in_flight), (50, 0));
    assert!(stats.round_trip > Duration::ZERO);
    assert!(stats.ack_timeout >= 20 * MS);
}

#[tokio::test]
async fn the_bytes_are_those_of_pywebtransport() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let delivery = layer.send("hi").await.unwrap();
    let frame = within(pair.far.recv_datagram()).await.unwrap();
    assert_eq!(&frame[..], b"\x04\x44\x41\x54\x41\x00\x00\x00\x00\x68\x69");
    pair.far.send_datagram(ack(0)).unwrap();
    within(delivery).await.unwrap();
    // The other way.
    assert_eq!(&answered(&pair, data(12, "x")).await[..], b"\x03ACK12");
    assert_eq!(layer.receive().await.unwrap(), "x");
}

#[tokio::test]
async fn a_message_is_sent_again_until_it_is_acknowledged() {
    let pair = pair().await;
    let config = ReliabilityConfig::new().with_retries(10, 10 * MS, 50 * MS);
    let layer = layer(&pair, &config);
    let delivery = layer.send("x").await.unwrap();
    for _ in 0..3 {
        let frame = within(pair.far.recv_datagram()).await.unwrap();
        assert_eq!(frame, data(0, "x"));
    }
    assert_eq!(layer.stats().in_flight, 1);
    pair.far.send_datagram(ack(0)).unwrap();
    let delivered = within(delivery).await.unwrap();
    assert!(delivered.transmissions >= 3, "{delivered:?}");
    // Back-off: 10 and 20 ms at least.
    assert!(delivered.time >= 30 * MS, "{delivered:?}");
    let stats = layer.stats();
    assert_eq!((stats.delivered, stats.failed), (1, 0));
    assert!(stats.retransmissions >= 2);
}

#[tokio::test]
async fn a_message_that_nobody_acknowledges_is_given_up_and_reported() {
    let pair = pair().await;
    let config = ReliabilityConfig::new().with_retries(2, 5 * MS, 5 * MS);
    let layer = layer(&pair, &config);
    let delivery = layer.send("x").await.unwrap();
    let error = within(delivery).await.unwrap_err();
    assert_eq!(error, DeliveryError::GaveUp { transmissions: 3 });
    assert_eq!(error.to_string(), "sent 3 times without an acknowledgement");
    let stats = layer.stats();
    assert_eq!(
        (stats.failed, stats.retransmissions, stats.in_flight),
        (1, 2, 0)
    );
    for _ in 0..3 {
        within(pair.far.recv_datagram()).await.unwrap();
    }
    // The layer goes on.
    let delivery = layer.send("y").await.unwrap();
    let frame = within(pair.far.recv_datagram()).await.unwrap();
    assert_eq!(frame, data(1, "y"));
    pair.far.send_datagram(ack(1)).unwrap();
    within(delivery).await.unwrap();
}

#[tokio::test]
async fn duplicates_are_acknowledged_and_dropped() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    for n in 0..3 {
        for _ in 0..3 {
            assert_eq!(answered(&pair, data(n, "x")).await, ack(n));
        }
    }
    let stats = layer.stats();
    assert_eq!((stats.received, stats.duplicates), (3, 6));
    for _ in 0..3 {
        assert!(layer.try_receive().unwrap().is_some());
    }
    assert_eq!(layer.try_receive().unwrap(), None);
}

#[tokio::test]
async fn what_is_no_message_is_ignored_and_counted() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let strange: [&[u8]; 6] = [
        b"",
        b"\x04DATA\0\0\0",
        b"\x03NAK1",
        b"\xffDATA",
        b"\x03ACK-7",
        b"HEARTBEAT:1",
    ];
    for datagram in strange {
        pair.far.send_datagram(datagram).unwrap();
    }
    eventually(|| layer.stats().ignored == 6).await;
    // An acknowledgement of nothing.
    pair.far.send_datagram(ack(99)).unwrap();
    assert_eq!(answered(&pair, data(0, "x")).await, ack(0));
    assert_eq!(layer.stats().delivered, 0);
    assert_eq!(layer.receive().await.unwrap(), "x");
}

#[tokio::test]
async fn numbers_wrap_around() {
    let pair = pair().await;
    let mut config = ReliabilityConfig::new().with_ordered(true);
    config.first_sequence = u32::MAX - 4;
    let (near, far) = layers(&pair, &config);
    for n in 0..10 {
        drop(near.send(n.to_string()).await.unwrap());
    }
    for n in 0..10 {
        assert_eq!(within(far.receive()).await.unwrap(), n.to_string());
    }
    within(near.flush()).await;
    assert_eq!(near.stats().delivered, 10);
}

#[tokio::test]
async fn order_is_restored_where_it_is_asked_for() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new().with_ordered(true));
    for n in [3, 1, 2] {
        assert_eq!(answered(&pair, data(n, &n.to_string())).await, ack(n));
        assert_eq!(layer.try_receive().unwrap(), None);
    }
    assert_eq!(answered(&pair, data(0, "0")).await, ack(0));
    for n in 0..4 {
        assert_eq!(within(layer.receive()).await.unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn a_message_that_never_comes_is_left_out_of_the_order() {
    let pair = pair().await;
    let mut config = ReliabilityConfig::new().with_ordered(true);
    config.gap_timeout = 20 * MS;
    let layer = layer(&pair, &config);
    assert_eq!(answered(&pair, data(2, "2")).await, ack(2));
    assert_eq!(within(layer.receive()).await.unwrap(), "2");
    assert_eq!(layer.stats().skipped, 2);
    // Its sender does not hear that it arrived: nobody will see it.
    pair.far.send_datagram(data(1, "1")).unwrap();
    eventually(|| layer.stats().late == 1).await;
    assert_eq!(answered(&pair, data(3, "3")).await, ack(3));
    assert_eq!(within(layer.receive()).await.unwrap(), "3");
}

#[tokio::test]
async fn a_receiver_that_does_not_read_makes_the_sender_wait() {
    let pair = pair().await;
    let mut config = ReliabilityConfig::new().with_retries(1000, 5 * MS, 10 * MS);
    config.window = 8;
    config.receive_queue = 5;
    let (near, far) = layers(&pair, &config);
    for n in 0..8 {
        drop(near.send(n.to_string()).await.unwrap());
    }
    eventually(|| far.stats().refused >= 3 && near.stats().delivered == 5).await;
    // The window counts from the oldest that is missing, so others may have moved it.
    let sending = async {
        for n in 8..30 {
            drop(near.send(n.to_string()).await.unwrap());
        }
        near.flush().await;
    };
    let receiving = async {
        let mut all = Vec::new();
        for _ in 0..30 {
            all.push(text(&far.receive().await.unwrap()).parse::<u32>().unwrap());
        }
        all.sort_unstable();
        all
    };
    let ((), all) = within(async { tokio::join!(sending, receiving) }).await;
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    assert_eq!(near.stats().failed, 0);
}

#[tokio::test]
async fn the_window_is_a_limit() {
    let pair = pair().await;
    let mut config = ReliabilityConfig::new();
    config.window = 2;
    let layer = layer(&pair, &config);
    let _first = layer.try_send("0").unwrap();
    let _second = layer.try_send("1").unwrap();
    let full = layer.try_send("2");
    assert!(matches!(full, Err(SendError::QueueFull { limit: 2 })));
    // The oldest counts.
    pair.far.send_datagram(ack(1)).unwrap();
    eventually(|| layer.stats().delivered == 1).await;
    assert!(layer.try_send("2").is_err());
    pair.far.send_datagram(ack(0)).unwrap();
    let _third = within(layer.send("2")).await.unwrap();
}

#[tokio::test]
async fn sizes_are_exact() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let max = layer.max_message_size().unwrap();
    assert_eq!(max + 9, pair.near.max_datagram_size().unwrap());
    let _delivery = layer.send("x".repeat(max)).await.unwrap();
    let frame = within(pair.far.recv_datagram()).await.unwrap();
    assert_eq!(frame.len(), max + 9);
    match layer.send("x".repeat(max + 1)).await {
        Err(SendError::TooLarge { size, max: most }) => assert_eq!((size, most), (max + 1, max)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn closing_reports_what_is_under_way_and_leaves_the_transport() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let transport = layer.transport().clone();
    let delivery = layer.send("x").await.unwrap();
    let receiving = tokio::spawn({
        let layer = layer.clone();
        async move { layer.receive().await }
    });
    tokio::task::yield_now().await;
    layer.close();
    layer.close();
    assert_eq!(within(delivery).await, Err(DeliveryError::Closed));
    let received = within(receiving).await.unwrap();
    assert!(matches!(received, Err(ReceiveError::Closed)));
    assert!(matches!(layer.send("y").await, Err(SendError::Closed)));
    within(layer.flush()).await;
    assert!(layer.is_closed());
    assert!(!transport.is_closed());
    drop(layer);
    pair.far.send_datagram("plain").unwrap();
    assert_eq!(within(transport.receive()).await.unwrap(), "plain");
}

#[tokio::test]
async fn the_end_of_the_session_is_reported() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let delivery = layer.send("x").await.unwrap();
    pair.far.close(5, "over");
    match within(delivery).await {
        Err(DeliveryError::Session(end)) => assert_eq!(end.reason(), "over"),
        other => panic!("{other:?}"),
    }
    let received = within(layer.receive()).await;
    assert!(matches!(received, Err(ReceiveError::Session(_))));
    assert!(layer.is_closed());
}

#[tokio::test]
async fn a_layer_that_nobody_holds_lets_go_of_the_session() {
    let pair = pair().await;
    let layer = layer(&pair, &ReliabilityConfig::new());
    let delivery = layer.send("x").await.unwrap();
    drop(layer);
    assert_eq!(within(delivery).await, Err(DeliveryError::Closed));
    drop(pair.near);
    within(pair.far.closed()).await;
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    let pair = pair().await;
    let refused = |configure: fn(&mut ReliabilityConfig)| {
        let mut config = ReliabilityConfig::new();
        configure(&mut config);
        let transport = DatagramTransport::new(pair.near.clone()).unwrap();
        match ReliabilityLayer::with_config(transport, &config) {
            Err(OpenError::Config { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(|c| c.window = 0), "window");
    assert_eq!(refused(|c| c.window = 1025), "window");
    assert_eq!(refused(|c| c.receive_queue = 0), "receive_queue");
    assert_eq!(
        refused(|c| c.min_ack_timeout = Duration::ZERO),
        "min_ack_timeout"
    );
    assert_eq!(refused(|c| c.max_ack_timeout = MS), "max_ack_timeout");
    assert_eq!(
        refused(|c| c.max_ack_timeout = Duration::MAX),
        "max_ack_timeout"
    );
}
