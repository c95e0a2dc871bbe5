//! Clients that break the rules of HTTP/3 and QPACK, against our server.
//!
//! A fault of the connection ends the connection with the code of the rule and nothing else: the bystander on another
//! connection still echoes, on the session that it had before. A fault of a stream ends that stream: the session beside
//! it on the same connection echoes too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod frames;
mod goaway;
mod requests;
mod settings;
mod streams;

use wt::ErrorCode;
use wt_tests::{
    raw::{Attack, Raw, wire},
    target::{Bystander, Target},
};

/// How much a target may grow while a peer breaks a rule, in MiB.
const MEMORY: u64 = 8;

fn target(args: &[&str]) -> Target {
    Target::start(env!("CARGO_BIN_EXE_hostile-target"), args)
}

async fn scene(args: &[&str]) -> (Target, Bystander) {
    let target = target(args);
    let bystander = target.client().await;
    (target, bystander)
}

/// Asserts that nothing but the offender's connection was concerned.
async fn assert_unharmed(target: &Target, bystander: &Bystander) {
    bystander.is_served().await;
    target.assert_grown_at_most(MEMORY);
}

/// Runs attacks one after the other, each on a connection of its own that has sent nothing but what `hello` says, and
/// asserts the code with which it is closed.
async fn assert_closed<'a>(
    hello: bool,
    attacks: impl IntoIterator<Item = (&'a str, Attack, ErrorCode)>,
) {
    let (target, bystander) = scene(&[]).await;
    for (name, attack, code) in attacks {
        let raw = if hello {
            target.hello().await
        } else {
            target.raw().await
        };
        let fence = async {
            let _ = raw
                .bi(&wire::connect("/missing"))
                .await
                .1
                .read_chunk(1, true)
                .await;
        };
        attack.launch(&raw, wire::CLIENT_SETTINGS, fence).await;
        assert_eq!(raw.closed().await, code.get(), "{name}");
        bystander.echo().await;
    }
    assert_unharmed(&target, &bystander).await;
}

/// A connection with a session on it that has to survive what happens to a request beside it.
async fn beside() -> (Target, Bystander, Raw, u64) {
    let (target, bystander) = scene(&["header-timeout=500"]).await;
    let raw = target.hello().await;
    let session = raw.session("/echo").await;
    let id = session.id;
    raw.keep(session);
    (target, bystander, raw, id)
}

#[test]
fn every_violation_has_a_case() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).unwrap();
    let source = read("crates/wt-proto/src/error.rs");
    let (_, violations) = source.split_once("pub enum ProtocolViolation {").unwrap();
    let (violations, _) = violations.split_once("\n}").unwrap();
    let page = read("docs/security.md");
    let mut count = 0;
    for line in violations.lines().map(str::trim) {
        let is_variant = line.starts_with(|c: char| c.is_ascii_uppercase()) && line.ends_with(',');
        if is_variant {
            let name = line.trim_end_matches(',');
            assert!(
                page.contains(&format!("| `{name}` |")),
                "no case for {name}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "only {count} violations were found");
}
