//! How long handlers ran, by route and by how they ended.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{config, ended, eventually, start};
use metrics_exporter_prometheus::PrometheusBuilder;
use wt_server::{
    AppConfig, BoxError, HandlerTimer, ServerApp, Session, Shutdown, extract::Path,
    http::StatusCode,
};

async fn returns(_: Session) {}

async fn fails(_: Session) -> Result<(), BoxError> {
    Err("for a test".into())
}

async fn panics(_: Session) {
    panic!("for a test");
}

/// Learns of the end of its session by an error.
async fn waits(session: Session) -> Result<(), BoxError> {
    session.accept_bi().await?;
    Ok(())
}

async fn counts(_: Session, Path(_): Path<u32>) {}

async fn stays(_: Session) {
    std::future::pending().await
}

#[tokio::test]
async fn handlers_are_measured_by_route_and_outcome() {
    let recorder = PrometheusBuilder::new().install_recorder().unwrap();
    let app = ServerApp::new(config())
        .configure(AppConfig::new().with_shutdown(Shutdown::new(Duration::from_millis(200))))
        .route("/returns/{room}", returns)
        .route("/fails", fails)
        .route("/waits", waits)
        .route("/counts/{number}", counts)
        .route("/stays", stays)
        .pattern("/v[0-9]+", panics)
        .fallback(returns);
    let app = start(app).await;
    for path in [
        "/returns/a-secret",
        "/returns/b",
        "/fails",
        "/v7",
        "/elsewhere",
    ] {
        ended(&app.session(path).await).await;
    }
    // A refusal is none of a handler.
    assert_eq!(app.status("/counts/none").await, StatusCode::BAD_REQUEST);
    let waiting = app.session("/waits").await;
    waiting.close(0, "");
    let staying = app.session("/stays").await;
    HandlerTimer::start("by hand").end();
    HandlerTimer::start("by hand").fail();

    let count = |route: &str, outcome: &str| {
        let labels = format!("{{route=\"{route}\",outcome=\"{outcome}\"}}");
        let start = format!("wt_handler_duration_seconds_count{labels} ");
        let page = recorder.render();
        let line = page.lines().find(|line| line.starts_with(&start));
        line.map_or(0, |line| line[start.len()..].parse().unwrap())
    };
    for (route, outcome, expected) in [
        ("/returns/{room}", "returned", 2),
        ("/fails", "failed", 1),
        ("/v[0-9]+", "panicked", 1),
        ("fallback", "returned", 1),
        ("/waits", "returned", 1),
        ("by hand", "returned", 1),
        ("by hand", "failed", 1),
    ] {
        eventually(|| count(route, outcome) == expected).await;
    }
    assert_eq!(count("/stays", "dropped"), 0);
    app.app.shut_down().await.unwrap();
    eventually(|| count("/stays", "dropped") == 1).await;
    drop(staying);
    assert!(!recorder.render().contains("/counts"));
    assert!(!recorder.render().contains("secret"));
}
