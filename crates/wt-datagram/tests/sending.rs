//! Sending: straight to QUIC, through the lanes, what happens when there is no room or no time, and the end.
//!
//! These tests run on one thread: while a test does not wait, nothing leaves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{thread, time::Duration};

use common::{eventually, pair, pair_with, text, within};
use futures_util::FutureExt;
use wt_core::SessionError;
use wt_datagram::{
    DatagramConfig, DatagramTransport, DropPolicy, OpenError, Priority, ReceiveError, SendError,
    SendOptions,
};

use Priority::{High, Low, Normal};

/// QUIC gets one datagram at a time, so that the others wait in the lanes.
fn one_ahead() -> DatagramConfig {
    let mut config = DatagramConfig::new();
    config.send_ahead = 1;
    config.send_ahead_time = Duration::ZERO;
    config
}

fn ttl(ms: u64) -> SendOptions {
    SendOptions::new().ttl(Duration::from_millis(ms))
}

#[tokio::test]
async fn plain_datagrams_go_straight_to_quic() {
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    for n in 0..100 {
        sender.try_send(n.to_string()).unwrap();
        assert_eq!(sender.send_buffer_len(), 0);
    }
    let sent = sender.stats();
    assert_eq!(
        (sent.datagrams_sent, sent.datagrams_sent_at_once),
        (100, 100)
    );
    assert_eq!(sent.bytes_sent, 190);
    assert_eq!(sender.send_sequence(), 100);
    let all: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(pair.receive(100).await, all);
}

#[tokio::test]
async fn high_lanes_leave_first_and_each_in_order() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead());
    let all = [
        ("first", Normal),
        ("low 1", Low),
        ("normal 1", Normal),
        ("high 1", High),
        ("low 2", Low),
        ("high 2", High),
        ("normal 2", Normal),
    ];
    for (name, priority) in all {
        sender.try_send_with(name, priority.into()).unwrap();
    }
    // QUIC has the first one.
    let queue = sender.diagnostics().outgoing;
    assert_eq!((queue.size, queue.lanes), (6, [2, 2, 2]));
    let order = [
        "first", "high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2",
    ];
    assert_eq!(pair.receive(7).await, order);
    let stats = sender.stats();
    assert_eq!((stats.datagrams_sent, stats.datagrams_sent_at_once), (7, 1));
    assert!(stats.max_send_time > Duration::ZERO);
    assert!(stats.avg_send_time() <= stats.max_send_time);
}

#[tokio::test]
async fn an_urgent_datagram_overtakes_a_long_queue() {
    let pair = pair().await;
    let mut config = DatagramConfig::new().with_outgoing(1000, DropPolicy::Wait);
    config.send_ahead = 4 * 1024;
    config.send_ahead_time = Duration::ZERO;
    let sender = pair.sender(&config);
    sender.try_send_with("begin", Normal.into()).unwrap();
    let bulk = "x".repeat(1000);
    for _ in 0..100 {
        sender.try_send(bulk.clone()).unwrap();
    }
    sender.try_send_with("urgent", High.into()).unwrap();
    let order = pair.receive(102).await;
    let place = order.iter().position(|data| data == "urgent").unwrap();
    // Behind what QUIC had: the first one and less than 5 of the others.
    assert!(place < 6, "it came {place} datagrams later");
}

#[tokio::test]
async fn a_full_queue_does_what_its_policy_says() {
    let cases: [(DropPolicy, &[&str], [bool; 3]); 4] = [
        (
            DropPolicy::Oldest,
            &["0", "normal 3", "low 4", "low 5"],
            [true; 3],
        ),
        (
            DropPolicy::Newest,
            &["0", "normal 1", "normal 3", "low 2"],
            [true, false, false],
        ),
        (
            DropPolicy::LowestPriority,
            &["0", "normal 1", "normal 3", "low 5"],
            [true; 3],
        ),
        (
            DropPolicy::Wait,
            &["0", "normal 1", "normal 3", "low 2"],
            [true, false, false],
        ),
    ];
    for (policy, order, taken) in cases {
        let pair = pair().await;
        let mut config = one_ahead();
        config.outgoing_queue = 3;
        config.outgoing_policy = policy;
        let sender = pair.sender(&config);
        // QUIC takes the first, then the queue is full with three.
        for (name, priority) in [("0", Normal), ("normal 1", Normal), ("low 2", Low)] {
            sender.try_send_with(name, priority.into()).unwrap();
        }
        let more = [("normal 3", Normal), ("low 4", Low), ("low 5", Low)];
        for ((name, priority), taken) in more.into_iter().zip(taken) {
            match sender.try_send_with(name, priority.into()) {
                Ok(()) => assert!(taken, "{policy:?} took {name}"),
                Err(SendError::QueueFull { limit: 3 }) => assert!(!taken, "{policy:?}: {name}"),
                Err(other) => panic!("{policy:?}: {name}: {other}"),
            }
        }
        let drops = sender.stats().send_drops;
        let refused = taken.iter().filter(|taken| !**taken).count() as u64;
        assert_eq!((drops.refused, drops.evicted), (refused, 2 - refused));
        assert_eq!(pair.receive(4).await, order, "{policy:?}");
    }
}

