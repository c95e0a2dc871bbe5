//! `wtctl serve --dashboard` and `wtctl top`, in a pipe and on a terminal.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::{Server, echo, fails, pattern, soon, wtctl};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Starts a server with a dashboard, and returns the URL of its page.
async fn watched(args: &[&str]) -> (Server, String) {
    let mut server = Server::start_with(&[&["--dashboard"], args].concat()).await;
    let line = server.process.line().await;
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["event"], "dashboard", "{line}");
    let page = event["url"].as_str().unwrap().to_owned();
    (server, page)
}

/// Runs it against the feed until `check` holds; returns what it printed.
async fn top(server: &Server, args: &[&str], check: impl Fn(&str) -> bool) -> String {
    let url = server.url("/monitor");
    let fixed = ["top", &url, "--cert-hash", server.hash()];
    let looking = async {
        loop {
            let output = wtctl(&[&fixed[..], args].concat()).await;
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{said}{:?}", output.stderr);
            if check(&said) {
                return said;
            }
        }
    };
    soon(looking).await
}

/// Asks for a page on localhost, and returns the whole answer.
async fn get(url: &str) -> String {
    let rest = url.strip_prefix("http://localhost:").unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap()))
        .await
        .unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn a_report_goes_into_a_pipe() {
    let (server, _) = watched(&[]).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = server.connect("/echo").await;
        echo(&session, &pattern(50_000)).await;
        sessions.push(session);
    }
    // Three of one client share a connection or not; whoever looks is one more.
    let json = top(&server, &["--json"], |said| {
        let sample: Value = serde_json::from_str(said).unwrap();
        sample["gauges"]["sessions"].as_f64() >= Some(3.0)
    })
    .await;
    let sample: Value = serde_json::from_str(&json).unwrap();
    assert!(sample["counters"]["received_bytes"].as_u64() > Some(150_000));
    assert!(sample["gauges"]["rtt_median_seconds"].as_f64() > Some(0.0));
    assert_eq!(sample["health"]["status"], "healthy");

    let said = top(&server, &[], |_| true).await;
    for words in [
        "Health       healthy: Server is operating normally.\n",
        " open on ",
        "Received     ",
        "B/s, ",
        " kB so far\n",
        "packets lost ",
        " /s (",
        "Round trips  median ",
        " ms\n             <= ",
        "Alerts       none\n",
    ] {
        assert!(said.contains(words), "{words:?}: {said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours in a pipe: {said}");
    assert_eq!(said, said.trim_start());
}

