//! Datagram transports that are watched.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Dial, client, news, server_config, url, within};
use wt_client::Client;
use wt_core::Session;
use wt_datagram::{DatagramConfig, DatagramTransport, Priority};
use wt_monitor::{DatagramMonitor, MonitorConfig};
use wt_server::Server;

/// Both ends of a session, the client's first, and what keeps them.
async fn pair() -> (Session, Session, (Client, Server)) {
    let config = server_config();
    let server = Server::bind(&config).unwrap();
    let client = client(&[&config.identity]);
    let (far, near) = within(async {
        tokio::join!(
            async { server.accept().await.unwrap().accept().await.unwrap() },
            async { client.connect(url(&server)).await.unwrap() },
        )
    })
    .await;
    (near, far, (client, server))
}

/// A transport of which QUIC takes one datagram ahead, so that the others wait.
fn one_ahead(session: &Session, queue: usize) -> DatagramTransport {
    let mut config = DatagramConfig::new();
    (config.send_ahead, config.outgoing_queue) = (1, queue);
    DatagramTransport::with_config(session.clone(), &config).unwrap()
}

async fn receive(session: &Session, count: usize) {
    for _ in 0..count {
        within(session.recv_datagram()).await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_that_is_nearly_full_is_told_once() {
    let (near, far, _ends) = pair().await;
    let transport = one_ahead(&near, 10);
    let monitor = DatagramMonitor::new(transport.clone()).unwrap();
    let mut events = monitor.subscribe();
    let send = || {
        transport
            .try_send_with("x", Priority::Normal.into())
            .unwrap()
    };
    // QUIC takes the first.
    (0..10).for_each(|_| send());
    let sample = monitor.sample();
    assert_eq!(sample.get("send_queue"), Some(9.0));
    assert!(monitor.active().is_empty());
    send();
    monitor.sample();
    monitor.sample();
    assert_eq!(
        monitor.health().to_string(),
        "degraded: High outgoing queue size: 100.00% full"
    );
    receive(&far, 11).await;
    let sample = monitor.sample();
    assert_eq!(
        (sample.get("sent"), sample.get("send_queue")),
        (Some(11.0), Some(0.0))
    );
    let told = news(&monitor, &mut events).await;
    let alerts = |word: &str| told.iter().filter(|one| one.starts_with(word)).count();
    assert_eq!((alerts("raised"), alerts("cleared")), (1, 1), "{told:?}");
}

#[tokio::test]
async fn datagrams_that_cannot_be_sent_and_those_that_wait_longer_are_told() {
    let (near, far, _ends) = pair().await;
    let transport = one_ahead(&near, 10);
    let config = MonitorConfig::datagrams().with_window(4);
    let monitor = DatagramMonitor::with_config(transport.clone(), config).unwrap();
    // Two that do not wait.
    for _ in 0..2 {
        transport.try_send("x").unwrap();
        receive(&far, 1).await;
        monitor.sample();
    }
    // Some that do.
    for _ in 0..2 {
        for _ in 0..5 {
            transport
                .try_send_with("x", Priority::Normal.into())
                .unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        receive(&far, 5).await;
        monitor.sample();
    }
    let alert = monitor.active().remove(0);
    assert_eq!(alert.rule, "increasing_send_time");
    assert!(alert.value.unwrap() > 0.001, "{alert}");
    assert!(alert.message.starts_with("Increasing datagram send time: "));

    near.close(0, "");
    within(near.closed()).await;
    for _ in 0..4 {
        transport.try_send("x").unwrap_err();
    }
    let sample = monitor.sample();
    assert_eq!(sample.increase("send_failures"), Some(4));
    let failing = monitor
        .active()
        .into_iter()
        .find(|one| one.rule == "low_success_rate");
    // The first sample has left the window: 11 of 15.
    assert_eq!(
        failing.unwrap().message,
        "Low datagram send success rate: 73.33%"
    );
}

#[test]
fn the_thresholds_are_those_of_pywebtransport() {
    let active = |monitor: &DatagramMonitor| -> Vec<String> {
        let active = monitor.active();
        active.into_iter().map(|alert| alert.rule).collect()
    };
    let dial = Dial::new("datagrams");
    let config = MonitorConfig::datagrams();
    assert_eq!(
        (config.interval.as_secs(), config.history, config.alerts),
        (5, 100, 50)
    );
    assert_eq!(config.window, 10);

    let filled = |config: MonitorConfig, fill: f64| {
        let monitor = DatagramMonitor::with_config(dial.clone(), config).unwrap();
        dial.set(&[], &[("send_queue_fill", fill)]);
        monitor.sample();
        active(&monitor)
    };
    assert_eq!(filled(config.clone(), 0.9), [""; 0]);
    assert_eq!(filled(config.clone(), 0.91), ["high_queue_size"]);
    let half = config
        .clone()
        .with_threshold("high_queue_size", 0.5)
        .unwrap();
    assert_eq!(filled(half.clone(), 0.5), [""; 0]);
    assert_eq!(filled(half, 0.51), ["high_queue_size"]);

    let sent = |config: MonitorConfig, sent: u64, failed: u64| {
        dial.set(&[("sent", 0), ("send_failures", 0)], &[]);
        let monitor = DatagramMonitor::with_config(dial.clone(), config).unwrap();
        dial.set(&[("sent", sent), ("send_failures", failed)], &[]);
        monitor.sample();
        active(&monitor)
    };
    assert_eq!(sent(config.clone(), 0, 0), [""; 0]);
    assert_eq!(sent(config.clone(), 80, 20), [""; 0]);
    assert_eq!(sent(config.clone(), 79, 21), ["low_success_rate"]);
    let strict = config
        .clone()
        .with_threshold("low_success_rate", 1.0)
        .unwrap();
    assert_eq!(sent(strict, 99, 1), ["low_success_rate"]);

    // One datagram a sample, which waits that many milliseconds.
    let waits = |config: MonitorConfig, waits: &[u64]| {
        let mut total = 0;
        dial.set(&[("sent", 0), ("send_wait_microseconds", 0)], &[]);
        let monitor = DatagramMonitor::with_config(dial.clone(), config).unwrap();
        for (n, wait) in (1..).zip(waits) {
            total += wait * 1000;
            dial.set(&[("sent", n), ("send_wait_microseconds", total)], &[]);
            monitor.sample();
        }
        active(&monitor)
    };
    let rising = [4, 4, 4, 4, 4, 6, 6, 6, 6, 6];
    assert_eq!(waits(config.clone(), &rising[..9]), [""; 0]);
    assert_eq!(waits(config.clone(), &rising), ["increasing_send_time"]);
    assert_eq!(
        waits(config.clone(), &[4, 4, 4, 4, 4, 5, 5, 5, 5, 5]),
        [""; 0]
    );
    let short = config.with_window(2);
    assert_eq!(waits(short.clone(), &[1, 2]), ["increasing_send_time"]);
    assert_eq!(waits(short, &[1, 2, 2]), [""; 0]);
}

#[test]
fn samples_can_be_taken_by_number() {
    let dial = Dial::new("datagrams");
    let config = MonitorConfig::datagrams().with_history(10, 50);
    let monitor = DatagramMonitor::with_config(dial.clone(), config).unwrap();
    for sent in 1..=12 {
        dial.set(&[("sent", sent)], &[]);
        monitor.sample();
    }
    let sent = |limit| {
        let samples = monitor.history(limit);
        samples
            .iter()
            .map(|one| one.get("sent").unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(usize::MAX).len(), 10);
    assert_eq!(sent(2), [11.0, 12.0]);
    assert_eq!(sent(0), [0.0; 0]);
}
