//! The client of pub/sub, against our broker and against lines written by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pubsub_world;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pubsub_world::{Raw, World, eventually, rest, text, within};
use wt_core::{ReadError, Session, WriteError};
use wt_messaging::pubsub::{
    InvalidTopic, MemoryBroker, Message, Overflow, Pattern, PubSub, PubSubConfig, PubSubEnd,
    PubSubError, PubSubService, QueueConfig, SubscribeOptions, SubscriptionEnd, Topic, WireError,
};

/// The server's and the client's end of a session, which ends with its last handle.
type Ends = (Session, Session);

/// A client whose broker is the test.
async fn by_hand() -> (PubSub, Raw, Ends) {
    by_hand_with(PubSubConfig::new()).await
}

async fn by_hand_with(config: PubSubConfig) -> (PubSub, Raw, Ends) {
    let (server, client) = World::new().pair().await;
    let pubsub = within(PubSub::open_with(&client, config)).await.unwrap();
    // The stream is there with its first bytes.
    pubsub.publish("hello", "").await.unwrap();
    let mut raw = Raw::accept(&server).await;
    raw.hear("PUB hello 0\n").await;
    (pubsub, raw, (server, client))
}

/// Waits until all that was published before has gone through a broker and come back.
async fn settle(pubsub: &PubSub) {
    let mut echo = within(pubsub.subscribe("settle")).await.unwrap();
    pubsub.publish("settle", "").await.unwrap();
    text(&mut echo).await;
}

fn closed(error: PubSubError) -> PubSubEnd {
    match error {
        PubSubError::Closed(end) => end,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn messages_reach_subscribers_on_every_session_the_publisher_among_them() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = within(PubSub::open(&world.session().await)).await.unwrap();
        let news = within(client.subscribe("news")).await.unwrap();
        clients.push((client, news));
    }
    let publisher = clients[0].0.clone();
    publisher.publish("other", "not for them").await.unwrap();
    publisher.publish("news", "text").await.unwrap();
    publisher
        .publish("news", String::from("owned"))
        .await
        .unwrap();
    publisher
        .publish("news", vec![0, 255, b'\n'])
        .await
        .unwrap();
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20] {
        publisher.publish("news", vec![7; size]).await.unwrap();
    }
    for (_, news) in &mut clients {
        assert_eq!(text(news).await, "text");
        let message = within(news.next()).await.unwrap();
        assert_eq!(
            (message.topic().as_str(), message.text()),
            ("news", Some("owned"))
        );
        let bytes = within(news.next()).await.unwrap().payload().clone();
        assert_eq!(&bytes[..], [0, 255, b'\n']);
        for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 1 << 20] {
            assert_eq!(within(news.next()).await.unwrap().payload(), &vec![7; size]);
        }
    }
    let stats = publisher.stats();
    assert_eq!((stats.messages_published, stats.messages_received), (9, 8));
    assert_eq!((stats.topics_subscribed, stats.subscription_errors), (1, 0));
}

#[tokio::test]
async fn the_bytes_are_those_of_the_protocol() {
    let (pubsub, mut broker, _session) = by_hand().await;
    let (news, ()) = tokio::join!(pubsub.subscribe("news"), async {
        broker.hear("SUB news\n").await;
        // A message that comes with the confirmation is not lost.
        broker.say("SUB-OK news\nMSG news 5\nearly").await;
    });
    let mut news = news.unwrap();
    assert_eq!(text(&mut news).await, "early");
    pubsub.publish("grüße/1", "zwölf").await.unwrap();
    broker.hear("PUB grüße/1 6\nzwölf").await;
    // Not subscribed: read and dropped. Not known: skipped. A CR does no harm.
    broker
        .say("MSG other 5\nother\nNONSENSE\nMSG news 3\r\na\nb")
        .await;
    assert_eq!(text(&mut news).await, "a\nb");
    assert_eq!(pubsub.stats().messages_received, 2);
    pubsub.unsubscribe("news").unwrap();
    broker.hear("UNSUB news\n").await;
    assert_eq!(within(news.recv()).await, None);
}