#[tokio::test]
async fn a_token_guards_page_and_feed() {
    let (server, page) = watched(&["--dashboard-token", "5f1c-9a"]).await;
    assert!(page.ends_with("/?token=5f1c-9a"), "{page}");
    let answer = get(&page).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(server.hash()), "the page has the hash");
    let feed = format!("https://127.0.0.1:{}/monitor", server.port());
    assert!(answer.contains(&feed), "and the feed");
    assert!(!answer.contains("5f1c-9a"), "but not the token");
    for wrong in ["", "?token=5f1c", "?token="] {
        let answer = get(&page.replace("?token=5f1c-9a", wrong)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert_eq!(server.refused(&format!("/monitor{wrong}")).await, 403);
    }
    let line = fails(
        1,
        &["top", &server.url("/monitor"), "--cert-hash", server.hash()],
    )
    .await;
    assert!(line.contains("403"), "{line}");
    let url = server.url("/monitor?token=5f1c-9a");
    let output = wtctl(&["top", &url, "--cert-hash", server.hash(), "--once"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    // Other paths are as they are.
    drop(server.connect("/echo").await);
    assert_eq!(server.refused("/monitors").await, 404);
    let plain = Server::start().await;
    assert_eq!(plain.refused("/monitor").await, 404);
}

#[tokio::test]
async fn what_is_no_feed_is_said_in_one_line() {
    let server = Server::start().await;
    let hash = server.hash();
    let echo = server.url("/echo");
    let args = ["top", &echo, "--cert-hash", hash, "--timeout", "500ms"];
    let line = fails(1, &args).await;
    assert!(line.contains("no feed"), "{line}");
    let other = server.url("/push?uni=1&size=10");
    let line = fails(1, &["top", &other, "--cert-hash", hash, "--once"]).await;
    assert!(line.contains("no feed of wt"), "{line}");
    let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = held.local_addr().unwrap().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--dashboard", &address];
    let line = fails(2, &args).await;
    assert!(line.contains("--dashboard"), "{line}");
    let args = ["serve", "--dashboard", "--dashboard-token", "a b"];
    let line = fails(2, &args).await;
    assert!(line.contains("letters, digits"), "{line}");
}

#[cfg(unix)]
mod terminal {
    use std::{
        fs::File,
        io::{Read, Write},
        process::{Command, Stdio},
        sync::{Arc, Mutex},
        thread,
        time::{Duration, Instant},
    };

    use rustix::{
        process::Signal,
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{Winsize, tcsetwinsize},
    };

    use super::{common::LIMIT, watched};

    /// A terminal of 100 columns and 32 rows: what a person has, and what a program has.
    fn terminal() -> (File, File) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let size = Winsize {
            ws_row: 32,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let path = name.to_str().unwrap();
        let theirs = File::options().read(true).write(true).open(path);
        let theirs = theirs.unwrap();
        tcsetwinsize(&ours, size).unwrap();
        (ours.into(), theirs)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_picture_is_kept_on_a_terminal() {
        let (server, _) = watched(&[]).await;
        let session = server.connect("/echo").await;
        let (mut ours, theirs) = terminal();
        let stdio = || Stdio::from(theirs.try_clone().unwrap());
        let mut child = Command::new(env!("CARGO_BIN_EXE_wtctl"))
            .args(["top", &server.url("/monitor"), "--cert-hash", server.hash()])
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("RUST_LOG")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        drop(theirs);
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let reader = {
            let (mut ours, shown) = (ours.try_clone().unwrap(), shown.clone());
            thread::spawn(move || {
                let mut part = [0; 4096];
                // It ends with an error when the program has ended.
                while let Ok(len @ 1..) = ours.read(&mut part) {
                    shown.lock().unwrap().extend_from_slice(&part[..len]);
                }
            })
        };
        // Only what changes is drawn: single words are together.
        let shows = |words: &[&str]| {
            let begun = Instant::now();
            loop {
                let screen = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
                if words.iter().all(|word| screen.contains(word)) {
                    return;
                }
                assert!(begun.elapsed() < LIMIT, "no {words:?} in {screen:?}");
                thread::sleep(Duration::from_millis(20));
            }
        };
        tokio::task::block_in_place(|| {
            shows(&[
                "connected",
                "healthy",
                "Sessions",
                "Received",
                "B/s",
                "trips",
                "ms",
                "Drops",
            ]);
            // A resized window and a held picture end nothing.
            let size = Winsize {
                ws_row: 24,
                ws_col: 60,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            tcsetwinsize(&ours, size).unwrap();
            ours.write_all(b"p").unwrap();
            shows(&["held:"]);
            ours.write_all(b"p").unwrap();
        });
        drop(session);
        // The server goes away, and that shows.
        server.process.signal(Signal::INT);
        tokio::task::block_in_place(|| {
            shows(&["reconnecting"]);
            ours.write_all(b"q").unwrap();
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                assert!(begun.elapsed() < LIMIT, "it does not end");
                thread::sleep(Duration::from_millis(20));
            };
            assert!(status.success(), "{status}");
            // The terminal is as it was.
            shows(&["\u{1b}[?1049h", "\u{1b}[?1049l", "\u{1b}[?25h"]);
            drop(ours);
            reader.join().unwrap();
        });
    }
}
