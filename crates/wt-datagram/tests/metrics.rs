//! Dropped datagrams, as metrics tell of them.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{eventually, pair};
use metrics_exporter_prometheus::PrometheusBuilder;
use wt_datagram::{DatagramConfig, DatagramTransport, DropPolicy};

#[tokio::test]
async fn drops_are_published_by_direction_and_reason() {
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let count = |direction: &str, reason: &str| {
        let labels = format!("{{direction=\"{direction}\",reason=\"{reason}\"}}");
        let start = format!("wt_datagrams_dropped_total{labels} ");
        let page = recorder.render();
        let line = page.lines().find(|line| line.starts_with(&start));
        line.map_or(0, |line| line[start.len()..].parse().unwrap())
    };
    let pair = pair().await;
    let sender = pair.sender(&DatagramConfig::new());
    sender.try_send(vec![0; 70_000]).unwrap_err();
    assert_eq!(count("send", "too_large"), 1);

    let config = DatagramConfig::new().with_incoming(1, DropPolicy::Oldest);
    let receiver = DatagramTransport::with_config(pair.far.clone(), &config).unwrap();
    for n in 0..3 {
        sender.try_send(n.to_string()).unwrap();
    }
    eventually(|| receiver.stats().receive_drops.evicted == 2).await;
    assert_eq!(count("receive", "evicted"), 2);
}
