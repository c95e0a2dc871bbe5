//! What the tests share: something to watch whose figures they set, and servers and clients on loopback.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test file uses all of it, and a failed helper is a failed test"
)]

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use wt_client::{Client, ClientConfig, Identity, ServerVerification, Session};
use wt_core::events::Events;
use wt_monitor::{
    Monitor, MonitorEvent,
    observe::{Observe, Snapshot, State},
};
use wt_server::{Server, ServerConfig};

/// Far more than anything takes, also on a machine that is busy with something else.
pub const LONG: Duration = Duration::from_secs(60);

/// Fails the test when something takes forever.
pub async fn within<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(LONG, work)
        .await
        .expect("it takes forever")
}

/// Looks again and again until something holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(wait).await;
}

/// Something whose figures are those that were set last.
#[derive(Clone)]
pub struct Dial(Arc<Mutex<Snapshot>>);

impl Dial {
    pub fn new(kind: &'static str) -> Self {
        let snapshot = Snapshot::new(kind, "7", State::Active);
        Self(Arc::new(Mutex::new(snapshot)))
    }

    /// Sets counters and gauges; the others are gone.
    pub fn set(&self, counters: &[(&'static str, u64)], gauges: &[(&'static str, f64)]) {
        self.change(|mut snapshot| {
            for (name, count) in counters {
                snapshot = snapshot.with_counter(name, *count);
            }
            for (name, figure) in gauges {
                snapshot = snapshot.with_gauge(name, *figure);
            }
            snapshot
        });
    }

    pub fn state(&self, state: State) {
        self.change(|mut snapshot| {
            snapshot.state = state;
            snapshot
        });
    }

    pub fn change(&self, how: impl FnOnce(Snapshot) -> Snapshot) {
        let mut now = self.0.lock().unwrap();
        let empty = Snapshot::new(now.kind, now.id.clone(), now.state);
        *now = how(empty);
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Observe for Dial {
    fn observe(&self) -> Snapshot {
        self.0.lock().unwrap().clone()
    }
}

/// The events that have come so far, but for the samples.
pub async fn news(monitor: &Monitor, events: &mut Events<MonitorEvent>) -> Vec<String> {
    let mut news = Vec::new();
    let last = monitor.latest().map(|sample| sample.sequence);
    let mut sampled = None;
    // The events of a sample follow it, and those of the last one have been told when `sample` returns.
    while sampled < last {
        match within(events.recv()).await.unwrap().unwrap() {
            MonitorEvent::Sampled(sample) => sampled = Some(sample.sequence),
            other => news.push(told(&other)),
        }
    }
    while let Some(Some(event)) = futures_util::FutureExt::now_or_never(events.recv()) {
        news.push(told(&event.unwrap()));
    }
    news
}

fn told(event: &MonitorEvent) -> String {
    match event {
        MonitorEvent::AlertRaised(alert) => format!("raised {}", alert.rule),
        MonitorEvent::AlertCleared(alert) => format!("cleared {}", alert.rule),
        other => other.to_string(),
    }
}

pub fn identity() -> Identity {
    Identity::self_signed(["localhost", "127.0.0.1"]).unwrap()
}

pub fn server_config() -> ServerConfig {
    ServerConfig::new(identity()).with_bind((Ipv4Addr::LOCALHOST, 0).into())
}

/// A client that trusts these.
pub fn client(identities: &[&Identity]) -> Client {
    let hashes = identities.iter().map(|one| one.certificate_hash());
    let trust = ServerVerification::Hashes(hashes.collect());
    Client::new(ClientConfig::new().with_verification(trust)).unwrap()
}

/// Accepts all sessions and keeps them.
pub fn accept_all(server: &Server) -> tokio::task::JoinHandle<Vec<Session>> {
    let server = server.clone();
    tokio::spawn(async move {
        let mut sessions = Vec::new();
        while let Some(request) = server.accept().await {
            sessions.extend(request.accept().await);
        }
        sessions
    })
}

pub fn url(server: &Server) -> String {
    format!("https://{}/", server.local_addr().unwrap())
}
