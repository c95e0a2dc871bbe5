//! Several clients that are used as one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{error::Error, time::Duration};

use common::{Running, check_echo, client, client_config, identity, within};
use wt_client::{ClientFleet, ConnectError, FleetError};

#[tokio::test]
async fn a_fleet_has_clients() {
    assert!(matches!(ClientFleet::new([]), Err(FleetError::Empty)));
    let good = client_config(&identity());
    let bad = good.clone().with_connect_timeout(Duration::ZERO);
    let error = ClientFleet::bind([good.clone(), bad]).unwrap_err();
    assert!(matches!(error, FleetError::Bind { index: 1, .. }));
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("connect_timeout"), "{cause}");
    assert_eq!(
        ClientFleet::bind([good.clone(), good])
            .unwrap()
            .clients()
            .len(),
        2
    );
}

#[tokio::test]
async fn turns_begin_with_the_first_client() {
    let config = client_config(&identity());
    let fleet = ClientFleet::bind((0..3).map(|_| config.clone())).unwrap();
    let port = |client: &wt_client::Client| client.endpoint().local_addr().unwrap().port();
    let ports: Vec<_> = fleet.clients().iter().map(port).collect();
    let another = fleet.clone();
    let turns: Vec<_> = (0..3)
        .flat_map(|_| [port(fleet.client()), port(another.client())])
        .collect();
    assert_eq!(turns, [&ports[..], &ports[..]].concat());
}

#[tokio::test]
async fn one_client_that_fails_does_not_disturb_the_others() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    // The one in the middle trusts another server.
    let stranger = client(&common::identity());
    let fleet = ClientFleet::new([client(&identity), stranger, client(&identity)]).unwrap();
    let results = within(fleet.connect_all(&server.url())).await;
    assert_eq!(results.len(), 3);
    let good: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true]);
    for session in results.iter().flatten() {
        check_echo(session, "of the fleet").await;
    }
    assert_eq!(server.server.connections().len(), 2);

    let url = server.url();
    let results = within(fleet.connect_all_with(|client| client.connect(&url).pooling(true)));
    assert_eq!(results.await.iter().flatten().count(), 2);
}

#[tokio::test]
async fn all_clients_close() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let fleet = ClientFleet::new([client(&identity), client(&identity)]).unwrap();
    let sessions = within(fleet.connect_all(&server.url())).await;
    for session in sessions.iter().flatten() {
        session.close(0, "");
    }
    within(fleet.close_all()).await;
    assert!(fleet.clients().iter().all(wt_client::Client::is_closed));
    for result in within(fleet.connect_all(&server.url())).await {
        assert!(matches!(result, Err(ConnectError::Closed)));
    }
}
