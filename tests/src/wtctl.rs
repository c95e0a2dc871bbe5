//! `wtctl` as users run it: a process of its own, known by what it prints.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::Value;

/// Builds `wtctl` and returns the path of the binary.
///
/// The tests belong to another package, so cargo does not build it for them. Where it is built
/// already this takes a moment. `WTCTL` in the environment names a binary to test instead.
///
/// # Panics
///
/// When it does not build.
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("WTCTL") {
        return path.into();
    }
    // This program is TARGET/PROFILE/deps/NAME.
    let own = env::current_exe().expect("a test knows its own path");
    let profile = own
        .parent()
        .and_then(|deps| deps.parent())
        .expect("cargo's layout");
    let target = profile.parent().expect("cargo's layout");

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            "wtctl",
            "--bin",
            "wtctl",
            "--locked",
        ])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo told this test about its own package would make build scripts run again.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let output = cargo.output().expect("cargo starts");
    assert!(output.status.success(), "wtctl does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "wtctl")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the executable")
}

/// A running `wtctl`, ended when this is dropped. Its log goes to the standard error of the test.
#[derive(Debug)]
pub struct Wtctl {
    child: Child,
}

impl Wtctl {
    fn start(args: &[&str]) -> (Self, BufReader<ChildStdout>) {
        let mut child = Command::new(binary())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("wtctl starts");
        let stdout = child.stdout.take().expect("standard output is piped");
        (Self { child }, BufReader::new(stdout))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Wtctl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the rest of the output, so that writing it neither blocks nor fails.
fn drain(mut stdout: BufReader<ChildStdout>) {
    thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
}

/// `wtctl serve --json` on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Server {
    process: Wtctl,
    /// The port that it listens on.
    pub port: u16,
    /// SHA-256 of its certificate, 64 hex digits.
    pub certificate_sha256: String,
    /// The page of `--dashboard`, if it was asked for.
    pub dashboard: Option<String>,
}

impl Server {
    /// Starts it, with further arguments, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not start, or its first line is not what `--json` promises.
    pub fn start(args: &[&str]) -> Self {
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--json"];
        let (process, mut stdout) = Wtctl::start(&[&fixed[..], args].concat());
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the output is text");
        let event: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("not a line of JSON: {line:?}: {error}"));
        assert_eq!(event["event"], "listening", "{line}");
        let port = event["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        let hash = event["certificate_sha256"].as_str().map(str::to_owned);
        let dashboard = args.contains(&"--dashboard").then(|| {
            line.clear();
            stdout.read_line(&mut line).expect("the output is text");
            let event: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("not a line of JSON: {line:?}: {error}"));
            event["url"].as_str().expect("a URL").to_owned()
        });
        drain(stdout);
        Self {
            process,
            dashboard,
            port: port.expect("a port"),
            certificate_sha256: hash.expect("the hash of the certificate"),
        }
    }

    /// Its address by number, since browsers may look for `localhost` on ::1 only.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// Puts load on `/echo` until what is returned is dropped.
    pub fn load(&self, sessions: u32) -> Wtctl {
        let (url, sessions) = (format!("{}echo", self.url()), sessions.to_string());
        let (load, stdout) = Wtctl::start(&[
            "bench",
            &url,
            "--cert-hash",
            &self.certificate_sha256,
            "--sessions",
            &sessions,
            "--streams",
            "2",
            "--duration",
            "10m",
        ]);
        drain(stdout);
        load
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}

/// `wtctl demo`, with its page.
#[derive(Debug)]
pub struct Demo {
    _process: Wtctl,
    /// The address of the page.
    pub page: String,
}

impl Demo {
    /// Starts it and waits until it says where the page is.
    ///
    /// # Panics
    ///
    /// When it ends before that.
    pub fn start(args: &[&str]) -> Self {
        let (process, mut stdout) = Wtctl::start(&[&["demo"], args].concat());
        let mut output = String::new();
        let page = loop {
            let from = output.len();
            let read = stdout.read_line(&mut output).expect("the output is text");
            assert_ne!(read, 0, "wtctl demo ended without a page:\n{output}");
            eprint!("{}", &output[from..]);
            if let Some(page) = page_address(&output[from..]) {
                break page;
            }
        };
        drain(stdout);
        Self {
            _process: process,
            page,
        }
    }
}

/// `http://localhost:PORT/` in a line for people.
fn page_address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://localhost:")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    (end > 0).then(|| format!("http://localhost:{}/", &rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_page_is_found_in_a_sentence() {
        let line = "Open http://localhost:8080 in your browser.\n";
        assert_eq!(
            page_address(line).as_deref(),
            Some("http://localhost:8080/")
        );
        assert_eq!(page_address("http://localhost:/"), None);
        assert_eq!(page_address("https://localhost:4433/"), None);
    }
}
