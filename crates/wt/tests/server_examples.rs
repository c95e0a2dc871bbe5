//! The examples of servers say what their documentation says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// Runs an example, which cargo built along with this test, to its end.
fn output(example: &str) -> String {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let output = Command::new(&path).output();
    let output = output.unwrap_or_else(|error| {
        let path = path.display();
        panic!("{path}: {error}; `cargo build -p wt --examples` builds it")
    });
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn echo_answers() {
    assert_eq!(output("echo"), "stream: hello\ndatagram: hello\n");
}

#[test]
fn certificates_change_while_a_session_is_open() {
    let expected = "www.shop.example is shown the certificate for shop.example\n\
                    anybody else is shown the certificate for localhost\n\
                    replaced: new clients are shown another certificate\n\
                    the session goes on: hello\n\
                    a new client trusts the new certificate\n\
                    the first one to expire has 12 days left\n";
    assert_eq!(output("certificates"), expected);
}

#[test]
fn chat_members_hear_each_other() {
    let expected = "ann hears: ann is here\nbob hears: bob is here\nann hears: bob is here\n\
                    bob hears: ann: hello\nann hears: ann: hello\nann hears: bob left\n";
    assert_eq!(output("chat"), expected);
}

#[test]
fn strangers_are_refused_and_the_known_limited() {
    let said = output("auth_and_rate_limit");
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "without a token: 401 Unauthorized, www-authenticate: Bearer",
        "with a wrong one: 403 Forbidden",
        "with the right one: hello, ann",
        "once more: hello, ann",
    ];
    assert_eq!(lines[..4], expected);
    let last = "and again: 429 Too Many Requests, retry-after: ";
    assert!(lines[4].starts_with(last), "{said}");
}
