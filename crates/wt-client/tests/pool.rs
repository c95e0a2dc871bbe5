//! Pools of connections, sessions and streams.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{Running, check_echo, client, identity, until, within};
use wt_client::{
    ConnectError, ConnectionPool, PoolConfig, PoolError, Session, SessionPool, StreamPool,
};

/// A server and a pool of sessions to it.
async fn sessions(config: PoolConfig) -> (Running, SessionPool) {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let connect = client(&identity).connect(server.url());
    (server, SessionPool::new(connect, config).unwrap())
}

fn id(session: &Session) -> usize {
    session.connection().stable_id()
}

#[tokio::test]
async fn objects_are_lent_again_the_oldest_first() {
    let (_server, pool) = sessions(PoolConfig::new(3)).await;
    let one = within(pool.acquire()).await.unwrap();
    let two = within(pool.acquire()).await.unwrap();
    let (id_one, id_two) = (id(&one), id(&two));
    assert_ne!(id_one, id_two);
    drop(two);
    drop(one);
    assert_eq!((pool.stats().idle, pool.stats().lent), (2, 0));
    let again = within(pool.acquire()).await.unwrap();
    assert_eq!(id(&again), id_two);
    check_echo(&again, "still good").await;
    let other = pool.try_acquire().unwrap();
    assert_eq!(id(&other), id_one);
    assert!(pool.try_acquire().is_none());
    let stats = pool.stats();
    assert_eq!((stats.created, stats.reused), (2, 2));
    assert_eq!((stats.max_size, stats.idle, stats.lent), (3, 0, 2));
}

#[tokio::test]
async fn who_waits_is_served_in_order_and_gives_way_when_it_gives_up() {
    let (_server, pool) = sessions(PoolConfig::new(1)).await;
    let first = within(pool.acquire()).await.unwrap();
    let first_id = id(&first);
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    let mut waiters = Vec::new();
    for turn in 0..3 {
        let (of_task, sender) = (pool.clone(), sender.clone());
        waiters.push(tokio::spawn(async move {
            let lent = of_task.acquire().await.unwrap();
            sender.send((turn, id(&lent))).unwrap();
        }));
        until(|| pool.stats().waiting == turn + 1).await;
    }
    waiters[1].abort();
    until(|| pool.stats().waiting == 2).await;
    drop(first);
    let mut turns = Vec::new();
    for _ in 0..2 {
        let (turn, id) = within(served.recv()).await.unwrap();
        assert_eq!(id, first_id);
        turns.push(turn);
    }
    assert_eq!(turns, [0, 2]);
    until(|| pool.stats().idle == 1).await;
    assert_eq!(pool.stats().created, 1);
}

#[tokio::test]
async fn what_cannot_be_made_leaves_its_place_free() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let refused = client(&identity).connect(format!("{}refused", server.url()));
    let pool = SessionPool::new(refused, PoolConfig::new(1)).unwrap();
    for _ in 0..3 {
        let error = within(pool.acquire()).await.unwrap_err();
        let PoolError::Create(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(error.status().unwrap(), 403);
    }
    assert_eq!((pool.stats().failed, pool.stats().lent), (3, 0));
}

#[tokio::test]
async fn dead_objects_are_not_lent_again() {
    let (server, pool) = sessions(PoolConfig::new(2)).await;
    // It comes back dead.
    let lent = within(pool.acquire()).await.unwrap();
    lent.close(0, "");
    drop(lent);
    assert_eq!((pool.stats().idle, pool.stats().unhealthy), (0, 1));
    // It dies while it is idle.
    let lent = within(pool.acquire()).await.unwrap();
    let (session, dead) = (lent.clone(), id(&lent));
    drop(lent);
    assert_eq!(pool.stats().idle, 1);
    for connection in server.server.connections() {
        within(connection.close(0, "")).await;
    }
    within(session.closed()).await;
    let lent = within(pool.acquire()).await.unwrap();
    assert_ne!(id(&lent), dead);
    check_echo(&lent, "a new one").await;
    assert_eq!((pool.stats().unhealthy, pool.stats().created), (2, 3));
}

#[tokio::test]
async fn close_wakes_who_waits_and_leaves_what_is_lent() {
    let (_server, pool) = sessions(PoolConfig::new(1)).await;
    let lent = within(pool.acquire()).await.unwrap();
    let session = lent.clone();
    let of_task = pool.clone();
    let waits = tokio::spawn(async move { of_task.acquire().await.map(drop) });
    until(|| pool.stats().waiting == 1).await;
    pool.close();
    pool.close();
    let waited = within(waits).await.unwrap();
    assert!(matches!(waited, Err(PoolError::Closed)));
    let late = within(pool.acquire()).await;
    assert!(matches!(late, Err(PoolError::Closed)));
    assert!(pool.is_closed());
    // What is lent stays good until it comes back.
    check_echo(&lent, "still good").await;
    drop(lent);
    assert!(within(session.closed()).await.is_closed_locally());
    assert_eq!((pool.stats().idle, pool.stats().lent), (0, 0));
}

