//! One datagram for many sessions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Pair, pair, session, within};
use wt_core::Session;
use wt_datagram::{
    AddError, Broadcaster, DatagramConfig, DatagramTransport, DropPolicy, Priority, SendOptions,
};

/// Sessions on one connection: transports at the client's ends, and the server's ends.
async fn players(pair: &Pair, count: usize) -> (Vec<DatagramTransport>, Vec<Session>) {
    let (mut transports, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (far, near) = within(session(&pair.server, &pair.client)).await;
        transports.push(DatagramTransport::new(near).unwrap());
        ends.push(far);
    }
    (transports, ends)
}

async fn receive(session: &Session) -> Bytes {
    within(session.recv_datagram()).await.unwrap()
}

#[tokio::test]
async fn all_transports_get_it_and_the_author_need_not() {
    let pair = pair().await;
    let (transports, ends) = players(&pair, 5).await;
    let game = Broadcaster::new();
    assert!(game.is_empty());
    for transport in &transports {
        assert_eq!(game.add(transport), Ok(true));
        assert_eq!(game.add(transport), Ok(false));
    }
    assert_eq!(game.len(), 5);
    let plain = SendOptions::new();
    assert_eq!(game.broadcast("to all", plain).sent, 5);
    let report = game.broadcast_except(&transports[2], "to others", Priority::High.into());
    assert_eq!((report.sent, report.refused, report.removed), (4, 0, 0));
    for (n, end) in ends.iter().enumerate() {
        assert_eq!(receive(end).await, "to all");
        if n != 2 {
            assert_eq!(receive(end).await, "to others");
        }
    }
    assert!(game.remove(&transports[0]));
    assert!(!game.remove(&transports[0]));
    assert_eq!(game.broadcast("again", plain).sent, 4);
    assert_eq!(game.clear(), 4);
    assert!(game.is_empty());
    // They are not closed.
    transports[0].send("alone").await.unwrap();
    assert_eq!(receive(&ends[0]).await, "alone");
}

#[tokio::test]
async fn transports_that_have_ended_are_removed() {
    let pair = pair().await;
    let (transports, ends) = players(&pair, 3).await;
    let game = Broadcaster::with_limit(3);
    for transport in &transports {
        game.add(transport).unwrap();
    }
    transports[0].close();
    ends[1].close(0, "");
    within(transports[1].session().closed()).await;
    let report = game.broadcast("x", SendOptions::new());
    assert_eq!((report.sent, report.refused, report.removed), (1, 0, 2));
    assert_eq!(game.len(), 1);
    assert_eq!(receive(&ends[2]).await, "x");
    assert_eq!(game.add(&transports[0]), Err(AddError::Closed));
}

#[tokio::test]
async fn there_is_a_limit() {
    let pair = pair().await;
    let (transports, _ends) = players(&pair, 3).await;
    let game = Broadcaster::with_limit(2);
    game.add(&transports[0]).unwrap();
    game.add(&transports[1]).unwrap();
    assert_eq!(game.add(&transports[2]), Err(AddError::Full { limit: 2 }));
    // Those that have ended do not count.
    transports[0].close();
    assert_eq!(game.add(&transports[2]), Ok(true));
    assert_eq!(game.len(), 2);
}

/// On one thread nothing leaves while the test does not wait: all receivers are slow, one has no room.
#[tokio::test]
async fn a_receiver_without_room_slows_nobody() {
    let pair = pair().await;
    let (transports, ends) = players(&pair, 2).await;
    let (far, near) = within(session(&pair.server, &pair.client)).await;
    let mut config = DatagramConfig::new().with_outgoing(2, DropPolicy::Wait);
    config.send_ahead = 1;
    config.send_ahead_time = Duration::ZERO;
    let slow = DatagramTransport::with_config(near, &config).unwrap();
    let game = Broadcaster::new();
    for transport in transports.iter().chain([&slow]) {
        game.add(transport).unwrap();
    }
    let payload = Bytes::from_static(&[7; 500]);
    let mut refused = 0;
    for _ in 0..10 {
        let report = game.broadcast(payload.clone(), Priority::Normal.into());
        assert_eq!(report.sent + report.refused, 3);
        refused += report.refused;
    }
    // One went to QUIC, two wait.
    assert_eq!(refused, 7);
    assert_eq!(slow.stats().send_drops.refused, 7);
    for end in &ends {
        for _ in 0..10 {
            assert_eq!(receive(end).await, payload);
        }
    }
    for _ in 0..3 {
        assert_eq!(receive(&far).await, payload);
    }
}

/// What waits in the queues is the one payload that was given.
#[tokio::test]
async fn the_payload_is_shared() {
    struct Owner {
        _alive: std::sync::Arc<()>,
    }
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"shared"
        }
    }
    let pair = pair().await;
    let game = Broadcaster::new();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let (far, near) = within(session(&pair.server, &pair.client)).await;
        let mut config = DatagramConfig::new();
        config.send_ahead = 1;
        config.send_ahead_time = Duration::ZERO;
        let transport = DatagramTransport::with_config(near, &config).unwrap();
        transport
            .try_send_with("first", Priority::High.into())
            .unwrap();
        game.add(&transport).unwrap();
        ends.push(far);
    }
    let alive = std::sync::Arc::new(());
    let payload = Bytes::from_owner(Owner {
        _alive: alive.clone(),
    });
    let report = game.broadcast(payload, SendOptions::new());
    assert_eq!(report.sent, 3);
    // It waits in three queues, and there is one of it.
    assert_eq!(std::sync::Arc::strong_count(&alive), 2);
    for end in &ends {
        assert_eq!(receive(end).await, "first");
        assert_eq!(receive(end).await, "shared");
    }
    assert_eq!(std::sync::Arc::strong_count(&alive), 1);
}
