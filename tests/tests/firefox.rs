//! `wtctl` and a real Firefox. What each case does stands in `tests/browser/cases`.

use wt_tests::browser::{self, Browser::Firefox};
use wt_tests::wtctl::Server;

/// Runs cases in one browser, against one server.
fn run(cases: &[&str]) {
    if !browser::available(Firefox) {
        return;
    }
    let protocols = "echo-1,echo-2";
    let mut server = Server::start(&["--protocols", protocols]);
    let (url, hash) = (server.url(), server.certificate_sha256.clone());
    let args = [
        "--browser",
        "firefox",
        "--url",
        &url,
        "--hash",
        &hash,
        "--protocols",
        protocols,
    ];
    browser::cases("run.mjs", cases, &args);
    assert!(server.is_running(), "the server ended");
}

#[test]
fn sessions_of_a_page() {
    run(&[
        "connect",
        "connect-wrong-hash",
        "reconnect",
        "sessions",
        "refused-path",
        "refused-403",
        "refused-500",
        "slow",
    ]);
}

#[test]
fn requests_and_ends_of_a_page() {
    run(&[
        "headers",
        "subprotocol",
        "drain",
        "close-by-page",
        "close-by-server",
    ]);
}

#[test]
fn streams_of_a_page() {
    run(&[
        "bidi-8mib",
        "bidi-200",
        "bidi-credit",
        "bidi-empty",
        "uni-echo",
        "push",
        "source",
        "discard",
    ]);
}

#[test]
fn resets_of_a_page() {
    run(&["reset-by-page", "reset-by-server"]);
}

#[test]
fn datagrams_of_a_page() {
    run(&["datagrams", "datagram-size"]);
}

#[test]
fn a_session_that_lasts() {
    run(&["lasting"]);
}
