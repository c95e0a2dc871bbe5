//! How much a peer may ask of RPC, and for how long.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod rpc_world;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{pair, within};
use rpc_world::{Raw, ends, forms, gate, methods, raw};
use tokio::sync::Barrier;
use wt_messaging::rpc::{
    Methods, Rpc, RpcConfig, RpcEnd, RpcErrorCode, RpcErrorResponse, RpcSuccessResponse,
};

#[tokio::test]
async fn only_so_many_handlers_run_and_so_many_requests_wait() {
    let pair = pair().await;
    let (methods, gate, mut telling) = gate();
    let config = RpcConfig::new().with_concurrency(2).with_queue(3);
    let (_server, client) = ends(&pair, methods, config).await;
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(client.call::<()>("gate", ()).into_future()))
        .collect();
    for _ in 0..2 {
        assert_eq!(within(telling.recv()).await, Some("begun"));
    }
    // Two run and three wait once this one is refused.
    let busy = within(async {
        loop {
            let call = client
                .call::<()>("nothing", ())
                .timeout(Duration::from_millis(50));
            match call.await {
                Err(error) if error.is_timeout() => {}
                result => break result.unwrap_err(),
            }
        }
    })
    .await;
    assert_eq!(busy.code(), Some(RpcErrorCode::BUSY), "{busy}");
    assert!(telling.try_recv().is_err(), "a third one runs");
    gate.add_permits(5);
    for call in calls {
        within(call).await.unwrap().unwrap();
    }
    within(client.call::<()>("nothing", ())).await.unwrap();
}

#[tokio::test]
async fn waiting_requests_take_only_so_many_bytes() {
    let pair = pair().await;
    let (methods, gate, mut telling) = gate();
    let config = RpcConfig::new().with_concurrency(1).with_queue_bytes(1000);
    let (_server, client) = ends(&pair, methods, config).await;
    let first = tokio::spawn(client.call::<()>("gate", ()).into_future());
    assert_eq!(within(telling.recv()).await, Some("begun"));
    let waits = tokio::spawn(
        client
            .call::<String>("echo", ("x".repeat(500),))
            .into_future(),
    );
    let busy = within(client.call::<String>("echo", ("x".repeat(1000),)))
        .await
        .unwrap_err();
    assert_eq!(busy.code(), Some(RpcErrorCode::BUSY), "{busy}");
    gate.add_permits(1);
    within(first).await.unwrap().unwrap();
    assert_eq!(within(waits).await.unwrap().unwrap().len(), 500);
}

