//! Calls in both directions: on one stream, as PyWebTransport 0.8 has it, and with a stream for each.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{Pair, pair, within};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify, Semaphore, mpsc};
use wt_core::BiStream;
use wt_messaging::rpc::{
    Batch, CallError, Methods, Request, Rpc, RpcConfig, RpcEnd, RpcError, RpcErrorCode,
    RpcErrorResponse, RpcId, RpcRequest, RpcSuccessResponse,
};

async fn add(a: i64, b: i64) -> Result<i64, RpcError> {
    Ok(a + b)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u32,
    name: String,
}

#[derive(Deserialize)]
struct Search {
    words: String,
    #[serde(default)]
    limit: Option<usize>,
}

/// The methods of PyWebTransport's own test server, and some more.
fn methods() -> Methods {
    Methods::new()
        .method("add", add)
        .method("get_user", |id: u32| async move {
            Ok(User {
                id,
                name: format!("User {id}"),
            })
        })
        .method("nothing", || async { Ok(()) })
        .method("boom", || async {
            Err::<(), _>(std::io::Error::other("bad thing").into())
        })
        .method("panic", || async {
            if true {
                panic!("on purpose");
            }
            Ok(())
        })
        .method("custom", || async {
            Err::<(), _>(RpcError::new(7, "no more").with_data(json!({"left": 0})))
        })
        .method("tuple_keys", || async { Ok(BTreeMap::from([((1, 2), 3)])) })
        .method("echo", |value: Value| async move { Ok(value) })
        .method("large", |size: usize| async move { Ok("x".repeat(size)) })
        .method_named("search", |search: Search| async move {
            Ok(format!("{} {:?}", search.words, search.limit))
        })
        .method_with("whoami", |request: Request, (): ()| async move {
            Ok((request.method().to_owned(), request.is_notification()))
        })
}

/// One end serves, the other only calls.
async fn ends(pair: &Pair, methods: Methods, config: RpcConfig) -> (Rpc, Rpc) {
    let (server, client) = pair.stream().await;
    (
        Rpc::on_stream(&pair.server, server, methods, config.clone()),
        Rpc::on_stream(&pair.client, client, Methods::new(), config),
    )
}

/// Both forms.
async fn forms(pair: &Pair, methods: impl Fn() -> Methods, config: RpcConfig) -> Vec<(Rpc, Rpc)> {
    let single = ends(pair, methods(), config.clone()).await;
    let server = Rpc::over_session(&pair.server, methods(), config.clone());
    let client = Rpc::over_session(&pair.client, Methods::new(), config);
    vec![single, (server, client)]
}

/// A peer by hand.
struct Raw(BiStream);

impl Raw {
    async fn send(&mut self, json: impl AsRef<[u8]>) {
        let json = json.as_ref();
        let len = u32::try_from(json.len()).unwrap();
        let frame = [&len.to_be_bytes()[..], json].concat();
        within(self.0.send.write_all(&frame)).await.unwrap();
    }

    async fn recv(&mut self) -> String {
        let mut len = [0; 4];
        within(self.0.recv.read_exact(&mut len)).await.unwrap();
        let mut json = vec![0; u32::from_be_bytes(len) as usize];
        within(self.0.recv.read_exact(&mut json)).await.unwrap();
        String::from_utf8(json).unwrap()
    }

    /// Sends a request and returns the answer.
    async fn ask(&mut self, json: impl AsRef<[u8]>) -> String {
        self.send(json).await;
        self.recv().await
    }
}

async fn raw(pair: &Pair, config: RpcConfig) -> (Rpc, Raw) {
    let (server, client) = pair.stream().await;
    let rpc = Rpc::on_stream(&pair.server, server, methods(), config);
    (rpc, Raw(client))
}

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

/// A method that stays until it is let go, tells when it begins and when it is dropped.
fn gate() -> (Methods, Arc<Semaphore>, mpsc::Receiver<&'static str>) {
    struct Told(mpsc::Sender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.try_send("dropped");
        }
    }
    let semaphore = Arc::new(Semaphore::new(0));
    let (told, telling) = mpsc::channel(1000);
    let gate = semaphore.clone();
    let methods = methods().method("gate", move || {
        let (gate, told) = (gate.clone(), Told(told.clone()));
        async move {
            let _ = told.0.try_send("begun");
            gate.acquire().await?.forget();
            Ok(())
        }
    });
    (methods, semaphore, telling)
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

