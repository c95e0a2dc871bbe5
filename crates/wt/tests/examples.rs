//! The echo examples talk to each other.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// How long each line of output may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A child process that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an example, which cargo built along with this test.
fn start(example: &str, args: &[&str]) -> Running {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let child = Command::new(&path)
        .args(args)
        .stdout(Stdio::piped())
        .spawn();
    Running(child.unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo build -p wt --examples` builds it",
            path.display()
        )
    }))
}

/// Runs an example to its end; returns what it printed.
#[cfg(feature = "datagram")]
fn run(example: &str) -> String {
    let mut running = start(example, &[]);
    let mut said = String::new();
    let mut output = running.0.stdout.take().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert!(running.0.wait().unwrap().success(), "{said}");
    said
}

#[cfg(feature = "datagram")]
#[test]
fn game_state_reaches_all_players() {
    let said = run("game_state");
    for player in ["ann", "bob", "cleo"] {
        let line = format!("{player} saw the end of the game");
        assert!(said.contains(&line), "{said}");
    }
}

#[cfg(feature = "datagram")]
#[test]
fn reliable_datagrams_all_arrive() {
    let said = run("reliable_datagrams");
    assert!(said.contains("100 of 100 messages arrived"), "{said}");
}

#[test]
fn echo_client_gets_back_what_it_sends() {
    let mut server = start("echo_server", &["127.0.0.1:0"]);
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(server.0.stdout.take().unwrap());
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines.recv_timeout(LIMIT).unwrap();
    let command = lines.recv_timeout(LIMIT).unwrap();
    let (_, args) = command.split_once(" -- ").unwrap();

    let mut client = start("echo_client", &args.split(' ').collect::<Vec<_>>());
    let mut said = String::new();
    client
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(
        said,
        "bidirectional stream: hello\nunidirectional streams: hello\ndatagram: hello\n"
    );
    assert!(client.0.wait().unwrap().success());

    assert!(lines.recv_timeout(LIMIT).unwrap().ends_with("asks for /"));
    assert_eq!(
        lines.recv_timeout(LIMIT).unwrap(),
        "the session was closed by the peer with code 0: done"
    );
}

/// Runs an example to its end and compares what it prints with what its documentation says.
#[cfg(feature = "messaging")]
fn runs_as_documented(example: &str, source: &str) {
    let mut running = start(example, &[]);
    let mut said = String::new();
    let output = running.0.stdout.as_mut().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert!(running.0.wait().unwrap().success(), "{said}");
    let shown = source.split("//! ```").nth(1).unwrap();
    let lines = shown.lines().filter_map(|line| line.strip_prefix("//! "));
    let documented: Vec<&str> = lines.filter(|line| !line.starts_with('$')).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), documented);
}

#[cfg(feature = "messaging")]
#[test]
fn the_chat_runs_as_documented() {
    runs_as_documented("pubsub_chat", include_str!("../examples/pubsub_chat.rs"));
}

#[cfg(feature = "dashboard")]
#[test]
fn a_dashboard_is_shown_to_those_who_have_the_token() {
    let mut running = start("dashboard", &[]);
    let mut said = String::new();
    let mut output = running.0.stdout.take().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert!(running.0.wait().unwrap().success(), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("the page: http://localhost:"),
        "{said}"
    );
    assert!(lines[0].ends_with("/?token=5f1c"), "{said}");
    assert_eq!(lines[1], "without the token: 403 Forbidden");
    assert!(lines[2].starts_with("app 127.0.0.1:"), "{said}");
    assert!(lines[2].ends_with(": healthy"), "{said}");
    assert_eq!(lines[3..], ["sessions: 2", "sessions: 2"]);
}
