//! Managers of connections, sessions and streams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{eventually, pair, within};
use wt_core::{
    ConnectionState, Dir,
    fault::Fault,
    manager::{ConnectionManager, ManagerConfig, ManagerError, SessionManager, StreamManager},
};

#[tokio::test]
async fn connections_are_held_up_to_a_limit_and_let_go_when_they_end() {
    let manager = ConnectionManager::new(ManagerConfig::connections().with_limit(2));
    let (a, b, c) = (pair().await, pair().await, pair().await);
    let id = manager.add(a.server.clone()).unwrap();
    assert_eq!(manager.add(a.server.clone()), Ok(id), "once is enough");
    manager.add(b.server.clone()).unwrap();
    let full = manager.add(c.server.clone()).unwrap_err();
    let what = "connections";
    assert_eq!(full, ManagerError::Full { what, limit: 2 });
    assert!(full.is_retriable());
    assert_eq!(
        c.server.close_reason(),
        None,
        "what is not taken is as it was"
    );
    assert_eq!((manager.len(), manager.all().len()), (2, 2));
    assert_eq!(manager.get(id).unwrap().stable_id(), id);
    // One ends by its peer, and makes room.
    within(a.client.close(0, "")).await;
    eventually(|| manager.len() == 1).await;
    assert!(manager.get(id).is_none());
    let id = manager.add(c.server.clone()).unwrap();
    let removed = manager.remove(id).unwrap();
    assert_eq!(removed.close_reason(), None, "it is let go, not closed");
    assert!(manager.remove(id).is_none());
    let stats = manager.stats();
    assert_eq!((stats.total, stats.closed, stats.current), (3, 2, 1));
    assert_eq!((stats.peak, stats.limit), (2, 2));
    assert_eq!(stats.states.values().sum::<usize>(), 1);
    assert_eq!(within(manager.shutdown(Duration::from_secs(30))).await, 0);
    assert!(b.server.close_reason().is_some());
    assert!(manager.is_empty());
    assert_eq!(manager.add(c.server.clone()), Err(ManagerError::ShutDown));
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let timeout = Duration::from_secs(2);
    let config =
        ManagerConfig::connections().with_idle_timeout(Some(timeout), Duration::from_millis(20));
    let manager = ConnectionManager::new(config);
    let (idle, busy) = (pair().await, pair().await);
    let (_server, client) = busy.session().await;
    manager.add(idle.server.clone()).unwrap();
    manager.add(busy.server.clone()).unwrap();
    let sends = async {
        loop {
            client.send_datagram(b"x").unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        end = within(idle.server.closed()) => assert!(end.is_graceful(), "{end}"),
        () = sends => {}
    }
    assert_eq!(idle.server.state(), ConnectionState::Closed);
    eventually(|| manager.len() == 1).await;
    assert_eq!(manager.all()[0].stable_id(), busy.server.stable_id());
}

#[tokio::test]
async fn sessions_are_held_by_state_and_let_go_when_they_end() {
    let manager = SessionManager::new(ManagerConfig::sessions().with_limit(3));
    let pair = pair().await;
    let (servers, clients) = pair.sessions(4).await;
    for session in &servers[..3] {
        manager.add(session.clone()).unwrap();
    }
    assert!(manager.add(servers[3].clone()).is_err());
    servers[0].drain();
    assert_eq!(manager.in_state("established").len(), 2);
    assert_eq!(manager.in_state("draining").len(), 1);
    assert_eq!(manager.stats().states["established"], 2);
    clients[1].close(3, "");
    eventually(|| manager.len() == 2).await;
    assert_eq!(within(manager.shutdown(Duration::from_secs(30))).await, 0);
    assert!(servers[0].close_reason().is_some() && servers[2].close_reason().is_some());
    assert_eq!(servers[3].close_reason(), None);
    assert_eq!(pair.server.close_reason(), None, "their connection stays");
}

#[tokio::test]
async fn a_manager_that_is_dropped_lets_go_and_its_task_ends() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let manager = SessionManager::new(ManagerConfig::sessions());
    let clone = manager.clone();
    manager.add(client).unwrap();
    drop(manager);
    assert_eq!(clone.len(), 1);
    assert_eq!(server.close_reason(), None);
    drop(clone);
    // Nobody holds the session any more.
    within(server.closed()).await;
}

#[test]
fn a_manager_says_that_it_needs_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let pair = runtime.block_on(pair());
    let manager = ConnectionManager::new(ManagerConfig::connections());
    let refused = manager.add(pair.server.clone());
    assert_eq!(refused, Err(ManagerError::NoRuntime));
    assert!(manager.is_empty());
}

#[tokio::test]
async fn streams_take_a_slot_as_long_as_they_have_a_handle() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let manager = StreamManager::with_limit(client.clone(), 2);
    assert_eq!(
        StreamManager::new(client.clone()).free_slots(),
        StreamManager::LIMIT
    );
    let bi = manager.open_bi().await.unwrap();
    let uni = manager.open_uni().await.unwrap();
    assert_eq!(manager.free_slots(), 0);
    let full = manager.open_uni().await.unwrap_err();
    let what = "streams";
    assert_eq!(full, ManagerError::Full { what, limit: 2 });
    // One of the peer takes no slot.
    let mut theirs = server.open_uni().await.unwrap();
    theirs.write_all(b"x").await.unwrap();
    let theirs = within(client.accept_uni()).await.unwrap();
    assert_eq!(manager.len(), 3);
    assert!(manager.contains(theirs.id()) && manager.contains(uni.id()));
    assert_eq!(manager.get(bi.id()).unwrap().info.dir, Dir::Bi);
    let stats = manager.stats();
    assert_eq!((stats.total, stats.current, stats.peak), (2, 2, 2));
    assert_eq!(stats.states["open"], 3);
    // Slots come back, as often as it takes.
    drop((bi, uni, theirs));
    for _ in 0..10 {
        let streams = (
            manager.open_bi().await.unwrap(),
            manager.open_uni().await.unwrap(),
        );
        assert!(manager.open_bi().await.is_err());
        drop(streams);
    }
    let stats = manager.stats();
    assert_eq!((stats.total, stats.closed, stats.current), (22, 22, 0));
    assert!(manager.is_empty());
    client.close(0, "");
    assert!(matches!(
        manager.open_bi().await,
        Err(ManagerError::Session(_))
    ));
    assert_eq!(manager.free_slots(), 2);
}
