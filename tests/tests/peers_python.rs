//! aioquic and PyWebTransport, driven by the scripts in `tests/python`.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{Ours, client, exercise_server, folder, identity, loopback, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wt::Dialect;
use wt::messaging::pubsub::{PubSub, PubSubError, Subscription};
use wt_tests::interop::site::Site;

/// The interpreter in an environment that `cargo xtask setup` prepares.
fn python(environment: &str) -> Option<PathBuf> {
    // CARGO_TARGET_TMPDIR is TARGET/tmp.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join(environment).join("bin/python");
    python.exists().then_some(python)
}

/// A script for the environment of Python 3.11; where that is missing, the test is skipped.
fn script(name: &str) -> Option<Command> {
    if let Some(python) = python("python-peers") {
        return Some(command(&python, name));
    }
    eprintln!("skipped: no Python peers; `cargo xtask setup` installs them");
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !in_ci,
        "no Python peers, and with CI=true nothing is skipped"
    );
    None
}

/// A script for the environment of Python 3.12, which few systems have: it is no failure to skip it.
fn new_script(name: &str) -> Option<Command> {
    let python = python("python-peers-3.12");
    if python.is_none() {
        eprintln!("skipped: no Python 3.12 with PyWebTransport 0.21");
    }
    Some(command(&python?, name))
}

fn command(python: &Path, name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(folder.join(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a client script to its end, which has to be a good one.
async fn run(mut command: Command, port: u16, what: &str) {
    let output = within(command.args([&port.to_string(), what]).output())
        .await
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.ends_with("passed\n"),
        "{what}: {printed}"
    );
}

/// Starts a server script; its origin.
async fn start(mut command: Command, name: &str) -> (Child, String) {
    let folder = folder(name);
    let (cert, key) = identity().to_pem();
    let files = [folder.join("cert.pem"), folder.join("key.pem")];
    for (file, text) in files.iter().zip([cert, key]) {
        std::fs::write(file, text).unwrap();
    }
    let mut process = command.args(&files).spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    within(stdout.read_line(&mut line)).await.unwrap();
    let port: u16 = line.trim().parse().unwrap();
    (process, format!("https://127.0.0.1:{port}"))
}

#[tokio::test]
async fn aioquics_client_and_our_server() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"));
    server.empty().await;
}

#[tokio::test]
async fn aioquics_client_learns_of_our_close() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "close").await;
    assert!(server.end().await.is_closed_locally());
}

#[tokio::test]
async fn fifty_sessions_of_aioquics_client() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        assert_eq!(server.end().await.code(), Some(0));
    }
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_aioquics_server() {
    let Some(command) = script("aioquic_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "aioquic").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft02).await;

    let client = client();
    let error = within(client.connect(format!("{origin}/forbidden")))
        .await
        .unwrap_err();
    assert_eq!(
        error.status().map(|status| status.as_u16()),
        Some(403),
        "{error}"
    );
    let session = within(client.connect(format!("{origin}/close")))
        .await
        .unwrap();
    let end = within(session.closed()).await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(7), "seven"));
}

#[tokio::test]
async fn pywebtransports_client_and_our_server() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft13);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"), "{end}");
}

#[tokio::test]
async fn fifty_sessions_of_pywebtransports_client() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft13);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        server.end().await;
    }
    // Its clients leave without a word.
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft13).await;
}

/// The next message, as text.
async fn next(subscription: &mut Subscription) -> String {
    let message = within(subscription.recv()).await.unwrap();
    message.text().unwrap().to_owned()
}

/// The port of a server with the paths of PyWebTransport's tests.
fn pywebtransport_site() -> u16 {
    let site = Site::bind(loopback(), identity())
        .unwrap()
        .for_pywebtransport();
    let line: Value = serde_json::from_str(&site.start_line(true).unwrap()).unwrap();
    tokio::spawn(async move { site.run().await.unwrap() });
    line["port"].as_u64().unwrap() as u16
}

#[tokio::test]
async fn pywebtransports_calls_and_structured_messages_at_our_server() {
    let port = pywebtransport_site();
    for what in ["structured", "rpc"] {
        let Some(command) = script("pywebtransport_client.py") else {
            return;
        };
        run(command, port, what).await;
    }
}

#[tokio::test]
async fn pywebtransports_pubsub_client_and_our_broker() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let port = pywebtransport_site();
    let client = client();
    let session = within(client.connect(format!("https://127.0.0.1:{port}/pubsub")))
        .await
        .unwrap();
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    let mut from_python = within(pubsub.subscribe("to-rust")).await.unwrap();
    let script = tokio::spawn(async move { run(command, port, "pubsub").await });
    assert_eq!(next(&mut from_python).await, "ready");
    // What it sends back is what it got, whatever the size and however it was cut. Its queue of 16
    // would drop some if they all came at once.
    let lines = "SUB x\nMSG to-python 3\nabc".to_owned();
    for sent in [String::new(), lines, "ü".repeat(1000)] {
        pubsub.publish("to-python", sent.clone()).await.unwrap();
        assert_eq!(next(&mut from_python).await, sent);
    }
    let large = "x".repeat(200_000);
    pubsub.publish("to-python", large.clone()).await.unwrap();
    assert_eq!(next(&mut from_python).await, large);
    pubsub.publish("to-python", "unsubscribe").await.unwrap();
    assert_eq!(next(&mut from_python).await, "unsubscribe");
    assert_eq!(next(&mut from_python).await, "unsubscribed");
    pubsub
        .publish("to-python", "nobody is there")
        .await
        .unwrap();
    pubsub.publish("again", "again").await.unwrap();
    assert_eq!(next(&mut from_python).await, "done");
    within(script).await.unwrap();
    within(pubsub.close()).await.unwrap();
}

#[tokio::test]
async fn our_pubsub_client_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-pubsub").await;
    let client = client();
    let session = within(client.connect(format!("{origin}/pubsub")))
        .await
        .unwrap();
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    let refused = within(pubsub.subscribe("secret")).await.unwrap_err();
    assert!(
        matches!(&refused, PubSubError::Refused { reason, .. } if reason == "not for Rust"),
        "{refused}"
    );
    let mut news = within(pubsub.subscribe("news")).await.unwrap();
    let mut more = within(pubsub.subscribe("grüße/1")).await.unwrap();
    for sent in ["", "hello", "PUB x 1\nSUB y\n", &"ü".repeat(50_000)] {
        pubsub.publish("news", sent.to_owned()).await.unwrap();
        assert_eq!(next(&mut news).await, sent);
        pubsub.publish("grüße/1", sent.to_owned()).await.unwrap();
        assert_eq!(next(&mut more).await, sent);
    }
    pubsub.unsubscribe("news").unwrap();
    pubsub.publish("news", "nobody is there").await.unwrap();
    pubsub.publish("grüße/1", "the last").await.unwrap();
    assert_eq!(next(&mut more).await, "the last");
    assert_eq!(within(news.recv()).await, None);
    assert_eq!(pubsub.stats().messages_received, 9);
    within(pubsub.close()).await.unwrap();
}

#[tokio::test]
async fn new_pywebtransports_client_and_our_server() {
    let Some(command) = new_script("pywebtransport_new_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft15);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"), "{end}");
}

#[tokio::test]
async fn fifty_sessions_of_new_pywebtransports_client() {
    let Some(command) = new_script("pywebtransport_new_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft15);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        assert_eq!(server.end().await.code(), Some(9));
    }
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_new_pywebtransports_server() {
    let Some(command) = new_script("pywebtransport_new_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-new").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft15).await;
}