#[tokio::test]
async fn what_is_less_urgent_than_all_others_is_refused() {
    let pair = pair().await;
    let mut config = one_ahead().with_outgoing(1, DropPolicy::LowestPriority);
    config.send_ahead = 1;
    config.send_ahead_time = Duration::ZERO;
    let sender = pair.sender(&config);
    sender.try_send_with("0", High.into()).unwrap();
    sender.try_send_with("normal", Normal.into()).unwrap();
    let refused = sender.try_send_with("low", Low.into());
    assert!(matches!(refused, Err(SendError::QueueFull { limit: 1 })));
    sender.try_send_with("high", High.into()).unwrap();
    assert_eq!(pair.receive(2).await, ["0", "high"]);
    let drops = sender.stats().send_drops;
    assert_eq!((drops.refused, drops.evicted, drops.total()), (1, 1, 2));
}

#[tokio::test]
async fn senders_wait_for_room_and_nothing_is_lost() {
    let pair = pair().await;
    let mut config = one_ahead();
    config.outgoing_queue = 2;
    let sender = pair.sender(&config);
    let sending = async {
        for n in 0..200 {
            sender
                .send_with(n.to_string(), Normal.into())
                .await
                .unwrap();
            assert!(sender.send_buffer_len() <= 2);
        }
        sender.flush().await.unwrap();
        assert_eq!(sender.send_buffer_len(), 0);
    };
    let ((), received) = within(async { tokio::join!(sending, pair.receive(200)) }).await;
    let all: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(received, all);
    assert_eq!(sender.stats().send_drops.total(), 0);
}

#[tokio::test]
async fn datagrams_that_quic_has_no_room_for_wait_in_the_queue() {
    let pair = pair_with(|client| client.transport.datagram_send_buffer = 3000).await;
    let sender = pair.sender(&DatagramConfig::new());
    let name = |n: usize| format!("{n:>1000}");
    for n in 0..50 {
        sender.try_send(name(n)).unwrap();
    }
    // Nothing has left, and QUIC had room for two.
    assert_eq!(sender.send_buffer_len(), 48);
    assert_eq!(sender.stats().datagrams_sent_at_once, 2);
    let all: Vec<_> = (0..50).map(name).collect();
    assert_eq!(pair.receive(50).await, all);
    within(sender.flush()).await.unwrap();
    assert_eq!(sender.stats().datagrams_sent, 50);
    // Back to the short way.
    sender.try_send("short").unwrap();
    assert_eq!(sender.stats().datagrams_sent_at_once, 3);
}

#[tokio::test]
async fn a_plain_sender_waits_for_quic_itself_and_wakes_on_close() {
    let pair = pair_with(|client| client.transport.datagram_send_buffer = 1500).await;
    let sender = pair.sender(&DatagramConfig::new());
    let large = "x".repeat(1000);
    sender.send(large.clone()).await.unwrap();
    let mut second = Box::pin(sender.send(large.clone()));
    assert!(second.as_mut().now_or_never().is_none());
    assert_eq!(sender.send_buffer_len(), 0);
    within(second).await.unwrap();
    let mut third = Box::pin(sender.send(large));
    assert!(third.as_mut().now_or_never().is_none());
    sender.close();
    assert!(matches!(within(third).await, Err(SendError::Closed)));
    let stats = sender.stats();
    assert_eq!((stats.datagrams_sent, stats.datagrams_sent_at_once), (2, 2));
    assert_eq!(pair.receive(2).await.len(), 2);
}

