//! Calls in both directions: on one stream, as PyWebTransport 0.8 has it, and with a stream for each.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod rpc_world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{pair, within};
use futures_util::future::join_all;
use rpc_world::{Raw, User, ends, forms, gate, methods, raw};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use wt_messaging::rpc::{
    Batch, CallError, Methods, Request, Rpc, RpcConfig, RpcEnd, RpcError, RpcErrorCode,
};

#[tokio::test]
async fn calls_have_results() {
    let pair = pair().await;
    for (_server, client) in forms(&pair, methods, RpcConfig::new()).await {
        let sum: i64 = within(client.call("add", (1, 2))).await.unwrap();
        assert_eq!(sum, 3);
        let user: User = within(client.call("get_user", [7])).await.unwrap();
        assert_eq!(user.name, "User 7");
        within(client.call::<()>("nothing", ())).await.unwrap();
        let text: String = within(client.call("echo", ("é\u{1f600}\n",)))
            .await
            .unwrap();
        assert_eq!(text, "é\u{1f600}\n");
        let who: (String, bool) = within(client.call("whoami", ())).await.unwrap();
        assert_eq!(who, ("whoami".to_owned(), false));
    }
}

#[tokio::test]
async fn parameters_are_positional_or_named() {
    let pair = pair().await;
    for (_server, client) in forms(&pair, methods, RpcConfig::new()).await {
        let named = json!({"words": "cat", "limit": 3});
        let found: String = within(client.call("search", named)).await.unwrap();
        assert_eq!(found, "cat Some(3)");
        let found: String = within(client.call("search", ("cat", 3))).await.unwrap();
        assert_eq!(found, "cat Some(3)");
        let found: String = within(client.call("search", json!({"words": "cat"})))
            .await
            .unwrap();
        assert_eq!(found, "cat None");
        for (method, params) in [
            ("add", json!([1])),
            ("add", json!([1, 2, 3])),
            ("add", json!(["1", 2])),
            ("add", json!({"a": 1, "b": 2})),
            ("nothing", json!([1])),
            ("search", json!({"limit": 3})),
            ("search", json!([])),
        ] {
            let call = client.call::<Value>(method, &params);
            let error = within(call).await.unwrap_err();
            assert!(error.is_invalid_params(), "{method} {params}: {error}");
        }
    }
}

#[tokio::test]
async fn errors_have_code_message_and_data() {
    let pair = pair().await;
    for (_server, client) in forms(&pair, methods, RpcConfig::new()).await {
        let error = within(client.call::<()>("custom", ())).await.unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!(remote.code, RpcErrorCode(7));
        assert_eq!(remote.message, "no more");
        assert_eq!(remote.data, Some(json!({"left": 0})));
        assert_eq!(error.to_string(), "the peer answered: no more (7)");

        let error = within(client.call::<()>("nope", ())).await.unwrap_err();
        assert!(error.is_method_not_found(), "{error}");
        for (method, words) in [
            ("boom", "Error executing 'boom': bad thing"),
            ("panic", "Error executing 'panic': the handler panicked"),
            (
                "tuple_keys",
                "Error executing 'tuple_keys': the result has no form in JSON: \
                a tuple cannot be the key of a member",
            ),
        ] {
            let error = within(client.call::<()>(method, ())).await.unwrap_err();
            assert_eq!(error.code(), Some(RpcErrorCode::INTERNAL_ERROR), "{error}");
            let message = &error.remote().unwrap().message;
            assert!(message.ends_with(words), "{message}");
        }
        // And it goes on.
        let sum: i64 = within(client.call("add", (1, 2))).await.unwrap();
        assert_eq!(sum, 3);
    }
}

