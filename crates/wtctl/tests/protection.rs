//! Each flag of `wtctl serve` that limits clients has its effect.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what fails is a failed test")]

mod common;

use common::{Server, echo, fails, soon, wtctl};
use tokio::net::UdpSocket;
use wt::{
    Session,
    client::ConnectError,
    core::http::{HeaderMap, StatusCode},
};

/// Connects a new client at 127.0.0.`host` and opens a session.
async fn connect(server: &Server, host: u8) -> Result<Session, ConnectError> {
    soon(server.client_at(host).connect(server.url("/echo"))).await
}

/// Expects a new client at 127.0.0.`host` to be refused without a handshake.
async fn is_refused(server: &Server, host: u8) {
    let error = connect(server, host).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Opens another session on the connection of one.
async fn beside(session: &Session) -> Result<Session, wt::core::ConnectError> {
    let connection = session.connection();
    soon(connection.open_session("localhost", "/echo", HeaderMap::new(), &[])).await
}

/// Expects that there is no room for another session, and returns the status.
async fn none_beside(session: &Session) -> StatusCode {
    match beside(session).await.unwrap_err() {
        wt::core::ConnectError::Refused { status, .. } => status,
        error => panic!("{error}"),
    }
}

#[track_caller]
fn says(log: &str, words: &[&str]) {
    for words in words {
        assert!(log.contains(words), "no {words:?} in:\n{log}");
    }
}

#[tokio::test]
async fn connections_and_sessions_are_limited() {
    let server = Server::start_logging(&[
        "--max-connections=4",
        "--max-connections-per-address=2",
        "--max-sessions=5",
        "--max-sessions-per-connection=2",
        "--max-sessions-per-address=3",
        "--retry=always",
    ])
    .await;
    let first = connect(&server, 1).await.unwrap();
    let second = connect(&server, 1).await.unwrap();
    is_refused(&server, 1).await;
    let third = beside(&first).await.unwrap();
    // The client knows that the connection has no room for more.
    let error = beside(&first).await.map(drop).unwrap_err();
    assert!(
        !matches!(error, wt::core::ConnectError::Refused { .. }),
        "{error}"
    );
    assert_eq!(none_beside(&second).await, StatusCode::TOO_MANY_REQUESTS);
    let others = [
        connect(&server, 2).await.unwrap(),
        connect(&server, 2).await.unwrap(),
    ];
    is_refused(&server, 3).await;
    let status = none_beside(&others[0]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for session in [&first, &second, &third, &others[0], &others[1]] {
        echo(session, b"goes on").await;
    }
    let log = server.process.log().await;
    says(
        &log,
        &[
            "as many connections as allowed are open\" count=1",
            "as many connections as allowed are open from the address\" count=1",
            "the server carries as many sessions as it may\" count=1",
            "as many sessions as allowed are open from the address\" count=1",
            "clients had to show their address (QUIC Retry) count=",
        ],
    );
}

#[tokio::test]
async fn rates_are_limited() {
    let server = Server::start_logging(&[
        "--connection-rate=3/h",
        "--connection-rate-per-address=2/h",
        "--session-rate=4/h",
        "--session-rate-per-address=3/h",
    ])
    .await;
    let first = connect(&server, 1).await.unwrap();
    let _second = connect(&server, 1).await.unwrap();
    is_refused(&server, 1).await;
    let _third = beside(&first).await.unwrap();
    assert_eq!(none_beside(&first).await, StatusCode::TOO_MANY_REQUESTS);
    let other = connect(&server, 2).await.unwrap();
    is_refused(&server, 2).await;
    assert_eq!(none_beside(&other).await, StatusCode::TOO_MANY_REQUESTS);
    let log = server.process.log().await;
    says(
        &log,
        &[
            "connections come faster than allowed\" count=1",
            "connections come from the address faster than allowed\" count=1",
            "requests for sessions come faster than allowed\" count=1",
            "requests for sessions come from the address faster than allowed\" count=1",
        ],
    );
}

#[tokio::test]
async fn with_few_handshakes_clients_show_their_address() {
    let server = Server::start_logging(&["--max-handshakes=1"]).await;
    for host in 1..=3 {
        echo(&connect(&server, host).await.unwrap(), b"x").await;
    }
    let log = server.process.log().await;
    says(
        &log,
        &["clients had to show their address (QUIC Retry) count=3"],
    );
}

#[tokio::test]
async fn handshakes_of_one_address_are_limited() {
    let server = Server::start_logging(&[
        "--max-handshakes-per-address=1",
        "--retry=never",
        "--grace=1",
    ])
    .await;
    // Packets with which clients begin, at an address where nobody goes on.
    let silent = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let mut packet = vec![0; 65_536];
    for _ in 0..2 {
        // Another one each time: an attempt that is given up says so.
        let recorder = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", recorder.local_addr().unwrap());
        let client = server.client_at(1);
        let attempt = client.connect(&url);
        let recording = recorder.recv_from(&mut packet);
        let len = soon(async {
            tokio::select! {
                result = attempt => panic!("nobody answers: {result:?}"),
                received = recording => received.unwrap().0,
            }
        })
        .await;
        let to = ("127.0.0.1", server.port());
        silent.send_to(&packet[..len], to).await.unwrap();
    }
    echo(&connect(&server, 1).await.unwrap(), b"goes on").await;
    let log = server.process.log().await;
    let words = "as many handshakes as allowed are in progress from the address";
    says(&log, &[words]);
    assert!(!log.contains("QUIC Retry"), "{log}");
}

#[tokio::test]
async fn the_flags_stand_together_and_say_what_they_take() {
    let help = wtctl(&["serve", "--help"]).await;
    let help = String::from_utf8(help.stdout).unwrap();
    let group = help.split("Protection:").nth(1).unwrap();
    for flag in [
        "--max-connections ",
        "--max-connections-per-address",
        "--connection-rate ",
        "--connection-rate-per-address",
        "--max-handshakes ",
        "--max-handshakes-per-address",
        "--retry",
        "--max-sessions ",
        "--max-sessions-per-connection",
        "--max-sessions-per-address",
        "--session-rate ",
        "--session-rate-per-address",
    ] {
        assert!(group.contains(flag), "{flag}");
    }
    for (flag, advice) in [
        ("--max-connections=0", "from 1 on"),
        ("--connection-rate=fast", "such as 100/s"),
        ("--session-rate=0/s", "between 1 and"),
        ("--retry=sometimes", "under-load"),
        ("--max-handshakes=2000000", "limits.handshakes"),
    ] {
        let line = fails(2, &["serve", "--listen", "127.0.0.1:0", flag]).await;
        assert!(line.contains(advice), "{line}");
    }
}
