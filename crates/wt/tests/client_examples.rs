//! The examples of the client layer run to their end by themselves.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]
#![cfg(all(feature = "client", feature = "server"))]

use std::process::Command;

/// Runs an example, which cargo built along with this test, and returns what it printed.
fn run(example: &str) -> String {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(&path).output().unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo build -p wt --examples` builds it",
            path.display()
        )
    });
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaints}");
    said
}

#[test]
fn reconnect_outlives_two_restarts() {
    let said = run("reconnect");
    for round in 1..=3 {
        let line = format!("round {round}: hello");
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    assert!(said.ends_with("3 sessions, 2 of them lost\n"), "{said}");
}

#[test]
fn fleet_balances_around_a_server_that_is_gone() {
    let said = run("fleet");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[0],
        "fleet: 3 of 3 clients have a session, the server sees 3 of them"
    );
    assert_eq!(
        lines[1],
        "balancer: server 1 served 2, server 2 served 2, server 3 served 2"
    );
    assert_eq!(lines[2], "balancer: server 1 is gone");
    assert!(!lines[3].contains("server 1"), "{said}");
}
