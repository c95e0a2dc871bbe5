//! The metrics of `wtctl serve`, as curl fetches them and `docs/metrics.md` names them.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    time::Duration,
};

use common::{Server, echo, fails, pattern, soon};
use tokio::process::Command;

/// A line with a value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What Prometheus would read.
#[derive(Debug, Default)]
struct Page {
    /// By the name of the metric: its type.
    types: BTreeMap<String, String>,
    described: BTreeSet<String>,
    samples: Vec<Sample>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{line}: twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, meaning) = rest.split_once(' ').expect(line);
                assert!(!meaning.is_empty(), "{line}");
                page.described.insert(name.to_owned());
            } else {
                page.samples.push(Sample::parse(line));
            }
        }
        page
    }

    /// Returns the metric of a sample; a histogram has samples of three names.
    fn metric<'a>(&self, sample: &'a str) -> &'a str {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| sample.strip_suffix(suffix))
            .filter(|base| {
                self.types
                    .get(*base)
                    .is_some_and(|kind| kind == "histogram")
            });
        base.unwrap_or(sample)
    }

    /// Adds up the samples of that name with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has =
                |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|is| is == value);
            sample.name == name && labels.iter().all(has)
        };
        let values = self.samples.iter().filter(fits).map(|sample| sample.value);
        values.sum()
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (left, value) = line.rsplit_once(' ').expect(line);
        let (name, labels) = match left.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (left, ""),
        };
        let labels = labels.split_terminator(',').map(|label| {
            let (key, value) = label.split_once('=').expect(line);
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            (key.to_owned(), value.expect(line).to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().expect(line),
        }
    }
}

/// Runs curl as an operator would; `None` where there is none, unless nothing may be skipped.
async fn curl(url: &str) -> Option<String> {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "15",
        url,
    ])
    .stdin(Stdio::null())
    .kill_on_drop(true);
    match soon(curl.output()).await {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{url}: {errors}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(
                !strict,
                "no curl ({error}), and with CI=true nothing is skipped"
            );
            eprintln!("skipped: no curl ({error}); `cargo xtask setup` installs it");
            None
        }
    }
}

/// Fetches metrics until `check` holds: they are brought up to date every second.
async fn fetch_until(url: &str, check: impl Fn(&Page) -> bool) -> Option<Page> {
    for _ in 0..600 {
        let page = Page::parse(&curl(url).await?);
        if check(&page) {
            return Some(page);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the metrics do not come to what was done");
}

/// What the documentation says of a metric.
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
}

/// Reads the table of names.
fn documented() -> BTreeMap<String, Documented> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `wt_")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let code = |text: &str| {
            let parts = text.split('`').enumerate();
            let inside = parts.filter(|(at, _)| at % 2 == 1);
            inside.map(|(_, part)| part.to_owned()).collect::<Vec<_>>()
        };
        let documented = Documented {
            kind: cells[2].to_owned(),
            labels: code(cells[4]).into_iter().collect(),
        };
        let name = code(cells[1]).remove(0);
        assert!(all.insert(name, documented).is_none(), "{line}: twice");
    }
    all
}

#[tokio::test]
async fn every_documented_metric_is_served_and_no_other() {
    let server = Server::start_with(&["--metrics", "127.0.0.1:0"]).await;
    let url = server.listening["metrics"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");

    // Sessions, streams of both kinds and sides, datagrams, and refusals of two causes.
    let session = server.connect("/echo/with-a-secret").await;
    echo(&session, &pattern(300_000)).await;
    let mut uni = soon(session.open_uni()).await.unwrap();
    uni.write_all(b"hello").await.unwrap();
    uni.finish().unwrap();
    let mut back = soon(session.accept_uni()).await.unwrap();
    assert_eq!(&soon(back.read_to_end(10)).await.unwrap()[..], b"hello");
    session.send_datagram(b"ping").unwrap();
    soon(session.recv_datagram()).await.unwrap();
    let over = server.connect("/close?code=7").await;
    soon(over.closed()).await;
    assert_eq!(server.refused("/status/403").await, 403);
    assert_eq!(server.refused("/nowhere").await, 404);

    let done = |page: &Page| {
        page.sum("wt_refusals_total", &[("cause", "application")]) == 2.0
            && page.sum("wt_sessions_ended_total", &[]) == 1.0
            && page.sum("wt_datagrams_total", &[("direction", "send")]) == 1.0
            && page.sum("wt_streams_total", &[]) == 3.0
            && page.sum("wt_handler_duration_seconds_count", &[]) >= 1.0
            && page.sum("wt_connection_rtt_seconds_count", &[]) >= 1.0
    };
    let Some(page) = fetch_until(&url, done).await else {
        return;
    };

    let documented = documented();
    assert!(documented.len() > 20, "the table of names was not found");
    let mut labels: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for sample in &page.samples {
        let name = page.metric(&sample.name);
        let keys = sample.labels.keys().filter(|key| *key != "le");
        labels.entry(name).or_default().extend(keys.cloned());
    }
    for (name, wanted) in &documented {
        assert!(page.described.contains(name), "{name} is not described");
        assert_eq!(page.types.get(name), Some(&wanted.kind), "{name}");
        assert_eq!(labels.get(&name[..]), Some(&wanted.labels), "{name}");
    }
    let ours = page.types.keys().filter(|name| name.starts_with("wt_"));
    for name in ours.chain(page.samples.iter().map(|sample| &sample.name)) {
        let name = page.metric(name);
        assert!(documented.contains_key(name), "{name} is not documented");
    }

    // All causes are there, and none of the words of clients.
    let causes = wt::core::RefusalCause::ALL;
    let zeros = causes.iter().map(|cause| cause.name());
    for cause in zeros.filter(|cause| *cause != "application") {
        let found = page.samples.iter().find(|sample| {
            sample.name == "wt_refusals_total"
                && sample.labels.get("cause").is_some_and(|is| is == cause)
        });
        assert_eq!(found.map(|sample| sample.value), Some(0.0), "{cause}");
    }
    for sample in &page.samples {
        let text = format!("{sample:?}");
        assert!(
            !text.contains("secret") && !text.contains("127.0.0.1"),
            "{text}"
        );
    }

    // And the values are what was done.
    let outcomes = |outcome| page.sum("wt_handshakes_total", &[("outcome", outcome)]);
    assert_eq!((outcomes("established"), outcomes("refused")), (2.0, 2.0));
    assert_eq!(page.sum("wt_streams_total", &[("by", "local")]), 1.0);
    assert_eq!(page.sum("wt_bidi_streams_total", &[]), 1.0);
    assert!(page.sum("wt_bytes_total", &[("direction", "receive")]) > 300_000.0);
    assert_eq!(page.sum("wt_sessions_open", &[]), 1.0);
    let close = [("route", "/close"), ("outcome", "returned")];
    assert_eq!(page.sum("wt_handler_duration_seconds_count", &close), 1.0);
    let observed = [("kind", "server"), ("figure", "sessions")];
    assert_eq!(page.sum("wt_observed_value", &observed), 1.0);
    drop(session);
}

#[tokio::test]
async fn without_the_argument_nothing_is_opened() {
    let server = Server::start().await;
    let listening = server.listening.as_object().unwrap();
    assert!(!listening.contains_key("metrics"), "{listening:?}");
}

#[tokio::test]
async fn an_address_for_metrics_that_is_in_use_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = fails(
        2,
        &["serve", "--listen", "127.0.0.1:0", "--metrics", &address],
    )
    .await;
    assert!(
        error.contains(&address) && error.contains("HTTP"),
        "{error}"
    );
}
