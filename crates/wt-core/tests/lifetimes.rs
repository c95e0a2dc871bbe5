//! Everything ends: tasks, streams and connections go back to where they were.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use common::{configs, connect, eventually, pair, session, within};
use tokio::runtime::Handle;
use wt_core::{Endpoint, Session};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Uses a session a little.
async fn use_briefly(server: &Session, client: &Session) {
    let mut bi = client.open_bi().await.unwrap();
    bi.send.write_all(b"x").await.unwrap();
    let mut accepted = within(server.accept_bi()).await.unwrap();
    accepted.recv.read_exact(&mut [0]).await.unwrap();
    accepted.send.write_all(b"y").await.unwrap();
    accepted.send.finish().unwrap();
    bi.recv.read_exact(&mut [0]).await.unwrap();
    server.send_datagram(b"z").unwrap();
    within(client.recv_datagram()).await.unwrap();
    // Left open on purpose: they end with the session.
    let mut uni = server.open_uni().await.unwrap();
    uni.flush().await.unwrap();
}

#[tokio::test]
async fn two_thousand_sessions_one_after_another_leave_nothing_behind() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    use_briefly(&server, &client).await;
    let before = tasks();
    for n in 0..2000_u32 {
        let (server, client) = pair.session().await;
        use_briefly(&server, &client).await;
        if n % 2 == 0 {
            client.close(n, "");
            assert_eq!(within(server.closed()).await.code(), Some(n));
        } else {
            drop(server);
            assert_eq!(within(client.closed()).await.code(), Some(0));
        }
    }
    assert_eq!(pair.client.session_count(), 1);
    eventually(|| pair.server.session_count() == 1).await;
    // An endpoint looks after volunteers now and then, in a task that is soon over; it may have been there before.
    eventually(|| tasks() <= before).await;
    assert_eq!(pair.server_endpoint.open_connections(), 1);
    // The first session has seen it all.
    use_briefly(&server, &client).await;
}

#[tokio::test]
async fn two_hundred_connections_leave_nothing_behind() {
    let (server, client) = configs();
    let server = Endpoint::server(&server).unwrap();
    let client = Endpoint::client(&client).unwrap();
    let address = server.local_addr().unwrap();
    let before = tasks();
    for n in 0..200 {
        let (server, client) = within(connect(&server, &client, address)).await;
        let (server_session, client_session) = within(session(&server, &client)).await;
        use_briefly(&server_session, &client_session).await;
        match n % 3 {
            0 => drop((client_session, client)),
            1 => drop((server_session, server)),
            _ => {
                server_session.close(1, "");
                within(server.close(0, "")).await;
            }
        }
    }
    eventually(|| server.open_connections() == 0 && client.open_connections() == 0).await;
    eventually(|| tasks() == before).await;
}

#[tokio::test]
async fn endpoints_end_with_their_last_handle() {
    let before = tasks();
    {
        let pair = pair().await;
        let (server, client) = pair.session().await;
        use_briefly(&server, &client).await;
    }
    eventually(|| tasks() == before).await;
}

#[tokio::test]
async fn waiting_for_no_session_ends_when_the_last_one_does() {
    let pair = pair().await;
    within(pair.server.idle()).await;
    let (servers, clients) = pair.sessions(3).await;
    let idle = tokio::spawn({
        let server = pair.server.clone();
        async move { server.idle().await }
    });
    for (server, client) in servers.iter().zip(&clients) {
        assert!(!idle.is_finished());
        client.close(0, "");
        within(server.closed()).await;
    }
    within(idle).await.unwrap();
}

#[tokio::test]
async fn dropping_what_waits_leaves_nothing_behind() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let before = tasks();
    for _ in 0..500 {
        let waiting = [client.clone(), server.clone()].map(|session| {
            tokio::spawn(async move {
                tokio::select! {
                    _ = session.accept() => {}
                    _ = session.recv_datagram() => {}
                    _ = session.closed() => {}
                    _ = session.draining() => {}
                }
            })
        });
        tokio::task::yield_now().await;
        for task in waiting {
            task.abort();
            let _ = task.await;
        }
    }
    // As above.
    eventually(|| tasks() <= before).await;
    use_briefly(&server, &client).await;
}
