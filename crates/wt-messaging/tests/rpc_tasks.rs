//! Where handlers of RPC run, and how long calls wait.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod rpc_world;

use std::{sync::Arc, time::Duration};

use common::{pair, within};
use futures_util::future::join_all;
use rpc_world::forms;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, mpsc},
};
use wt_messaging::rpc::{Methods, Rpc, RpcConfig, RpcEnd, RpcError};

#[tokio::test]
async fn quick_handlers_share_a_task_and_slow_ones_have_their_own() {
    let pair = pair().await;
    // Says in which task it runs.
    let methods = Methods::new().method("work", |millis: u64| async move {
        if millis > 0 {
            std::thread::sleep(Duration::from_millis(millis));
        }
        Ok(tokio::task::id().to_string())
    });
    for (_server, client) in forms(&pair, || methods.clone(), RpcConfig::new()).await {
        let work =
            async |millis: u64| -> String { within(client.call("work", (millis,))).await.unwrap() };
        let shared = within(async {
            loop {
                // On a busy machine any of them may take long.
                let (first, second) = (work(0).await, work(0).await);
                if first == second {
                    break first;
                }
            }
        })
        .await;
        assert_eq!(work(5).await, shared, "nobody knew that it takes long");
        let own = work(5).await;
        assert_ne!(own, shared);
        assert_ne!(work(5).await, own, "each has its own");
    }
}

#[tokio::test]
async fn a_handler_that_begins_to_wait_holds_up_no_other() {
    let pair = pair().await;
    let gate = Arc::new(Semaphore::new(0));
    let (begun, mut beginning) = mpsc::channel(8);
    let inner = gate.clone();
    let methods = Methods::new().method("work", move |waits: bool| {
        let (gate, begun) = (inner.clone(), begun.clone());
        async move {
            if waits {
                let _ = begun.try_send(());
                gate.acquire().await?.forget();
            }
            Ok(waits)
        }
    });
    for (_server, client) in forms(&pair, || methods.clone(), RpcConfig::new()).await {
        let work = |waits: bool| within(client.call::<bool>("work", (waits,)));
        for _ in 0..3 {
            assert!(!work(false).await.unwrap());
        }
        let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(work(true))).collect();
        for _ in 0..3 {
            within(beginning.recv()).await.unwrap();
            assert!(!work(false).await.unwrap());
        }
        gate.add_permits(3);
        for call in join_all(waiting).await {
            assert!(call.unwrap().unwrap());
        }
    }
}

#[tokio::test]
async fn each_call_has_its_own_time() {
    let pair = pair().await;
    let gate = Arc::new(Semaphore::new(0));
    let inner = gate.clone();
    let methods = Methods::new().method("gate", move || {
        let gate = inner.clone();
        async move {
            gate.acquire().await?.forget();
            Ok(())
        }
    });
    for (_server, client) in forms(&pair, || methods.clone(), RpcConfig::new()).await {
        let call = |millis: Option<u64>| {
            let limit = millis.map(Duration::from_millis);
            tokio::spawn(client.call::<()>("gate", ()).timeout(limit).into_future())
        };
        let (never, long) = (call(None), call(Some(3_600_000)));
        // A shorter time than all before, then a longer one, and one that was over before it began.
        for millis in [50, 100, 0] {
            let error = within(call(Some(millis))).await.unwrap().unwrap_err();
            assert!(error.is_timeout(), "{error}");
            assert!(!never.is_finished() && !long.is_finished());
        }
        gate.add_permits(2);
        within(never).await.unwrap().unwrap();
        within(long).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn time_runs_out_also_where_nothing_can_be_written() {
    let pair = pair().await;
    let (_not_read, stream) = pair.stream().await;
    let client = Rpc::on_stream(&pair.client, stream, Methods::new(), RpcConfig::new());
    // More than the stream takes, so that what follows waits in front of it.
    let large = "x".repeat(500_000);
    for _ in 0..10 {
        within(client.notify("log", (&large,))).await.unwrap();
    }
    for millis in [200, 100, 50] {
        let call = client.call::<()>("nothing", ());
        let call = within(call.timeout(Duration::from_millis(millis)));
        assert!(call.await.unwrap_err().is_timeout());
    }
}

/// A method that never ends, and where it tells that it has begun.
fn forever() -> (Methods, mpsc::Receiver<()>) {
    let (begun, beginning) = mpsc::channel(1);
    let methods = Methods::new().method("forever", move || {
        let begun = begun.clone();
        async move {
            let _ = begun.try_send(());
            std::future::pending::<Result<(), RpcError>>().await
        }
    });
    (methods, beginning)
}

#[test]
fn calls_fail_when_the_runtime_of_their_stream_goes_away() {
    let there = Runtime::new().unwrap();
    let here = Runtime::new().unwrap();
    let (methods, mut beginning) = forever();
    let (pair, forms) = there.block_on(async {
        let pair = pair().await;
        let forms = forms(&pair, || methods.clone(), RpcConfig::new()).await;
        (pair, forms)
    });
    let (_server, client) = &forms[0];
    let call = client.call::<()>("forever", ()).timeout(None);
    let call = here.spawn(call.into_future());
    here.block_on(within(beginning.recv())).unwrap();
    there.shutdown_timeout(Duration::from_secs(10));
    assert!(here.block_on(within(call)).unwrap().is_err());
    drop(pair);
}

#[test]
fn calls_with_streams_of_their_own_fail_when_the_runtime_of_rpc_goes_away() {
    let there = Runtime::new().unwrap();
    let here = Runtime::new().unwrap();
    let (methods, mut beginning) = forever();
    let pair = here.block_on(pair());
    let _server =
        here.block_on(async { Rpc::over_session(&pair.server, methods, RpcConfig::new()) });
    let client =
        there.block_on(async { Rpc::over_session(&pair.client, Methods::new(), RpcConfig::new()) });
    let call = client
        .call::<()>("forever", ())
        .timeout(Duration::from_secs(3600));
    let call = here.spawn(call.into_future());
    here.block_on(within(beginning.recv())).unwrap();
    there.shutdown_timeout(Duration::from_secs(10));
    let error = here.block_on(within(call)).unwrap().unwrap_err();
    assert!(!error.is_timeout(), "{error}");
    assert!(client.close_reason().is_some());
    // The session is none of its business.
    assert!(pair.client.close_reason().is_none());
}

/// Answers of handlers that need no task pile up no higher than others.
#[tokio::test]
async fn a_peer_that_reads_no_quick_answers_is_given_up() {
    let pair = pair().await;
    let (server, mut peer) = pair.stream().await;
    let methods = Methods::new().method("large", || async { Ok("x".repeat(9000)) });
    let config = RpcConfig::new()
        .with_max_message_size(10_000)
        .with_answer_bytes(10_000);
    let rpc = Rpc::on_stream(&pair.server, server, methods, config);
    let request = br#"{"id": 1, "method": "large"}"#;
    let head = u32::try_from(request.len()).unwrap().to_be_bytes();
    let frame = [&head[..], request].concat();
    within(async { while peer.send.write_all(&frame).await.is_ok() {} }).await;
    assert_eq!(within(rpc.closed()).await, RpcEnd::Overloaded);
    // That is the end of the stream, not of the session.
    pair.stream().await;
}
