//! One tiny round of everything, with real processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Runs a program to a good end and returns what it printed.
fn run(program: &str, args: &str) -> String {
    let mut command = Command::new(program);
    command.arg("--smoke").args(args.split_whitespace());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

#[test]
fn every_workload_runs_on_quinn_and_on_this_stack() {
    let text = run(env!("CARGO_BIN_EXE_compare"), "--stacks quinn,wt");
    for line in [
        "upload",
        "download",
        "both ways",
        "1000 streams of 64 KiB at once",
        "64 B request, p50",
        "1 KiB request, p50",
        "64 B requests, 64 in flight",
        "1 KiB requests, 64 in flight",
        "64 B requests, 8 sessions on a connection",
        "1 KiB uni streams, 64 in flight",
        "64 B datagrams delivered",
        "1200 B datagrams delivered",
        "datagram round trip, p50",
        "sessions set up, one by one",
        "sessions set up, 16 at once",
        "first answer, p50",
        "idle session, server's memory",
        "second and later session on a connection, server's memory",
        "request on one of 10 sessions, CPU",
        "64 B echo on one of 10 open streams, CPU",
    ] {
        let start = format!("| {line} |");
        let row = text.lines().find(|row| row.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no line {line:?} in\n{text}"));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, _, quinn, wt, _] = cells[..] else {
            panic!("not two stacks: {row}");
        };
        assert!(
            wt.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
            "{row}"
        );
        let alone = line.starts_with("second");
        assert!(
            alone || quinn.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
            "{row}"
        );
    }
}

#[test]
fn a_workload_is_chosen_by_its_name() {
    let one = "--stacks quinn --only datagram-echo";
    let text = run(env!("CARGO_BIN_EXE_compare"), one);
    assert!(text.contains("| datagram round trip, p50 |"), "{text}");
    assert!(!text.contains("| upload |"), "{text}");
}

#[test]
fn a_workload_that_nobody_knows_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--smoke", "--only", "nonsense"])
        .output()
        .unwrap();
    assert!(!output.status.success());
}

#[test]
fn publish_subscribe_loses_nothing() {
    let few = "--connections 4 --subscribers 20 --messages 100 --rounds 1";
    let text = run(env!("CARGO_BIN_EXE_pubsub"), few);
    assert!(text.contains("no message was lost"), "{text}");
}

#[test]
fn datagrams_are_measured_in_all_ways() {
    let text = run(env!("CARGO_BIN_EXE_datagrams"), "");
    for way in [
        "raw quinn, its own runtime",
        "raw quinn, the runtime of wt",
        "wt session",
        "plain",
        "priorities and TTL",
    ] {
        assert_eq!(text.matches(way).count(), 2, "{way}: {text}");
    }
}

#[test]
fn messages_and_calls_are_measured_in_all_ways() {
    let text = run(env!("CARGO_BIN_EXE_messages"), "");
    for way in [
        "256 B frames, a write each",
        "256 B MessagePack, `send`",
        "256 B MessagePack, `feed`",
        "one stream, 64 B requests  ",
        "one stream, RPC",
        "a stream per call, RPC",
    ] {
        assert_eq!(text.matches(way).count(), 1, "{way}: {text}");
    }
}

#[test]
fn the_application_layer_is_measured_beside_the_core() {
    let few = "--sessions 4 --idle 8 --rounds 1";
    let text = run(env!("CARGO_BIN_EXE_app"), few);
    for line in ["of a set-up", "rate of set-up", "8 idle sessions"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_cost_of_metrics_is_measured() {
    let text = run(env!("CARGO_BIN_EXE_metrics"), "");
    assert!(text.contains("nobody exports"), "{text}");
}
