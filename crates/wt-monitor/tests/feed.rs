//! Feeds, by WebTransport on loopback, behind the middleware of an application.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "dashboard")]

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::timeout;
use wt_client::{Client, ClientConfig, ConnectError, ServerVerification};
use wt_core::{
    RecvStream,
    http::{HeaderMap, StatusCode},
    observe::{self, Snapshot, State},
};
use wt_monitor::{
    Measure, Monitor, MonitorConfig, Rule, ServerMonitor,
    feed::{Feed, FeedConfig, Hello, Line, Reading},
};
use wt_server::{
    Identity, RunningApp, ServerApp, ServerConfig, Session,
    middleware::{Auth, AuthError},
};

/// No test waits longer than this for what has to happen.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<F: IntoFuture>(what: F) -> F::Output {
    timeout(LIMIT, what).await.expect("it takes too long")
}

fn app(feed: &Feed) -> ServerApp {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
    let feed = feed.clone();
    ServerApp::new(config)
        .route("/echo", async |session: Session| {
            session.closed().await;
        })
        .route("/monitor", move |session: Session| {
            let feed = feed.clone();
            async move { feed.serve(session).await }
        })
}

fn client(app: &RunningApp, change: impl FnOnce(ClientConfig) -> ClientConfig) -> Client {
    let hash = app.server().config().identity.certificate_hash();
    let trust = ServerVerification::Hashes(vec![hash]);
    Client::new(change(ClientConfig::new().with_verification(trust))).unwrap()
}

fn url(app: &RunningApp, path: &str) -> String {
    format!("https://{}{path}", app.local_addr().unwrap())
}

async fn session(app: &RunningApp, client: &Client, path: &str) -> Session {
    soon(client.connect(url(app, path))).await.unwrap()
}

async fn line(stream: &mut RecvStream) -> Option<Line> {
    let line = soon(stream.read_until(b"\n", Line::LONGEST)).await.unwrap();
    (!line.is_empty()).then(|| Line::parse(&line).unwrap())
}

async fn hello(stream: &mut RecvStream) -> Hello {
    match line(stream).await {
        Some(Line::Hello(hello)) => hello,
        other => panic!("no hello: {other:?}"),
    }
}

async fn reading(stream: &mut RecvStream) -> Box<Reading> {
    match line(stream).await {
        Some(Line::Reading(reading)) => reading,
        other => panic!("no sample: {other:?}"),
    }
}