#[tokio::test]
async fn subscriptions_are_confirmed_refused_or_time_out() {
    let (pubsub, mut broker, _session) = by_hand().await;
    let (refused, ()) = tokio::join!(pubsub.subscribe("secret"), async {
        broker.hear("SUB secret\n").await;
        broker.say("SUB-FAIL secret not for you\n").await;
    });
    let error = refused.unwrap_err();
    let expected = PubSubError::Refused {
        pattern: Pattern::new("secret").unwrap(),
        reason: "not for you".to_owned(),
    };
    assert_eq!(error, expected);
    assert!(
        error
            .to_string()
            .ends_with("subscription to secret: not for you")
    );

    let brief = SubscribeOptions::new().with_timeout(Duration::from_millis(1));
    let late = within(pubsub.subscribe_with("late", brief))
        .await
        .unwrap_err();
    assert!(late.is_timeout(), "{late}");
    assert_eq!(pubsub.stats().subscription_errors, 2);
    assert_eq!(pubsub.stats().subscriptions, 0);

    // Nothing stays behind: the broker was told, and the next attempt is one like the first.
    broker.hear("SUB late\nUNSUB late\n").await;
    let (late, ()) = tokio::join!(pubsub.subscribe("late"), async {
        broker.hear("SUB late\n").await;
        broker.say("SUB-OK late\nMSG late 2\nok").await;
    });
    assert_eq!(text(&mut late.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_subscription_whose_future_is_dropped_is_none() {
    let (pubsub, mut broker, _session) = by_hand().await;
    tokio::select! {
        biased;
        _ = pubsub.subscribe("news") => panic!("nobody confirmed it"),
        () = broker.hear("SUB news\n") => {}
    }
    broker.hear("UNSUB news\n").await;
    assert_eq!(pubsub.stats().subscriptions, 0);
}

#[tokio::test]
async fn several_subscriptions_to_a_topic_each_get_everything() {
    let (pubsub, mut broker, _session) = by_hand().await;
    // Two at once ask once, and a third not at all.
    let (first, second, ()) =
        tokio::join!(pubsub.subscribe("news"), pubsub.subscribe("news"), async {
            broker.hear("SUB news\n").await;
            broker.say("SUB-OK news\n").await;
        });
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    let mut third = within(pubsub.subscribe("news")).await.unwrap();
    broker.say("MSG news 1\na").await;
    for news in [&mut first, &mut second, &mut third] {
        assert_eq!(text(news).await, "a");
    }
    // The broker hears of the end of the last.
    drop(first);
    second.unsubscribe();
    broker.say("MSG news 1\nb").await;
    assert_eq!(text(&mut third).await, "b");
    drop(third);
    pubsub.publish("mark", "").await.unwrap();
    broker.hear("UNSUB news\nPUB mark 0\n").await;
}

#[tokio::test]
async fn unsubscribing_a_topic_ends_all_its_subscriptions() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let pubsub = within(PubSub::open(&world.session().await)).await.unwrap();
    let mut first = within(pubsub.subscribe("news")).await.unwrap();
    let mut second = within(pubsub.subscribe("news")).await.unwrap();
    let mut other = within(pubsub.subscribe("other")).await.unwrap();
    pubsub.publish("news", "before").await.unwrap();
    settle(&pubsub).await;
    pubsub.unsubscribe("news").unwrap();
    pubsub.publish("news", "after").await.unwrap();
    pubsub.publish("other", "goes on").await.unwrap();
    assert_eq!(text(&mut other).await, "goes on");
    for news in [&mut first, &mut second] {
        assert_eq!(rest(news).await, ["before"]);
        assert_eq!(news.end(), Some(SubscriptionEnd::Unsubscribed));
    }
    let again = pubsub.unsubscribe("news").unwrap_err();
    assert_eq!(
        again,
        PubSubError::NotSubscribed(Pattern::new("news").unwrap())
    );
    // It can be subscribed to again at once.
    let mut news = within(pubsub.subscribe("news")).await.unwrap();
    pubsub.publish("news", "again").await.unwrap();
    assert_eq!(text(&mut news).await, "again");
}

#[tokio::test]
async fn dropping_a_subscription_unsubscribes() {
    let broker = MemoryBroker::new();
    let world = World::serving(&PubSubService::new(broker.clone()));
    let pubsub = within(PubSub::open(&world.session().await)).await.unwrap();
    let news = within(pubsub.subscribe("news")).await.unwrap();
    assert_eq!(broker.stats().subscriptions, 1);
    drop(news);
    eventually(|| broker.stats().subscriptions == 0).await;
    assert_eq!(pubsub.stats().topics_subscribed, 0);
}

#[tokio::test]
async fn a_full_queue_does_as_its_policy_says_and_counts() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let pubsub = within(PubSub::open(&world.session().await)).await.unwrap();
    let queue = QueueConfig::new()
        .with_capacity(2)
        .with_patience(Duration::ZERO);
    let mut subscriptions = Vec::new();
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::End] {
        let options = SubscribeOptions::new().with_queue(queue.clone().with_overflow(overflow));
        subscriptions.push(
            within(pubsub.subscribe_with("news", options))
                .await
                .unwrap(),
        );
    }
    for text in ["1", "2", "3", "4"] {
        pubsub.publish("news", text).await.unwrap();
    }
    settle(&pubsub).await;
    let stats: Vec<_> = subscriptions.iter().map(|news| news.stats()).collect();
    assert_eq!(
        stats.iter().map(|stats| stats.dropped).collect::<Vec<_>>(),
        [2, 2, 0]
    );
    assert!(stats.iter().all(|stats| stats.waiting == 2));
    assert_eq!(pubsub.stats().messages_dropped, 4);
    // The end of the slow one comes after what it has.
    assert_eq!(rest(&mut subscriptions[2]).await, ["1", "2"]);
    assert_eq!(subscriptions[2].end(), Some(SubscriptionEnd::TooSlow));
    pubsub.unsubscribe("news").unwrap();
    assert_eq!(rest(&mut subscriptions[0]).await, ["3", "4"]);
    assert_eq!(rest(&mut subscriptions[1]).await, ["1", "2"]);
}

