//! What servers and applications say of themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{LIMIT, client, config, ended, eventually, start};
use futures_util::StreamExt;
use tokio::time::timeout;
use wt_client::{Client, ClientConfig};
use wt_core::{
    events::Event,
    observe::{Observe, State},
};
use wt_server::{Issue, Server, ServerApp, Session};

#[tokio::test]
async fn stats_count_connections_sessions_and_refusals() {
    let app = ServerApp::new(config()).route("/", async |session: Session| {
        session.closed().await;
    });
    let running = start(app).await;
    let server = running.app.server();
    assert_eq!(server.stats().connections_accepted, 0);

    let first = running.session("/").await;
    let second = running.session("/").await;
    running.status("/nowhere").await;
    // One that does not trust the certificate.
    let stranger = Client::new(ClientConfig::new()).unwrap();
    let url = format!("https://{}/", running.app.local_addr().unwrap());
    stranger.connect(&url).await.unwrap_err();
    eventually(|| server.stats().connection_errors == 1).await;
    eventually(|| running.app.stats().sessions_active == 2).await;
    let stats = running.app.stats();
    assert_eq!(stats.server.connections_accepted, 3);
    assert_eq!(stats.server.connections_rejected, 1);
    assert_eq!(stats.server.requests_rejected, 1);
    assert_eq!(stats.server.protocol_errors, 0);
    assert_eq!(stats.server.sessions_active, 2);
    assert_eq!((stats.requests, stats.sessions_accepted), (3, 2));
    assert!(stats.server.uptime > Duration::ZERO);

    first.close(0, "");
    second.close(0, "");
    eventually(|| server.stats().sessions_active == 0).await;
    eventually(|| running.app.stats().sessions_active == 0).await;
    let observed = running.app.observe();
    assert_eq!(observed.kind, "app");
    assert_eq!(observed.counter("sessions_accepted"), Some(2));
    assert_eq!(observed.get("handlers"), Some(0.0));
    let json = serde_json::to_value(running.app.stats()).unwrap();
    assert_eq!(json["sessions_accepted"], 2);
    assert_eq!(json["server"]["connections_accepted"], 3);
    assert!(json["server"]["uptime"].is_object());
}

#[tokio::test]
async fn traffic_counts_connections_that_are_over() {
    let app = ServerApp::new(config()).route("/", async |session: Session| {
        session.closed().await;
    });
    let running = start(app).await;
    let server = running.app.server();
    let quiet = server.observe();
    assert_eq!(quiet.counter("received_bytes"), Some(0));
    assert_eq!(quiet.get("rtt_median_seconds"), None, "there is none");
    assert_eq!(quiet.histograms[0].total(), 0);

    let session = running.session("/").await;
    let mut stream = session.open_uni().await.unwrap();
    stream.write_all(&vec![7; 100_000]).await.unwrap();
    eventually(|| server.observe().counter("received_bytes") > Some(100_000)).await;
    let busy = server.observe();
    assert!(busy.counter("received_bytes") > Some(100_000));
    assert!(busy.counter("sent_packets") > Some(0));
    let rtt = |name| busy.get(name).unwrap();
    assert!(rtt("rtt_median_seconds") > 0.0);
    assert!(rtt("rtt_max_seconds") >= rtt("rtt_p95_seconds"));
    let round_trips = &busy.histograms[0];
    assert_eq!((round_trips.name, round_trips.total()), ("rtt_seconds", 1));

    drop(stream);
    session.close(0, "");
    session.connection().close(0, "").await;
    eventually(|| server.connections().is_empty()).await;
    let after = server.observe();
    assert!(after.counter("received_bytes") >= busy.counter("received_bytes"));
    assert_eq!(after.histograms[0].total(), 0);
    let made = (
        after.counter("sessions_made"),
        after.counter("sessions_ended"),
    );
    assert_eq!(made, (Some(1), Some(1)));
}

#[tokio::test]
async fn events_tell_of_requests_and_sessions() {
    let app = ServerApp::new(config()).route("/{x}", async |_: Session| {});
    let running = start(app).await;
    let mut events = running.app.server().events();
    let session = running.session("/a?b").await;
    ended(&session).await;
    let (mut path, mut closed) = (None, false);
    while !closed {
        match timeout(LIMIT, events.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            Event::SessionRequest { path: asked, .. } => path = Some(asked),
            Event::SessionClosed { .. } => closed = true,
            _ => {}
        }
    }
    assert_eq!(path.as_deref(), Some("/a?b"));
}

#[tokio::test]
async fn diagnostics_say_what_is_wrong() {
    let mut config = config();
    config.limits.connections = Some(1);
    let server = Server::bind(&config).unwrap();
    let seen = server.diagnostics();
    assert!(seen.is_serving && seen.issues().is_empty());
    assert_eq!(seen.max_connections, Some(1));
    assert_eq!(seen.local_address, server.local_addr().ok());
    assert_eq!(seen.certificate, config.identity.certificate_hash());
    assert_eq!(server.config().limits.connections, Some(1));
    let address = server.local_addr().unwrap();
    assert!(
        seen.to_string()
            .starts_with(&format!("serving on {address} for "))
    );

    let accepting = server.clone();
    tokio::spawn(async move {
        let session = accepting.accept().await.unwrap().accept().await.unwrap();
        session.closed().await;
    });
    let client = client(&server);
    let url = format!("https://{address}/");
    let session = client.connect(&url).await.unwrap();
    let seen = server.diagnostics();
    let (active, max) = (1, 1);
    assert_eq!(seen.issues(), [Issue::HighConnectionUsage { active, max }]);
    assert_eq!(seen.connection_states["connected"], 1);
    assert_eq!(seen.session_states.values().sum::<usize>(), 1);
    let observed = server.observe();
    assert_eq!((observed.state, observed.kind), (State::Active, "server"));
    assert_eq!(observed.get("sessions"), Some(1.0));
    assert_eq!(observed.issues, ["High connection usage: 100.0%"]);
    assert!(
        seen.to_string()
            .contains("\nsessions: 1 active\n! High connection usage: 100.0%")
    );
    for _ in 0..21 {
        client.connect(&url).await.unwrap_err();
    }
    let (rejected, total) = (21, 22);
    let issue = Issue::HighRejectionRate { rejected, total };
    assert!(server.diagnostics().issues().contains(&issue));

    server.close(Duration::from_secs(2)).await;
    assert_eq!(ended(&session).await.0, 0);
    let seen = server.diagnostics();
    assert!(seen.issues().contains(&Issue::NotServing));
    assert!(seen.to_string().starts_with("not serving"));
}
