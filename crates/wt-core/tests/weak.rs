//! Handles that keep nothing alive.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use common::{eventually, pair, within};

#[tokio::test]
async fn weak_handles_lead_to_what_others_hold_and_hold_nothing() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let (connection, session) = (pair.client.downgrade(), client.downgrade());
    let found = session.upgrade().unwrap();
    assert_eq!(found.id(), client.id());
    let stable_id = pair.client.stable_id();
    assert_eq!(connection.upgrade().unwrap().stable_id(), stable_id);
    // A stream holds its session, and a session its connection.
    let stream = client.open_bi().await.unwrap();
    drop((found, client, pair.client));
    assert!(session.upgrade().is_some());
    assert!(connection.upgrade().is_some());

    drop(stream);
    assert!(session.upgrade().is_none());
    assert_eq!(within(server.closed()).await.code(), Some(0));
    eventually(|| connection.upgrade().is_none()).await;
    assert!(within(pair.server.closed()).await.is_graceful());
}