#[tokio::test]
async fn a_reader_slower_than_its_publisher_loses_nothing() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let reader = within(PubSub::open(&world.session().await)).await.unwrap();
    let publisher = within(PubSub::open(&world.session().await)).await.unwrap();
    let patient = QueueConfig::new()
        .with_capacity(4)
        .with_patience(Duration::MAX);
    let options = SubscribeOptions::new().with_queue(patient);
    let mut news = within(reader.subscribe_with("news", options))
        .await
        .unwrap();
    let publish = async {
        for number in 0..3000 {
            publisher
                .publish("news", format!("{number}"))
                .await
                .unwrap();
        }
    };
    let read = async {
        for number in 0..3000 {
            if number % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(text(&mut news).await, number.to_string());
        }
    };
    tokio::join!(publish, read);
}

#[tokio::test]
async fn closing_sends_everything_first() {
    let broker = MemoryBroker::new();
    let world = World::serving(&PubSubService::new(broker.clone()));
    let patient = QueueConfig::new().with_patience(Duration::MAX);
    let mut all = broker.subscribe("#", patient).unwrap();
    let session = world.session().await;
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    let reading = tokio::spawn(async move {
        for number in 0..1000 {
            assert_eq!(text(&mut all).await, number.to_string());
        }
        all
    });
    for number in 0..1000 {
        pubsub.publish("news", number.to_string()).await.unwrap();
    }
    within(pubsub.close()).await.unwrap();
    assert_eq!(pubsub.end(), Some(PubSubEnd::Closed));
    let mut all = within(reading).await.unwrap();

    // And so does dropping the last handle.
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    pubsub.publish("news", "the last").await.unwrap();
    drop(pubsub);
    assert_eq!(text(&mut all).await, "the last");
}

#[tokio::test]
async fn closing_fails_what_waits_and_ends_subscriptions() {
    let (pubsub, mut broker, _session) = by_hand().await;
    let (news, ()) = tokio::join!(pubsub.subscribe("news"), async {
        broker.hear("SUB news\n").await;
        broker.say("SUB-OK news\n").await;
    });
    let mut news = news.unwrap();
    let waiting = pubsub.clone();
    let waiting = tokio::spawn(async move { waiting.subscribe("never").await.unwrap_err() });
    broker.hear("SUB never\n").await;
    within(pubsub.close()).await.unwrap();
    assert_eq!(closed(within(waiting).await.unwrap()), PubSubEnd::Closed);
    assert_eq!(within(news.recv()).await, None);
    assert_eq!(news.end(), Some(SubscriptionEnd::Closed(PubSubEnd::Closed)));
    assert_eq!(
        closed(pubsub.publish("a", "b").await.unwrap_err()),
        PubSubEnd::Closed
    );
    assert_eq!(
        closed(pubsub.subscribe("a").await.unwrap_err()),
        PubSubEnd::Closed
    );
    assert_eq!(
        closed(pubsub.unsubscribe("news").unwrap_err()),
        PubSubEnd::Closed
    );
    assert_eq!(
        within(broker.0.recv.read_to_end(100)).await.unwrap(),
        Bytes::new()
    );
    // Closing again is closing.
    within(pubsub.close()).await.unwrap();
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let config = PubSubConfig::new()
        .with_close_timeout(Duration::from_millis(10))
        .with_send_buffer(8 << 20)
        .with_max_message_size(8 << 20);
    let (pubsub, _broker, _session) = by_hand_with(config).await;
    // More than the window of a stream, and nobody reads.
    pubsub.publish("news", vec![0; 4 << 20]).await.unwrap();
    assert_eq!(
        closed(within(pubsub.close()).await.unwrap_err()),
        PubSubEnd::Unsent
    );
}