#[tokio::test]
async fn close_disposes_of_what_is_idle_and_wakes_who_makes_something() {
    let (_server, pool) = sessions(PoolConfig::new(2)).await;
    let lent = within(pool.acquire()).await.unwrap();
    let session = lent.clone();
    drop(lent);
    pool.close();
    assert!(within(session.closed()).await.is_closed_locally());
    assert_eq!(pool.stats().idle, 0);

    // Nobody answers here.
    let (_socket, port) = common::silent_port();
    let nowhere = client(&identity()).connect(format!("https://127.0.0.1:{port}/"));
    let pool = SessionPool::new(nowhere, PoolConfig::new(1)).unwrap();
    let of_task = pool.clone();
    let makes = tokio::spawn(async move { of_task.acquire().await.map(drop) });
    until(|| pool.stats().lent == 1).await;
    pool.close();
    let made = within(makes).await.unwrap();
    assert!(matches!(made, Err(PoolError::Closed)));
}

#[tokio::test]
async fn the_last_handle_closes_the_pool() {
    let (_server, pool) = sessions(PoolConfig::new(2)).await;
    let lent = within(pool.acquire()).await.unwrap();
    let idle = within(pool.acquire()).await.unwrap();
    let (idle_session, lent_session) = (idle.clone(), lent.clone());
    drop(idle);
    assert!(idle_session.close_reason().is_none());
    drop(pool);
    within(idle_session.closed()).await;
    check_echo(&lent, "still good").await;
    drop(lent);
    within(lent_session.closed()).await;
}

#[tokio::test]
async fn idle_objects_are_disposed_of_after_their_time_and_beyond_their_number() {
    let config = PoolConfig::new(3).with_idle_timeout(Duration::from_millis(50));
    let (_server, pool) = sessions(config).await;
    let lent = within(pool.acquire()).await.unwrap();
    let session = lent.clone();
    drop(lent);
    within(session.closed()).await;
    until(|| pool.stats().expired == 1).await;
    assert_eq!(pool.stats().idle, 0);

    let config = PoolConfig::new(3).with_max_idle(1);
    let (_server, pool) = sessions(config).await;
    let (old, new) = (pool.acquire(), pool.acquire());
    let (old, new) = (within(old).await.unwrap(), within(new).await.unwrap());
    let (old_session, new_session) = (old.clone(), new.clone());
    drop(old);
    drop(new);
    within(old_session.closed()).await;
    assert!(new_session.close_reason().is_none());
    assert_eq!((pool.stats().idle, pool.stats().expired), (1, 1));
}

#[tokio::test]
async fn waiting_has_a_limit() {
    let config = PoolConfig::new(1).with_acquire_timeout(Duration::from_millis(50));
    let (_server, pool) = sessions(config).await;
    // The first one has to be made within the limit too.
    let first = loop {
        if let Ok(first) = within(pool.acquire()).await {
            break first;
        }
    };
    let before = pool.stats().timed_out;
    let error = within(pool.acquire()).await.unwrap_err();
    assert!(matches!(error, PoolError::TimedOut(limit) if limit.as_millis() == 50));
    assert_eq!(pool.stats().timed_out, before + 1);
    assert_eq!(pool.stats().waiting, 0);
    drop(first);
    drop(within(pool.acquire()).await.unwrap());
}

#[tokio::test]
async fn objects_come_back_on_every_exit_and_leave_when_told() {
    let (_server, pool) = sessions(PoolConfig::new(1)).await;
    let of_task = pool.clone();
    let panics = tokio::spawn(async move {
        let _lent = of_task.acquire().await.unwrap();
        panic!("on purpose: the object has to come back");
    });
    assert!(within(panics).await.unwrap_err().is_panic());
    assert_eq!((pool.stats().idle, pool.stats().lent), (1, 0));

    let detached = within(pool.acquire()).await.unwrap().detach();
    let second = within(pool.acquire()).await.unwrap();
    assert_ne!(id(&detached), id(&second));
    check_echo(&detached, "on its own").await;
    let session = second.clone();
    second.discard();
    within(session.closed()).await;
    assert_eq!((pool.stats().idle, pool.stats().lent), (0, 0));
    drop(within(pool.acquire()).await.unwrap());
}

