//! What is published, how often, and of how much.
#![cfg(feature = "prometheus")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use wt_client::{Client, ClientConfig, ServerVerification};
use wt_core::{
    Endpoint,
    config::ServerConfig,
    observe::{self, Snapshot, State},
    tls::Identity,
};
use wt_monitor::metrics::{ExportError, Exporter, InstallError, Prometheus};
use wt_server::Server;

fn config() -> ServerConfig {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into())
}

/// Returns the value on the line that begins like this.
fn value(page: &str, start: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(start))?;
    let (_, value) = line.rsplit_once(' ')?;
    value.parse().ok()
}

#[tokio::test]
async fn connections_are_sampled_within_a_limit_and_the_rest_is_summed() {
    let prometheus = Prometheus::install().unwrap();
    let again = Prometheus::install();
    assert!(matches!(again, Err(InstallError::Taken)), "{again:?}");

    let server = Server::bind(&config()).unwrap();
    let hash = server.config().identity.certificate_hash();
    let trust = ServerVerification::Hashes(vec![hash]);
    let url = format!("https://{}/", server.local_addr().unwrap());
    let mut all = Vec::new();
    for _ in 0..5 {
        let client = Client::new(ClientConfig::new().with_verification(trust.clone())).unwrap();
        let (session, accepted) = tokio::join!(client.connect(&url), async {
            server.accept().await.unwrap().accept().await.unwrap()
        });
        all.push((client, session.unwrap(), accepted));
    }
    let looks = AtomicU64::new(0);
    let cache = observe::from_fn(move || {
        Snapshot::new("cache", "of-pages", State::Active)
            .with_counter("looks", looks.fetch_add(1, Relaxed) + 1)
            .with_gauge("entries", 3.5)
    });
    let exporter = Exporter::new()
        .endpoint("a", server.endpoint().clone())
        .endpoint("b", Endpoint::server(&config()).unwrap())
        .observe("pages", cache)
        .with_samples(2);
    exporter.publish();
    let page = prometheus.render();
    let rtt = "wt_connection_rtt_seconds_count{endpoint=\"a\"}";
    assert_eq!(value(&page, rtt), Some(2.0), "{page}");
    let open = |name: &str| {
        value(
            &page,
            &format!("wt_connections_open{{endpoint=\"{name}\"}}"),
        )
    };
    assert_eq!((open("a"), open("b")), (Some(5.0), Some(0.0)), "{page}");

    exporter.publish();
    let page = prometheus.render();
    assert_eq!(value(&page, rtt), Some(4.0), "{page}");
    let observed = "wt_observed_total{name=\"pages\",kind=\"cache\",figure=\"looks\"}";
    assert_eq!(value(&page, observed), Some(2.0), "{page}");
    let observed = "wt_observed_value{name=\"pages\",kind=\"cache\",figure=\"entries\"}";
    assert_eq!(value(&page, observed), Some(3.5), "{page}");

    // Once more at the end, although the interval is long.
    let publishing = exporter
        .with_interval(Duration::from_secs(3600))
        .start()
        .unwrap();
    publishing.stop().await;
    let page = prometheus.render();
    assert!(value(&page, rtt) >= Some(6.0), "{page}");
}

#[test]
fn what_cannot_work_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let thing = || observe::from_fn(|| Snapshot::new("thing", "x", State::Idle));
    let wrong = [
        Exporter::new().with_interval(Duration::ZERO),
        Exporter::new().with_samples(Exporter::MAX_SAMPLES + 1),
        Exporter::new().observe("x", thing()).observe("x", thing()),
    ];
    runtime.block_on(async {
        for exporter in wrong {
            let error = exporter.start().unwrap_err();
            assert!(matches!(error, ExportError::Config(_)), "{error}");
        }
    });
    let error = Exporter::new().start().unwrap_err();
    assert!(matches!(error, ExportError::NoRuntime), "{error}");
    let error = Prometheus::install().unwrap_err();
    assert!(matches!(error, InstallError::NoRuntime), "{error}");
}
