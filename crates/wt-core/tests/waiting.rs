//! Tasks that wait in a session do the work of its connection's driver: what becomes of it when they do not come.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Wake},
    time::{Duration, Instant},
};

use common::{eventually, pair, pattern, recv, send, within};
use futures_util::FutureExt;
use wt_core::Session;

/// Sends a stream and has it answered.
async fn ask(asking: &Session, answering: &Session) {
    let mut stream = within(asking.open_bi()).await.unwrap();
    send(&mut stream.send, pattern(100)).await;
    let mut answer = within(answering.accept_bi()).await.unwrap();
    let request = recv(&mut answer.recv).await.unwrap();
    send(&mut answer.send, request).await;
    assert_eq!(recv(&mut stream.recv).await.unwrap(), pattern(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_waits_and_is_not_polled_holds_nobody_up() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        // Whoever is woken for these does not come.
        let mut waits = pin!(server.accept_bi());
        assert!((&mut waits).now_or_never().is_none());
        let mut also_waits = pin!(client.accept_uni());
        assert!((&mut also_waits).now_or_never().is_none());
        let start = Instant::now();
        let (another, its_client) = within(pair.session()).await;
        ask(&its_client, &another).await;
        its_client.close(7, "");
        within(another.closed()).await;
        slowest = slowest.max(start.elapsed());
    }
    // A look each 10 ms finds what was left undone; the rest is for a busy machine.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    ask(&client, &server).await;
}

/// Takes note that a task was woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_woken_and_gives_up_loses_nothing() {
    let pair = pair().await;
    let (server, client) = pair.session().await;
    for n in 0..100 {
        let woken = Arc::<Woken>::default();
        let mut stream = within(client.open_bi()).await.unwrap();
        {
            let mut waits = pin!(server.accept_bi());
            let waker = woken.clone().into();
            let polled = waits.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            send(&mut stream.send, pattern(n)).await;
            eventually(|| woken.0.load(SeqCst)).await;
        }
        let mut accepted = within(server.accept_bi()).await.unwrap();
        assert_eq!(recv(&mut accepted.recv).await.unwrap(), pattern(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_wait_and_each_gets_one_stream() {
    const TASKS: usize = 20;
    let pair = pair().await;
    let (servers, clients) = pair.sessions(4).await;
    let mut waiting = tokio::task::JoinSet::new();
    for server in &servers {
        for _ in 0..TASKS {
            let (bidi, uni) = (server.clone(), server.clone());
            waiting.spawn(async move {
                let mut stream = bidi.accept_bi().await.unwrap();
                recv(&mut stream.recv).await.unwrap().len()
            });
            waiting.spawn(async move {
                let mut stream = uni.accept_uni().await.unwrap();
                recv(&mut stream).await.unwrap().len()
            });
        }
    }
    for client in &clients {
        for n in 0..TASKS {
            let mut stream = within(client.open_bi()).await.unwrap();
            send(&mut stream.send, pattern(n)).await;
            let mut stream = within(client.open_uni()).await.unwrap();
            send(&mut stream, pattern(n)).await;
        }
    }
    let mut bytes = 0;
    while let Some(len) = within(waiting.join_next()).await {
        bytes += len.unwrap();
    }
    assert_eq!(bytes, 4 * TASKS * (TASKS - 1));
}
