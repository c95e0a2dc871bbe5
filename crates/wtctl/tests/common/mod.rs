//! `wtctl` as users run it: a process of its own, known by what it prints.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "every test file uses a part of it, and a failed helper is a failed test"
)]

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use wt::{Client, ClientConfig, ServerVerification, Session, client::ConnectError};

/// No single step takes this long.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something that has to happen.
pub async fn soon<F: IntoFuture>(what: F) -> F::Output {
    timeout(LIMIT, what).await.expect("it takes too long")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wtctl"));
    command
        .args(args)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `wtctl` to its end.
pub async fn wtctl(args: &[&str]) -> Output {
    soon(command(args).output()).await.unwrap()
}

/// What a run of `wtctl` printed, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Expects each of these in what was said about the session.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        for words in words {
            assert!(self.err.contains(words), "no {words:?} in:\n{}", self.err);
        }
        self
    }
}

/// Runs `wtctl` with this standard input to its end.
pub async fn wtctl_with_input(args: &[&str], input: &[u8]) -> Said {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        // It need not read all of it.
        let _ = stdin.write_all(input).await;
    };
    let ((), output) = soon(async { tokio::join!(write, child.wait_with_output()) }).await;
    let output = output.unwrap();
    Said {
        status: output.status.code(),
        out: output.stdout,
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `wtctl` and expects it to fail with `status` and one line, which is returned.
pub async fn fails(status: i32, args: &[&str]) -> String {
    let output = wtctl(args).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}: {errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}");
    assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    errors
}

/// A running `wtctl`, killed when it is dropped.
pub struct Running {
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(&mut command(args))
    }

    /// Starts it with standard input in the hands of the test.
    pub fn start_with_input(args: &[&str]) -> Self {
        Self::spawn(command(args).stdin(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        Self::of(command.stderr(Stdio::inherit()).spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.stdout.read_line(&mut line)).await.unwrap();
        line
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.child.id().expect("it runs")).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Ends it by SIGINT and returns its log.
    #[cfg(unix)]
    pub async fn log(mut self) -> String {
        self.signal(rustix::process::Signal::INT);
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        soon(stderr.read_to_string(&mut log)).await.unwrap();
        assert!(soon(self.child.wait()).await.unwrap().success());
        log
    }

    /// Waits for its end and returns its status and the rest of its output.
    pub async fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        soon(self.stdout.read_to_string(&mut rest)).await.unwrap();
        (soon(self.child.wait()).await.unwrap().code(), rest)
    }
}

/// `wtctl serve --json` and a client that trusts its certificate.
pub struct Server {
    pub process: Running,
    pub listening: Value,
    pub client: Client,
    trust: ServerVerification,
}

impl Server {
    /// Starts it on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(args: &[&str]) -> Self {
        Self::listen("127.0.0.1:0", args).await
    }

    pub async fn listen(address: &str, args: &[&str]) -> Self {
        let fixed = ["serve", "--json", "--listen", address];
        Self::of(Running::start(&[&fixed[..], args].concat())).await
    }

    /// Starts it with `-v` and its log in the hands of the test: [`Running::log`].
    pub async fn start_logging(args: &[&str]) -> Self {
        let fixed = ["serve", "--json", "-v", "--listen", "127.0.0.1:0"];
        let mut command = command(&[&fixed[..], args].concat());
        Self::of(Running::of(command.spawn().unwrap())).await
    }

    async fn of(mut process: Running) -> Self {
        let line = process.line().await;
        let listening: Value = serde_json::from_str(&line).expect("one line of JSON");
        let hash = listening["certificate_sha256"].as_str().unwrap();
        let trust = ServerVerification::Hashes(vec![hash.parse().unwrap()]);
        let config = ClientConfig::new().with_verification(trust.clone());
        let client = Client::new(config).unwrap();
        Self {
            process,
            listening,
            client,
            trust,
        }
    }

    /// Returns another client, at 127.0.0.`host`.
    pub fn client_at(&self, host: u8) -> Client {
        let config = ClientConfig::new()
            .with_bind(([127, 0, 0, host], 0).into())
            .with_verification(self.trust.clone());
        Client::new(config).unwrap()
    }

    pub fn port(&self) -> u16 {
        self.listening["port"].as_u64().unwrap().try_into().unwrap()
    }

    /// The hash of its certificate.
    pub fn hash(&self) -> &str {
        self.listening["certificate_sha256"].as_str().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port())
    }

    pub async fn connect(&self, path: &str) -> Session {
        soon(self.client.connect(self.url(path))).await.unwrap()
    }

    /// Asks for a session that is refused, and returns the status.
    pub async fn refused(&self, path: &str) -> u16 {
        let result: Result<Session, ConnectError> = soon(self.client.connect(self.url(path))).await;
        let error = result.expect_err("it is refused");
        error.status().expect("a status").as_u16()
    }
}

/// Returns bytes that differ from place to place.
pub fn pattern(len: usize) -> Vec<u8> {
    let bytes = (0..len).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24).to_le_bytes()[0]);
    bytes.collect()
}

/// Sends bytes on a new bidirectional stream and expects them back.
pub async fn echo(session: &Session, bytes: &[u8]) {
    let (mut send, mut recv) = soon(session.open_bi()).await.unwrap().split();
    let write = async {
        send.write_all(bytes).await.unwrap();
        send.finish().unwrap();
    };
    let ((), back) = soon(async { tokio::join!(write, recv.read_to_end(bytes.len())) }).await;
    assert_eq!(back.unwrap(), bytes);
}
