//! `wtctl bench`: figures that fit each other, and errors in words.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::{Server, fails, wtctl};
use serde_json::Value;

/// Runs it against a path of the server and returns its exit status and its output.
async fn bench(server: &Server, path: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let url = server.url(path);
    let fixed = ["bench", &url, "--cert-hash", server.hash()];
    let output = wtctl(&[&fixed[..], args].concat()).await;
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Expects the figures to fit each other and returns them.
#[track_caller]
fn figures(out: &str, size: u64) -> Value {
    assert_eq!(out.lines().count(), 1, "{out}");
    let json: Value = serde_json::from_str(out).unwrap();
    let number = |name: &str| json[name].as_f64().unwrap();
    let requests = number("requests");
    assert!(requests > 0.0, "{out}");
    assert_eq!(number("bytes"), requests * size as f64);
    let rate = requests / number("seconds");
    assert!((number("requests_per_second") - rate).abs() < 0.01, "{out}");
    let megabytes = rate * size as f64 / 1e6;
    assert!(
        (number("megabytes_per_second") - megabytes).abs() < 0.01,
        "{out}"
    );
    assert_eq!(json["latency_ms"]["count"], json["requests"]);
    let names = ["min", "median", "p90", "p99", "p999", "max"];
    let times = names.map(|name| json["latency_ms"][name].as_f64().unwrap());
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    assert_eq!(json["errors"], Value::Object(Default::default()));
    json
}

#[tokio::test]
async fn sessions_begin_over_the_ramp_and_streams_are_counted() {
    let server = Server::start().await;
    let args = [
        "--sessions",
        "5",
        "--ramp",
        "200ms",
        "--streams",
        "3",
        "--size",
        "1000",
        "--duration",
        "300ms",
        "--json",
    ];
    let (status, out, err) = bench(&server, "/echo", &args).await;
    assert_eq!((status, &err[..]), (Some(0), ""));
    let json = figures(&out, 1000);
    assert_eq!(
        (&json["sessions"], &json["in_flight"]),
        (&5.into(), &3.into())
    );
    assert_eq!(json["kind"], "stream");
    assert_eq!(json["set_up_ms"]["count"], 5);
    let seconds = json["seconds"].as_f64().unwrap();
    assert!(
        (0.3..5.0).contains(&seconds),
        "the ramp is not measured: {out}"
    );
}

#[tokio::test]
async fn large_requests_pass_whole() {
    let server = Server::start().await;
    let args = [
        "--streams",
        "2",
        "--size",
        "1MiB",
        "--duration",
        "500ms",
        "--json",
    ];
    let (status, out, _) = bench(&server, "/", &args).await;
    assert_eq!(status, Some(0), "{out}");
    figures(&out, 1 << 20);
}

#[tokio::test]
async fn datagrams_are_counted() {
    let server = Server::start().await;
    let args = [
        "--datagrams",
        "--size",
        "500",
        "--duration",
        "300ms",
        "--json",
    ];
    let (status, out, _) = bench(&server, "/", &args).await;
    assert_eq!(status, Some(0), "{out}");
    let json = figures(&out, 500);
    assert_eq!(json["kind"], "datagram");
    assert!(json["lost"].is_u64(), "{out}");
}

#[tokio::test]
async fn words_are_plain_in_a_pipe() {
    let server = Server::start().await;
    let (status, out, err) = bench(&server, "/", &["--duration", "200ms"]).await;
    assert_eq!((status, &err[..]), (Some(0), ""));
    let (_, time) = out
        .split_once("1 session × 16 streams, 64 B each way, ")
        .unwrap();
    let (seconds, _) = time.split_once(" s\n").unwrap();
    // As long as it took, which on a busy machine is more than it was to take.
    assert!(seconds.parse::<f64>().unwrap() >= 0.2, "{out}");
    for words in [
        "\nRequests  ",
        " MB/s each way  ",
        " MB in all\n",
        "\nLatency   min ",
        "\nSet-up    min ",
        "\nErrors    none\n",
    ] {
        assert!(out.contains(words), "no {words:?} in:\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[tokio::test]
async fn what_goes_wrong_is_counted_by_kind() {
    let server = Server::start().await;
    let args = ["--sessions", "3", "--duration", "10s", "--json"];
    let (status, out, err) = bench(&server, "/nowhere", &args).await;
    assert_eq!(status, Some(1), "{out}");
    let words = "the server refused the session with status 404 Not Found";
    assert_eq!(err, format!("error: nothing was answered: {words}\n"));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["errors"][words], 3);
    assert_eq!(json["latency_ms"]["median"], Value::Null);

    let args = ["--duration", "200ms", "--json"];
    let (status, out, _) = bench(&server, "/discard", &args).await;
    assert_eq!(status, Some(1), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(
        json["errors"]["an answer of 0 bytes to 64"]
            .as_u64()
            .unwrap()
            > 0
    );

    let (status, out, _) = bench(&server, "/close?code=4", &["--duration", "10s"]).await;
    assert_eq!(status, Some(1), "{out}");
    let words = "Errors    1 × the session was closed by the peer with code 4";
    assert!(out.contains(words), "{out}");
    // Nothing is said of what there was none of.
    assert!(!out.contains("Latency"), "{out}");
}

#[tokio::test]
async fn what_cannot_work_is_said_in_one_line() {
    for (args, words) in [
        (&["--datagrams", "--size", "7"][..], "at least 8 bytes"),
        (&["--sessions", "0"], "1..=10000"),
        (&["--size", "2GiB"], "at most 1GiB"),
        (&["--duration", "0"], "longer than zero"),
        (&["--ramp", "soon"], "write seconds"),
    ] {
        let said = fails(2, &[&["bench", "https://127.0.0.1:1/"], args].concat()).await;
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn who_is_interrupted_sees_what_there_was() {
    use common::{Running, soon};
    use wt::{Identity, ServerConfig};

    // A server that answers one request.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let server = wt::Server::bind(&ServerConfig::new(identity).with_bind(loopback)).unwrap();
    let url = format!("https://{}/", server.local_addr().unwrap());
    let args = [
        "bench",
        &url,
        "--insecure",
        "--json",
        "--streams",
        "1",
        "--duration",
        "60m",
    ];
    let running = Running::start(&args);
    let session = soon(server.accept()).await.unwrap().accept().await.unwrap();
    for _ in 0..200 {
        let (mut send, mut recv) = soon(session.accept_bi()).await.unwrap().split();
        let request = soon(recv.read_to_end(1000)).await.unwrap();
        send.write_all(&request).await.unwrap();
        send.finish().unwrap();
    }
    // It asks again when it has its answer.
    let _next = soon(session.accept_bi()).await.unwrap();
    running.signal(rustix::process::Signal::INT);
    let end = soon(session.closed()).await;
    assert_eq!(
        (end.is_closed_by_peer(), end.code()),
        (true, Some(0)),
        "{end}"
    );
    let (status, out) = running.end().await;
    assert_eq!(status, Some(0), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    // Those before the measurement began do not count.
    let requests = json["requests"].as_u64().unwrap();
    assert!((1..=200).contains(&requests), "{out}");
}
