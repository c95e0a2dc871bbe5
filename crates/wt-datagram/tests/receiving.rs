//! Receiving: straight from QUIC and buffered, by age, in numbers, as JSON, and what is known of a datagram.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Pair, eventually, pair, text, within};
use wt_core::{
    SessionError,
    observe::{Observe, State},
};
use wt_datagram::{
    DatagramConfig, DatagramEvent, DatagramTransport, DropPolicy, DropReason, ReceiveError,
    SendOptions,
};

/// Sends datagrams one by one, so that none is lost on the way.
async fn send(pair: &Pair, from: &str, names: &[&str]) {
    let before = pair.far.stats().datagrams_received;
    for (n, name) in (1..).zip(names) {
        pair.near.send_datagram(format!("{from}{name}")).unwrap();
        eventually(|| pair.far.stats().datagrams_received >= before + n).await;
    }
}

fn buffered(pair: &Pair, queue: usize, policy: DropPolicy) -> DatagramTransport {
    let config = DatagramConfig::new().with_incoming(queue, policy);
    DatagramTransport::with_config(pair.far.clone(), &config).unwrap()
}

async fn all(receiver: &DatagramTransport) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(data) = receiver.try_receive().unwrap() {
        all.push(text(&data));
    }
    all
}

#[tokio::test]
async fn datagrams_are_received_with_and_without_a_buffer() {
    let pair = pair().await;
    let direct = pair.receiver();
    assert_eq!(direct.try_receive().unwrap(), None);
    pair.near.send_datagram("a").unwrap();
    assert_eq!(within(direct.receive()).await.unwrap(), "a");
    pair.near.send_datagram("b").unwrap();
    let mut second = None;
    eventually(|| {
        second = direct.try_receive().unwrap();
        second.is_some()
    })
    .await;
    assert_eq!(second.unwrap(), "b");
    assert_eq!(direct.try_receive().unwrap(), None);
    assert_eq!(direct.receive_sequence(), 2);
    drop(direct);

    let receiver = buffered(&pair, 10, DropPolicy::Oldest);
    send(&pair, "", &["c", "d", "e"]).await;
    eventually(|| receiver.receive_buffer_len() == 3).await;
    assert_eq!(receiver.diagnostics().incoming.size, 3);
    assert_eq!(within(receiver.receive()).await.unwrap(), "c");
    assert_eq!(receiver.try_receive().unwrap().unwrap(), "d");
    assert_eq!(receiver.receive_buffer_len(), 1);
    let stats = receiver.stats();
    assert_eq!((stats.datagrams_received, stats.bytes_received), (2, 2));
    assert_eq!(receiver.receive_sequence(), 3);
    assert!(stats.total_receive_time > Duration::ZERO);
    assert!(stats.avg_receive_time() <= stats.max_receive_time);
}

#[tokio::test]
async fn a_full_buffer_does_what_its_policy_says() {
    for (policy, kept, evicted, refused) in [
        (DropPolicy::Oldest, ["3", "4"], 2, 0),
        (DropPolicy::LowestPriority, ["3", "4"], 2, 0),
        (DropPolicy::Newest, ["1", "2"], 0, 2),
    ] {
        let pair = pair().await;
        let receiver = buffered(&pair, 2, policy);
        send(&pair, "", &["1", "2", "3", "4"]).await;
        eventually(|| receiver.stats().receive_drops.total() == 2).await;
        assert_eq!(receiver.receive_buffer_len(), 2);
        assert_eq!(all(&receiver).await, kept, "{policy:?}");
        let drops = receiver.stats().receive_drops;
        assert_eq!((drops.evicted, drops.refused), (evicted, refused));
    }
}

#[tokio::test]
async fn a_buffer_that_waits_leaves_them_to_quic() {
    let pair = pair().await;
    let receiver = buffered(&pair, 2, DropPolicy::Wait);
    let names = ["1", "2", "3", "4", "5"];
    for name in names {
        pair.near.send_datagram(name).unwrap();
    }
    for name in names {
        assert_eq!(within(receiver.receive()).await.unwrap(), name);
        assert!(receiver.receive_buffer_len() <= 2);
    }
    assert_eq!(receiver.stats().receive_drops.total(), 0);
}

