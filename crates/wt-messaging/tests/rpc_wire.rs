//! The messages of RPC, as PyWebTransport 0.8 has them and in strict mode.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod rpc_world;

use common::{pair, within};
use rpc_world::{User, forms, methods, raw};
use serde_json::{Value, json};
use wt_messaging::rpc::{
    Batch, CallError, RpcConfig, RpcEnd, RpcError, RpcErrorCode, RpcErrorResponse, RpcId,
    RpcRequest, RpcSuccessResponse,
};

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
