//! Sessions spread over several servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::HashMap, error::Error, net::Ipv6Addr, time::Duration};

use common::{Running, check_echo, client, echo, identity, slow_way_to, until, within};
use futures_util::future::join_all;
use http::StatusCode;
use wt_client::{
    BalanceError, BalancerConfig, Client, LoadBalancer, RetryPolicy, Session, Strategy,
};

const MS: Duration = Duration::from_millis(1);

/// So many servers, and a client that trusts them.
async fn servers(count: usize) -> (Vec<Running>, Client) {
    let identity = identity();
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Running::echo(&identity, 0).await);
    }
    (servers, client(&identity))
}

fn balancer(client: &Client, servers: &[Running], config: BalancerConfig) -> LoadBalancer {
    let urls = servers.iter().map(Running::url);
    // Where nobody listens any more, the next one is due soon.
    let connects = urls.map(|url| client.connect(url).timeout(MS * 2000));
    LoadBalancer::new(connects, config).unwrap()
}

async fn session(balancer: &LoadBalancer) -> Session {
    within(balancer.session()).await.unwrap()
}

fn failed(balancer: &LoadBalancer) -> usize {
    balancer.stats().failed
}

#[tokio::test]
async fn turns_begin_with_the_first_target_and_connections_are_used_again() {
    let (servers, client) = servers(3).await;
    let balancer = balancer(&client, &servers, BalancerConfig::default());
    let mut kept = Vec::new();
    for turn in 0..9 {
        let session = session(&balancer).await;
        assert_eq!(session.authority(), servers[turn % 3].authority());
        check_echo(&session, "balanced").await;
        kept.push(session);
    }
    for server in &servers {
        assert_eq!(server.server.connections().len(), 1);
    }
    let stats = balancer.stats();
    assert_eq!((stats.targets, stats.available), (3, 3));
    assert_eq!((stats.failed, stats.connections), (0, 3));
    let target = &balancer.target_stats()[1];
    assert_eq!(target.authority, servers[1].authority());
    assert!(target.connected && !target.failed && target.rtt.is_some());
    assert_eq!((target.picked, target.failures), (3, 0));

    let connection = within(balancer.connection()).await.unwrap();
    assert_eq!(connection.remote_address().port(), servers[0].port);
    let ids: Vec<_> = kept.iter().map(|s| s.connection().stable_id()).collect();
    assert!(ids.contains(&connection.stable_id()));
}

#[tokio::test]
async fn targets_are_known_once_and_have_to_be_some() {
    let (servers, client) = servers(1).await;
    let connects = [
        client.connect(servers[0].url()),
        client.connect(format!("{}other/path", servers[0].url())),
    ];
    let balancer = LoadBalancer::new(connects, BalancerConfig::default()).unwrap();
    assert_eq!(balancer.target_count(), 1);
    let error = LoadBalancer::new([], BalancerConfig::default()).unwrap_err();
    assert!(matches!(error, BalanceError::NoTargets));
    let error = LoadBalancer::new([client.connect("nowhere")], BalancerConfig::default());
    assert!(matches!(error, Err(BalanceError::Url(_))));
    let config = BalancerConfig::default().with_health_checks(Duration::ZERO, MS);
    let error = LoadBalancer::new([client.connect(servers[0].url())], config);
    assert!(matches!(error, Err(BalanceError::Setting(_))));

    for strategy in Strategy::ALL {
        assert_eq!(strategy.to_string().parse(), Ok(strategy));
    }
    let error = "fastest".parse::<Strategy>().unwrap_err();
    assert!(error.to_string().contains("\"fastest\""), "{error}");
}

#[tokio::test]
async fn callers_at_the_same_time_make_one_connection() {
    let (servers, client) = servers(1).await;
    let balancer = balancer(&client, &servers, BalancerConfig::default());
    let sessions = within(join_all((0..16).map(|_| balancer.session()))).await;
    for session in &sessions {
        check_echo(session.as_ref().unwrap(), "shared").await;
    }
    assert_eq!(servers[0].server.connections().len(), 1);
}