#[tokio::test]
async fn those_that_are_too_old_are_not_delivered() {
    let pair = pair().await;
    let receiver = buffered(&pair, 3, DropPolicy::Newest);
    assert_eq!(receiver.incoming_max_age(), None);
    send(&pair, "old ", &["1", "2", "3"]).await;
    eventually(|| receiver.receive_buffer_len() == 3).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    receiver.set_incoming_max_age(Some(Duration::from_millis(100)));
    // They make room for a new one before that is refused.
    send(&pair, "", &["new"]).await;
    let datagram = within(receiver.receive_with_metadata()).await.unwrap();
    assert_eq!(datagram.data, "new");
    assert_eq!(datagram.max_age, Some(Duration::from_millis(100)));
    let drops = receiver.stats().receive_drops;
    assert_eq!((drops.expired, drops.total()), (3, 3));

    // Also when nothing pushes them out.
    receiver.set_incoming_max_age(Some(Duration::from_millis(1)));
    send(&pair, "old ", &["4"]).await;
    eventually(|| receiver.receive_buffer_len() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(receiver.try_receive().unwrap(), None);
    assert_eq!(receiver.stats().receive_drops.expired, 4);
}

#[tokio::test]
async fn a_receiver_that_waits_goes_over_to_the_buffer() {
    let pair = pair().await;
    let receiver = pair.receiver();
    let waiting = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.receive().await }
    });
    tokio::task::yield_now().await;
    receiver.set_incoming_max_age(Some(Duration::from_secs(60)));
    tokio::task::yield_now().await;
    pair.near.send_datagram("x").unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn time_can_be_limited() {
    let pair = pair().await;
    let receiver = pair.receiver();
    let limit = Duration::from_millis(10);
    let none = receiver.receive_timeout(limit).await;
    assert!(matches!(none, Err(ReceiveError::TimedOut(after)) if after == limit));
    assert_eq!(none.unwrap_err().to_string(), "no datagram for 0.01 s");
    pair.near.send_datagram("x").unwrap();
    let some = receiver.receive_timeout(Duration::from_secs(60)).await;
    assert_eq!(some.unwrap(), "x");
}

#[tokio::test]
async fn several_are_received_at_once() {
    let pair = pair().await;
    let receiver = pair.receiver();
    send(&pair, "", &["a", "b", "c", "d"]).await;
    let long = Duration::from_secs(60);
    assert_eq!(
        receiver.receive_many(3, long).await.unwrap(),
        ["a", "b", "c"]
    );
    assert_eq!(receiver.receive_many(3, long).await.unwrap(), ["d"]);
    assert!(receiver.receive_many(0, long).await.unwrap().is_empty());
    let none = receiver.receive_many(3, Duration::from_millis(5)).await;
    assert!(matches!(none, Err(ReceiveError::TimedOut(_))));
}

