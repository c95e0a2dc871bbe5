//! RPC and publish-subscribe of plain JavaScript (`crates/wt/examples/web/wt.js`) in a real Chromium. What
//! the pages do stands in `tests/browser/javascript.mjs` and `tests/browser/javascript-cases.mjs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use serde_json::{Value, json};
use wt::{
    Identity, ServerConfig, Session,
    messaging::{
        pubsub::{Access, Denied, MemoryBroker, PubSubService},
        rpc::{CallError, Methods, Request, Rpc, RpcConfig, RpcError},
    },
};
use wt_tests::browser;

#[path = "../../crates/wt/examples/web_chat.rs"]
#[allow(dead_code, reason = "of an example only the server is used")]
mod web_chat;

/// Calls to `forever` that began, and that were given up.
static STARTED: AtomicU64 = AtomicU64::new(0);
static GIVEN_UP: AtomicU64 = AtomicU64::new(0);

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        GIVEN_UP.fetch_add(1, SeqCst);
    }
}

/// Has the page called, and tells what came of it.
async fn ask(
    request: Request,
    (method, params, ms): (String, Value, u64),
) -> Result<Value, RpcError> {
    let page = request.peer().unwrap();
    let call = page.call::<Value>(method, params);
    Ok(match call.timeout(Duration::from_millis(ms)).await {
        Ok(result) => json!({ "result": result }),
        Err(CallError::Remote(error)) => {
            json!({ "code": error.code, "message": error.message, "data": error.data })
        }
        Err(error) => json!({ "error": error.to_string() }),
    })
}

fn methods() -> Methods {
    let fail = || async { Err::<(), _>(RpcError::new(7, "nö").with_data(json!({ "why": [1] }))) };
    Methods::new()
        .method("add", |a: i64, b: i64| async move { Ok(a + b) })
        .method("echo", |value: Value| async move { Ok(value) })
        .method("zeros", |count: usize| async move { Ok("0".repeat(count)) })
        .method("fail", fail)
        .method("forevers", || async {
            Ok((STARTED.load(SeqCst), GIVEN_UP.load(SeqCst)))
        })
        .method("forever", || async {
            let _guard = Guard;
            STARTED.fetch_add(1, SeqCst);
            future::pending::<Result<(), RpcError>>().await
        })
        .method_with("ask", ask)
}

async fn accepts(session: Session) {
    let rpc = Rpc::accept(&session, methods(), RpcConfig::new()).await;
    rpc.unwrap().closed().await;
}

async fn opens(session: Session) {
    let rpc = Rpc::open(&session, methods(), RpcConfig::new()).await;
    rpc.unwrap().closed().await;
}

/// Sends what the query says, in hexadecimal digits and how many times, on the first stream of the page.
async fn raw(session: Session) {
    let stream = session.accept_bi().await.unwrap();
    let (mut send, _recv) = stream.split();
    let (digits, times) = session.query().unwrap().split_once('*').unwrap();
    let bytes = digits.as_bytes().chunks(2);
    let bytes = bytes.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    let bytes = bytes.collect::<Vec<u8>>().repeat(times.parse().unwrap());
    send.write_all(&bytes).await.unwrap();
    send.finish().unwrap();
    session.closed().await;
}

fn may(_: &Session, access: Access<'_>) -> Result<(), Denied> {
    match access {
        Access::Subscribe(pattern) if pattern.as_str() == "secret" => {
            Err(Denied::new("not for you"))
        }
        _ => Ok(()),
    }
}

#[tokio::test]
async fn pages_call_are_called_publish_and_subscribe() {
    if !browser::available(browser::Browser::Chromium) {
        return;
    }
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"]).unwrap();
    let hash = identity.certificate_hash().to_hex();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    // The pages come from a port that is free.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let service = PubSubService::new(MemoryBroker::new()).with_authorize(may);
    let running = web_chat::app(config, &[&format!("http://localhost:{port}")])
        .unwrap()
        .route("/rpc", accepts)
        .route("/opens", opens)
        .route("/raw", raw)
        .route("/pubsub", move |session: Session| {
            let service = service.clone();
            async move {
                service.serve(&session).await;
            }
        })
        .start()
        .await
        .unwrap();
    let url = format!("https://127.0.0.1:{}", running.local_addr().unwrap().port());
    let pages = tokio::task::spawn_blocking(move || {
        let args = ["--url", &url, "--hash", &hash, "--port", &port];
        browser::case("javascript.mjs", &args);
    });
    pages.await.unwrap();
    running.shut_down().await.unwrap();
}
