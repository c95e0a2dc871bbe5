//! aioquic and PyWebTransport, driven by the scripts in `tests/python`.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{Ours, client, exercise_server, folder, identity, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wt::Dialect;

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