#[tokio::test]
async fn the_history_comes_first_then_each_sample() {
    let feed = Feed::new(FeedConfig::default().with_history(3));
    let app = app(&feed).start().await.unwrap();
    let client = client(&app, |config| config);
    // Who comes early waits.
    let watcher = session(&app, &client, "/monitor").await;
    let _other = session(&app, &client, "/echo").await;
    let monitor = ServerMonitor::new(app.server().clone()).unwrap();
    for _ in 0..5 {
        monitor.sample();
    }
    feed.attach(&monitor);

    let mut stream = soon(watcher.accept_uni()).await.unwrap();
    let first = hello(&mut stream).await;
    assert_eq!((&first.kind[..], first.history), ("server", 3));
    assert_eq!(first.id, app.local_addr().unwrap().to_string());
    assert_eq!(first.interval_ms, 30_000);
    for sequence in [2, 3] {
        let past = reading(&mut stream).await;
        assert_eq!(past.sequence, sequence);
        assert!(past.health.is_none() && past.rtt.is_none());
    }
    let newest = reading(&mut stream).await;
    assert_eq!((newest.sequence, &newest.state[..]), (4, "active"));
    assert_eq!(newest.gauges["sessions"], 2.0);
    assert_eq!(newest.counters["sessions_made"], 2);
    assert!(newest.counters["received_bytes"] > 0);
    assert!(newest.rates.contains_key("received_bytes"));
    assert!(newest.gauges["rtt_median_seconds"] > 0.0);
    assert_eq!(newest.health.unwrap().status, "healthy");
    let rtt = newest.rtt.unwrap();
    assert_eq!(rtt.counts.len(), rtt.bounds_ms.len() + 1);
    assert_eq!(rtt.bounds_ms[..3], [0.05, 0.1, 0.2]);
    assert_eq!(rtt.counts.iter().sum::<u64>(), 2, "connections");

    // Each sample comes as it is taken.
    for sequence in 5..8 {
        monitor.sample();
        assert_eq!(reading(&mut stream).await.sequence, sequence);
    }
    assert_eq!(feed.watchers(), 1);
    watcher.close(0, "");
    soon(async {
        while feed.watchers() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn alerts_come_with_the_newest_sample_within_their_limit() {
    let observed = observe::from_fn(|| {
        Snapshot::new("test", "x", State::Active)
            .with_gauge("heat", 9.0)
            .with_gauge("nothing", f64::NAN)
    });
    let rule = |name: &str| {
        Rule::above(name, Measure::last("heat"), 5.0).with_message(format!("{name}: {{value}}"))
    };
    let config = MonitorConfig::new()
        .with_rule(rule("a"))
        .with_rule(rule("b"));
    let monitor = Monitor::new(observed, config).unwrap();
    monitor.sample();
    let feed = Feed::new(FeedConfig::default().with_alerts(1));
    feed.attach(&monitor);
    let app = app(&feed).start().await.unwrap();
    let client = client(&app, |config| config);
    let watcher = session(&app, &client, "/monitor").await;
    let mut stream = soon(watcher.accept_uni()).await.unwrap();
    hello(&mut stream).await;
    let newest = reading(&mut stream).await;
    assert_eq!(newest.alerts.len(), 1);
    assert_eq!(newest.alerts[0].message, "b: 9.00");
    assert_eq!(newest.alerts[0].severity, "warning");
    assert!(!newest.alerts[0].cleared);
    let health = newest.health.unwrap();
    assert_eq!(health.status, "degraded");
    assert_eq!(health.reason, "a: 9.00; b: 9.00");
    // What is no number in JSON is left out.
    assert_eq!(newest.gauges.keys().collect::<Vec<_>>(), ["heat"]);
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn middleware_decides_who_may_watch() {
    async fn check(headers: HeaderMap) -> Result<(), AuthError> {
        match headers.get("authorization") {
            Some(value) if value == "Bearer 5f1c" => Ok(()),
            Some(_) => Err(AuthError::Forbidden),
            None => Err(AuthError::Unauthorized),
        }
    }
    let feed = Feed::new(FeedConfig::default());
    let app = app(&feed).layer(Auth::new(check)).start().await.unwrap();
    let monitor = ServerMonitor::new(app.server().clone()).unwrap();
    monitor.sample();
    feed.attach(&monitor);
    let client = client(&app, |config| config);
    let ask = |token: Option<&str>| {
        let connect = client.connect(url(&app, "/monitor"));
        match token {
            Some(token) => connect.header("authorization", token),
            None => connect,
        }
    };
    let status = |result: Result<Session, ConnectError>| result.unwrap_err().status();
    assert_eq!(
        status(soon(ask(None)).await),
        Some(StatusCode::UNAUTHORIZED)
    );
    let wrong = soon(ask(Some("Bearer 0"))).await;
    assert_eq!(status(wrong), Some(StatusCode::FORBIDDEN));
    let watcher = soon(ask(Some("Bearer 5f1c"))).await.unwrap();
    let mut stream = soon(watcher.accept_uni()).await.unwrap();
    assert_eq!(hello(&mut stream).await.history, 1);
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn watchers_have_a_limit_and_places_come_back() {
    let feed = Feed::new(FeedConfig::default().with_max_watchers(1));
    let app = app(&feed).start().await.unwrap();
    let monitor = ServerMonitor::new(app.server().clone()).unwrap();
    feed.attach(&monitor);
    let client = client(&app, |config| config);
    let first = session(&app, &client, "/monitor").await;
    let mut stream = soon(first.accept_uni()).await.unwrap();
    hello(&mut stream).await;
    let second = session(&app, &client, "/monitor").await;
    let end = soon(second.closed()).await;
    assert_eq!(
        (end.code(), end.is_closed_by_peer()),
        (Some(Feed::FULL), true)
    );
    first.close(0, "");
    soon(async {
        loop {
            let next = session(&app, &client, "/monitor").await;
            // It is closed while the place is not free yet.
            if let Ok(mut stream) = soon(next.accept_uni()).await {
                hello(&mut stream).await;
                return;
            }
        }
    })
    .await;
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn who_reads_slowly_gets_fewer_samples() {
    // Lines of about 4 KiB, and a client that takes 64 KiB ahead of what it reads.
    let names: Vec<&'static str> = (0..100)
        .map(|n| &*Box::leak(format!("a_figure_with_a_long_name_{n}").into_boxed_str()))
        .collect();
    let observed = observe::from_fn(move || {
        let snapshot = Snapshot::new("test", "x", State::Active);
        names
            .iter()
            .fold(snapshot, |snapshot, name| snapshot.with_gauge(name, 1.5))
    });
    let monitor = Monitor::new(observed, MonitorConfig::new()).unwrap();
    let feed = Feed::new(FeedConfig::default());
    feed.attach(&monitor);
    let app = app(&feed).start().await.unwrap();
    let client = client(&app, |mut config| {
        config.transport.stream_receive_window = 64 * 1024;
        config
    });
    let watcher = session(&app, &client, "/monitor").await;
    let mut stream = soon(watcher.accept_uni()).await.unwrap();
    hello(&mut stream).await;
    const TAKEN: u64 = 1000;
    for _ in 0..TAKEN {
        monitor.sample();
        tokio::task::yield_now().await;
    }
    let mut got = 0;
    loop {
        let reading = reading(&mut stream).await;
        got += 1;
        if reading.sequence + 1 == TAKEN {
            break;
        }
    }
    assert!(got < TAKEN / 2, "{got} of {TAKEN} samples queued up");
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn who_does_not_read_loses_its_place() {
    let names: Vec<&'static str> = (0..100)
        .map(|n| &*Box::leak(format!("another_figure_with_a_long_name_{n}").into_boxed_str()))
        .collect();
    let observed = observe::from_fn(move || {
        let snapshot = Snapshot::new("test", "x", State::Active);
        names
            .iter()
            .fold(snapshot, |snapshot, name| snapshot.with_gauge(name, 1.5))
    });
    let monitor = Monitor::new(observed, MonitorConfig::new()).unwrap();
    for _ in 0..60 {
        monitor.sample();
    }
    let feed = Feed::new(FeedConfig::default().with_patience(Duration::from_millis(100)));
    feed.attach(&monitor);
    let app = app(&feed).start().await.unwrap();
    let client = client(&app, |mut config| {
        config.transport.stream_receive_window = 64 * 1024;
        config
    });
    let watcher = session(&app, &client, "/monitor").await;
    let end = soon(watcher.closed()).await;
    assert_eq!(end.code(), Some(Feed::STALLED), "{end}");
    app.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_watcher_does_not_hold_up_the_end() {
    let feed = Feed::new(FeedConfig::default());
    let app = app(&feed).start().await.unwrap();
    let monitor = ServerMonitor::new(app.server().clone()).unwrap();
    monitor.sample();
    feed.attach(&monitor);
    let client = client(&app, |config| config);
    let watcher = session(&app, &client, "/monitor").await;
    let mut stream = soon(watcher.accept_uni()).await.unwrap();
    hello(&mut stream).await;
    soon(app.shut_down()).await.unwrap();
    let end = soon(watcher.closed()).await;
    assert_eq!(end.code(), Some(0), "{end}");
    assert_eq!(feed.watchers(), 0);
}
