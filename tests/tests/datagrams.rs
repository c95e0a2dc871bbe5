//! The datagram layer with a bad network between both ends.
//!
//! As in `faults.rs` the network draws its lots from a seed, which is printed when a test fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    datagram::{
        DatagramTransport, ReliabilityLayer,
        reliability::{DeliveryError, ReliabilityConfig},
    },
};
use wt_tests::{
    proxy::{Faults, Proxy},
    raw::within_time,
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

const SEED: u64 = 0x5eed;

/// Bytes of a message besides its number: two fit into a packet, so that many packets go each way and some are lost.
const BODY: usize = 550;

/// Both ends of a session, and what is between them.
struct Scene {
    proxy: Proxy,
    _client: Client,
    _server: Server,
    near: Session,
    far: Session,
}

impl Scene {
    async fn new(faults: Faults) -> Self {
        let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
        let trust = ServerVerification::Hashes(vec![identity.certificate_hash()]);
        let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
        let server = Server::bind(&config).unwrap();
        let port = server.local_addr().unwrap().port();
        let proxy = Proxy::start(port, faults, SEED).await;
        let client = Client::new(ClientConfig::new().with_verification(trust)).unwrap();
        let connect = client.connect(format!("https://127.0.0.1:{}/", proxy.port));
        let (near, far) = within_time(LONG, "a session", async {
            tokio::join!(async { connect.await.unwrap() }, async {
                server.accept().await.unwrap().accept().await.unwrap()
            })
        })
        .await;
        Self {
            proxy,
            _client: client,
            _server: server,
            near,
            far,
        }
    }

    /// Reliable messages at both ends.
    fn layers(&self, config: &ReliabilityConfig) -> [ReliabilityLayer; 2] {
        [&self.near, &self.far].map(|session| {
            let transport = DatagramTransport::new(session.clone()).unwrap();
            ReliabilityLayer::with_config(transport, config).unwrap()
        })
    }
}

fn lossy(lost: u32) -> Faults {
    Faults {
        lost,
        doubled: 20,
        late: 50,
        delay: Duration::ZERO,
    }
}

/// Sends messages and asserts that each is reported as delivered.
async fn send(layer: &ReliabilityLayer, count: u32) {
    let mut deliveries = Vec::new();
    for n in 0..count {
        let message = [&n.to_be_bytes()[..], &[n as u8; BODY]].concat();
        deliveries.push(layer.send(message).await.unwrap());
    }
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let delivered = delivery.await;
        assert!(delivered.is_ok(), "message {n}: {delivered:?}");
    }
}

/// Receives messages, which are whole, and returns their numbers.
async fn receive(layer: &ReliabilityLayer, count: u32) -> Vec<u32> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let message = layer.receive().await.unwrap();
        let (number, body) = message.split_first_chunk().unwrap();
        let number = u32::from_be_bytes(*number);
        assert!(body == [number as u8; BODY], "message {number}");
        numbers.push(number);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn reliable_messages_arrive_once_each_way() {
    const COUNT: u32 = 200;
    for ordered in [false, true] {
        for lost in [0, 10, 100] {
            let scene = Scene::new(lossy(lost)).await;
            let config = ReliabilityConfig::new().with_ordered(ordered);
            let [near, far] = scene.layers(&config);
            let (mut there, mut back, (), ()) = within_time(LONG, "the messages", async {
                tokio::join!(
                    receive(&far, COUNT),
                    receive(&near, COUNT),
                    send(&near, COUNT),
                    send(&far, COUNT),
                )
            })
            .await;
            if !ordered {
                there.sort_unstable();
                back.sort_unstable();
            }
            let all: Vec<_> = (0..COUNT).collect();
            assert!(there == all, "{lost} lost, ordered {ordered}: {there:?}");
            assert!(back == all, "{lost} lost, ordered {ordered}: {back:?}");
            for layer in [&near, &far] {
                assert_eq!(layer.try_receive().unwrap(), None);
                let stats = layer.stats();
                assert_eq!((stats.delivered, stats.failed), (COUNT.into(), 0));
                assert_eq!((stats.late, stats.skipped), (0, 0));
                assert!(lost < 100 || stats.retransmissions > 0, "{stats:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_to_wait_follows_the_round_trip() {
    let delay = Duration::from_millis(150);
    let faults = Faults {
        delay,
        ..Faults::default()
    };
    let scene = Scene::new(faults).await;
    let [near, far] = scene.layers(&ReliabilityConfig::new());
    let receiver = tokio::spawn(async move { receive(&far, 50).await });
    within_time(LONG, "the messages", async {
        for _ in 0..5 {
            // One after the other, so that each is measured.
            send(&near, 10).await;
        }
    })
    .await;
    let stats = near.stats();
    assert!(stats.round_trip >= 2 * delay, "{stats:?}");
    assert!(stats.ack_timeout >= stats.round_trip, "{stats:?}");
    // Waiting for the shortest time only, it would send each three times more, after 20, 60 and 140 ms.
    assert!(stats.retransmissions < 100, "{stats:?}");
    receiver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_is_reported_and_forgotten_when_it_is_back() {
    let scene = Scene::new(Faults::default()).await;
    let ms = Duration::from_millis;
    let config = ReliabilityConfig::new().with_retries(3, ms(10), ms(20));
    let [near, far] = scene.layers(&config);
    within_time(LONG, "all of it", async {
        near.send("before").await.unwrap().await.unwrap();
        assert_eq!(far.receive().await.unwrap(), "before");
        scene.proxy.cut(true);
        let lost = near.send("meanwhile").await.unwrap().await;
        assert_eq!(lost, Err(DeliveryError::GaveUp { transmissions: 4 }));
        scene.proxy.cut(false);
        // QUIC may still wait for its own time to try again.
        while near.send("after").await.unwrap().await.is_err() {}
        while far.receive().await.unwrap() != "after" {}
    })
    .await;
    assert!(near.stats().failed >= 1);
}