#[tokio::test]
async fn time_to_live_is_checked_when_they_leave() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead());
    sender.try_send_with("0", ttl(60_000)).unwrap();
    sender.try_send_with("short", ttl(5)).unwrap();
    sender.try_send_with("long", ttl(60_000)).unwrap();
    let short = ttl(5).priority(High);
    sender.try_send_with("short and high", short).unwrap();
    sender.try_send("for ever").unwrap();
    // The thread sleeps, and so does QUIC.
    thread::sleep(Duration::from_millis(20));
    assert_eq!(pair.receive(3).await, ["0", "long", "for ever"]);
    assert_eq!(sender.stats().send_drops.expired, 2);
    assert_eq!(sender.stats().datagrams_sent, 3);
    let none = sender.send_with("none", ttl(0)).await;
    assert!(matches!(none, Err(SendError::Expired)));
    assert_eq!(sender.stats().send_drops.expired, 3);
}

#[tokio::test]
async fn the_maximum_age_holds_for_all_and_can_be_set() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead());
    assert_eq!(sender.outgoing_max_age(), None);
    let short = Duration::from_millis(5);
    sender.set_outgoing_max_age(Some(short));
    assert_eq!(sender.outgoing_max_age(), Some(short));
    sender.try_send("0").unwrap();
    sender.try_send("too old").unwrap();
    // The shorter one holds.
    sender
        .try_send_with("too old as well", ttl(60_000))
        .unwrap();
    sender.set_outgoing_max_age(None);
    sender.try_send("any age").unwrap();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(pair.receive(2).await, ["0", "any age"]);
    assert_eq!(sender.stats().send_drops.expired, 2);
}

#[tokio::test]
async fn what_is_too_old_makes_room_before_anything_else() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead().with_outgoing(2, DropPolicy::LowestPriority));
    sender.try_send_with("0", Normal.into()).unwrap();
    sender.try_send_with("young", Low.into()).unwrap();
    sender.try_send_with("old", ttl(5).priority(High)).unwrap();
    thread::sleep(Duration::from_millis(20));
    sender.try_send_with("new", Low.into()).unwrap();
    assert_eq!(pair.receive(3).await, ["0", "young", "new"]);
    let drops = sender.stats().send_drops;
    assert_eq!((drops.expired, drops.total()), (1, 1));
}

#[tokio::test]
async fn time_to_live_runs_while_a_sender_waits_for_room() {
    let pair = pair_with(|client| {
        client.transport.datagram_send_buffer = 1500;
    })
    .await;
    let sender = pair.sender(&one_ahead().with_outgoing(1, DropPolicy::Wait));
    sender.try_send_with("0", Normal.into()).unwrap();
    sender.try_send_with("1", Normal.into()).unwrap();
    let mut waiting = Box::pin(sender.send_with("2", ttl(5)));
    assert!(waiting.as_mut().now_or_never().is_none());
    thread::sleep(Duration::from_millis(20));
    // Whether there is room first or time is up first, it is not sent.
    let _ = within(waiting).await;
    sender.send("3").await.unwrap();
    assert_eq!(pair.receive(3).await, ["0", "1", "3"]);
    assert_eq!(sender.stats().send_drops.expired, 1);
}

#[tokio::test]
async fn the_size_is_exact() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead());
    let max = sender.max_datagram_size().unwrap();
    assert_eq!(Some(max), pair.near.max_datagram_size());
    let data = |len: usize| "x".repeat(len);
    // Straight, and through the lanes.
    for options in [SendOptions::new(), High.into()] {
        for _ in 0..2 {
            sender.try_send_with(data(max), options).unwrap();
            let refused = sender.try_send_with(data(max + 1), options);
            match refused {
                Err(SendError::TooLarge { size, max: most }) => {
                    assert_eq!((size, most), (max + 1, max));
                }
                other => panic!("{other:?}"),
            }
        }
        for received in pair.receive(2).await {
            assert_eq!(received.len(), max);
        }
    }
    let stats = sender.stats();
    assert_eq!((stats.datagrams_sent, stats.send_drops.too_large), (4, 4));
    assert_eq!(stats.send_drops.total(), 4);
    // Empty ones pass.
    sender.send("").await.unwrap();
    assert_eq!(pair.receive(1).await, [""]);
}

