//! The broker of pub/sub and its service: bytes, order, limits, and who does not keep up.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pubsub_world;

use std::{sync::Arc, time::Duration};

use pubsub_world::{Raw, World, eventually, rest, text, within};
use tokio::task::JoinSet;
use wt_core::ReadError;
use wt_messaging::pubsub::{
    Access, Broker, BrokerConfig, BrokerError, Denied, Feed, Interest, MemoryBroker, Message,
    Overflow, Pattern, PubSub, PubSubConfig, PubSubEnd, PubSubError, PubSubService, QueueConfig,
    ServiceConfig, SubscribeOptions, SubscriptionEnd, Topic,
};

/// What a subscriber in tests wants: nothing lost, however slow the machine.
fn patient() -> QueueConfig {
    QueueConfig::new().with_patience(Duration::MAX)
}

/// Publishers do not wait at all.
fn impatient(capacity: usize, overflow: Overflow) -> QueueConfig {
    let queue = QueueConfig::new()
        .with_capacity(capacity)
        .with_overflow(overflow);
    queue.with_patience(Duration::ZERO)
}

fn message(topic: &str, payload: &'static str) -> Message {
    Message::new(Topic::new(topic).unwrap(), payload)
}

#[tokio::test]
async fn the_broker_speaks_the_bytes_of_the_protocol() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let mut client = Raw::open(&world.session().await).await;
    client.say("SUB news\n").await;
    client.hear("SUB-OK news\n").await;
    client.say("PUB news 5\nhello").await;
    client.hear("MSG news 5\nhello").await;
    // Several in one write, and one in several.
    client.say("PUB news 0\nPUB news 3\na\nbSUB gr").await;
    client.hear("MSG news 0\nMSG news 3\na\nb").await;
    client.say("üße\r\nSU").await;
    client.hear("SUB-OK grüße\n").await;
    client.say("B x\nNONSENSE\n\nSUB a b\nPUB x 1\n").await;
    client.hear("SUB-OK x\n").await;
    client.say("!").await;
    client.hear("MSG x 1\n!").await;
    // Again is no error, and nothing comes twice.
    client
        .say("SUB news\nPUB news 1\n1UNSUB news\nPUB news 1\n2UNSUB never\nPUB x 1\n3")
        .await;
    client.hear("SUB-OK news\nMSG news 1\n1MSG x 1\n3").await;
    // What cannot be subscribed to is answered too.
    client.say("SUB a/#/b\n").await;
    client
        .hear("SUB-FAIL a/#/b `#` can only be the last level of a pattern\n")
        .await;
    assert_eq!(service.stats().refused, 1);
}

#[tokio::test]
async fn what_breaks_the_protocol_aborts_the_stream_alone() {
    let service = PubSubService::new(MemoryBroker::new());
    let world = World::serving(&service);
    let session = world.session().await;
    let mut other = Raw::open(&session).await;
    other.say("SUB news\n").await;
    other.hear("SUB-OK news\n").await;
    let long = [b'x'; 70_000];
    for nonsense in [&b"PUB news x\n"[..], b"PUB news -5\n", b"SUB \xff\n", &long] {
        let mut client = Raw::open(&session).await;
        let _ = within(client.0.send.write_all(nonsense)).await;
        let end = within(client.0.recv.read_chunk(1)).await.unwrap_err();
        assert_eq!(end.code(), Some(0), "{end}");
    }
    assert_eq!(service.stats().violations, 4);
    other.say("PUB news 2\nok").await;
    other.hear("MSG news 2\nok").await;
}

