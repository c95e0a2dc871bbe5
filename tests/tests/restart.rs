//! Restarts under load: what was acknowledged is never lost, and nobody is turned away.
//!
//! `cargo xtask test -p wt-tests --test restart --stress-count 20` runs it twenty times.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};
use wt::{
    Client, ClientConfig, Identity, ServerVerification, Session,
    client::{ReconnectingClient, RetryPolicy},
};
use wt_tests::restart::MAX_MESSAGE;

/// No single step takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// Clients that never stop sending.
const CLIENTS: usize = 6;

/// Restarts in one run.
const RESTARTS: usize = 3;

/// Messages that each client gets acknowledged between two restarts, and after it was asked to finish.
const MESSAGES: usize = 10;

async fn soon<F: IntoFuture>(what: F) -> F::Output {
    timeout(LIMIT, what).await.expect("it takes too long")
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the processes of a test find each other.
struct Site {
    folder: PathBuf,
    identity: Identity,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    fn new(name: &str) -> Self {
        // The path of a Unix socket is short.
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("wt-restart-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let (cert, key) = identity.to_pem();
        fs::write(folder.join("cert"), cert).unwrap();
        fs::write(folder.join("key"), key).unwrap();
        Self { folder, identity }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a process, which takes over where there is one, and waits until it says that it serves.
    async fn start(&self, port: u16, grace: u64) -> Server {
        let option = |command: &mut Command, name: &str, path: &Path| {
            command.arg(name).arg(path);
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_restart-server"));
        command
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--grace", &grace.to_string()]);
        for name in ["cert", "key", "record", "control"] {
            option(&mut command, &format!("--{name}"), &self.path(name));
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        soon(stdout.read_line(&mut line)).await.unwrap();
        Server {
            id: child.id().unwrap(),
            port: line.trim().parse().unwrap(),
            child,
        }
    }

    fn client(&self) -> Client {
        let trust = ServerVerification::Hashes(vec![self.identity.certificate_hash()]);
        Client::new(ClientConfig::new().with_verification(trust)).unwrap()
    }

    /// Returns what was noted down, without the processes.
    fn record(&self) -> HashSet<String> {
        let record = fs::read_to_string(self.path("record")).unwrap();
        let lines = record.lines().map(|line| line.rsplit_once(' ').unwrap().0);
        lines.map(str::to_owned).collect()
    }
}

/// A process that serves.
struct Server {
    child: Child,
    id: u32,
    port: u16,
}

impl Server {
    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    /// Asks it to end.
    async fn terminate(&self) {
        let kill = Command::new("kill")
            .args(["-TERM", &self.id.to_string()])
            .status();
        assert!(soon(kill).await.unwrap().success());
    }

    /// Waits for its end, which has to be a good one.
    async fn ends_well(mut self) {
        let status = soon(self.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0));
    }
}

/// Sends a message; returns which process has acknowledged it.
async fn tell(session: &Session, words: &str, len: usize) -> Result<u32, Failure> {
    let mut message = format!("{words}\n").into_bytes();
    message.resize(len.max(message.len()), b'.');
    let mut stream = session.open_bi().await?;
    stream.send.write_all(&message).await?;
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(16).await?;
    Ok(std::str::from_utf8(&answer)?.parse()?)
}

/// What was acknowledged, and by which process.
type Acknowledged = Arc<Mutex<Vec<(String, u32)>>>;

/// Sends numbered messages until it is enough, each as often as it takes to have it acknowledged.
async fn send_all(
    name: usize,
    link: ReconnectingClient,
    acknowledged: Acknowledged,
    enough: Arc<AtomicBool>,
) {
    let mut number = 0;
    while !enough.load(SeqCst) {
        let session = link.session().await.expect("a client never fails for good");
        let draining = session.draining();
        tokio::pin!(draining);
        let (mut told, mut left) = (false, MESSAGES);
        // After it was asked to finish it has some more to say.
        while !enough.load(SeqCst) && left > 0 {
            let words = format!("client-{name} message-{number}");
            let Ok(process) = tell(&session, &words, 2000).await else {
                // Whether it was noted down nobody knows: it is sent again.
                break;
            };
            acknowledged.lock().unwrap().push((words, process));
            number += 1;
            told = told || futures_util::poll!(&mut draining).is_ready();
            left -= usize::from(told);
        }
        session.close(0, "");
        session.closed().await;
    }
    link.close().await;
}

/// Waits until each client has so many messages acknowledged by a process.
async fn each_has(acknowledged: &Acknowledged, process: u32) {
    let waiting = async {
        loop {
            let mut counts = BTreeMap::new();
            for (words, by) in acknowledged.lock().unwrap().iter() {
                if *by == process {
                    let client = words.split(' ').next().unwrap().to_owned();
                    *counts.entry(client).or_insert(0) += 1;
                }
            }
            if counts.values().filter(|count| **count >= MESSAGES).count() == CLIENTS {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing_that_was_acknowledged() {
    let site = Site::new("load");
    let mut server = site.start(0, 50).await;
    let url = server.url();
    let (acknowledged, enough) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let policy = RetryPolicy::new()
        .with_delay(Duration::from_millis(20), Duration::from_millis(200))
        .with_stable_after(Duration::ZERO);
    let mut clients = JoinSet::new();
    for name in 0..CLIENTS {
        let connect = site.client().connect(&url).timeout(Duration::from_secs(10));
        let link = connect.reconnecting(policy.clone()).unwrap();
        clients.spawn(send_all(name, link, acknowledged.clone(), enough.clone()));
    }
    for restart in 0..RESTARTS {
        each_has(&acknowledged, server.id).await;
        let client = site.client();
        let open = soon(client.connect(&url)).await.unwrap();
        let old = server.id;
        assert_eq!(soon(tell(&open, "before", 10)).await.unwrap(), old);

        let new = site.start(server.port, 50).await;
        // Who comes now comes to the new process ...
        let late = soon(site.client().connect(&url)).await.unwrap();
        assert_eq!(soon(tell(&late, "late", 10)).await.unwrap(), new.id);
        late.close(0, "");
        // ... and who was there can finish in the old one.
        soon(open.draining()).await.unwrap();
        for number in 0..MESSAGES {
            let words = format!("open-{restart} message-{number}");
            let process = soon(tell(&open, &words, MAX_MESSAGE / 2)).await.unwrap();
            assert_eq!(process, old);
            acknowledged.lock().unwrap().push((words, process));
        }
        open.close(0, "");
        server.ends_well().await;
        server = new;
    }
    each_has(&acknowledged, server.id).await;
    enough.store(true, SeqCst);
    while let Some(ended) = soon(clients.join_next()).await {
        ended.unwrap();
    }
    server.terminate().await;
    server.ends_well().await;

    let record = site.record();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(words, _)| !record.contains(words))
        .collect();
    assert!(lost.is_empty(), "of {}: {lost:?}", acknowledged.len());
    assert!(acknowledged.len() >= CLIENTS * MESSAGES * (RESTARTS + 1));
    assert!(!site.path("control").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_do_not_finish_are_closed_with_the_code_and_come_back() {
    let site = Site::new("stubborn");
    let old = site.start(0, 2).await;
    let connect = site
        .client()
        .connect(old.url())
        .timeout(Duration::from_secs(10));
    let link = connect.reconnecting(RetryPolicy::new()).unwrap();
    let session = soon(link.session()).await.unwrap();
    assert_eq!(soon(tell(&session, "one", 10)).await.unwrap(), old.id);
    let new = site.start(old.port, 2).await;
    let end = soon(session.closed()).await;
    assert_eq!((end.code(), end.reason()), (Some(4001), "restarting"));
    old.ends_well().await;
    let session = soon(link.session()).await.unwrap();
    assert_eq!(soon(tell(&session, "two", 10)).await.unwrap(), new.id);
    soon(link.close()).await;
    new.terminate().await;
    new.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_goes_step_by_step() {
    let site = Site::new("sigterm");
    let server = site.start(0, 8).await;
    let (id, url) = (server.id, server.url());
    let polite_client = site.client().with_pooling(true);
    let polite = soon(polite_client.connect(&url)).await.unwrap();
    let deaf = soon(site.client().connect(&url)).await.unwrap();
    for session in [&polite, &deaf] {
        assert_eq!(soon(tell(session, "hello", 10)).await.unwrap(), id);
    }
    let mut half = soon(polite.open_bi()).await.unwrap();
    soon(half.send.write_all(b"half a ")).await.unwrap();

    server.terminate().await;
    // Everybody is told to finish ...
    soon(polite.draining()).await.unwrap();
    soon(deaf.draining()).await.unwrap();
    // ... and can.
    soon(half.send.write_all(b"message")).await.unwrap();
    half.send.finish().unwrap();
    let answer = soon(half.recv.read_to_end(16)).await.unwrap();
    assert_eq!(answer, id.to_string());
    // No session is taken any more, neither on a connection that there is nor on a new one.
    let connection = polite.connection();
    let again = connection.open_session("127.0.0.1", "/", http::HeaderMap::new(), &[]);
    soon(again).await.unwrap_err();
    let connect = site
        .client()
        .connect(&url)
        .timeout(Duration::from_millis(300));
    connect.await.unwrap_err();
    // Who does not finish is closed.
    polite.close(0, "");
    let end = soon(deaf.closed()).await;
    assert_eq!((end.code(), end.reason()), (Some(4001), "restarting"));
    server.ends_well().await;
    assert!(site.record().contains("half a message"));
    assert!(!site.path("control").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_finishes_can_still_be_taken_over() {
    let site = Site::new("late");
    let old = site.start(0, 20).await;
    let session = soon(site.client().connect(old.url())).await.unwrap();
    assert_eq!(soon(tell(&session, "one", 10)).await.unwrap(), old.id);
    old.terminate().await;
    soon(session.draining()).await.unwrap();
    let new = site.start(old.port, 20).await;
    let other = soon(site.client().connect(old.url())).await.unwrap();
    assert_eq!(soon(tell(&other, "two", 10)).await.unwrap(), new.id);
    assert_eq!(soon(tell(&session, "three", 10)).await.unwrap(), old.id);
    session.close(0, "");
    old.ends_well().await;
    other.close(0, "");
    new.terminate().await;
    new.ends_well().await;
}