#[tokio::test]
async fn several_are_sent_up_to_the_first_error() {
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    let sent = sender.send_many(["a", "b", "c"], SendOptions::new()).await;
    assert_eq!(sent.unwrap(), 3);
    let large = "x".repeat(2000);
    let failed = sender.send_many(["d", &large, "e"].map(str::to_owned), High.into());
    let error = failed.await.unwrap_err();
    assert_eq!(error.sent, 1);
    assert!(matches!(error.error, SendError::TooLarge { .. }));
    assert_eq!(pair.receive(4).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn what_waits_can_be_counted_and_cleared() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead());
    for name in ["0", "1", "2"] {
        sender.try_send_with(name, High.into()).unwrap();
    }
    assert_eq!(sender.send_buffer_len(), 2);
    assert_eq!(sender.clear_send_buffer(), 2);
    assert_eq!(sender.clear_send_buffer(), 0);
    within(sender.flush()).await.unwrap();
    sender.try_send("3").unwrap();
    assert_eq!(pair.receive(2).await, ["0", "3"]);
    assert_eq!(sender.stats().send_drops.cleared, 2);
}

#[tokio::test]
async fn closing_wakes_all_who_wait_and_leaves_the_session() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead().with_outgoing(1, DropPolicy::Wait));
    sender.try_send_with("0", High.into()).unwrap();
    sender.try_send_with("1", High.into()).unwrap();
    let send = sender.send_with("2", High.into());
    let (send, flush, receive, close) = within(async {
        tokio::join!(biased; send, sender.flush(), sender.receive(), async {
            // Before anything leaves.
            sender.close();
            sender.close();
        })
    })
    .await;
    let () = close;
    assert!(matches!(send, Err(SendError::Closed)), "{send:?}");
    assert!(matches!(flush, Err(SendError::Closed)), "{flush:?}");
    assert!(matches!(receive, Err(ReceiveError::Closed)), "{receive:?}");
    assert!(sender.is_closed());
    assert_eq!(sender.stats().send_drops.ended, 1);
    for error in [
        sender.send("x").await,
        sender.try_send_with("x", High.into()),
    ] {
        assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
    }
    assert!(matches!(sender.try_receive(), Err(ReceiveError::Closed)));
    pair.near.send_datagram("the session lives").unwrap();
    assert_eq!(pair.receive(2).await, ["0", "the session lives"]);
}

#[tokio::test]
async fn the_end_of_the_session_wakes_all_who_wait() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead().with_outgoing(1, DropPolicy::Wait));
    pair.far.close(7, "enough");
    sender.try_send_with("0", High.into()).unwrap();
    sender.try_send_with("1", High.into()).unwrap();
    let receive = within(sender.receive()).await;
    let ended = |end: &SessionError| end.reason() == "enough";
    assert!(matches!(&receive, Err(ReceiveError::Session(end)) if ended(end)));
    within(async {
        loop {
            match sender.send_with("x", High.into()).await {
                Ok(()) => tokio::task::yield_now().await,
                Err(SendError::Session(end)) => break assert!(ended(&end)),
                Err(other) => panic!("{other}"),
            }
        }
    })
    .await;
    assert!(sender.is_closed());
    assert!(sender.flush().await.is_err() || sender.send_buffer_len() == 0);
}

#[tokio::test]
async fn a_transport_that_nobody_holds_lets_go_of_the_session() {
    let pair = pair().await;
    let sender = pair.sender(&one_ahead().with_incoming(10, DropPolicy::Oldest));
    sender.enable_heartbeat(Duration::from_secs(1000));
    for _ in 0..3 {
        sender.try_send_with("x", High.into()).unwrap();
    }
    let clone = sender.clone();
    assert!(clone.is_same(&sender));
    drop(sender);
    clone.try_send("still there").unwrap();
    drop(clone);
    // No task holds it any more.
    drop(pair.near);
    within(pair.far.closed()).await;
}

#[tokio::test]
async fn heartbeats_come_until_they_are_turned_off() {
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    let before = std::time::SystemTime::now();
    sender.enable_heartbeat(Duration::from_millis(10));
    sender.enable_heartbeat(Duration::from_millis(1));
    for beat in pair.receive(3).await {
        let sent = wt_datagram::heartbeat::decode(beat.as_bytes()).unwrap();
        assert!(sent + Duration::from_secs(1) > before);
        assert!(sent < before + Duration::from_secs(60));
    }
    sender.disable_heartbeat();
    sender.disable_heartbeat();
    let sent = sender.stats().datagrams_sent;
    // One may have been about to leave.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(sender.stats().datagrams_sent <= sent + 1);
    // They do not put the lanes to use.
    assert_eq!(
        sender.stats().datagrams_sent_at_once,
        sender.stats().datagrams_sent
    );
}

