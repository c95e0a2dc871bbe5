//! Runs the programs of `tests/browser` in Node.js, which drive Chromium and Firefox.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Where the programs are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// A browser that tests run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "of use in tests only")]
pub enum Browser {
    /// `/usr/bin/chromium`, or what `CHROMIUM` in the environment names.
    Chromium,
    /// `/usr/bin/firefox-esr`, or what `FIREFOX` names.
    Firefox,
}

/// What is missing for tests in the browser, if anything.
fn missing(browser: Browser) -> Option<&'static str> {
    let (variable, default, lack) = match browser {
        Browser::Chromium => ("CHROMIUM", "/usr/bin/chromium", "no Chromium"),
        Browser::Firefox => ("FIREFOX", "/usr/bin/firefox-esr", "no Firefox"),
    };
    let program = env::var_os(variable).unwrap_or_else(|| default.into());
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !Path::new(&program).exists() {
        Some(lack)
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
pub fn available(browser: Browser) -> bool {
    let Some(what) = missing(browser) else {
        return true;
    };
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
    succeeded(program, &printed)
}

/// Runs several cases in one browser.
///
/// # Panics
///
/// When one fails.
pub fn cases(program: &str, cases: &[&str], args: &[&str]) {
    let printed = node(program, &[cases, args].concat());
    let mut count = 0;
    for line in printed.lines() {
        succeeded(program, line);
        count += 1;
    }
    assert_eq!(count, cases.len(), "{printed}");
}

/// Returns the detail of a report.
fn succeeded(program: &str, line: &str) -> Value {
    let mut report: Value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{program}: not one line of JSON: {line:?}: {error}"));
    assert_eq!(report["ok"], true, "{line}");
    eprintln!("{}", line.trim_end());
    report["detail"].take()
}