/// What PyWebTransport 0.8 sends and expects.
#[tokio::test]
async fn frames_have_the_bytes_of_pywebtransport() {
    let pair = pair().await;
    let (rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    let call = tokio::spawn(rpc.call::<Value>("m", (1, "é")).into_future());
    let request = peer.recv().await;
    let (id, rest) = request.strip_prefix(r#"{"id": ""#).unwrap().split_at(36);
    assert_eq!(rest, r#"", "method": "m", "params": [1, "\u00e9"]}"#);
    assert_eq!(request.len(), 0x56);
    let uuid = uuid::Uuid::parse_str(id).unwrap();
    assert_eq!(
        (uuid.get_version_num(), uuid.to_string()),
        (4, id.to_owned())
    );
    peer.send(format!(r#"{{"id": "{id}", "result": {{"a": [1]}}}}"#))
        .await;
    assert_eq!(within(call).await.unwrap().unwrap(), json!({"a": [1]}));

    let session = pair.server.id();
    for (request, answer) in [
        (
            r#"{"id": "a-b", "method": "add", "params": [1, 2]}"#,
            r#"{"id": "a-b", "result": 3}"#.to_owned(),
        ),
        (
            r#"{"id": 7, "method": "get_user", "params": [7]}"#,
            r#"{"id": 7, "result": {"id": 7, "name": "User 7"}}"#.to_owned(),
        ),
        // Any id is echoed, and the members may stand in any order.
        (
            r#"{"method": "nothing", "id": [1, {"x": 1.50}]}"#,
            r#"{"id": [1, {"x": 1.50}], "result": null}"#.to_owned(),
        ),
        (
            r#"{"id": true, "method": "echo", "params": ["é"], "more": 1}"#,
            r#"{"id": true, "result": "\u00e9"}"#.to_owned(),
        ),
        (
            r#"{"id": 1, "method": "nope", "params": []}"#,
            format!(
                r#"{{"id": 1, "error": {{"code": -32601, "message": "[Session:{session}] Method 'nope' not found."}}}}"#
            ),
        ),
        (
            r#"{"id": 1, "method": "add", "params": {"a": 1}}"#,
            format!(
                r#"{{"id": 1, "error": {{"code": -32602, "message": "[Session:{session}] Parameters must be a list."}}}}"#
            ),
        ),
        (
            r#"{"id": 1, "method": "add", "params": 5}"#,
            format!(
                r#"{{"id": 1, "error": {{"code": -32602, "message": "[Session:{session}] Parameters must be a list."}}}}"#
            ),
        ),
        (
            r#"{"id": 1, "method": "boom", "params": []}"#,
            format!(
                r#"{{"id": 1, "error": {{"code": -32603, "message": "[Session:{session}] Error executing 'boom': bad thing"}}}}"#
            ),
        ),
        // A version is accepted without being asked for.
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "add", "params": [1, 2]}"#,
            r#"{"id": 1, "result": 3}"#.to_owned(),
        ),
    ] {
        assert_eq!(peer.ask(request).await, answer, "{request}");
    }
}

#[tokio::test]
async fn answers_of_any_kind_are_understood() {
    let pair = pair().await;
    let (rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    for (members, code, message) in [
        (r#""error": {"code": 5, "message": "m"}"#, 5, "m"),
        (
            r#""error": {"code": 5, "message": "m"}, "result": 1"#,
            5,
            "m",
        ),
        (r#""error": {}"#, 1, "Unknown RPC error"),
        (r#""error": "no object""#, 1, "Unknown RPC error"),
    ] {
        let call = tokio::spawn(rpc.call::<Value>("m", ()).into_future());
        let request: Value = serde_json::from_str(&peer.recv().await).unwrap();
        // Answers to nobody change nothing, nor do those that say nothing.
        peer.send(r#"{"id": "0", "result": 1}"#).await;
        peer.send(r#"{"id": null, "error": {"code": 1}}"#).await;
        peer.send(format!(r#"{{"id": {}}}"#, request["id"])).await;
        peer.send(format!(r#"{{"id": {}, {members}}}"#, request["id"]))
            .await;
        let error = within(call).await.unwrap().unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!((remote.code.0, &remote.message[..]), (code, message));
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_so_and_the_stream_goes_on() {
    let pair = pair().await;
    let (_rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    for (message, id, code) in [
        (&b"{"[..], "null", -32700),
        (b"", "null", -32700),
        (b"\xff\xfe", "null", -32700),
        (b"nonsense", "null", -32700),
        (b"{\"id\": 1, \"method\": \"add\"", "null", -32700),
        (b"7", "null", -32600),
        (b"\"text\"", "null", -32600),
        (b"null", "null", -32600),
        (b"[]", "null", -32600),
        (b"[{\"id\": 1, \"method\": \"nothing\"}]", "null", -32600),
        (b"{\"id\": 1, \"method\": 7}", "1", -32600),
        (b"{\"id\": 1, \"method\": [\"add\"]}", "1", -32600),
        (
            b"{\"id\": 1, \"id\": 2, \"method\": \"add\"}",
            "null",
            -32600,
        ),
        (
            b"{\"id\": 1, \"method\": \"add\", \"params\": null}",
            "1",
            -32602,
        ),
    ] {
        let answer = peer.ask(message).await;
        let start = format!(r#"{{"id": {id}, "error": {{"code": {code}, "#);
        let message = String::from_utf8_lossy(message);
        assert!(answer.starts_with(&start), "{message}: {answer}");
    }
    // Neither requests nor answers: nothing is said.
    peer.send("{}").await;
    peer.send(r#"{"params": []}"#).await;
    let answer = peer.ask(r#"{"id": 1, "method": "nothing"}"#).await;
    assert_eq!(answer, r#"{"id": 1, "result": null}"#);
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
async fn the_stream_ends_between_messages_or_it_is_an_error() {
    let pair = pair().await;
    let whole = [&23_u32.to_be_bytes()[..], br#"{"id": 1, "method": ""}"#].concat();
    for len in 0..whole.len() {
        let (rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
        within(peer.0.send.write_all(&whole[..len])).await.unwrap();
        peer.0.send.finish().unwrap();
        let end = within(rpc.closed()).await;
        let expected = if len == 0 {
            RpcEnd::Finished
        } else {
            RpcEnd::EndedEarly
        };
        assert_eq!(end, expected, "{len}");
    }
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
async fn records_are_what_is_on_the_wire() {
    let pair = pair().await;
    let (_rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    let ask = |id: RpcId, method: &str| {
        let request = RpcRequest {
            id: Some(id),
            method: method.to_owned(),
            params: json!([1, 2]),
        };
        serde_json::to_string(&request).unwrap()
    };
    let answer = peer.ask(&ask(7.into(), "add")).await;
    let answer: RpcSuccessResponse = serde_json::from_str(&answer).unwrap();
    let (id, result) = (RpcId::Number(7), json!(3));
    assert_eq!(answer, RpcSuccessResponse { id, result });
    let answer = peer.ask(&ask("a".into(), "custom")).await;
    let answer: RpcErrorResponse = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer.id, Some("a".into()));
    assert_eq!(answer.error.code, RpcErrorCode::INVALID_PARAMS);

    // What this side sends is a request too, and takes an answer that is made of a record.
    let (rpc, mut peer) = raw(&pair, RpcConfig::new()).await;
    let call = tokio::spawn(rpc.call::<i64>("m", (1,)).into_future());
    let request: RpcRequest = serde_json::from_str(&peer.recv().await).unwrap();
    assert_eq!((request.method.as_str(), request.params), ("m", json!([1])));
    let answer = RpcErrorResponse {
        id: request.id,
        error: RpcError::new(5, "no").with_data(json!([1])),
    };
    peer.send(serde_json::to_string(&answer).unwrap()).await;
    match within(call).await.unwrap() {
        Err(CallError::Remote(error)) => assert_eq!(error, answer.error),
        other => panic!("not the answer: {other:?}"),
    }
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

fn strict() -> RpcConfig {
    RpcConfig::new().with_strict(true)
}

#[tokio::test]
async fn strict_mode_says_the_version_and_demands_it() {
    let pair = pair().await;
    let (rpc, mut peer) = raw(&pair, strict()).await;
    let call = tokio::spawn(rpc.call::<i64>("m", (1,)).into_future());
    let request: Value = serde_json::from_str(&peer.recv().await).unwrap();
    assert_eq!(request["jsonrpc"], "2.0");
    // Without the version it is no answer.
    peer.send(format!(r#"{{"id": {}, "result": 1}}"#, request["id"]))
        .await;
    peer.send(format!(
        r#"{{"jsonrpc": "2.0", "id": {}, "result": 2}}"#,
        request["id"]
    ))
    .await;
    assert_eq!(within(call).await.unwrap().unwrap(), 2);

    within(rpc.notify("log", ())).await.unwrap();
    assert_eq!(
        peer.recv().await,
        r#"{"jsonrpc": "2.0", "method": "log", "params": []}"#
    );

    for (request, answer) in [
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "add", "params": [1, 2]}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "result": 3}"#,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": null, "method": "nothing"}"#,
            r#"{"jsonrpc": "2.0", "id": null, "result": null}"#,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "nope"}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method 'nope' not found."}}"#,
        ),
        (
            r#"{"id": 1, "method": "add", "params": [1, 2]}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "\"jsonrpc\" has to be \"2.0\"."}}"#,
        ),
        (
            r#"{"jsonrpc": 2.0, "id": 1, "method": "add", "params": [1, 2]}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "\"jsonrpc\" has to be \"2.0\"."}}"#,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": [1], "method": "add", "params": [1, 2]}"#,
            r#"{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "The id has to be a string, a number or null."}}"#,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": 1}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Not a request."}}"#,
        ),
        (
            r"[]",
            r#"{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Not a request."}}"#,
        ),
        (
            r#"{"jsonrpc": "2.0", "id": 1, "method": "custom"}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "error": {"code": 7, "message": "no more", "data": {"left": 0}}}"#,
        ),
    ] {
        assert_eq!(peer.ask(request).await, answer, "{request}");
    }
}

#[tokio::test]
async fn batches_are_answered_as_one() {
    let pair = pair().await;
    let (_rpc, mut peer) = raw(&pair, strict().with_batch(4)).await;
    let answer = peer
        .ask(
            r#"[{"jsonrpc": "2.0", "id": 1, "method": "add", "params": [1, 2]},
            {"jsonrpc": "2.0", "method": "nothing"}, 7,
            {"jsonrpc": "2.0", "id": "2", "method": "nope"}]"#,
        )
        .await;
    let mut answers: Vec<Value> = serde_json::from_str(&answer).unwrap();
    answers.sort_by_key(|answer| answer["id"].to_string());
    let error = |id: Value, code, message| json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    let expected = [
        error(json!("2"), -32601, "Method 'nope' not found."),
        json!({"jsonrpc": "2.0", "id": 1, "result": 3}),
        error(Value::Null, -32600, "Not a request."),
    ];
    assert_eq!(answers, expected);
    // Notifications alone are not answered; five are too many.
    peer.send(r#"[{"jsonrpc": "2.0", "method": "nothing"}]"#)
        .await;
    let answer = peer.ask("[1, 2, 3, 4, 5]").await;
    assert!(
        answer.contains("A batch of 5, at most 4 are allowed."),
        "{answer}"
    );
}

#[tokio::test]
async fn batches_are_sent_as_one() {
    let pair = pair().await;
    for (_server, client) in forms(&pair, methods, strict().with_batch(4)).await {
        let mut batch = Batch::new();
        let sum = batch.call::<i64>("add", (1, 2));
        batch.notify("nothing", ());
        let custom = batch.call::<()>("custom", ());
        let user = batch.call::<User>("get_user", (7,));
        let answers = within(client.batch(batch)).await.unwrap();
        assert_eq!(answers.get(sum).unwrap(), 3);
        assert_eq!(answers.get(user).unwrap().name, "User 7");
        let error = answers.get(custom).unwrap_err();
        assert_eq!(error.code(), Some(RpcErrorCode(7)));

        let mut batch = Batch::new();
        for _ in 0..5 {
            batch.notify("nothing", ());
        }
        let error = within(client.batch(batch)).await.unwrap_err();
        assert!(
            matches!(error, CallError::BatchSize { size: 5, max: 4 }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_batch_is_no_larger_than_a_message_when_it_is_answered() {
    let pair = pair().await;
    let config = strict().with_max_message_size(2000);
    for (_server, client) in forms(&pair, methods, config).await {
        let mut batch = Batch::new();
        let calls = [(); 3].map(|()| batch.call::<String>("large", (900,)));
        let answers = within(client.batch(batch)).await.unwrap();
        let fit = calls.map(|call| answers.get(call).is_ok());
        assert_eq!(fit.iter().filter(|fits| **fits).count(), 1, "{fit:?}");
    }
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

#[test]
fn errors_have_a_dictionary_form_and_the_codes_of_json_rpc() {
    let error = RpcError::invalid_params("no");
    let value = serde_json::to_value(&error).unwrap();
    assert_eq!(value, json!({"code": -32602, "message": "no"}));
    let codes = [
        RpcErrorCode::PARSE_ERROR,
        RpcErrorCode::INVALID_REQUEST,
        RpcErrorCode::METHOD_NOT_FOUND,
        RpcErrorCode::INVALID_PARAMS,
        RpcErrorCode::INTERNAL_ERROR,
    ];
    assert_eq!(
        codes.map(|code| code.0),
        [-32700, -32600, -32601, -32602, -32603]
    );
}