#[tokio::test]
async fn sessions_go_past_a_target_that_fails_until_it_is_back() {
    let identity = identity();
    let (mut servers, client) = {
        let first = Running::echo(&identity, 0).await;
        let second = Running::echo(&identity, 0).await;
        (vec![first, second], client(&identity))
    };
    let config = BalancerConfig::default().with_health_checks(MS * 50, MS * 2000);
    let connects = servers.iter().map(|server| {
        let connect = client.connect(server.url());
        connect.timeout(MS * 500)
    });
    let balancer = LoadBalancer::new(connects, config).unwrap();
    let before = session(&balancer).await;
    let first = servers.remove(0);
    let (port, authority) = (first.port, first.authority());
    assert_eq!(before.authority(), authority);
    first.kill().await;
    within(before.closed()).await;

    // Every session finds the other one, whoever's turn it is.
    for _ in 0..6 {
        let session = session(&balancer).await;
        assert_eq!(session.authority(), servers[0].authority());
        check_echo(&session, "elsewhere").await;
    }
    assert_eq!((failed(&balancer), balancer.stats().available), (1, 1));
    let target = &balancer.target_stats()[0];
    assert!(target.failed && !target.connected && target.failures >= 1);

    let _back = Running::echo(&identity, port).await;
    until(|| failed(&balancer) == 0).await;
    let mut served = HashMap::new();
    for _ in 0..4 {
        let session = session(&balancer).await;
        *served.entry(session.authority().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(served[&authority], 2);
}

#[tokio::test]
async fn a_target_that_is_back_is_found_without_a_health_check_when_there_is_no_other() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let connect = client(&identity).connect(server.url()).timeout(MS * 300);
    let balancer = LoadBalancer::new([connect], BalancerConfig::default()).unwrap();
    let port = server.port;
    server.kill().await;
    let error = within(balancer.session()).await.unwrap_err();
    assert!(matches!(error, BalanceError::Failed { tried: 1, .. }));
    assert_eq!(failed(&balancer), 1);
    let _back = Running::echo(&identity, port).await;
    let session = async {
        loop {
            if let Ok(session) = balancer.session().await {
                return session;
            }
        }
    };
    check_echo(&within(session).await, "back").await;
    assert_eq!(failed(&balancer), 0);
}

#[tokio::test]
async fn without_failover_the_failure_is_told() {
    let (mut servers, client) = servers(2).await;
    let config = BalancerConfig::default().with_failover(false);
    let connects = servers.iter().map(|server| {
        let connect = client.connect(server.url());
        connect.timeout(MS * 500)
    });
    let balancer = LoadBalancer::new(connects, config).unwrap();
    let gone = servers.remove(0);
    let authority = gone.authority();
    gone.kill().await;
    let error = within(balancer.session()).await.unwrap_err();
    assert!(error.to_string().contains(&authority), "{error}");
    assert!(error.connect_error().unwrap().is_timeout());
    assert!(error.source().is_some());
    let session = session(&balancer).await;
    assert_eq!(session.authority(), servers[0].authority());

    servers.remove(0).kill().await;
    within(session.closed()).await;
    within(balancer.session()).await.unwrap_err();
    let error = within(balancer.session()).await.unwrap_err();
    assert!(matches!(error, BalanceError::NoneAvailable { targets: 2 }));
}

#[tokio::test]
async fn an_answer_of_the_server_is_no_failure_of_the_target_unless_it_is_busy() {
    let identity = identity();
    let busy = Running::start(&identity, 0, |request| async move {
        request.reject(StatusCode::SERVICE_UNAVAILABLE).unwrap();
    })
    .await;
    let servers = [busy, Running::echo(&identity, 0).await];
    let client = client(&identity);
    let balancer = balancer(&client, &servers, BalancerConfig::default());
    let session = session(&balancer).await;
    assert_eq!(session.authority(), servers[1].authority());
    assert_eq!(failed(&balancer), 1);
    let error = within(balancer.session_at("/refused")).await.unwrap_err();
    let status = error.connect_error().unwrap().status();
    assert_eq!(status, Some(StatusCode::FORBIDDEN));
    assert_eq!(failed(&balancer), 1);
    // The health check asks whether it can be reached, which it can.
    within(balancer.check()).await;
    assert_eq!(failed(&balancer), 0);
}

#[tokio::test]
async fn the_path_of_a_session_can_be_another() {
    let (servers, client) = servers(1).await;
    let balancer = balancer(&client, &servers, BalancerConfig::default());
    for (path, expected) in [("/a?b=c", "/a"), ("a", "/a"), ("//a", "//a"), ("", "/")] {
        let session = within(balancer.session_at(path)).await.unwrap();
        assert_eq!(session.path(), expected);
        assert_eq!(session.authority(), servers[0].authority());
    }
}

#[tokio::test]
async fn weights_decide_and_can_be_changed() {
    let (servers, client) = servers(2).await;
    let config = BalancerConfig::new(Strategy::Weighted);
    let balancer = balancer(&client, &servers, config);
    balancer.set_weight(&servers[0].authority(), -1.0).unwrap();
    for _ in 0..8 {
        let session = session(&balancer).await;
        assert_eq!(session.authority(), servers[1].authority());
    }
    assert_eq!(balancer.target_stats()[0].weight, 0.0);
    balancer.set_weight(&servers[0].authority(), 3.0).unwrap();
    balancer
        .set_weight(&servers[1].authority(), f64::NAN)
        .unwrap();
    for _ in 0..8 {
        let session = session(&balancer).await;
        assert_eq!(session.authority(), servers[0].authority());
    }
    let error = balancer.set_weight("localhost:1", 1.0).unwrap_err();
    assert!(error.to_string().contains("localhost:1"), "{error}");
}

#[tokio::test]
async fn the_target_with_the_shortest_round_trip_is_taken() {
    let (servers, client) = servers(2).await;
    let (port, _relay) = slow_way_to(servers[0].address, MS * 60).await;
    let urls = [format!("https://127.0.0.1:{port}/"), servers[1].url()];
    let config = BalancerConfig::new(Strategy::LeastLatency);
    let connects = urls.map(|url| client.connect(url));
    let balancer = LoadBalancer::new(connects, config).unwrap();
    // Each once, to know them.
    assert_ne!(
        session(&balancer).await.authority(),
        session(&balancer).await.authority()
    );
    let times: Vec<_> = balancer
        .target_stats()
        .iter()
        .map(|t| t.rtt.unwrap())
        .collect();
    assert!(times[0] > MS * 100, "{times:?}");
    for _ in 0..6 {
        let session = session(&balancer).await;
        assert_eq!(session.authority(), servers[1].authority());
    }
    // Another handle, another strategy, the same targets.
    let turns = balancer.clone().with_strategy(Strategy::RoundRobin);
    assert_eq!(turns.strategy(), Strategy::RoundRobin);
    let session = within(turns.session()).await.unwrap();
    assert_eq!(session.authority(), format!("127.0.0.1:{port}"));
}

#[tokio::test]
async fn targets_at_ipv6_addresses_fail_and_come_back_like_the_others() {
    let identity = identity();
    let server = Running::start_at(&identity, (Ipv6Addr::LOCALHOST, 0).into(), echo).await;
    let (address, authority) = (server.address, server.authority());
    let connect = client(&identity).connect(server.url()).timeout(MS * 300);
    let config = BalancerConfig::default().with_health_checks(MS * 50, MS * 2000);
    let balancer = LoadBalancer::new([connect], config).unwrap();
    assert_eq!(session(&balancer).await.authority(), authority);
    server.kill().await;
    until(|| balancer.stats().connections == 0).await;
    within(balancer.session()).await.unwrap_err();
    assert_eq!(failed(&balancer), 1);
    let _back = Running::start_at(&identity, address, echo).await;
    until(|| failed(&balancer) == 0).await;
    check_echo(&session(&balancer).await, "back").await;
    balancer.set_weight(&authority, 2.0).unwrap();
}

#[tokio::test]
async fn close_ends_connections_and_nothing_is_opened_afterwards() {
    let (servers, client) = servers(2).await;
    let balancer = balancer(&client, &servers, BalancerConfig::default());
    let first = session(&balancer).await;
    within(balancer.close_connections()).await;
    within(first.closed()).await;
    assert_eq!(balancer.stats().connections, 0);

    let second = session(&balancer).await;
    let another = balancer.clone();
    within(balancer.close()).await;
    within(balancer.close()).await;
    within(second.closed()).await;
    assert!(another.is_closed());
    assert!(matches!(
        within(another.session()).await,
        Err(BalanceError::Closed)
    ));
    assert!(matches!(
        within(another.connection()).await,
        Err(BalanceError::Closed)
    ));
    // The client is not the balancer's, and goes on.
    let policy = RetryPolicy::never();
    let connect = client.connect(servers[0].url());
    let reconnecting = connect.reconnecting(policy).unwrap();
    within(reconnecting.session()).await.unwrap();
}
