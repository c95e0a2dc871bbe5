//! Runs the programs of `tests/browser` in Node.js, which drive Chromium.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where the programs are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// What is missing for tests in the browser, if anything.
fn missing() -> Option<&'static str> {
    let chromium = env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !Path::new(&chromium).exists() {
        Some("no Chromium")
    } else if !node.is_ok_and(|status| status.success()) {
        Some("no Node.js")
    } else if !folder()
        .join("node_modules/playwright-core/package.json")
        .exists()
    {
        Some("no playwright-core")
    } else {
        None
    }
}

/// Whether tests in the browser can run here; if not, says why.
///
/// # Panics
///
/// Where they cannot and `CI` is `true`: there nothing may be skipped.
pub fn available() -> bool {
    let Some(what) = missing() else { return true };
    eprintln!("skipped: {what}; `cargo xtask setup` installs what the browser tests need");
    assert_ne!(
        env::var("CI").as_deref(),
        Ok("true"),
        "{what}, and with CI=true nothing is skipped"
    );
    false
}

/// Runs one of the programs and returns what it printed. Its errors go to those of the test.
///
/// # Panics
///
/// When it exits with anything but 0; the message has its output.
pub fn node(program: &str, args: &[&str]) -> String {
    let output = Command::new("node")
        .arg(program)
        .args(args)
        .current_dir(folder())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("node starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} failed:\n{printed}");
    printed
}

/// Runs one of the programs that report a case, and returns the detail of its success.
///
/// # Panics
///
/// When the case fails.
pub fn case(program: &str, args: &[&str]) -> Value {
    let printed = node(program, args);
    let mut report: Value = serde_json::from_str(&printed)
        .unwrap_or_else(|error| panic!("{program}: not one line of JSON: {printed:?}: {error}"));
    assert_eq!(report["ok"], true, "{printed}");
    eprint!("{printed}");
    report["detail"].take()
}