#[tokio::test]
async fn the_client_ends_with_its_stream() {
    async fn ends(how: impl AsyncFnOnce(Raw, Session)) -> PubSubEnd {
        let (pubsub, mut broker, (session, _client)) = by_hand().await;
        let (news, ()) = tokio::join!(pubsub.subscribe("news"), async {
            broker.hear("SUB news\n").await;
            broker.say("SUB-OK news\nMSG news 4\nlast").await;
        });
        let mut news = news.unwrap();
        assert_eq!(text(&mut news).await, "last");
        let waiting = pubsub.clone();
        let waiting = tokio::spawn(async move { waiting.subscribe("never").await.unwrap_err() });
        broker.hear("SUB never\n").await;
        how(broker, session).await;
        let end = within(pubsub.closed()).await;
        assert_eq!(within(news.recv()).await, None);
        assert_eq!(news.end(), Some(SubscriptionEnd::Closed(end.clone())));
        assert_eq!(closed(within(waiting).await.unwrap()), end);
        assert_eq!(closed(pubsub.publish("a", "b").await.unwrap_err()), end);
        end
    }
    let end = ends(async |mut broker, _| {
        broker.0.send.finish().unwrap();
        assert_eq!(
            within(broker.0.recv.read_to_end(100)).await.unwrap(),
            Bytes::new()
        );
    });
    assert_eq!(end.await, PubSubEnd::Finished);

    let end = ends(async |mut broker, _| broker.0.send.reset(7)).await;
    assert!(
        matches!(&end, PubSubEnd::Read(error @ ReadError::Reset(_)) if error.code() == Some(7))
    );

    let end = ends(async |mut broker, session| {
        broker.0.recv.stop(8);
        // Noticed with the next write.
        broker.0.send.flush().await.unwrap();
        drop((broker, session));
    });
    let end = end.await;
    assert!(
        matches!(
            end,
            PubSubEnd::Write(WriteError::Stopped(_)) | PubSubEnd::Read(_)
        ),
        "{end}"
    );

    let end = ends(async |_broker, session| session.close(9, "nine")).await;
    assert!(end.to_string().contains("nine"), "{end}");

    for (nonsense, error) in [
        (&b"MSG news x\n"[..], WireError::Length),
        (b"MSG news -1\n", WireError::Length),
        (b"SUB-OK \xff\n", WireError::NotUtf8),
        (&[b'x'; 70_000], WireError::LineTooLong),
    ] {
        let end = ends(async |mut broker, _| {
            // It may be aborted before all was written.
            let _ = within(broker.0.send.write_all(nonsense)).await;
            let aborted = within(broker.0.recv.read_to_end(100)).await.unwrap_err();
            assert!(
                aborted.to_string().ends_with("application code 0"),
                "{aborted}"
            );
        });
        assert_eq!(end.await, PubSubEnd::Protocol(error));
    }
    let end = ends(async |mut broker, _| {
        broker.say("MSG news 10\nhalf").await;
        broker.0.send.finish().unwrap();
    });
    assert_eq!(end.await, PubSubEnd::Protocol(WireError::Truncated));
}

#[tokio::test]
async fn the_broker_may_take_a_subscription_back() {
    let (pubsub, mut broker, _session) = by_hand().await;
    let (news, ()) = tokio::join!(pubsub.subscribe("news"), async {
        broker.hear("SUB news\n").await;
        broker.say("SUB-OK news\nSUB-FAIL news sold out\n").await;
    });
    let mut news = news.unwrap();
    assert_eq!(within(news.recv()).await, None);
    assert_eq!(
        news.end(),
        Some(SubscriptionEnd::Refused("sold out".to_owned()))
    );
}

