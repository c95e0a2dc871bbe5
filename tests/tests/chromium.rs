//! `wtctl` and a real Chromium. What each case does stands in `tests/browser/cases`.

use wt_tests::browser::{self, Browser::Chromium};
use wt_tests::wtctl::{Demo, Server};

/// Runs one case against a server of its own.
fn run(case: &str) {
    if !browser::available(Chromium) {
        return;
    }
    let protocols = "echo-1,echo-2";
    let mut server = Server::start(&["--protocols", protocols]);
    let (url, hash) = (server.url(), server.certificate_sha256.clone());
    browser::case(
        "run.mjs",
        &[
            case,
            "--url",
            &url,
            "--hash",
            &hash,
            "--protocols",
            protocols,
        ],
    );
    assert!(server.is_running(), "the server ended");
}

/// One test for each case.
macro_rules! cases {
    ($($test:ident = $case:literal,)*) => {
        const CASES: &[&str] = &[$($case),*];
        $(
            #[test]
            fn $test() {
                run($case);
            }
        )*
    };
}

cases! {
    bidi_200 = "bidi-200",
    bidi_8mib = "bidi-8mib",
    bidi_credit = "bidi-credit",
    bidi_empty = "bidi-empty",
    close_by_page = "close-by-page",
    close_by_server = "close-by-server",
    connect = "connect",
    connect_wrong_hash = "connect-wrong-hash",
    datagram_size = "datagram-size",
    datagrams = "datagrams",
    discard = "discard",
    drain = "drain",
    headers = "headers",
    lasting = "lasting",
    push = "push",
    reconnect = "reconnect",
    refused_403 = "refused-403",
    refused_500 = "refused-500",
    refused_path = "refused-path",
    reset_by_page = "reset-by-page",
    reset_by_server = "reset-by-server",
    sessions = "sessions",
    slow = "slow",
    source = "source",
    subprotocol = "subprotocol",
    uni_echo = "uni-echo",
}

#[test]
fn every_case_has_a_test() {
    if !browser::available(Chromium) {
        return;
    }
    let printed = browser::node("run.mjs", &["--list"]);
    let mut listed: Vec<&str> = printed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, CASES);
}

#[test]
fn demo_page() {
    if !browser::available(Chromium) {
        return;
    }
    let demo = Demo::start(&[]);
    let detail = browser::case("demo.mjs", &[&demo.page]);
    for view in ["1280x720", "390x844"] {
        let median = detail[view]["median_ms"].as_f64();
        assert!(median.is_some_and(|ms| ms < 1000.0), "{view}: {detail}");
    }
}
