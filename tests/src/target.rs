//! The `hostile-target` binary as a child process, with somebody in it who must not notice the attack.

#![allow(clippy::unwrap_used, reason = "a test harness fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use wt::{Client, ClientConfig, ServerVerification, Session};

use crate::raw::{Raw, within};

/// What the target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "of use in tests only")]
pub struct Facts {
    /// Connections.
    pub connections: u64,
    /// Sessions on all of them.
    pub sessions: u64,
    /// Tasks of its runtime.
    pub tasks: u64,
    /// Open files, sockets among them.
    pub files: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// A running target.
#[derive(Debug)]
pub struct Target {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// The UDP port that it listens on.
    pub port: u16,
    hash: String,
    /// Resident memory when it had started, in bytes.
    idle_memory: u64,
}

impl Target {
    /// Starts `binary`, which is `env!("CARGO_BIN_EXE_hostile-target")`, with `KEY=NUMBER` arguments.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(binary: impl AsRef<Path>, args: &[&str]) -> Self {
        let mut child = Command::new(binary.as_ref())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let line = read_json(&mut stdout);
        let mut target = Self {
            port: line["port"]
                .as_u64()
                .and_then(|p| p.try_into().ok())
                .unwrap(),
            hash: line["hash"].as_str().unwrap().to_owned(),
            idle_memory: 0,
            child,
            stdin,
            stdout,
        };
        target.idle_memory = target.memory("VmRSS");
        target
    }

    /// Asks what it holds.
    ///
    /// # Panics
    ///
    /// When it does not answer, since it is not alive.
    pub fn facts(&mut self) -> Facts {
        self.stdin.write_all(b"\n").expect("the target is alive");
        let line = read_json(&mut self.stdout);
        let get = |key: &str| line[key].as_u64().unwrap();
        Facts {
            connections: get("connections"),
            sessions: get("sessions"),
            tasks: get("tasks"),
            files: get("files"),
            memory: self.memory("VmRSS"),
        }
    }

    /// Waits until `condition` holds of what the target holds, at most `limit`.
    ///
    /// # Panics
    ///
    /// When it does not come to hold.
    pub async fn until(&mut self, limit: Duration, condition: impl Fn(&Facts) -> bool) -> Facts {
        let start = Instant::now();
        loop {
            let facts = self.facts();
            if condition(&facts) {
                return facts;
            }
            assert!(start.elapsed() < limit, "the target still holds {facts:?}");
            // It tells nobody what it holds unless asked.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns a line of /proc/PID/status in bytes.
    fn memory(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the target is alive");
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Returns by how much its resident memory has ever exceeded what it was at the start, in bytes.
    #[must_use]
    pub fn grown(&self) -> u64 {
        self.memory("VmHWM").saturating_sub(self.idle_memory)
    }

    /// Asserts that it never took more than `mib` MiB on top of what it had at the start.
    ///
    /// # Panics
    ///
    /// When it did.
    pub fn assert_grown_at_most(&self, mib: u64) {
        let grown = self.grown();
        eprintln!("the target grew by {} KiB of {mib} MiB", grown / 1024);
        assert!(
            grown <= mib << 20,
            "the target grew by {grown} bytes, more than {mib} MiB"
        );
    }

    /// Connects our own client and opens a session.
    pub async fn client(&self) -> Bystander {
        let config = ClientConfig::new()
            .with_verification(ServerVerification::Hashes(vec![self.hash.parse().unwrap()]));
        self.client_over(Client::new(config).unwrap()).await
    }

    /// Opens a session with a client that there is already.
    pub async fn client_over(&self, client: Client) -> Bystander {
        let url = format!("https://127.0.0.1:{}/echo", self.port);
        let connecting = client.connect(url.as_str());
        let session = within("the bystander's session", async {
            connecting.await.unwrap()
        })
        .await;
        let bystander = Bystander {
            client,
            session,
            url,
        };
        bystander.echo().await;
        bystander
    }

    /// Connects a raw peer that has sent its SETTINGS.
    pub async fn hello(&self) -> Raw {
        Raw::hello(self.port).await
    }

    /// Connects a raw peer that has sent nothing.
    pub async fn raw(&self) -> Raw {
        Raw::client(self.port).await
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_json(stdout: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the target is gone: {line:?}"))
}

/// A client that keeps all rules, on a connection of its own.
#[derive(Debug)]
pub struct Bystander {
    client: Client,
    session: Session,
    url: String,
}

impl Bystander {
    /// Asserts that the session still carries streams and datagrams both ways.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn echo(&self) {
        within("the bystander's echo", async {
            let body = [7; 3000];
            let mut stream = self.session.open_bi().await.unwrap();
            stream.send.write_all(&body).await.unwrap();
            stream.send.finish().unwrap();
            assert_eq!(stream.recv.read_to_end(4000).await.unwrap(), body[..]);
            loop {
                // Loopback may drop one under load.
                self.session.send_datagram(b"hello").unwrap();
                let answer = self.session.recv_datagram();
                if let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), answer).await {
                    assert_eq!(answer.unwrap(), b"hello"[..]);
                    break;
                }
            }
        })
        .await;
    }

    /// Asserts that the old session still works, and that a new one can be had.
    ///
    /// # Panics
    ///
    /// When it does not, or cannot.
    pub async fn is_served(&self) {
        self.echo().await;
        let connecting = self.client.connect(self.url.as_str());
        let session = within("another session", async { connecting.await.unwrap() }).await;
        session.close(0, "");
    }
}