#[tokio::test]
async fn json_is_compact_and_ascii() {
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    let value = serde_json::json!({"name": "grün", "x": [1, 2.5, null]});
    sender.send_json(&value, SendOptions::new()).await.unwrap();
    let wire = pair.receive(1).await;
    assert_eq!(wire, [r#"{"name":"gr\u00fcn","x":[1,2.5,null]}"#]);
    let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
    let error = sender.send_json(&unwritable, SendOptions::new()).await;
    assert!(matches!(error, Err(SendError::Json(_))), "{error:?}");
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    let pair = pair().await;
    let refused = |configure: fn(&mut DatagramConfig)| {
        let mut config = DatagramConfig::new();
        configure(&mut config);
        match DatagramTransport::with_config(pair.near.clone(), &config) {
            Err(OpenError::Config { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(|c| c.outgoing_queue = 0), "outgoing_queue");
    assert_eq!(refused(|c| c.incoming_queue = usize::MAX), "incoming_queue");
    assert_eq!(
        refused(|c| c.outgoing_max_age = Some(Duration::ZERO)),
        "outgoing_max_age"
    );
    assert_eq!(
        refused(|c| c.incoming_max_age = Some(Duration::ZERO)),
        "incoming_max_age"
    );
}

#[tokio::test]
async fn a_session_has_one_transport_at_a_time() {
    let pair = pair().await;
    let open = || DatagramTransport::new(pair.near.clone());
    let first = open().unwrap();
    let again = first.clone();
    drop(first);
    assert!(matches!(open(), Err(OpenError::Taken)));
    // The other end is a session of its own, and a transport that is closed makes room.
    pair.receiver().close();
    again.close();
    let second = open().unwrap();
    second.send("x").await.unwrap();
    assert_eq!(pair.receive(1).await, ["x"]);
    drop(again);
    assert!(matches!(open(), Err(OpenError::Taken)));
    drop(second);
    open().unwrap();
}

#[test]
fn without_a_runtime_there_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let pair = runtime.block_on(pair());
    let refused = DatagramTransport::new(pair.near.clone());
    assert!(matches!(refused, Err(OpenError::NoRuntime)));
    // From then on any thread will do.
    let sender = runtime.block_on(async { pair.sender(&one_ahead()) });
    for _ in 0..3 {
        sender.try_send_with("x", High.into()).unwrap();
    }
    runtime.block_on(async { assert_eq!(pair.receive(3).await, ["x"; 3]) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_lose_nothing_that_was_taken() {
    const EACH: usize = 300;
    let pair = pair().await;
    let mut config = DatagramConfig::new();
    config.send_ahead = 2000;
    config.send_ahead_time = Duration::ZERO;
    config.outgoing_queue = 10;
    let sender = pair.sender(&config);
    let receiver = pair.receiver();
    let senders: Vec<_> = (0..3_u8)
        .map(|n| {
            let (sender, priority) = (sender.clone(), Priority::clamped(n));
            tokio::spawn(async move {
                for m in 0..EACH {
                    let data = format!("{n} {m}");
                    sender.send_with(data, priority.into()).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 3];
    // The system may lose some on the way when the receiver is late; what arrives is in order.
    let mut seen = 0;
    while seen < 3 * EACH {
        let Ok(data) = receiver.receive_timeout(Duration::from_secs(2)).await else {
            break;
        };
        let data = text(&data);
        let (n, m) = data.split_once(' ').unwrap();
        let (n, m): (usize, usize) = (n.parse().unwrap(), m.parse().unwrap());
        assert!(m >= next[n], "{data} came after {}", next[n]);
        next[n] = m + 1;
        seen += 1;
    }
    for task in senders {
        within(task).await.unwrap();
    }
    within(sender.flush()).await.unwrap();
    let stats = sender.stats();
    assert_eq!(stats.datagrams_sent, 3 * EACH as u64);
    assert_eq!(stats.send_drops.total(), 0);
    eventually(|| sender.send_buffer_len() == 0).await;
}