#[tokio::test]
async fn the_topics_of_a_client_that_is_gone_are_forgotten() {
    let broker = MemoryBroker::new();
    let service = PubSubService::new(broker.clone());
    let world = World::serving(&service);
    let session = world.session().await;
    let subscribed = async |session| {
        let mut client = Raw::open(session).await;
        client.say("SUB a\nSUB b\n").await;
        client.hear("SUB-OK a\nSUB-OK b\n").await;
        client
    };
    // As PyWebTransport goes.
    let mut aborted = subscribed(&session).await;
    assert_eq!(
        (broker.stats().topics, broker.stats().subscriptions),
        (2, 2)
    );
    aborted.0.abort(0);
    eventually(|| broker.stats().topics == 0 && service.stats().clients == 0).await;
    // In order: the broker ends its side too.
    let mut finished = subscribed(&session).await;
    finished.0.send.finish().unwrap();
    assert_eq!(
        within(finished.0.recv.read_to_end(9)).await.unwrap().len(),
        0
    );
    eventually(|| broker.stats().topics == 0).await;
    // With the session.
    let _gone = subscribed(&session).await;
    session.close(0, "");
    eventually(|| broker.stats().topics == 0 && broker.stats().subscriptions == 0).await;
    assert_eq!(service.stats().clients_total, 3);
}

#[tokio::test]
async fn the_hook_decides_who_may_do_what_with_which_topic() {
    let service = PubSubService::new(MemoryBroker::new());
    let service = service.with_authorize(|session, access| match access {
        _ if session.path() == "/admin" => Ok(()),
        Access::Publish(topic) if topic.as_str().starts_with("public/") => Ok(()),
        Access::Subscribe(pattern) if pattern.as_str().starts_with("public/") => Ok(()),
        _ => Err(Denied::new("only for\nadministrators")),
    });
    let world = World::serving(&service);
    let admin = within(PubSub::open(&world.session_at("/admin").await))
        .await
        .unwrap();
    let mut all = within(admin.subscribe("#")).await.unwrap();
    let guest = within(PubSub::open(&world.session_at("/").await))
        .await
        .unwrap();
    for pattern in ["#", "public", "secret/plans"] {
        match within(guest.subscribe(pattern)).await.unwrap_err() {
            // One line, whatever the hook says.
            PubSubError::Refused { reason, .. } => assert_eq!(reason, "only for administrators"),
            error => panic!("{error}"),
        }
    }
    let mut public = within(guest.subscribe("public/#")).await.unwrap();
    guest.publish("secret/plans", "forged").await.unwrap();
    guest.publish("public/news", "from a guest").await.unwrap();
    assert_eq!(text(&mut public).await, "from a guest");
    assert_eq!(text(&mut all).await, "from a guest");
    let stats = service.stats();
    assert_eq!((stats.refused, stats.rejected, stats.published), (3, 1, 1));
}

