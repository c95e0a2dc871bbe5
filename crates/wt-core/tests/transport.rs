//! What the settings of QUIC do to sessions, and what the end of a connection does.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod common;

use std::time::Duration;

use common::{Pair, configs, pair, pair_with};
use tokio::time::{sleep, timeout};
use wt_core::{
    ConnectionError, Endpoint, ErrorCode, Session, SessionError, WriteError,
    config::{ClientConfig, ServerConfig},
};

/// No test waits longer than this.
const LIMIT: Duration = Duration::from_secs(20);

async fn ended(session: &Session) -> SessionError {
    timeout(LIMIT, session.closed()).await.unwrap()
}

#[tokio::test]
async fn a_closed_connection_ends_its_sessions_with_its_code() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (other_server, other_client) = pair.session().await;
    let mut stream = client.open_bi().await.unwrap();
    let accepting = tokio::spawn({
        let client = client.clone();
        async move { client.accept_uni().await.unwrap_err() }
    });
    pair.server.abort(ErrorCode::H3_EXCESSIVE_LOAD, "too much");

    let by_peer = SessionError::Connection(ConnectionError::ClosedByPeer {
        code: ErrorCode::H3_EXCESSIVE_LOAD,
        reason: "too much".to_owned(),
    });
    for session in [&client, &other_client] {
        assert_eq!(ended(session).await, by_peer);
    }
    assert_eq!(accepting.await.unwrap(), by_peer);
    let written = stream.send.write_all(b"late").await.unwrap_err();
    assert_eq!(written, WriteError::Session(by_peer));
    for session in [&server, &other_server] {
        let here = SessionError::Connection(ConnectionError::LocallyClosed);
        assert_eq!(ended(session).await, here);
    }
}

/// Configurations under which a silent connection is soon lost.
fn impatient() -> (ServerConfig, ClientConfig) {
    let (mut server, mut client) = configs();
    for transport in [&mut server.transport, &mut client.transport] {
        transport.idle_timeout = Some(Duration::from_millis(600));
        transport.keep_alive = None;
    }
    (server, client)
}

#[tokio::test]
async fn pings_of_either_side_keep_a_silent_connection() {
    for from_server in [true, false] {
        let (mut server, mut client) = impatient();
        let transport = if from_server {
            &mut server.transport
        } else {
            &mut client.transport
        };
        transport.keep_alive = Some(Duration::from_millis(100));
        let pair: Pair = pair_with(&server, &client).await;
        let (server, client) = pair.session().await;
        // Silence, for much longer than it may last.
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(client.close_reason(), None, "from_server: {from_server}");
        client.close(1, "still here");
        assert_eq!(ended(&server).await.code(), Some(1));
    }
}

#[tokio::test]
async fn datagrams_are_no_larger_than_the_peer_takes() {
    let (mut server, mut client) = configs();
    for transport in [&mut server.transport, &mut client.transport] {
        transport.initial_mtu = 4000;
        transport.mtu_upper_bound = 4000;
    }
    server.transport.datagram_receive_buffer = 2000;
    let pair = pair_with(&server, &client).await;
    let (server, client) = pair.session().await;
    let to_server = client.max_datagram_size().unwrap();
    let to_client = server.max_datagram_size().unwrap();
    assert!((1900..2000).contains(&to_server), "{to_server}");
    assert!((3900..4000).contains(&to_client), "{to_client}");
    // The first session has one byte of each.
    let of_connection = |session: &Session| session.connection().max_datagram_size().unwrap();
    assert_eq!(of_connection(&client), to_server + 1);
    assert_eq!(of_connection(&server), to_client + 1);
    // QUIC's buffer counts some bytes of its own.
    client.send_datagram(vec![7; 1900]).unwrap();
    let received = timeout(LIMIT, server.recv_datagram()).await.unwrap();
    assert_eq!(received.unwrap().len(), 1900);
    client.send_datagram(vec![7; to_server + 1]).unwrap_err();
}

#[tokio::test]
async fn both_sides_have_to_name_a_common_protocol() {
    let (mut server, mut client) = configs();
    server.alpn = vec![b"h3-test".to_vec()];
    let refused = connect(&server, &client).await.unwrap_err();
    assert!(
        refused.contains("no common application protocol"),
        "{refused}"
    );
    client.alpn = vec![b"other".to_vec(), b"h3-test".to_vec()];
    connect(&server, &client).await.unwrap();
}

/// Opens a session, or says why the connection failed.
async fn connect(server: &ServerConfig, client: &ClientConfig) -> Result<(), String> {
    let server = Endpoint::server(server).unwrap();
    let client = Endpoint::client(client).unwrap();
    let accepting = tokio::spawn({
        let server = server.clone();
        async move {
            let connection = server.accept().await.unwrap().accept().await.ok()?;
            let session = connection
                .accept_session()
                .await
                .ok()?
                .accept()
                .await
                .ok()?;
            Some(session.closed().await)
        }
    });
    let address = server.local_addr().unwrap();
    let connection = timeout(LIMIT, client.connect(address, "localhost"))
        .await
        .unwrap();
    let connection = connection.map_err(|error| error.to_string())?;
    let opened = connection.open_session("localhost", "/", http::HeaderMap::new(), &[]);
    timeout(LIMIT, opened).await.unwrap().unwrap().close(5, "");
    let end = timeout(LIMIT, accepting).await.unwrap().unwrap().unwrap();
    assert_eq!(end.code(), Some(5));
    Ok(())
}
