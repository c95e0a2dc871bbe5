//! The limits that concern all connections of a server.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{net::Ipv4Addr, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use wt_client::{Client, ClientConfig, ServerVerification};
use wt_server::{Identity, Server, ServerConfig};

/// No test waits longer than this for what has to happen.
const LIMIT: Duration = Duration::from_secs(20);

fn config() -> ServerConfig {
    let identity = Identity::self_signed(["127.0.0.1"]).unwrap();
    ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into())
}

/// Has `count` clients ask for a session, each on a connection of its own.
fn clients(server: &Server, config: &ServerConfig, count: usize) -> JoinSet<()> {
    let url = format!("https://127.0.0.1:{}/", server.local_addr().unwrap().port());
    let hash = config.identity.certificate_hash();
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification)).unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let connect = client.connect(&url);
        asking.spawn(async move { drop(connect.await.unwrap()) });
    }
    asking
}

/// Accepts `count` sessions and lets them go.
async fn accept(server: &Server, count: usize) {
    for _ in 0..count {
        let request = timeout(LIMIT, server.accept()).await.unwrap().unwrap();
        drop(request.accept().await.unwrap());
    }
}

#[tokio::test]
async fn clients_beyond_the_handshakes_in_progress_wait_their_turn() {
    let mut config = config();
    config.limits.handshakes = 1;
    let server = Server::bind(&config).unwrap();
    let mut asking = clients(&server, &config, 8);
    accept(&server, 8).await;
    while let Some(result) = asking.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn under_load_clients_show_that_they_are_where_they_say() {
    // The one handshake that may be in progress is more than half of them.
    for (handshakes, validated) in [(1, 3), (1024, 0)] {
        let mut config = config();
        config.limits.handshakes = handshakes;
        let server = Server::bind(&config).unwrap();
        let mut asking = clients(&server, &config, 3);
        accept(&server, 3).await;
        while let Some(result) = asking.join_next().await {
            result.unwrap();
        }
        let stats = server.stats();
        assert_eq!(stats.connections_accepted, 3);
        assert_eq!(stats.addresses_validated, validated);
    }
}

#[tokio::test]
async fn requests_beyond_the_server_s_queue_wait_in_their_connections() {
    let mut config = config();
    config.limits.server_requests = 1;
    let server = Server::bind(&config).unwrap();
    let mut asking = clients(&server, &config, 8);
    // All have arrived before the first is taken: only one fits into the queue.
    while server
        .connections()
        .iter()
        .map(|c| c.session_count())
        .sum::<u64>()
        < 8
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    accept(&server, 8).await;
    while let Some(result) = asking.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn limits_of_zero_are_refused_with_their_name() {
    for (key, set) in [
        (
            "limits.handshakes",
            (|c| c.limits.handshakes = 0) as fn(&mut ServerConfig),
        ),
        ("limits.server_requests", |c| c.limits.server_requests = 0),
    ] {
        let mut config = config();
        set(&mut config);
        let error = Server::bind(&config).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