#[tokio::test]
async fn json_is_read_and_what_is_none_is_an_error() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Position {
        name: String,
        x: f64,
    }
    let pair = pair().await;
    let receiver = pair.receiver();
    let options = SendOptions::new();
    let sender = pair.sender(&DatagramConfig::new());
    let value = serde_json::json!({"name": "grün", "x": 1.5});
    sender.send_json(&value, options).await.unwrap();
    let position: Position = within(receiver.receive_json()).await.unwrap();
    let (name, x) = ("grün".to_owned(), 1.5);
    assert_eq!(position, Position { name, x });
    for bad in ["{", "{}", "\u{fffd}"] {
        sender.send(bad).await.unwrap();
        let error = within(receiver.receive_json::<Position>())
            .await
            .unwrap_err();
        assert!(matches!(error, ReceiveError::Json(_)), "{error:?}");
        assert!(!error.is_fatal());
    }
    let stats = receiver.stats();
    assert_eq!((stats.datagrams_received, stats.receive_errors), (4, 3));
    assert!((stats.receive_success_rate() - 4.0 / 7.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_datagram_comes_with_what_is_known_of_it() {
    let pair = pair().await;
    let receiver = buffered(&pair, 10, DropPolicy::Oldest);
    send(&pair, "", &["abc", "defg"]).await;
    eventually(|| receiver.receive_buffer_len() == 2).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let first = within(receiver.receive_with_metadata()).await.unwrap();
    assert_eq!((first.sequence, first.size()), (0, 3));
    // The first digits of the SHA-256 of "abc".
    assert_eq!(first.checksum(), "ba7816bf");
    assert!(first.age() >= Duration::from_millis(5));
    assert!(!first.is_expired());
    let second = within(receiver.receive_with_metadata()).await.unwrap();
    assert_eq!((second.sequence, second.size()), (1, 4));
    let record = serde_json::to_value(&first).unwrap();
    assert_eq!(record["size"], 3);
    assert_eq!(record["checksum"], "ba7816bf");
    assert_eq!(record["is_expired"], false);
    assert!(record["timestamp"].as_f64().unwrap() > 1e9);
    assert!(record["age"].as_f64().unwrap() >= 0.005);
}

#[tokio::test]
async fn what_was_received_can_be_cleared() {
    let pair = pair().await;
    let direct = pair.receiver();
    send(&pair, "", &["a", "b"]).await;
    assert_eq!(direct.clear_receive_buffer(), 2);
    assert_eq!(direct.clear_receive_buffer(), 0);
    assert_eq!(direct.stats().receive_drops.cleared, 2);
    drop(direct);
    let receiver = buffered(&pair, 10, DropPolicy::Oldest);
    send(&pair, "", &["c", "d", "e"]).await;
    eventually(|| receiver.receive_buffer_len() == 3).await;
    assert_eq!(receiver.clear_receive_buffer(), 3);
    assert_eq!(receiver.try_receive().unwrap(), None);
    assert_eq!(receiver.stats().receive_drops.cleared, 3);
}

#[tokio::test]
async fn what_came_before_the_end_can_be_read() {
    let pair = pair().await;
    let receiver = buffered(&pair, 10, DropPolicy::Oldest);
    send(&pair, "", &["a", "b"]).await;
    eventually(|| receiver.receive_buffer_len() == 2).await;
    pair.near.close(3, "bye");
    within(pair.far.closed()).await;
    assert_eq!(within(receiver.receive()).await.unwrap(), "a");
    assert_eq!(within(receiver.receive()).await.unwrap(), "b");
    let end = within(receiver.receive()).await.unwrap_err();
    let ReceiveError::Session(SessionError::Closed {
        code: 3, reason, ..
    }) = end
    else {
        panic!("{end:?}");
    };
    assert_eq!(reason, "bye");
}

#[tokio::test]
async fn closing_wakes_receivers_with_a_buffer_too() {
    let pair = pair().await;
    let receiver = buffered(&pair, 10, DropPolicy::Oldest);
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            tokio::spawn(async move { receiver.receive().await })
        })
        .collect();
    tokio::task::yield_now().await;
    receiver.close();
    for task in tasks {
        let end = within(task).await.unwrap();
        assert!(matches!(end, Err(ReceiveError::Closed)), "{end:?}");
    }
}