#[tokio::test]
async fn sizes_and_times_that_cannot_work_are_refused() {
    let client = client(&identity());
    let pool = |config| SessionPool::new(client.connect("https://localhost/"), config);
    for (config, key) in [
        (PoolConfig::new(0), "max_size"),
        (PoolConfig::new(PoolConfig::MAX_SIZE + 1), "max_size"),
        (
            PoolConfig::new(1).with_idle_timeout(Duration::ZERO),
            "idle_timeout",
        ),
        (
            PoolConfig::new(1).with_acquire_timeout(Duration::ZERO),
            "acquire_timeout",
        ),
    ] {
        assert_eq!(pool(config).unwrap_err().key, format!("PoolConfig.{key}"));
    }
    pool(PoolConfig::new(PoolConfig::MAX_SIZE)).unwrap();
}

#[tokio::test]
async fn many_borrowers_share_a_few_objects() {
    let (server, pool) = sessions(PoolConfig::new(4)).await;
    let borrowers = (0..64).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let lent = pool.acquire().await.unwrap();
            check_echo(&lent, &format!("borrower {n}")).await;
        })
    });
    for borrower in borrowers.collect::<Vec<_>>() {
        within(borrower).await.unwrap();
    }
    let stats = pool.stats();
    assert!(stats.created <= 4, "{stats:?}");
    assert_eq!(stats.created + stats.reused, 64);
    assert!(server.server.connections().len() <= 4);
}

#[tokio::test]
async fn connections_carry_sessions_of_one_borrower_after_the_other() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let client = client(&identity);
    let pool = ConnectionPool::new(client.connect(server.url()), PoolConfig::new(2)).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let lent = within(pool.acquire()).await.unwrap();
        let session = lent.open_session("localhost", "/", Default::default(), &[]);
        let session = within(session).await.unwrap();
        check_echo(&session, "over a pooled connection").await;
        session.close(0, "");
        ids.push(lent.stable_id());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(pool.stats().created, 1);

    // One that died is replaced.
    server.kill().await;
    until(|| pool.try_acquire().is_none()).await;
    assert!(pool.stats().unhealthy >= 1);
    let connect = client
        .connect("https://localhost:1/")
        .timeout(Duration::from_millis(50));
    let nobody = ConnectionPool::new(connect, PoolConfig::new(1)).unwrap();
    let error = within(nobody.acquire()).await.unwrap_err();
    let PoolError::Create(error) = error else {
        panic!("{error:?}")
    };
    assert!(error.is_timeout(), "{error}");
    assert!(!matches!(error, ConnectError::Closed));
}

#[tokio::test]
async fn streams_are_lent_again_between_two_exchanges_only() {
    let identity = identity();
    let server = Running::echo(&identity, 0).await;
    let session = within(client(&identity).connect(server.url()))
        .await
        .unwrap();
    let pool = StreamPool::new(session.clone(), PoolConfig::new(1)).unwrap();
    let mut ids = Vec::new();
    for n in 0..3_u8 {
        let mut lent = within(pool.acquire()).await.unwrap();
        let mut answer = [0; 3];
        within(lent.send.write_all(&[n; 3])).await.unwrap();
        within(lent.recv.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [n; 3]);
        ids.push(lent.id());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(pool.stats().unhealthy, 0);

    // Something of the answer was left over.
    let mut lent = within(pool.acquire()).await.unwrap();
    within(lent.send.write_all(b"two")).await.unwrap();
    within(lent.recv.read_exact(&mut [0; 1])).await.unwrap();
    drop(lent);
    assert_eq!((pool.stats().unhealthy, pool.stats().idle), (1, 0));
    // Finished, stopped, reset: by this side, and by the other in answer to it.
    for end in 0..3 {
        let mut lent = within(pool.acquire()).await.unwrap();
        assert_ne!(lent.id(), ids[0]);
        within(lent.send.write_all(b"x")).await.unwrap();
        within(lent.recv.read_exact(&mut [0; 1])).await.unwrap();
        match end {
            0 => lent.send.finish().unwrap(),
            1 => lent.recv.stop(7),
            _ => lent.send.reset(7),
        }
        drop(lent);
        assert_eq!(pool.stats().idle, 0, "end {end}");
    }
    // Not even one that nobody touched survives the end of the session.
    drop(within(pool.acquire()).await.unwrap());
    assert_eq!(pool.stats().idle, 1);
    session.close(0, "");
    let error = within(pool.acquire()).await.unwrap_err();
    assert!(matches!(error, PoolError::Create(_)), "{error:?}");
    assert_eq!(pool.stats().idle, 0);
}