#[tokio::test]
async fn what_cannot_be_called_is_not_sent() {
    let pair = pair().await;
    let config = RpcConfig::new().with_max_message_size(1000);
    for (_server, client) in forms(&pair, methods, config).await {
        let error = within(client.call::<()>("", ())).await.unwrap_err();
        assert!(matches!(error, CallError::NoName), "{error}");
        let error = within(client.call::<()>("echo", 7)).await.unwrap_err();
        assert!(matches!(error, CallError::SingleValue), "{error}");
        let nan = within(client.call::<()>("echo", (f64::NAN,)))
            .await
            .unwrap_err();
        assert!(matches!(nan, CallError::Encode(_)), "{nan}");
        let large = within(client.call::<()>("echo", ("x".repeat(1000),)))
            .await
            .unwrap_err();
        assert!(
            matches!(large, CallError::TooLarge { max: 1000, .. }),
            "{large}"
        );
        let error = within(client.batch(Batch::new())).await.unwrap_err();
        assert!(matches!(error, CallError::NotStrict), "{error}");
        let text = within(client.call::<String>("add", (1, 2)))
            .await
            .unwrap_err();
        assert!(matches!(text, CallError::Decode(_)), "{text}");
    }
}

#[tokio::test]
async fn both_ends_call_each_other() {
    let pair = pair().await;
    let ask_back = || {
        Methods::new().method_with(
            "sum_of_yours",
            |request: Request, (n,): (u32,)| async move {
                let peer = request.peer().ok_or_else(|| RpcError::new(1, "gone"))?;
                let mut sum = 0;
                for n in 0..n {
                    sum += peer.call::<u32>("number", (n,)).await?;
                }
                Ok(sum)
            },
        )
    };
    let number = || Methods::new().method("number", |n: u32| async move { Ok(n * 10) });
    let config = RpcConfig::new();
    let (server, client) = pair.stream().await;
    let single = (
        Rpc::on_stream(&pair.server, server, ask_back(), config.clone()),
        Rpc::on_stream(&pair.client, client, number(), config.clone()),
    );
    let multiplexed = (
        Rpc::over_session(&pair.server, ask_back(), config.clone()),
        Rpc::over_session(&pair.client, number(), config),
    );
    for (server, client) in [single, multiplexed] {
        let sum: u32 = within(client.call("sum_of_yours", (4,))).await.unwrap();
        assert_eq!(sum, 60);
        let number: u32 = within(server.call("number", (4,))).await.unwrap();
        assert_eq!(number, 40);
    }
}

