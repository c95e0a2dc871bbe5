//! Clients that are watched.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Dial, accept_all, client, news, server_config, url, within};
use wt_core::http::StatusCode;
use wt_monitor::{ClientMonitor, Measure, Monitor, MonitorConfig, NewMonitorError, Status};
use wt_server::Server;

#[tokio::test]
async fn health_goes_to_degraded_and_back_with_connections_that_fail() {
    let (good, bad) = (server_config(), server_config());
    let (good_server, bad_server) = (Server::bind(&good).unwrap(), Server::bind(&bad).unwrap());
    let accepting = accept_all(&good_server);
    let refusing = bad_server.clone();
    let refusing = tokio::spawn(async move {
        while let Some(request) = refusing.accept().await {
            let _ = request.reject(StatusCode::SERVICE_UNAVAILABLE);
        }
    });
    let client = client(&[&good.identity, &bad.identity]);
    let config = MonitorConfig::client().with_window(2);
    let monitor = ClientMonitor::with_config(client.clone(), config).unwrap();
    let mut events = monitor.subscribe();
    assert_eq!(monitor.health().status, Status::Unknown);
    monitor.sample();
    assert_eq!(monitor.health().to_string(), "idle: Client is not in use.");

    let session = within(client.connect(url(&good_server))).await.unwrap();
    let first = monitor.sample();
    assert_eq!(first.increase("succeeded"), Some(1));
    assert_eq!(monitor.health().status, Status::Healthy);

    // Ten failures and the success in the window: enough to judge by.
    for _ in 0..10 {
        within(client.connect(url(&bad_server))).await.unwrap_err();
    }
    monitor.sample();
    let health = monitor.health();
    assert_eq!(health.status, Status::Degraded);
    assert_eq!(health.reasons, ["Low connection success rate: 9.09%"]);
    let nowhere = client.connect("https://localhost/");
    within(nowhere.addresses([([127, 0, 0, 1], 0).into()]))
        .await
        .unwrap_err();
    monitor.sample();
    assert_eq!(
        monitor.health().reasons,
        ["Low connection success rate: 0.00%"]
    );
    let since = monitor.active()[0].since;

    // Again the good one: behind two samples the failures are out of the window.
    for _ in 0..6 {
        within(client.connect(url(&good_server))).await.unwrap();
    }
    monitor.sample();
    for _ in 0..6 {
        within(client.connect(url(&good_server))).await.unwrap();
    }
    let last = monitor.sample();
    assert_eq!(
        monitor.health().to_string(),
        "healthy: Client is operating normally."
    );
    // The whole life of the client looks as bad as ever.
    assert!(last.get("success_rate").unwrap() < 0.6);
    assert!(last.issues[0].starts_with("Low connection success rate"));

    assert_eq!(
        news(&monitor, &mut events).await,
        [
            "unknown -> idle: Client is not in use.",
            "idle -> healthy: Client is operating normally.",
            "raised low_success_rate",
            "healthy -> degraded: Low connection success rate: 9.09%",
            "cleared low_success_rate",
            "degraded -> healthy: Client is operating normally.",
        ]
    );
    let alerts = monitor.alerts(25);
    assert_eq!((alerts.len(), alerts[0].since), (1, since));
    assert!(!alerts[0].is_active() && monitor.active().is_empty());

    session.close(0, "");
    within(client.close()).await;
    monitor.sample();
    assert_eq!(monitor.health().to_string(), "ended: Client was closed.");
    drop((good_server, bad_server));
    accepting.abort();
    refusing.abort();
}