#[tokio::test]
async fn a_stream_for_each_call_waits_beyond_the_limit_of_handlers() {
    let pair = pair().await;
    let (methods, gate, mut telling) = gate();
    let config = RpcConfig::new().with_concurrency(2);
    let _server = Rpc::over_session(&pair.server, methods, config.clone());
    let client = Rpc::over_session(&pair.client, Methods::new(), config);
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(client.call::<()>("gate", ()).into_future()))
        .collect();
    for _ in 0..2 {
        assert_eq!(within(telling.recv()).await, Some("begun"));
    }
    let call = client
        .call::<()>("nothing", ())
        .timeout(Duration::from_millis(50));
    assert!(within(call).await.unwrap_err().is_timeout());
    assert!(telling.try_recv().is_err(), "a third one runs");
    gate.add_permits(5);
    for call in calls {
        within(call).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_before_they_are_sent() {
    let pair = pair().await;
    let (methods, gate, mut telling) = gate();
    let config = RpcConfig::new().with_pending_calls(1);
    for (_server, client) in forms(&pair, || methods.clone(), config).await {
        let first = tokio::spawn(client.call::<()>("gate", ()).into_future());
        assert_eq!(within(telling.recv()).await, Some("begun"));
        let second = client.call::<i64>("add", (1, 2));
        let second = second.timeout(Duration::from_millis(50));
        assert!(within(second).await.unwrap_err().is_timeout());
        gate.add_permits(1);
        within(first).await.unwrap().unwrap();
        assert_eq!(within(telling.recv()).await, Some("dropped"));
        let sum: i64 = within(client.call("add", (1, 2))).await.unwrap();
        assert_eq!(sum, 3);
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let pair = pair().await;
    let config = RpcConfig::new()
        .with_max_message_size(64 << 20)
        .with_close_timeout(Duration::from_millis(100));
    let (rpc, mut peer) = raw(&pair, config).await;
    peer.send(r#"{"id": 1, "method": "large", "params": [33554432]}"#)
        .await;
    // The answer has begun, and is larger than any window.
    within(peer.0.recv.read_exact(&mut [0; 4])).await.unwrap();
    within(rpc.close()).await;
    let error = within(peer.0.recv.read_to_end(usize::MAX))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("reset"), "{error}");
}

#[tokio::test]
async fn messages_are_no_larger_than_allowed() {
    let pair = pair().await;
    let config = RpcConfig::new().with_max_message_size(1000);
    // An answer that is too large is replaced by an error.
    for (_server, client) in forms(&pair, methods, config.clone()).await {
        let error = within(client.call::<String>("large", (1000,)))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(RpcErrorCode::INTERNAL_ERROR), "{error}");
        assert!(
            error.to_string().contains("at most 1000 are allowed"),
            "{error}"
        );
        let fits: String = within(client.call("large", (900,))).await.unwrap();
        assert_eq!(fits.len(), 900);
    }
    // One that is announced ends the stream by its length alone.
    let (rpc, mut peer) = raw(&pair, config.clone()).await;
    within(peer.0.send.write_all(&1001_u32.to_be_bytes()))
        .await
        .unwrap();
    let end = within(rpc.closed()).await;
    assert_eq!(
        end,
        RpcEnd::TooLarge {
            size: 1001,
            max: 1000
        }
    );
    assert_eq!(
        within(peer.0.send.closed()).await.unwrap_err().code(),
        Some(0)
    );
    assert_eq!(
        within(peer.0.recv.read_chunk(1)).await.unwrap_err().code(),
        Some(0)
    );
    // Among streams for each call, it is answered.
    let pair = common::pair().await;
    let _server = Rpc::over_session(&pair.server, methods(), config);
    let mut peer = Raw(within(pair.client.open_bi()).await.unwrap());
    within(peer.0.send.write_all(&1001_u32.to_be_bytes()))
        .await
        .unwrap();
    let answer = peer.recv().await;
    assert!(
        answer.starts_with(r#"{"id": null, "error": {"code": -32600, "#),
        "{answer}"
    );
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_up() {
    let pair = pair().await;
    let config = RpcConfig::new().with_max_message_size(10_000);
    let (rpc, mut peer) = raw(&pair, config).await;
    // Each of these is answered at once, with the id, and nobody reads the answers.
    let request = format!(r#"{{"id": "{}", "method": 7}}"#, "x".repeat(9000));
    let head = u32::try_from(request.len()).unwrap().to_be_bytes();
    let frame = [&head[..], request.as_bytes()].concat();
    let flood = async { while peer.0.send.write_all(&frame).await.is_ok() {} };
    within(flood).await;
    assert_eq!(within(rpc.closed()).await, RpcEnd::Overloaded);
}

/// A hundred answers of 64 KiB that are there at once do not fit where little may wait.
#[tokio::test]
async fn answers_wait_up_to_a_number_of_bytes() {
    const CALLS: usize = 100;
    let pair = pair().await;
    let (all, ready) = (Arc::new(Barrier::new(CALLS)), Arc::new(AtomicUsize::new(0)));
    let count = ready.clone();
    let methods = Methods::new().method("large", move || {
        let (all, ready) = (all.clone(), count.clone());
        async move {
            all.wait().await;
            ready.fetch_add(1, SeqCst);
            Ok("x".repeat(64 << 10))
        }
    });
    let config = RpcConfig::new()
        .with_concurrency(CALLS)
        .with_max_message_size(128 << 10)
        .with_answer_bytes(64 << 10);
    let peer = within(pair.client.open_bi()).await.unwrap();
    let mut peer = Raw(peer);
    for id in 0..CALLS {
        peer.send(format!(r#"{{"id": {id}, "method": "large"}}"#))
            .await;
    }
    let _rpc = within(Rpc::accept(&pair.server, methods, config))
        .await
        .unwrap();
    while ready.load(SeqCst) < CALLS {
        within(tokio::task::yield_now()).await;
    }
    let (mut results, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..CALLS {
        let answer = peer.recv().await;
        match serde_json::from_str(&answer) {
            Ok(RpcSuccessResponse { id, result }) => {
                assert_eq!(result.as_str().map(str::len), Some(64 << 10));
                results.insert(format!("{id:?}"));
            }
            Err(_) => {
                let RpcErrorResponse { id, error } = serde_json::from_str(&answer).unwrap();
                assert_eq!(error.code, RpcErrorCode::BUSY, "{error}");
                refused.insert(format!("{:?}", id.unwrap()));
            }
        }
    }
    // Each is answered once; what the stream takes and what may wait has its result.
    assert_eq!(results.len() + refused.len(), CALLS);
    assert!(results.is_disjoint(&refused));
    assert!(
        results.len() >= 2 && !refused.is_empty(),
        "{}",
        results.len()
    );
    // Nothing waits any more, and the next one has room.
    let answer = peer.ask(r#"{"id": 7, "method": "nope"}"#).await;
    assert!(answer.contains("-32601"), "{answer}");
}

#[tokio::test]
async fn requests_have_to_arrive_in_time_with_a_stream_for_each() {
    let pair = pair().await;
    let config = RpcConfig::new()
        .with_concurrency(1)
        .with_request_timeout(Duration::from_millis(100));
    let _server = Rpc::over_session(&pair.server, methods(), config);
    let mut slow = within(pair.client.open_bi()).await.unwrap();
    within(slow.send.write_all(b"\0\0")).await.unwrap();
    // Its stream is the only one that is served, until its time is over.
    let mut peer = Raw(within(pair.client.open_bi()).await.unwrap());
    let answer = peer.ask(r#"{"id": 1, "method": "nothing"}"#).await;
    assert_eq!(answer, r#"{"id": 1, "result": null}"#);
    assert!(within(slow.recv.read_chunk(1)).await.is_err());
}
