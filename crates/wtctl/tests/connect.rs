//! `wtctl connect`, from a pipe and with somebody who types.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use common::{Said, Server, fails, pattern, soon, wtctl, wtctl_with_input};

/// Runs it against a path of the server, whose certificate it knows by its hash.
async fn connect(server: &Server, path: &str, args: &[&str], input: &[u8]) -> Said {
    let url = server.url(path);
    let fixed = ["connect", &url, "--cert-hash", server.hash()];
    wtctl_with_input(&[&fixed[..], args].concat(), input).await
}

#[tokio::test]
async fn lines_go_and_come_on_a_stream() {
    let server = Server::start_with(&["--protocols", "chat-2,chat-1"]).await;
    let args = ["--protocol", "chat-3", "--protocol", "chat-1"];
    let said = connect(&server, "/echo", &args, b"hello\nworld\n").await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.text(), "hello\nworld\n");
    said.says(&[
        &format!("connected to 127.0.0.1:{} in ", server.port()),
        "WebTransport draft-15/16, status 200",
        "< wt-protocol: \"chat-1\"\n",
        "* subprotocol: chat-1\n",
        "* closed the session: code 0\n",
    ]);
}

#[tokio::test]
async fn any_bytes_pass_unchanged() {
    let server = Server::start().await;
    let sent = pattern(3 << 20);
    let said = connect(&server, "/echo", &[], &sent).await;
    assert_eq!(said.status, Some(0), "{}", said.err);
    assert!(said.out == sent, "{} bytes came back", said.out.len());
}

#[tokio::test]
async fn lines_are_datagrams() {
    let server = Server::start().await;
    let args = ["--datagrams", "--wait", "500ms"];
    let said = connect(&server, "/echo", &args, b"one\r\ntwo\n\nthree").await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.text(), "one\ntwo\n\nthree\n");

    let long = [&vec![b'x'; 70_000][..], b"\nshort\n"].concat();
    let said = connect(&server, "/echo", &args, &long).await;
    assert_eq!(said.status, Some(1), "{said:?}");
    said.says(&[
        "a line was left out: a datagram of 65536 bytes does not fit",
        "error: a line did not fit a datagram",
    ]);
    assert!(said.text().ends_with("short\n"), "{}", said.text());
}

#[tokio::test]
async fn lines_go_one_way_and_come_the_other() {
    let server = Server::start().await;
    let args = ["--uni", "--wait", "500ms"];
    let said = connect(&server, "/echo", &args, b"there\nand back\n").await;
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(said.text(), "there\nand back\n");
}

#[tokio::test]
async fn streams_of_the_server_and_header_fields_show() {
    let server = Server::start().await;
    let args = [
        "-H",
        "X-Room: 7",
        "--header",
        "Origin: https://a.example",
        "--wait",
        "1s",
    ];
    let said = connect(&server, "/headers?x=1", &args, b"").await;
    assert_eq!(said.status, Some(0), "{said:?}");
    let fields: serde_json::Value = serde_json::from_str(said.text()).unwrap();
    assert_eq!(fields["x-room"], "7");
    assert_eq!(fields["origin"], "https://a.example");
    assert_eq!(fields[":path"], "/headers?x=1");
    said.says(&["* no subprotocol\n"]);
}

#[tokio::test]
async fn the_end_of_the_session_shows_with_code_and_reason() {
    let server = Server::start().await;
    let said = connect(&server, "/close?code=7&reason=so%20long%0A", &[], b"").await;
    assert_eq!(said.status, Some(1), "{said:?}");
    said.says(&["* the server closed the session: code 7, reason \"so long\\n\"\n"]);
    assert!(
        !said.err.contains("error:"),
        "it is said once: {}",
        said.err
    );

    let said = connect(&server, "/close", &[], b"").await;
    assert_eq!(said.status, Some(0), "{said:?}");
    said.says(&["* the server closed the session: code 0\n"]);
}

#[tokio::test]
async fn a_reset_of_the_answer_shows_its_code() {
    let server = Server::start().await;
    let said = connect(&server, "/reset?code=5", &[], b"hello\n").await;
    assert_eq!(said.status, Some(1), "{said:?}");
    said.says(&["error: the peer reset the stream with application code 5"]);
}

