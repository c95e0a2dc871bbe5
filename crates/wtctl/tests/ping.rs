//! `wtctl ping`, against a server that echoes and one that does not.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::{Server, fails, wtctl};
use serde_json::Value;
use wt::{Identity, ServerConfig};

/// Runs it against a path of the server and returns its exit status and its output.
async fn ping(server: &Server, path: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let url = server.url(path);
    let fixed = ["ping", &url, "--cert-hash", server.hash()];
    let output = wtctl(&[&fixed[..], args].concat()).await;
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn json_has_the_figures_of_both_ways() {
    let server = Server::start().await;
    let args = [
        "--count",
        "30",
        "--interval",
        "5ms",
        "--size",
        "1000",
        "--json",
    ];
    let (status, out, err) = ping(&server, "/echo", &args).await;
    assert_eq!((status, &err[..]), (Some(0), ""));
    assert_eq!(out.lines().count(), 1, "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["url"], server.url("/echo"));
    assert_eq!(json["dialect"], "draft-15/16");
    assert_eq!(json["size"], 1000);
    for way in ["datagram", "stream"] {
        let way = &json[way];
        assert_eq!((&way["sent"], &way["received"]), (&30.into(), &30.into()));
        assert_eq!((&way["lost"], &way["loss"]), (&0.into(), &0.0.into()));
        let times = ["min_ms", "median_ms", "p99_ms", "max_ms"];
        let times: Vec<f64> = times.map(|time| way[time].as_f64().unwrap()).to_vec();
        assert!(times.is_sorted(), "{times:?}");
        assert!(0.0 < times[0] && times[3] < 1000.0, "{times:?}");
    }
}

#[tokio::test]
async fn words_are_plain_in_a_pipe() {
    let server = Server::start().await;
    let args = ["--count", "5", "--interval", "5ms"];
    let (status, out, err) = ping(&server, "/", &args).await;
    assert_eq!((status, &err[..]), (Some(0), ""));
    for words in [
        "64 B each way, WebTransport draft-15/16, QUIC's own round trip ",
        "datagram  5 sent, 5 back, 0 % lost",
        "stream    5 sent, 5 back, 0 % lost",
        "  median ",
        " ms  ####",
    ] {
        assert!(out.contains(words), "no {words:?} in:\n{out}");
    }
    assert!(out.is_ascii(), "{out}");
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[tokio::test]
async fn one_way_alone() {
    let server = Server::start().await;
    let args = [
        "--count",
        "3",
        "--interval",
        "5ms",
        "--stream",
        "--size",
        "256KiB",
    ];
    let (status, out, _) = ping(&server, "/", &args).await;
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("stream    3 sent, 3 back"), "{out}");
    assert!(!out.contains("datagram"), "{out}");
}

#[tokio::test]
async fn what_does_not_come_back_is_lost() {
    let server = Server::start().await;
    let args = [
        "--count",
        "3",
        "--interval",
        "5ms",
        "--wait",
        "200ms",
        "--json",
    ];
    let (status, out, err) = ping(&server, "/discard", &args).await;
    assert_eq!(status, Some(1), "{out}");
    assert_eq!(
        err,
        "error: nothing came back; does the server echo on this path?\n"
    );
    let json: Value = serde_json::from_str(&out).unwrap();
    // Its streams end in order, but with nothing in them.
    for way in ["datagram", "stream"] {
        assert_eq!(json[way]["received"], 0, "{out}");
    }
    assert_eq!(json["datagram"]["loss"], 1.0);
    assert_eq!(json["datagram"]["median_ms"], Value::Null);
}

#[tokio::test]
async fn what_is_missing_is_named() {
    // A server that echoes datagrams and takes no streams.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let server = wt::Server::bind(&ServerConfig::new(identity).with_bind(loopback)).unwrap();
    let url = format!("https://{}/", server.local_addr().unwrap());
    tokio::spawn(async move {
        let session = server.accept().await.unwrap().accept().await.unwrap();
        while let Ok(datagram) = session.recv_datagram().await {
            session.send_datagram(&datagram).unwrap();
        }
    });
    let brief = ["--count", "2", "--interval", "5ms", "--wait", "500ms"];
    let output = wtctl(&[&["ping", &url, "--insecure"][..], &brief].concat()).await;
    let words = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{words}");
    let error = "error: no stream came back; does the server echo on this path?\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), error);
    assert!(
        words.contains("stream    2 sent, 0 back, 100 % lost"),
        "{words}"
    );
}

#[tokio::test]
async fn what_cannot_work_is_said_in_one_line() {
    let server = Server::start().await;
    let url = server.url("/");
    let said = fails(2, &["ping", &url, "--insecure", "--size", "60000"]).await;
    assert!(
        said.contains("a datagram of 60000 bytes does not fit"),
        "{said}"
    );
    for (args, words) in [
        (&["--size", "3"][..], "from 4 bytes"),
        (&["--count", "0"], "1..=100000"),
        (&["--interval", "0"], "longer than zero"),
        (&["--stream", "--datagram"], "cannot be used with"),
    ] {
        let said = fails(2, &[&["ping", &url], args].concat()).await;
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn who_is_interrupted_sees_what_there_was() {
    use common::Running;

    // A server that sees how far it is.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let server = wt::Server::bind(&ServerConfig::new(identity).with_bind(loopback)).unwrap();
    let url = format!("https://{}/", server.local_addr().unwrap());
    let args = [
        "ping",
        &url,
        "--insecure",
        "--datagram",
        "--json",
        "--count",
        "1000",
    ];
    let running = Running::start(&args);
    let session = common::soon(server.accept())
        .await
        .unwrap()
        .accept()
        .await
        .unwrap();
    for _ in 0..3 {
        let datagram = common::soon(session.recv_datagram()).await.unwrap();
        session.send_datagram(&datagram).unwrap();
    }
    // The third is sent only after the second could come back.
    running.signal(rustix::process::Signal::INT);
    let end = common::soon(session.closed()).await;
    assert_eq!(
        (end.is_closed_by_peer(), end.code()),
        (true, Some(0)),
        "{end}"
    );
    let (status, out) = running.end().await;
    assert_eq!(status, Some(0), "{out}");
    let json: Value = serde_json::from_str(&out).unwrap();
    let received = json["datagram"]["received"].as_u64().unwrap();
    assert!((1..=3).contains(&received), "{out}");
}
