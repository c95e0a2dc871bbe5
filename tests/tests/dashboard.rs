//! The dashboard in a real Chromium. What is checked stands in `tests/browser/dashboard.mjs`.

use std::path::Path;

use wt::{Session, monitor::feed::Token, server::Router};
use wt_tests::browser::{self, Browser::Chromium};
use wt_tests::wtctl::Server;

#[path = "../../crates/wt/examples/dashboard.rs"]
#[allow(dead_code, reason = "of an example only the server is used")]
mod dashboard;

/// Where screenshots go, to be looked at.
fn screenshot(name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard");
    std::fs::create_dir_all(&folder).expect("the folder of temporary files can be written");
    folder.join(name).display().to_string()
}

#[test]
fn the_page_shows_a_server_under_load_and_at_any_width() {
    if !browser::available(Chromium) {
        return;
    }
    let mut server = Server::start(&["--dashboard"]);
    let _load = server.load(8);
    let page = server.dashboard.clone().expect("a page");
    let picture = screenshot("page.png");
    // The page's own session is one more.
    let args = [
        &page,
        "--sessions",
        "9",
        "--samples",
        "10",
        "--screenshot",
        &picture,
    ];
    let detail = browser::case("dashboard.mjs", &args);
    for view in ["1280x720", "1280x720 dark", "390x844", "390x844 dark"] {
        let shown = &detail[view];
        let number = |name: &str| shown[name].as_f64().expect("a number");
        assert!(
            number("sessions") >= 9.0 && number("sessions") < 100.0,
            "{detail}"
        );
        assert!(number("received") > 0.0 && number("sent") > 0.0, "{detail}");
        for way in ["received_unit", "sent_unit"] {
            let unit = shown[way].as_str().expect("a unit");
            assert!(["B/s", "kB/s", "MB/s", "GB/s"].contains(&unit), "{detail}");
        }
        assert!(
            number("rtt_ms") > 0.0 && number("rtt_ms") < 60_000.0,
            "{detail}"
        );
        assert!((0.0..=100.0).contains(&number("lost_percent")), "{detail}");
        assert_eq!(shown["health"], "Healthy");
        let units = shown["units"].as_array().expect("units");
        assert_eq!(units.len(), 5, "each plot has a unit: {detail}");
        assert!(number("bars") >= 1.0, "{detail}");
    }
    assert!(server.is_running(), "the server ended");
}

#[test]
fn the_page_says_that_it_is_disconnected() {
    if !browser::available(Chromium) {
        return;
    }
    let server = Server::start(&["--dashboard"]);
    let page = server.dashboard.clone().expect("a page");
    let (id, picture) = (server.id().to_string(), screenshot("ended.png"));
    let args = [&page, "--end", &id, "--screenshot", &picture];
    let detail = browser::case("dashboard.mjs", &args);
    let said = detail["message"].as_str().expect("words");
    assert!(said.starts_with("Disconnected, reconnecting in "), "{said}");
}

#[tokio::test]
async fn an_application_serves_it_behind_its_middleware() {
    if !browser::available(Chromium) {
        return;
    }
    let token: Token = "5f1c".parse().expect("a token");
    let routes = Router::new().route("/", async |session: Session| {
        session.closed().await;
    });
    let watched = dashboard::start(routes, token).await.expect("it starts");
    let page = watched.page.clone();
    let shown = tokio::task::spawn_blocking(move || {
        let detail = browser::case("dashboard.mjs", &[&page, "--samples", "2"]);
        assert_eq!(detail["1280x720"]["sessions"], 1, "{detail}");
        // The feed does not trust the page: without the token in its address it gets nothing.
        browser::case("dashboard.mjs", &[&page, "--forget-token"]);
    });
    shown.await.expect("the page shows it");
    watched.app.shut_down().await.expect("it ends in order");
}
