//! What monitors see of clients and of what stands on them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Running, client, identity, until, within};
use wt_client::{BalancerConfig, LoadBalancer, PoolConfig, RetryPolicy, SessionPool};
use wt_core::observe::{Observe, State};

#[tokio::test]
async fn clients_and_what_stands_on_them_can_be_watched() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    assert_eq!(client.observe().state, State::Idle);
    let connect = || client.connect(server.url());

    let balancer = LoadBalancer::new([connect()], BalancerConfig::default()).unwrap();
    let pool = SessionPool::new(connect(), PoolConfig::new(2)).unwrap();
    let reconnecting = connect().reconnecting(RetryPolicy::new()).unwrap();
    within(reconnecting.session()).await.unwrap();
    let balanced = within(balancer.session()).await.unwrap();
    let pooled = within(pool.acquire()).await.unwrap();

    let seen = client.observe();
    assert_eq!((seen.kind, seen.state), ("client", State::Active));
    assert_eq!(seen.counter("succeeded"), Some(3));
    assert_eq!(seen.get("sessions"), Some(3.0));
    assert_eq!(seen.get("connected"), Some(3.0));
    assert!(seen.get("avg_connect_seconds").unwrap() > 0.0);
    assert!(seen.issues.is_empty());
    let seen = reconnecting.observe();
    assert_eq!(seen.state, State::Active);
    assert_eq!(seen.counter("established"), Some(1));
    let seen = balancer.observe();
    assert_eq!(seen.state, State::Active);
    assert_eq!(seen.counter("picked"), Some(1));
    let seen = pool.observe();
    assert_eq!(seen.state, State::Active);
    assert_eq!(
        (seen.get("lent"), seen.counter("created")),
        (Some(1.0), Some(1))
    );

    reconnecting.current().unwrap().close(0, "");
    until(|| reconnecting.observe().counter("lost") == Some(1)).await;
    drop((balanced, pooled));
    assert_eq!(pool.observe().state, State::Idle);
    within(reconnecting.close()).await;
    within(balancer.close()).await;
    pool.close();
    within(client.close()).await;
    for seen in [
        client.observe(),
        reconnecting.observe(),
        balancer.observe(),
        pool.observe(),
    ] {
        assert_eq!(seen.state, State::Closed, "{seen}");
    }
}

#[tokio::test]
async fn what_failed_says_so() {
    let client = client(&identity());
    let reconnecting = client.connect("no url").reconnecting(RetryPolicy::new());
    let reconnecting = reconnecting.unwrap();
    within(reconnecting.session()).await.unwrap_err();
    let seen = reconnecting.observe();
    assert_eq!(seen.state, State::Failed);
    assert_eq!(seen.issues, ["no attempt can succeed"]);
    assert_eq!(seen.counter("failed"), Some(1));

    // Nothing can be sent to port 0.
    let nowhere = client.connect("https://localhost/");
    let nowhere = nowhere.addresses([([127, 0, 0, 1], 0).into()]);
    let balancer = LoadBalancer::new([nowhere], BalancerConfig::default()).unwrap();
    within(balancer.session()).await.unwrap_err();
    let seen = balancer.observe();
    assert_eq!(seen.get("failed_targets"), Some(1.0));
    assert_eq!(seen.issues, ["target localhost failed"]);
}