#[tokio::test]
async fn nobody_is_trusted_by_default() {
    let server = Server::start().await;
    let url = server.url("/");
    let said = fails(1, &["connect", &url]).await;
    for words in [
        "no authority that is trusted here issued the server's certificate",
        "--cert-hash HASH",
        "'wtctl doctor' shows its hash",
    ] {
        assert!(said.contains(words), "{said}");
    }

    let other = "ab".repeat(32);
    let said = fails(1, &["connect", &url, "--cert-hash", &other]).await;
    assert!(said.contains("none of those expected"), "{said}");
    assert!(said.contains(server.hash()), "{said}");

    let said = wtctl(&["connect", &url, "--insecure"]).await;
    assert!(said.status.success());
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted() {
    let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/connect-ca");
    assert!(
        wtctl(&["cert", "--force", "--out", folder])
            .await
            .status
            .success()
    );
    let (cert, key) = (format!("{folder}/cert.pem"), format!("{folder}/key.pem"));
    let server = Server::start_with(&["--cert", &cert, "--key", &key]).await;
    let url = server.url("/");
    let said = wtctl_with_input(&["connect", &url, "--ca", &cert], b"hi\n").await;
    assert_eq!((said.status, said.text()), (Some(0), "hi\n"), "{said:?}");
}

#[tokio::test]
async fn what_cannot_work_is_said_in_one_line() {
    let server = Server::start().await;
    let url = server.url("/nowhere");
    let said = fails(1, &["connect", &url, "--insecure"]).await;
    assert!(said.contains("status 404"), "{said}");

    for (args, words) in [
        (&["https://localhost:0/"][..], "port 0"),
        (&["http://localhost/"], "https"),
        (&["https://a/", "--header", "no colon"], "a colon"),
        (&["https://a/", "--cert-hash", "12"], "SHA-256"),
        (
            &["https://a/", "--ca", "/nowhere/ca.pem"],
            "/nowhere/ca.pem",
        ),
        (
            &["https://a/", "--insecure", "--ca", "x"],
            "cannot be used with",
        ),
        (
            &["https://a/", "--uni", "--datagrams"],
            "cannot be used with",
        ),
        (&["https://a/", "--timeout", "0"], "longer than zero"),
        (&[], "<URL>"),
    ] {
        let said = fails(2, &[&["connect"], args].concat()).await;
        assert!(said.contains(words), "{args:?}: {said}");
    }
    // Nobody can listen there.
    let said = fails(
        1,
        &["connect", "https://127.0.0.1:1/", "--timeout", "300ms"],
    )
    .await;
    assert!(said.contains("no answer from 127.0.0.1:1"), "{said}");
}

#[cfg(unix)]
mod typing {
    use rustix::process::Signal;
    use tokio::io::AsyncWriteExt;
    use wt::{Identity, Server, ServerConfig};

    use super::*;
    use common::Running;

    #[tokio::test]
    async fn answers_show_at_once_and_ctrl_c_closes_in_order() {
        let identity = Identity::self_signed(["localhost"]).unwrap();
        let loopback = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(&ServerConfig::new(identity).with_bind(loopback)).unwrap();
        let url = format!("https://{}/", server.local_addr().unwrap());
        let mut running = Running::start_with_input(&["connect", &url, "--insecure"]);
        let session = soon(server.accept()).await.unwrap().accept().await.unwrap();
        let (mut send, mut recv) = soon(session.accept_bi()).await.unwrap().split();

        let mut stdin = running.child.stdin.take().unwrap();
        for line in ["first\n", "second\n"] {
            stdin.write_all(line.as_bytes()).await.unwrap();
            let mut heard = vec![0; line.len()];
            soon(recv.read_exact(&mut heard)).await.unwrap();
            send.write_all(&heard).await.unwrap();
            assert_eq!(running.line().await, line);
        }
        running.signal(Signal::INT);
        let end = soon(session.closed()).await;
        assert!(end.is_closed_by_peer(), "{end}");
        assert_eq!((end.code(), end.reason()), (Some(0), ""));
        assert_eq!(running.end().await, (Some(0), String::new()));
        drop(stdin);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_early_ends_it_in_order() {
        let server = common::Server::start().await;
        let url = server.url("/source?bytes=1000000000");
        let args = ["connect", &url, "--cert-hash", server.hash()];
        let mut running = Running::start_with_input(&args);
        let mut some = [0; 1000];
        let read = tokio::io::AsyncReadExt::read_exact(&mut running.stdout, &mut some);
        soon(read).await.unwrap();
        let Running { mut child, stdout } = running;
        drop(stdout);
        assert_eq!(soon(child.wait()).await.unwrap().code(), Some(0));
    }
}