#[tokio::test]
async fn diagnostics_say_what_is_wrong() {
    let pair = pair().await;
    let mut config = DatagramConfig::new().with_outgoing(10, DropPolicy::Newest);
    config.send_ahead = 1;
    config.send_ahead_time = Duration::ZERO;
    let sender = pair.sender(&config);
    let healthy = sender.diagnostics();
    assert!(healthy.issues().is_empty());
    assert!((healthy.stats.send_success_rate() - 1.0).abs() < f64::EPSILON);
    assert_eq!(healthy.stats.min_datagram_size, None);
    for n in 0..20 {
        let high = SendOptions::new().priority(wt_datagram::Priority::High);
        let _ = sender.try_send_with(n.to_string(), high);
    }
    sender.close();
    let issues: Vec<_> = sender
        .diagnostics()
        .issues()
        .iter()
        .map(ToString::to_string)
        .collect();
    // 9 refused and 10 ended of 1 sent.
    assert_eq!(
        issues,
        ["high drop rate: 19/1", "datagram transport is closed"]
    );
    let text = sender.diagnostics().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "sent 1 datagrams (1 bytes), 0 failed, 19 dropped",
            "received 0 datagrams (0 bytes), 0 unreadable, 0 dropped",
            "queues: 0/10 to send, 0/100 received",
            "! high drop rate: 19/1",
            "! datagram transport is closed",
        ]
    );
    let record = serde_json::to_value(sender.diagnostics()).unwrap();
    assert_eq!(record["stats"]["datagrams_sent"], 1);
    assert_eq!(record["stats"]["send_drops"]["refused"], 9);
    assert_eq!(record["stats"]["send_drops"]["ended"], 10);
    assert_eq!(record["outgoing"]["lanes"], serde_json::json!([0, 0, 0]));
    assert_eq!(record["is_closed"], true);
}

#[tokio::test]
async fn those_who_listen_are_told() {
    let pair = pair().await;
    let mut config = DatagramConfig::new().with_outgoing(1, DropPolicy::Newest);
    config.send_ahead = 1;
    config.send_ahead_time = Duration::ZERO;
    let sender = pair.sender(&config);
    let receiver = pair.receiver();
    sender.try_send("nobody hears of this").unwrap();
    let mut sent = sender.events();
    let mut received = receiver.events();
    let high = SendOptions::new().priority(wt_datagram::Priority::High);
    sender.try_send_with("1", high).unwrap();
    sender.try_send_with("12", high).unwrap();
    assert!(sender.try_send_with("123", high).is_err());
    for _ in 0..3 {
        within(receiver.receive()).await.unwrap();
    }
    within(sender.flush()).await.unwrap();
    sender.close();
    drop(receiver);
    let mut all = Vec::new();
    while let Some(event) = within(sent.recv()).await {
        all.push(event.unwrap());
    }
    let waited = Duration::ZERO;
    let [first, dropped, second, closed] = all[..] else {
        panic!("{all:?}");
    };
    let (sequence, size) = (1, 1);
    assert_eq!(
        first,
        DatagramEvent::Sent {
            sequence,
            size,
            waited
        }
    );
    let (reason, count) = (DropReason::Refused, 1);
    assert_eq!(dropped, DatagramEvent::SendDropped { reason, count });
    assert_eq!(dropped.to_string(), "1 datagrams were not sent: refused");
    assert!(
        matches!(second, DatagramEvent::Sent { sequence: 2, size: 2, waited } if !waited.is_zero())
    );
    assert_eq!(closed, DatagramEvent::Closed);
    let mut sizes = Vec::new();
    while let Some(event) = within(received.recv()).await {
        if let DatagramEvent::Received { size, .. } = event.unwrap() {
            sizes.push(size);
        }
    }
    assert_eq!(sizes, [20, 1, 2]);
}

#[tokio::test]
async fn transports_can_be_watched() {
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    sender.send("abc").await.unwrap();
    let snapshot = sender.observe();
    assert_eq!(snapshot.kind, "datagrams");
    assert_eq!(snapshot.state, State::Active);
    assert_eq!(snapshot.counter("sent"), Some(1));
    assert_eq!(snapshot.counter("sent_bytes"), Some(3));
    assert_eq!(snapshot.get("send_success_rate"), Some(1.0));
    assert!(snapshot.issues.is_empty());
    sender.close();
    let snapshot = sender.observe();
    assert_eq!(snapshot.state, State::Closed);
    assert_eq!(snapshot.issues, ["datagram transport is closed"]);
}