#[tokio::test]
async fn answers_come_in_any_order() {
    let pair = pair().await;
    let doors = Arc::new([const { Notify::const_new() }; 3]);
    let methods = || {
        let doors = doors.clone();
        Methods::new().method("wait", move |door: usize| {
            let doors = doors.clone();
            async move {
                doors[door].notified().await;
                if let Some(next) = door.checked_sub(1) {
                    doors[next].notify_one();
                }
                Ok(door)
            }
        })
    };
    for (_server, client) in forms(&pair, methods, RpcConfig::new()).await {
        let calls = (0..3).map(|door| client.call::<usize>("wait", (door,)).into_future());
        let calls = join_all(calls);
        // The last one goes first.
        doors[2].notify_one();
        let results: Vec<_> = within(calls)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(results, [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_thousand_calls_keep_their_results_apart() {
    let pair = pair().await;
    let config = RpcConfig::new().with_queue(1000);
    for (_server, client) in forms(&pair, methods, config).await {
        let calls = (0..1000_i64).map(|n| client.call::<i64>("add", (n, 1)).into_future());
        let results = within(join_all(calls)).await;
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (1..1001).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_at_the_peer() {
    let pair = pair().await;
    let (methods, _gate, mut telling) = gate();
    let config = RpcConfig::new().with_concurrency(1);
    for (_server, client) in forms(&pair, || methods.clone(), config).await {
        // Dropped.
        let call = tokio::spawn(client.call::<()>("gate", ()).into_future());
        assert_eq!(within(telling.recv()).await, Some("begun"));
        call.abort();
        assert_eq!(within(telling.recv()).await, Some("dropped"));
        // Timed out.
        let limit = Duration::from_millis(200);
        let call = client.call::<()>("gate", ()).timeout(limit);
        let error = within(call).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(error.to_string(), "no answer to \"gate\" after 0.2 s");
        // With one handler at a time, this one has its turn only when the other is gone.
        let sum: i64 = within(client.call("add", (1, 2))).await.unwrap();
        assert_eq!(sum, 3);
        assert_eq!(within(telling.recv()).await, Some("begun"));
        assert_eq!(within(telling.recv()).await, Some("dropped"));
    }
}

#[tokio::test]
async fn notifications_are_done_and_not_answered() {
    let pair = pair().await;
    let (sender, mut heard) = mpsc::channel(10);
    let methods = || {
        let sender = sender.clone();
        methods().method("hear", move |text: String| {
            let sender = sender.clone();
            async move {
                sender.send(text).await?;
                Ok(())
            }
        })
    };
    for (_server, client) in forms(&pair, methods, RpcConfig::new()).await {
        within(client.notify("hear", ("one",))).await.unwrap();
        within(client.notify("nope", ())).await.unwrap();
        within(client.notify("boom", ())).await.unwrap();
        assert_eq!(within(heard.recv()).await.unwrap(), "one");
        assert!(client.notify("", ()).await.is_err());
    }
    let (rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    within(rpc.notify("log", ("é",))).await.unwrap();
    assert_eq!(
        peer.recv().await,
        r#"{"method": "log", "params": ["\u00e9"]}"#
    );
    // An id of null makes a notification, too: only the call is answered.
    peer.send(r#"{"id": null, "method": "add", "params": [1, 2]}"#)
        .await;
    peer.send(r#"{"method": "nope"}"#).await;
    let answer = peer
        .ask(r#"{"id": 1, "method": "add", "params": [1, 2]}"#)
        .await;
    assert_eq!(answer, r#"{"id": 1, "result": 3}"#);
}

#[tokio::test]
async fn a_large_answer_holds_up_no_other_call_with_a_stream_for_each() {
    let pair = pair().await;
    let config = RpcConfig::new().with_max_message_size(64 << 20);
    let _server = Rpc::over_session(&pair.server, methods(), config.clone());
    // The answer that nobody reads fills the window of its stream.
    let mut unread = within(pair.client.open_bi()).await.unwrap();
    let request = br#"{"id": 1, "method": "large", "params": [33554432]}"#;
    let head = u32::try_from(request.len()).unwrap().to_be_bytes();
    within(unread.send.write_all(&[&head[..], request].concat()))
        .await
        .unwrap();
    within(unread.recv.read_exact(&mut [0; 4])).await.unwrap();

    let client = Rpc::over_session(&pair.client, Methods::new(), config);
    for n in 0..10 {
        let sum: i64 = within(client.call("add", (n, 1))).await.unwrap();
        assert_eq!(sum, n + 1);
    }
    let large: String = within(client.call("large", (1 << 20,))).await.unwrap();
    assert_eq!(large.len(), 1 << 20);
}

#[tokio::test]
async fn close_fails_calls_at_both_ends() {
    let pair = pair().await;
    let (methods, _gate, mut telling) = gate();
    for closes in ["client", "server"] {
        let (server, client) = ends(&pair, methods.clone(), RpcConfig::new()).await;
        let call = tokio::spawn(client.call::<()>("gate", ()).into_future());
        assert_eq!(within(telling.recv()).await, Some("begun"));
        let (closing, other) = if closes == "client" {
            (&client, &server)
        } else {
            (&server, &client)
        };
        within(closing.close()).await;
        within(closing.close()).await;
        assert_eq!(within(closing.closed()).await, RpcEnd::Closed);
        assert_eq!(within(other.closed()).await, RpcEnd::Finished);
        let error = within(call).await.unwrap().unwrap_err();
        let end = if closes == "client" {
            RpcEnd::Closed
        } else {
            RpcEnd::Finished
        };
        assert!(
            matches!(&error, CallError::Ended(e) if *e == end),
            "{error}"
        );
        assert_eq!(client.close_reason(), Some(end));
        let error = within(client.call::<()>("nothing", ())).await.unwrap_err();
        assert!(matches!(error, CallError::Ended(_)), "{error}");
        assert!(client.notify("nothing", ()).await.is_err());
        assert_eq!(within(telling.recv()).await, Some("dropped"));
    }
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let pair = pair().await;
    let (server, client) = ends(&pair, methods(), RpcConfig::new()).await;
    let copy = client.clone();
    drop(client);
    let sum: i64 = within(copy.call("add", (1, 2))).await.unwrap();
    assert_eq!(sum, 3);
    drop(copy);
    assert_eq!(within(server.closed()).await, RpcEnd::Finished);
}

#[tokio::test]
async fn the_end_of_the_session_ends_calls() {
    let pair = pair().await;
    let (methods, _gate, mut telling) = gate();
    let all = forms(&pair, || methods.clone(), RpcConfig::new()).await;
    let mut calls = Vec::new();
    for (_, client) in &all {
        calls.push(tokio::spawn(
            client.call::<()>("gate", ()).timeout(None).into_future(),
        ));
        assert_eq!(within(telling.recv()).await, Some("begun"));
    }
    pair.server.close(5, "enough");
    for call in calls {
        let error = within(call).await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Ended(_)), "{error}");
        assert_eq!(within(telling.recv()).await, Some("dropped"));
    }
    for (server, client) in &all {
        within(server.closed()).await;
        let end = within(client.closed()).await;
        assert!(
            matches!(end, RpcEnd::Read(_) | RpcEnd::Write(_) | RpcEnd::Session(_)),
            "{end}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_calls_no_more_still_gets_its_answers() {
    let pair = pair().await;
    let (methods, gate, mut telling) = gate();
    let (server, client) = pair.stream().await;
    let rpc = Rpc::on_stream(&pair.server, server, methods, RpcConfig::new());
    let mut peer = Raw(client);
    peer.send(r#"{"id": 1, "method": "gate"}"#).await;
    peer.0.send.finish().unwrap();
    assert_eq!(within(telling.recv()).await, Some("begun"));
    gate.add_permits(1);
    assert_eq!(peer.recv().await, r#"{"id": 1, "result": null}"#);
    assert_eq!(within(peer.0.recv.read_chunk(1)).await.unwrap(), None);
    assert_eq!(within(rpc.closed()).await, RpcEnd::Finished);
}

#[tokio::test]
async fn a_method_of_the_same_name_is_replaced() {
    let pair = pair().await;
    let methods = methods().method("add", |a: i64, b: i64| async move { Ok(a * b) });
    let (_server, client) = ends(&pair, methods, RpcConfig::new()).await;
    let product: i64 = within(client.call("add", (3, 4))).await.unwrap();
    assert_eq!(product, 12);
}

#[tokio::test]
async fn handlers_have_up_to_eight_parameters() {
    let pair = pair().await;
    let counted = Arc::new(AtomicUsize::new(0));
    let counting = counted.clone();
    let methods = Methods::new().method(
        "eight",
        move |a: u8, b: u16, c: u32, d: u64, e: i8, f: f64, g: bool, h: Option<String>| {
            counting.fetch_add(1, SeqCst);
            async move { Ok((a, b, c, d, e, f, g, h)) }
        },
    );
    let (_server, client) = ends(&pair, methods, RpcConfig::new()).await;
    let sent = (1, 2, 3, 4, -5, 6.5, true, "h");
    let back: (u8, u16, u32, u64, i8, f64, bool, String) =
        within(client.call("eight", sent)).await.unwrap();
    assert_eq!(back, (1, 2, 3, 4, -5, 6.5, true, "h".to_owned()));
    assert_eq!(counted.load(SeqCst), 1);
}