#[tokio::test]
async fn connections_that_take_long_are_told_of_what_they_take_now() {
    let config = server_config();
    let server = Server::bind(&config).unwrap();
    let accepting = accept_all(&server);
    let client = client(&[&config.identity]);
    // Whatever time it takes is too long.
    let config = MonitorConfig::client().with_window(1);
    let config = config.with_threshold("slow_connections", 0.0).unwrap();
    let monitor = ClientMonitor::with_config(client.clone(), config).unwrap();
    within(client.connect(url(&server))).await.unwrap();
    monitor.sample();
    let alert = monitor.active().remove(0);
    assert_eq!(alert.rule, "slow_connections");
    let time = Measure::ratio(["connect_microseconds"], ["succeeded"]).scaled(1e-6);
    let took = monitor.measure(&time).unwrap();
    let average = client.stats().avg_connect_time().unwrap().as_secs_f64();
    assert!((took - average).abs() < 1e-5, "{took} {average}");
    assert_eq!(
        alert.message,
        format!("Slow connections: {took:.2}s average")
    );
    // Nobody connects: nothing is slow.
    monitor.sample();
    assert!(monitor.active().is_empty());
    within(client.close()).await;
    accepting.abort();
}

#[test]
fn the_thresholds_are_those_of_pywebtransport() {
    let dial = Dial::new("client");
    let step = |succeeded: u64, failed: u64, micros: u64| {
        let counters = |a, b, c| {
            let counters = [("succeeded", a), ("failed", b), ("connect_microseconds", c)];
            dial.set(&counters, &[]);
        };
        counters(500, 500, 0);
        let monitor = ClientMonitor::new(dial.clone()).unwrap();
        counters(500 + succeeded, 500 + failed, micros);
        monitor.sample();
        let active = monitor.active();
        active
            .into_iter()
            .map(|alert| alert.message)
            .collect::<Vec<_>>()
    };
    // More than 10 attempts, less than 90 %.
    assert_eq!(step(0, 10, 0), [""; 0]);
    assert_eq!(step(0, 11, 0), ["Low connection success rate: 0.00%"]);
    assert_eq!(step(18, 2, 0), [""; 0]);
    assert_eq!(step(17, 2, 0), ["Low connection success rate: 89.47%"]);
    // More than 5 s.
    assert_eq!(step(2, 0, 10_000_000), [""; 0]);
    assert_eq!(step(2, 0, 10_100_000), ["Slow connections: 5.05s average"]);
    assert_eq!(step(10, 2, 60_000_000).len(), 2);

    let config = MonitorConfig::client();
    assert_eq!(
        (config.interval.as_secs(), config.history, config.alerts),
        (30, 120, 100)
    );
}

#[tokio::test]
async fn a_summary_has_the_newest_sample_the_alerts_and_whether_it_runs() {
    let config = server_config();
    let server = Server::bind(&config).unwrap();
    let client = client(&[&config.identity]);
    let monitor = ClientMonitor::new(client.clone()).unwrap();
    let empty = monitor.report();
    assert!(empty.sample.is_none() && empty.alerts.is_empty() && !empty.monitoring);

    // Nobody is there.
    server.close(std::time::Duration::ZERO).await;
    for _ in 0..11 {
        let nowhere = client.connect("https://localhost/");
        within(nowhere.addresses([([127, 0, 0, 1], 0).into()]))
            .await
            .unwrap_err();
    }
    monitor.start().unwrap();
    common::until(|| monitor.latest().is_some()).await;
    let report = monitor.report();
    assert!(report.monitoring);
    let sample = report.sample.unwrap();
    assert_eq!((sample.kind, sample.get("failed")), ("client", Some(11.0)));
    assert_eq!(report.alerts, monitor.alerts(25));
    assert_eq!(report.active[0].rule, "low_success_rate");
    assert_eq!(report.health.status, Status::Degraded);
    within(monitor.stop()).await;
    assert!(!monitor.report().monitoring);
}

#[test]
fn other_things_are_refused() {
    let error = ClientMonitor::new(Dial::new("server")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it watches a client, not server: use a Monitor with rules of your own"
    );
    let config = MonitorConfig::client().with_window(0);
    let error = ClientMonitor::with_config(Dial::new("client"), config).unwrap_err();
    assert!(matches!(error, NewMonitorError::Config(_)));
    // It is a monitor like any other.
    let monitor: Monitor = ClientMonitor::new(Dial::new("client")).unwrap().into();
    assert_eq!(monitor.config().rules.len(), 2);
}