#[tokio::test]
async fn new_subscribers_get_the_history() {
    let broker = MemoryBroker::with_config(BrokerConfig::new().with_history(2));
    let world = World::serving(&PubSubService::new(broker.clone()));
    for (topic, payload) in [
        ("a/1", "1"),
        ("a/2", "2"),
        ("a/1", "3"),
        ("b", "4"),
        ("a/1", "5"),
    ] {
        broker.publish(topic, payload).await.unwrap();
    }
    let mut client = Raw::open(&world.session().await).await;
    client.say("SUB a/1\n").await;
    client.hear("SUB-OK a/1\nMSG a/1 1\n3MSG a/1 1\n5").await;
    client.say("SUB a/#\n").await;
    client
        .hear("SUB-OK a/#\nMSG a/2 1\n2MSG a/1 1\n3MSG a/1 1\n5")
        .await;
    let mut all = broker.subscribe("#", patient()).unwrap();
    broker.publish("c", "6").await.unwrap();
    broker.close();
    assert_eq!(rest(&mut all).await, ["2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn the_broker_limits_topics_subscriptions_and_sizes() {
    let config = BrokerConfig::new()
        .with_max_topics(2)
        .with_max_subscriptions(3)
        .with_max_message_size(10);
    let broker = MemoryBroker::with_config(config);
    let world = World::serving(&PubSubService::new(broker.clone()));
    let mut client = Raw::open(&world.session().await).await;
    client.say("SUB a\nSUB b\nSUB c\n").await;
    client
        .hear("SUB-OK a\nSUB-OK b\nSUB-FAIL c too many topics: the limit is 2\n")
        .await;
    let third = broker.subscribe("a", patient()).unwrap();
    let error = broker.subscribe("b", patient()).unwrap_err();
    assert_eq!(
        error,
        PubSubError::Broker(BrokerError::TooManySubscriptions(3))
    );
    let error = broker.publish("a", "more than ten").await.unwrap_err();
    assert_eq!(
        error,
        PubSubError::Broker(BrokerError::TooLarge { size: 13, max: 10 })
    );
    // Room comes back.
    drop(third);
    client
        .say("UNSUB a\nSUB c\nPUB c 13\nmore than tenPUB c 2\nok")
        .await;
    client.hear("SUB-OK c\nMSG c 2\nok").await;
}

#[tokio::test]
async fn a_service_limits_what_one_client_and_one_session_have() {
    let config = ServiceConfig::new()
        .with_max_streams(2)
        .with_max_subscriptions(2)
        .with_max_message_size(10);
    let service = PubSubService::with_config(MemoryBroker::new(), config);
    let world = World::serving(&service);
    let session = world.session().await;
    let mut first = Raw::open(&session).await;
    first.say("SUB a\nSUB b\nSUB c\nSUB a\n").await;
    first.hear("SUB-OK a\nSUB-OK b\n").await;
    first
        .hear("SUB-FAIL c too many subscriptions: the limit is 2\nSUB-OK a\n")
        .await;
    // Skipped as it comes, however long it says it is.
    first.say("PUB a 11\nxxxxxxxxxxxPUB a 2\nok").await;
    first.hear("MSG a 2\nok").await;
    assert_eq!(service.stats().rejected, 1);
    let mut huge = Raw::open(&session).await;
    huge.say("PUB a 18446744073709551615\nSUB a\n").await;
    eventually(|| service.stats().rejected == 2).await;
    // A third stream waits until one of the two is over.
    let mut third = Raw::open(&session).await;
    third.say("SUB a\n").await;
    first.say("PUB a 2\nok").await;
    first.hear("MSG a 2\nok").await;
    assert_eq!(service.stats().clients, 2);
    drop(huge);
    third.hear("SUB-OK a\n").await;
}

#[tokio::test]
async fn who_asks_and_does_not_listen_is_not_read_any_more() {
    let broker = MemoryBroker::new();
    let service = PubSubService::new(broker.clone());
    let world = World::serving(&service);
    let session = world.session().await;
    let mut client = Raw::open(&session).await;
    // Each line is answered with one as long; nobody reads the answers.
    let line = format!("SUB {}\n", "x".repeat(60_000));
    let asked = async {
        for _ in 0..1000 {
            client.0.send.write_all(line.as_bytes()).await.unwrap();
        }
    };
    let stopped = tokio::time::timeout(Duration::from_secs(1), asked).await;
    assert!(stopped.is_err(), "60 MB of answers were kept");
    // Others are served.
    let mut other = Raw::open(&session).await;
    other.say("SUB a\nPUB a 2\nok").await;
    other.hear("SUB-OK a\nMSG a 2\nok").await;
}

#[tokio::test]
async fn a_client_that_stalls_is_held_to_its_queue_by_the_policy() {
    for (overflow, first) in [
        (Overflow::DropOldest, None),
        (Overflow::DropNewest, Some(0)),
    ] {
        let broker = MemoryBroker::new();
        let config = ServiceConfig::new().with_queue(impatient(100, overflow));
        let world = World::serving(&PubSubService::with_config(broker.clone(), config));
        let session = world.session().await;
        let mut stalled = Raw::open(&session).await;
        stalled.say("SUB news\n").await;
        stalled.hear("SUB-OK news\n").await;
        // More than all windows hold: 8 MiB.
        let payload = bytes::Bytes::from(vec![b'x'; 8192]);
        for _ in 0..1000 {
            broker.publish("news", payload.clone()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let stats = broker.stats();
        assert_eq!(stats.published, 1000);
        assert!(stats.dropped > 100, "{stats:?}");
        assert_eq!(stats.waits, 0);
        broker.publish("news", "the last").await.unwrap();
        // What is left is in order, and of what was published.
        broker.close();
        let left = within(stalled.0.recv.read_to_end(64 << 20)).await.unwrap();
        let ends_with_last = left.ends_with(b"MSG news 8\nthe last");
        assert_eq!(ends_with_last, first.is_none(), "{overflow:?}");
        let delivered = if first.is_none() {
            stats.delivered - stats.dropped + 1
        } else {
            stats.delivered
        };
        let frames = left.windows(9).filter(|part| *part == b"MSG news ").count() as u64;
        assert!(frames.abs_diff(delivered) <= 1, "{frames} of {delivered}");
    }
}

#[tokio::test]
async fn a_client_that_stalls_is_ended_when_the_policy_says_so() {
    let broker = MemoryBroker::new();
    let config = ServiceConfig::new().with_queue(impatient(10, Overflow::End));
    let service = PubSubService::with_config(broker.clone(), config);
    let world = World::serving(&service);
    let session = world.session().await;
    let mut stalled = Raw::open(&session).await;
    stalled.say("SUB news\n").await;
    stalled.hear("SUB-OK news\n").await;
    let payload = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    while broker.stats().ended == 0 {
        broker.publish("news", payload.clone()).await.unwrap();
        assert!(broker.stats().published < 100);
    }
    let end = loop {
        match within(stalled.0.recv.read_chunk(usize::MAX)).await {
            Ok(chunk) => assert!(chunk.is_some()),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, ReadError::Reset(_)));
    assert_eq!(end.code(), Some(PubSubService::<MemoryBroker>::TOO_SLOW));
    eventually(|| broker.stats().subscriptions == 0).await;
    assert_eq!(service.stats().too_slow, 1);
}

#[tokio::test]
async fn publishers_wait_for_readers_and_once_for_the_stalled() {
    const MESSAGES: u64 = 2000;
    let broker = MemoryBroker::new();
    let reading = QueueConfig::new()
        .with_capacity(8)
        .with_patience(Duration::MAX);
    let stalling = reading.clone().with_patience(Duration::from_millis(50));
    let stalled = broker.subscribe("news", stalling).unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        let mut news = broker.subscribe("news", reading.clone()).unwrap();
        readers.spawn(async move {
            for number in 0..MESSAGES {
                assert_eq!(text(&mut news).await, number.to_string());
                // Others get to run: the queue is not emptied in one go.
                tokio::task::yield_now().await;
            }
            news.stats()
        });
    }
    for number in 0..MESSAGES {
        within(broker.publish("news", number.to_string()))
            .await
            .unwrap();
    }
    while let Some(stats) = within(readers.join_next()).await {
        let stats = stats.unwrap();
        assert_eq!((stats.received, stats.dropped), (MESSAGES, 0));
    }
    // The one that stalled has the last that fit.
    let stats = stalled.stats();
    assert_eq!(
        (stats.received, stats.dropped, stats.waiting),
        (MESSAGES, MESSAGES - 8, 8)
    );
}

#[tokio::test]
async fn a_thousand_subscribers_share_the_bytes_of_a_message() {
    let broker = MemoryBroker::new();
    let mut all = Vec::new();
    for _ in 0..1000 {
        all.push(broker.subscribe("news", patient()).unwrap());
    }
    assert_eq!(broker.publish("news", vec![7; 256]).await.unwrap(), 1000);
    let mut places = Vec::new();
    for news in &mut all {
        let message = within(news.recv()).await.unwrap();
        assert_eq!(message.payload(), &vec![7; 256]);
        places.push(message.payload().as_ptr());
    }
    places.dedup();
    assert_eq!(places.len(), 1);
}

/// The bar of the project in small: the whole of it is in `benches`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_on_many_connections_lose_nothing_and_one_that_stalls_does_not_matter() {
    const CONNECTIONS: usize = 10;
    const STREAMS: usize = 10;
    const MESSAGES: usize = 300;
    let broker = MemoryBroker::new();
    // So patient that a busy machine is not taken for a client that stalls.
    let config = ServiceConfig::new().with_queue(patient().with_capacity(64));
    let world = World::serving(&PubSubService::with_config(broker.clone(), config));
    let mut readers = JoinSet::new();
    let ready = Arc::new(tokio::sync::Barrier::new(CONNECTIONS * STREAMS + 1));
    for _ in 0..CONNECTIONS {
        let session = world.session().await;
        for _ in 0..STREAMS {
            let (session, ready) = (session.clone(), ready.clone());
            readers.spawn(async move {
                let client = within(PubSub::open(&session)).await.unwrap();
                let options = SubscribeOptions::new().with_queue(patient());
                let mut news = within(client.subscribe_with("news", options))
                    .await
                    .unwrap();
                ready.wait().await;
                for number in 0..MESSAGES {
                    let message = within(news.recv()).await.unwrap();
                    assert_eq!(message.payload().len(), 256);
                    assert_eq!(message.payload()[..8], number.to_be_bytes());
                }
            });
        }
    }
    // One that does not read, and that nobody waits for long.
    let queue = QueueConfig::new().with_patience(Duration::from_millis(20));
    let config = ServiceConfig::new().with_queue(queue.with_capacity(64));
    let stalling = World::serving(&PubSubService::with_config(broker.clone(), config));
    let session = stalling.session().await;
    let mut stalled = Raw::open(&session).await;
    stalled.say("SUB #\n").await;
    stalled.hear("SUB-OK #\n").await;
    while broker.stats().dropped == 0 {
        broker.publish("fill", vec![0; 1 << 20]).await.unwrap();
        assert!(broker.stats().published < 100);
    }
    let filled = broker.stats();
    within(ready.wait()).await;
    let publisher = within(PubSub::open(&world.session().await)).await.unwrap();
    for number in 0..MESSAGES {
        let mut payload = number.to_be_bytes().to_vec();
        payload.resize(256, 0);
        publisher.publish("news", payload).await.unwrap();
    }
    while let Some(read) = within(readers.join_next()).await {
        read.unwrap();
    }
    // The stalled one lost what its queue does not hold, and nobody else anything.
    let stats = broker.stats();
    assert_eq!((stats.published - filled.published) as usize, MESSAGES);
    let dropped = (stats.dropped - filled.dropped) as usize;
    assert!(dropped >= MESSAGES - 64 - 10, "{stats:?}");
    let delivered = (stats.delivered - filled.delivered) as usize;
    assert_eq!(delivered, MESSAGES * (CONNECTIONS * STREAMS + 1));
}

#[tokio::test]
async fn messages_come_as_datagrams_by_choice() {
    let broker = MemoryBroker::new();
    let service = PubSubService::new(broker.clone());
    let world = World::serving(&service);
    let session = world.session().await;
    let config = PubSubConfig::new().with_datagrams(true);
    let client = within(PubSub::open_with(&session, config.clone()))
        .await
        .unwrap();
    let mut news = within(client.subscribe("news")).await.unwrap();
    // One that got lost is sent again, as the application of datagrams would.
    let mut heard = None;
    while heard.is_none() {
        broker.publish("news", "by datagram").await.unwrap();
        heard = tokio::time::timeout(Duration::from_millis(200), news.recv())
            .await
            .ok();
    }
    assert_eq!(heard.unwrap().unwrap().text(), Some("by datagram"));
    assert!(service.stats().sent_datagrams >= 1);
    assert_eq!(service.stats().sent, 0);
    // Too large for one: on the stream.
    for size in [5000, 50_000] {
        broker.publish("news", vec![7; size]).await.unwrap();
        let large = loop {
            let message = within(news.recv()).await.unwrap();
            if message.text() != Some("by datagram") {
                break message;
            }
        };
        assert_eq!(large.payload().len(), size);
    }
    assert_eq!(service.stats().sent, 2);
    client.unsubscribe("news").unwrap();
    eventually(|| broker.stats().subscriptions == 0).await;

    // Where the server does not want it, it says so.
    let config_off = ServiceConfig::new().with_datagrams(false);
    let service = PubSubService::with_config(broker, config_off);
    let world = World::serving(&service);
    let client = within(PubSub::open_with(&world.session().await, config))
        .await
        .unwrap();
    let error = within(client.subscribe("news")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("this server sends no datagrams"),
        "{error}"
    );
}

#[tokio::test]
async fn the_bytes_of_datagrams_are_those_of_a_message() {
    let broker = MemoryBroker::new();
    let world = World::serving(&PubSubService::new(broker.clone()));
    let session = world.session().await;
    let mut client = Raw::open(&session).await;
    client.say("SUB-DATAGRAM a/+\n").await;
    client.hear("SUB-OK a/+\n").await;
    let datagram = loop {
        broker.publish("a/b", "hello").await.unwrap();
        let received = session.recv_datagram();
        if let Ok(datagram) = tokio::time::timeout(Duration::from_millis(200), received).await {
            break datagram.unwrap();
        }
    };
    assert_eq!(&datagram[..], b"MSG a/b 5\nhello");
    // Another word changes how it comes.
    client.say("SUB a/+\nPUB a/c 2\nok").await;
    client.hear("SUB-OK a/+\nMSG a/c 2\nok").await;
}

#[tokio::test]
async fn a_broker_that_is_closed_ends_its_subscribers_in_order() {
    let broker = MemoryBroker::new();
    let world = World::serving(&PubSubService::new(broker.clone()));
    let client = within(PubSub::open(&world.session().await)).await.unwrap();
    let mut news = within(client.subscribe("news")).await.unwrap();
    let mut local = broker.subscribe("news", patient()).unwrap();
    broker.publish("news", "the last").await.unwrap();
    broker.close();
    assert_eq!(rest(&mut local).await, ["the last"]);
    assert_eq!(local.end(), Some(SubscriptionEnd::BrokerClosed));
    assert_eq!(rest(&mut news).await, ["the last"]);
    assert_eq!(within(client.closed()).await, PubSubEnd::Finished);
    let error = broker.publish("news", "too late").await.unwrap_err();
    assert!(
        matches!(error, PubSubError::Broker(BrokerError::Unavailable(_))),
        "{error}"
    );
    assert!(broker.subscribe("news", patient()).is_err());
}

#[tokio::test]
async fn another_broker_takes_the_place_of_the_one_in_memory() {
    /// One that adds an exclamation mark.
    struct Loud(MemoryBroker);

    impl Broker for Loud {
        async fn publish(&self, message: Message) -> Result<usize, BrokerError> {
            let text = format!("{}!", message.text().unwrap());
            Broker::publish(&self.0, Message::new(message.topic().clone(), text)).await
        }

        async fn subscribe(&self, pattern: Pattern, feed: Feed) -> Result<Interest, BrokerError> {
            feed.push(&message("welcome", "hi"));
            Broker::subscribe(&self.0, pattern, feed).await
        }
    }

    let service = PubSubService::new(Loud(MemoryBroker::new()));
    let world = World::serving(&service);
    let mut client = Raw::open(&world.session().await).await;
    client.say("SUB news\nPUB news 5\nhello").await;
    client
        .hear("SUB-OK news\nMSG welcome 2\nhiMSG news 6\nhello!")
        .await;
}