#[tokio::test]
async fn what_would_break_the_protocol_is_not_sent() {
    let (pubsub, mut broker, _session) = by_hand().await;
    let space = PubSubError::Topic(InvalidTopic::Character(' '));
    assert_eq!(pubsub.publish("a b", "x").await.unwrap_err(), space);
    assert_eq!(pubsub.subscribe("a b").await.unwrap_err(), space);
    let injected = pubsub.publish("a\nSUB b", "x").await.unwrap_err();
    assert_eq!(injected, PubSubError::Topic(InvalidTopic::Character('\n')));
    let empty = pubsub.subscribe("").await.unwrap_err();
    assert_eq!(empty, PubSubError::Topic(InvalidTopic::Empty));
    let wildcard = pubsub.publish("a/#", "x").await.unwrap_err();
    assert_eq!(wildcard, PubSubError::Topic(InvalidTopic::Wildcard));
    pubsub.publish(Topic::new("a").unwrap(), "x").await.unwrap();
    broker.hear("PUB a 1\nx").await;
}

#[tokio::test]
async fn sizes_and_subscriptions_are_limited() {
    let config = PubSubConfig::new()
        .with_max_message_size(10)
        .with_max_subscriptions(1);
    let (pubsub, mut broker, _session) = by_hand_with(config).await;
    let error = pubsub.publish("a", vec![0; 11]).await.unwrap_err();
    assert_eq!(error, PubSubError::TooLarge { size: 11, max: 10 });
    let (news, ()) = tokio::join!(pubsub.subscribe("news"), async {
        broker.hear("SUB news\n").await;
        // Too large: dropped, and the next is found.
        broker
            .say("SUB-OK news\nMSG news 11\nxxxxxxxxxxxMSG news 2\nok")
            .await;
    });
    let mut news = news.unwrap();
    let error = pubsub.subscribe("more").await.unwrap_err();
    assert_eq!(error, PubSubError::TooManySubscriptions(1));
    assert_eq!(text(&mut news).await, "ok");
    assert_eq!(pubsub.stats().messages_dropped, 1);
}

#[tokio::test]
async fn publishing_waits_while_the_buffer_is_full_and_may_be_given_up() {
    let config = PubSubConfig::new().with_send_buffer(1 << 20);
    let (pubsub, mut broker, _session) = by_hand_with(config).await;
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    // Nobody reads: windows and buffer fill up.
    let mut sent = 0;
    while tokio::time::timeout(
        Duration::from_millis(50),
        pubsub.publish("a", large.clone()),
    )
    .await
    .is_ok()
    {
        sent += 1;
        assert!(sent < 32, "32 MiB were taken and nobody reads");
    }
    assert_eq!(pubsub.stats().messages_published, 1 + sent);
    // What was given up is not sent, not even in part.
    let reading = async {
        let message = [b"PUB a 1048576\n", &large[..]].concat();
        for _ in 0..sent {
            let mut heard = vec![0; message.len()];
            within(broker.0.recv.read_exact(&mut heard)).await.unwrap();
            assert!(heard == message);
        }
        broker.hear("PUB mark 0\n").await;
    };
    let mark = async { pubsub.publish("mark", "").await.unwrap() };
    tokio::join!(reading, mark);
}

#[tokio::test]
async fn a_message_for_several_patterns_comes_once_to_each_subscription() {
    let broker = MemoryBroker::new();
    let world = World::serving(&PubSubService::new(broker.clone()));
    let pubsub = within(PubSub::open(&world.session().await)).await.unwrap();
    let mut subscriptions = Vec::new();
    for pattern in ["rooms/7", "rooms/+", "rooms/#", "#", "+/7"] {
        subscriptions.push(within(pubsub.subscribe(pattern)).await.unwrap());
    }
    let mut other = within(pubsub.subscribe("rooms/8")).await.unwrap();
    pubsub.publish("rooms/7", "once").await.unwrap();
    pubsub.publish("rooms/8", "other").await.unwrap();
    assert_eq!(text(&mut other).await, "other");
    assert_eq!(broker.stats().delivered, 2);
    let expected = Message::new(Topic::new("rooms/7").unwrap(), "once");
    for subscription in &mut subscriptions {
        assert_eq!(within(subscription.recv()).await.unwrap(), expected);
        assert!(
            subscription.stats().waiting <= 1,
            "{}",
            subscription.pattern()
        );
    }
}

#[tokio::test]
async fn stats_have_the_keys_of_the_dictionary() {
    let (pubsub, _broker, _session) = by_hand().await;
    let stats = serde_json::to_value(pubsub.stats()).unwrap();
    for key in [
        "topics_subscribed",
        "messages_received",
        "subscription_errors",
    ] {
        assert_eq!(stats[key], 0, "{key}");
    }
    assert_eq!(stats["messages_published"], 1);
    assert!(stats["created_at"].as_f64().unwrap() > 1.7e9);
}
