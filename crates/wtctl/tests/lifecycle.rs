//! How `wtctl serve` starts and ends: its first line, its arguments, signals.

#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use std::{fs, path::PathBuf};

use common::{Running, Server, echo, fails, soon, wtctl};
use serde_json::Value;
use wt::Identity;

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lifecycle-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

// ---- the start

#[tokio::test]
async fn the_first_line_of_json_says_where_it_listens() {
    let mut process = Running::start(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    let line = process.line().await;
    let event: Value = serde_json::from_str(&line).unwrap();
    let port = event["port"].as_u64().unwrap();
    let hash = event["certificate_sha256"].as_str().unwrap();
    assert_ne!(port, 0);
    assert!(
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        "{hash}"
    );
    // To the letter: tools read it, some of them by eye.
    let expected = format!(
        "{{\"event\":\"listening\",\"address\":\"127.0.0.1:{port}\",\"port\":{port},\
         \"url\":\"https://localhost:{port}/\",\"certificate_sha256\":\"{hash}\"}}\n"
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn people_are_told_the_same() {
    let mut process = Running::start(&["serve", "--listen", "127.0.0.1:0"]);
    let first = process.line().await;
    assert!(first.starts_with("Listening on 127.0.0.1:"), "{first}");
    assert!(first.contains("https://localhost:"), "{first}");
    let second = process.line().await;
    assert!(second.starts_with("Certificate SHA-256: "), "{second}");
    assert!(
        !format!("{first}{second}").contains('\x1b'),
        "colours in a pipe"
    );
}

#[tokio::test]
async fn the_default_address_takes_both_families() {
    let server = Server::listen("[::]:0", &[]).await;
    let port = server.port();
    let address = server.listening["address"].as_str().unwrap();
    assert_eq!(address, format!("[::]:{port}"), "this machine has no IPv6");
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let url = format!("https://{host}:{port}/");
        let session = soon(server.client.connect(url)).await.unwrap();
        echo(&session, host.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_certificate_from_files_is_shown() {
    let folder = folder("files");
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let (cert, key) = identity.to_pem();
    let (cert_file, key_file) = (folder.join("c.pem"), folder.join("k.pem"));
    fs::write(&cert_file, cert).unwrap();
    fs::write(&key_file, key).unwrap();
    let (cert, key) = (cert_file.to_str().unwrap(), key_file.to_str().unwrap());
    let server = Server::start_with(&["--cert", cert, "--key", key]).await;
    let hash = server.listening["certificate_sha256"].as_str().unwrap();
    assert_eq!(hash, identity.certificate_hash().to_hex());
    echo(&server.connect("/").await, b"x").await;
}

// ---- what cannot be

#[tokio::test]
async fn bad_arguments_end_with_2_and_one_line() {
    for (args, part) in [
        (&["serve", "--listen", "4433"][..], "127.0.0.1:4433"),
        (&["serve", "--lisen", "[::]:1"], "'--listen'"),
        (&["serve", "--cert", "c.pem"], "--key"),
        (&["serve", "--grace", "soon"], "--grace"),
        (&["serve", "--protocols", "a,,b"], "empty"),
        (&["serve", "--protocols", "grüße"], "grüße"),
        (
            &[
                "serve",
                "--hostname",
                "not a name",
                "--listen",
                "127.0.0.1:0",
            ],
            "not a name",
        ),
        (&["serve", "extra"], "extra"),
        (&["sreve"], "serve"),
        (&["cert", "--days", "14"], "13"),
    ] {
        let line = fails(2, args).await;
        assert!(line.contains(part), "{args:?}: {line}");
    }
}

#[tokio::test]
async fn an_address_in_use_ends_with_2_and_one_line() {
    let server = Server::start().await;
    let address = format!("127.0.0.1:{}", server.port());
    let line = fails(2, &["serve", "--listen", &address]).await;
    assert!(line.contains(&address) && line.contains("port 0"), "{line}");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_end_with_2_and_one_line() {
    let folder = folder("unusable");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (cert, key) = Identity::self_signed(["localhost"]).unwrap().to_pem();
    let (_, other_key) = Identity::self_signed(["localhost"]).unwrap().to_pem();
    fs::write(path("cert"), &cert).unwrap();
    fs::write(path("key"), &key).unwrap();
    fs::write(path("other"), other_key).unwrap();
    fs::write(path("text"), "no PEM here").unwrap();
    for (cert, key, part) in [
        ("absent", "key", "absent"),
        ("cert", "absent", "absent"),
        ("text", "key", "no certificate"),
        ("cert", "text", "no private key"),
        ("cert", "other", "does not belong"),
    ] {
        let (cert, key) = (path(cert), path(key));
        let listen = ["serve", "--listen", "127.0.0.1:0"];
        let line = fails(
            2,
            &[&listen[..], &["--cert", &cert, "--key", &key]].concat(),
        )
        .await;
        assert!(line.contains(part), "{line}");
    }
}

#[tokio::test]
async fn help_has_examples_and_ends_with_0() {
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["demo", "--help"],
        &["cert", "--help"],
    ] {
        let output = wtctl(args).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(text.contains("Examples:\n  wtctl "), "{text}");
    }
    let version = wtctl(&["--version"]).await;
    assert_eq!(version.status.code(), Some(0));
}

// ---- signals

#[cfg(unix)]
mod signals {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        time::{Duration, Instant},
    };

    use rustix::process::Signal;
    use tokio::net::UdpSocket;
    use wt::{Client, ClientConfig, Session};

    use super::*;

    /// Waits for the end of a process that was sent a signal, and returns how long it took.
    async fn ends_with_0(server: Server, since: Instant) -> Duration {
        let (status, output) = server.process.end().await;
        assert_eq!(status, Some(0));
        assert_eq!(output, "", "standard output is for the first line");
        since.elapsed()
    }

    #[tokio::test]
    async fn each_signal_ends_an_idle_server_at_once() {
        for signal in [Signal::INT, Signal::TERM] {
            let server = Server::start().await;
            let start = Instant::now();
            server.process.signal(signal);
            let took = ends_with_0(server, start).await;
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
    }

    #[tokio::test]
    async fn sessions_are_drained_and_closed_with_code_0_within_the_grace() {
        let server = Server::start_with(&["--grace", "2"]).await;
        let session = server.connect("/echo").await;
        let start = Instant::now();
        server.process.signal(Signal::TERM);
        soon(session.draining()).await.unwrap();
        // There is time to finish.
        echo(&session, b"last words").await;
        let end = soon(session.closed()).await;
        assert!(end.is_closed_by_peer(), "{end}");
        assert_eq!((end.code(), end.reason()), (Some(0), ""));
        let took = ends_with_0(server, start).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[tokio::test]
    async fn a_session_that_ends_when_asked_ends_the_wait() {
        let server = Server::start_with(&["--grace", "60"]).await;
        let session = server.connect("/echo").await;
        let start = Instant::now();
        server.process.signal(Signal::INT);
        soon(session.draining()).await.unwrap();
        session.close(3, "done");
        drop(session);
        let took = ends_with_0(server, start).await;
        assert!(took < Duration::from_secs(15), "{took:?}");
    }

    #[tokio::test]
    async fn a_request_that_waits_does_not_hold_up_the_end() {
        let server = Server::start_with(&["--grace", "60"]).await;
        let url = server.url("/slow?ms=600000");
        let client = server.client.clone();
        // A session on the same connection says when the server has the request.
        let client = client.with_pooling(true);
        let session = soon(client.connect(server.url("/echo"))).await.unwrap();
        let waiting = tokio::spawn(async move { client.connect(url).await });
        while session.connection().session_count() < 2 {
            tokio::task::yield_now().await;
        }
        echo(&session, b"x").await;
        let start = Instant::now();
        server.process.signal(Signal::TERM);
        soon(session.draining()).await.unwrap();
        session.close(0, "");
        assert!(soon(waiting).await.unwrap().is_err());
        drop(session);
        let took = ends_with_0(server, start).await;
        assert!(took < Duration::from_secs(15), "{took:?}");
    }

    /// Connects through a relay, which stops to carry packets when it is dropped.
    async fn vanishing(server: &Server) -> (Session, tokio::task::JoinHandle<()>) {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = front.local_addr().unwrap().port();
        back.connect((Ipv4Addr::LOCALHOST, server.port()))
            .await
            .unwrap();
        let relay = tokio::spawn(async move {
            let (mut there, mut here) = ([0; 65536], [0; 65536]);
            let mut client: Option<SocketAddr> = None;
            loop {
                tokio::select! {
                    Ok((len, from)) = front.recv_from(&mut there) => {
                        client = Some(from);
                        let _ = back.send(&there[..len]).await;
                    }
                    Ok(len) = back.recv(&mut here), if client.is_some() => {
                        let _ = front.send_to(&here[..len], client.unwrap()).await;
                    }
                }
            }
        });
        let config: ClientConfig = server.client.config().clone();
        let client = Client::new(config).unwrap();
        let session = soon(client.connect(format!("https://127.0.0.1:{port}/")))
            .await
            .unwrap();
        (session, relay)
    }

    #[tokio::test]
    async fn a_client_that_vanished_does_not_prolong_the_grace() {
        let server = Server::start_with(&["--grace", "2"]).await;
        let (session, relay) = vanishing(&server).await;
        echo(&session, b"x").await;
        relay.abort();
        let _ = relay.await;
        let start = Instant::now();
        server.process.signal(Signal::INT);
        let took = ends_with_0(server, start).await;
        assert!(took < Duration::from_millis(2200), "{took:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_taken_over_finishes_and_ends_with_0() {
        let folder = std::env::temp_dir().join(format!("wtctl-takeover-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
        let (cert, key) = identity.to_pem();
        fs::write(path("c.pem"), cert).unwrap();
        fs::write(path("k.pem"), key).unwrap();
        let (cert, key, control) = (path("c.pem"), path("k.pem"), path("control"));
        let args = ["--cert", &cert, "--key", &key, "--takeover", &control];
        // A port of TCP that both want, found by asking for any.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = free.local_addr().unwrap().to_string();
        drop(free);
        let args = [&args[..], &["--grace", "60", "--metrics", &metrics]].concat();
        let old = Server::start_with(&args).await;
        let session = old.connect("/echo").await;

        let start = Instant::now();
        let new = Server::listen(&format!("127.0.0.1:{}", old.port()), &args).await;
        assert_eq!(new.port(), old.port());
        soon(session.draining()).await.unwrap();
        // There is time to finish, and packets find their way.
        echo(&session, &[7; 1_000_000]).await;
        let other = new.connect("/echo").await;
        echo(&other, b"x").await;
        session.close(3, "done");
        drop(session);
        let took = ends_with_0(old, start).await;
        assert!(took < Duration::from_secs(25), "{took:?}");
        echo(&other, b"x").await;
        new.process.signal(Signal::TERM);
        soon(other.draining()).await.unwrap();
        other.close(0, "");
        drop(other);
        ends_with_0(new, start).await;

        fs::write(&control, "no socket").unwrap();
        let listen = ["serve", "--listen", "127.0.0.1:0", "--takeover", &control];
        let line = fails(2, &listen).await;
        assert!(line.contains("no socket"), "{line}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_second_signal_ends_it_at_once() {
        let server = Server::start_with(&["--grace", "60"]).await;
        let session = server.connect("/echo").await;
        let start = Instant::now();
        server.process.signal(Signal::INT);
        soon(session.draining()).await.unwrap();
        server.process.signal(Signal::INT);
        let (status, _) = server.process.end().await;
        assert_eq!(status, Some(130));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
