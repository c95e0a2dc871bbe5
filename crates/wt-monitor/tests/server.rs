//! Servers that are watched.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Dial, accept_all, client, news, server_config, until, url, within};
use wt_core::tls::SelfSigned;
use wt_monitor::{MonitorConfig, ServerMonitor, Status, observe::State};
use wt_server::{Identity, Server, ServerApp, Session};

#[tokio::test]
async fn health_is_unknown_idle_healthy_degraded_and_unhealthy() {
    let mut config = server_config();
    config.limits.connections = Some(1);
    let server = Server::bind(&config).unwrap();
    let accepting = accept_all(&server);
    let monitor =
        ServerMonitor::with_config(server.clone(), MonitorConfig::server().with_window(2));
    let monitor = monitor.unwrap();
    let mut events = monitor.subscribe();
    let health = || {
        monitor.sample();
        monitor.health().to_string()
    };
    assert_eq!(
        monitor.health().to_string(),
        "unknown: No metrics collected yet."
    );
    assert!(monitor.latest().is_none());
    assert_eq!(
        health(),
        "idle: Server is running but has no active connections."
    );

    let client = client(&[&config.identity]);
    let session = within(client.connect(url(&server))).await.unwrap();
    until(|| server.stats().connections_active == 1).await;
    assert_eq!(health(), "healthy: Server is operating normally.");
    let current = monitor.latest().unwrap();
    assert_eq!(current.get("connections"), Some(1.0));
    assert_eq!(current.increase("connections_accepted"), Some(1));

    // There is room for one alone.
    for _ in 0..11 {
        within(client.connect(url(&server))).await.unwrap_err();
    }
    until(|| server.stats().connections_rejected == 11).await;
    assert_eq!(health(), "degraded: Low connection success rate: 8.33%");
    assert_eq!(health(), "degraded: Low connection success rate: 0.00%");
    // Nobody is refused any more.
    assert_eq!(health(), "healthy: Server is operating normally.");

    within(server.close(Duration::from_secs(5))).await;
    assert_eq!(health(), "unhealthy: Server is not serving.");
    assert_eq!(health(), "unhealthy: Server is not serving.");
    assert_eq!(
        news(&monitor, &mut events).await,
        [
            "unknown -> idle: Server is running but has no active connections.",
            "idle -> healthy: Server is operating normally.",
            "raised low_success_rate",
            "healthy -> degraded: Low connection success rate: 8.33%",
            "cleared low_success_rate",
            "degraded -> healthy: Server is operating normally.",
            "raised not_serving",
            "healthy -> unhealthy: Server is not serving.",
        ]
    );
    let alerts = monitor.alerts(25);
    let rules: Vec<_> = alerts
        .iter()
        .map(|alert| (&*alert.rule, alert.is_active()))
        .collect();
    assert_eq!(rules, [("low_success_rate", false), ("not_serving", true)]);
    drop(session);
    accepting.abort();
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_an_alert_until_it_is_replaced() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let old = SelfSigned::new(["localhost"])
        .with_validity(25 * HOUR)
        .with_backdate(24 * HOUR);
    let mut config = server_config().with_identity(Identity::self_signed_with(&old).unwrap());
    config.certificates.renew = false;
    let server = Server::bind(&config).unwrap();
    let monitor = ServerMonitor::new(server.clone()).unwrap();
    let active = || {
        monitor.sample();
        let alerts = monitor.alerts(10);
        let active = alerts.iter().filter(|alert| alert.is_active());
        let mut rules: Vec<_> = active.map(|alert| alert.rule.to_string()).collect();
        rules.sort_unstable();
        rules
    };
    assert_eq!(active(), ["certificate_expiry", "certificates_expiring"]);
    assert_eq!(monitor.health().status, Status::Unhealthy);
    let new = Identity::self_signed(["localhost"]).unwrap();
    server.certificates().set_default(new);
    assert_eq!(active(), [""; 0]);
    assert_eq!(monitor.health().status, Status::Idle);
}

#[tokio::test]
async fn applications_are_servers() {
    let config = server_config();
    let identity = config.identity.clone();
    let app = ServerApp::new(config).route("/", async |session: Session| {
        session.closed().await;
    });
    let app = app.start().await.unwrap();
    // It does not keep the application alive.
    let monitor = ServerMonitor::new(app.watch()).unwrap();
    let client = client(&[&identity]);
    let session = within(client.connect(url(app.server()))).await.unwrap();
    until(|| app.stats().sessions_active == 1).await;
    assert_eq!(app.watch().stats().unwrap().requests, 1);
    let sample = monitor.sample();
    assert_eq!((sample.kind, sample.increase("requests")), ("app", Some(1)));
    assert_eq!(monitor.health().status, Status::Healthy);
    session.close(0, "");
    within(app.shut_down()).await.unwrap();
    let over = monitor.sample();
    assert_eq!((over.state, &over.id), (State::Closed, &sample.id));
    assert_eq!(monitor.health().reasons, ["Server is not serving."]);
}

#[test]
fn the_thresholds_are_those_of_pywebtransport() {
    let health = |accepted: u64, rejected: u64, state| {
        let dial = Dial::new("server");
        let counters = |a, b| {
            dial.set(
                &[("connections_accepted", a), ("connections_rejected", b)],
                &[],
            );
        };
        counters(0, 0);
        let monitor = ServerMonitor::new(dial.clone()).unwrap();
        dial.state(state);
        counters(accepted, rejected);
        monitor.sample();
        monitor.health().status
    };
    assert_eq!(health(0, 0, State::Idle), Status::Idle);
    // More than 10 clients, less than 90 %.
    assert_eq!(health(0, 10, State::Active), Status::Healthy);
    assert_eq!(health(0, 11, State::Idle), Status::Degraded);
    assert_eq!(health(9, 1, State::Active), Status::Healthy);
    assert_eq!(health(18, 2, State::Active), Status::Healthy);
    assert_eq!(health(17, 2, State::Active), Status::Degraded);
    // Whoever does not serve is not well, whatever else is wrong.
    assert_eq!(health(0, 11, State::Draining), Status::Unhealthy);
    assert_eq!(health(0, 0, State::Closed), Status::Unhealthy);

    let config = MonitorConfig::server();
    assert_eq!(
        (config.interval.as_secs(), config.history, config.alerts),
        (30, 120, 100)
    );
}
