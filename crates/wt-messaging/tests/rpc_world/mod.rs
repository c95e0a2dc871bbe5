//! Two ends of RPC, in both forms, and a peer by hand, for the tests of RPC.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use wt_core::BiStream;
use wt_messaging::rpc::{Methods, Request, Rpc, RpcConfig, RpcError};

use crate::common::{Pair, within};

pub async fn add(a: i64, b: i64) -> Result<i64, RpcError> {
    Ok(a + b)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: u32,
    pub name: String,
}

#[derive(Deserialize)]
pub struct Search {
    words: String,
    #[serde(default)]
    limit: Option<usize>,
}

/// The methods of PyWebTransport's own test server, and some more.
pub fn methods() -> Methods {
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
pub async fn ends(pair: &Pair, methods: Methods, config: RpcConfig) -> (Rpc, Rpc) {
    let (server, client) = pair.stream().await;
    (
        Rpc::on_stream(&pair.server, server, methods, config.clone()),
        Rpc::on_stream(&pair.client, client, Methods::new(), config),
    )
}

/// Both forms.
pub async fn forms(
    pair: &Pair,
    methods: impl Fn() -> Methods,
    config: RpcConfig,
) -> Vec<(Rpc, Rpc)> {
    let single = ends(pair, methods(), config.clone()).await;
    let server = Rpc::over_session(&pair.server, methods(), config.clone());
    let client = Rpc::over_session(&pair.client, Methods::new(), config);
    vec![single, (server, client)]
}

/// A peer by hand.
pub struct Raw(pub BiStream);

impl Raw {
    pub async fn send(&mut self, json: impl AsRef<[u8]>) {
        let json = json.as_ref();
        let len = u32::try_from(json.len()).unwrap();
        let frame = [&len.to_be_bytes()[..], json].concat();
        within(self.0.send.write_all(&frame)).await.unwrap();
    }

    pub async fn recv(&mut self) -> String {
        let mut len = [0; 4];
        within(self.0.recv.read_exact(&mut len)).await.unwrap();
        let mut json = vec![0; u32::from_be_bytes(len) as usize];
        within(self.0.recv.read_exact(&mut json)).await.unwrap();
        String::from_utf8(json).unwrap()
    }

    /// Sends a request and returns the answer.
    pub async fn ask(&mut self, json: impl AsRef<[u8]>) -> String {
        self.send(json).await;
        self.recv().await
    }
}

pub async fn raw(pair: &Pair, config: RpcConfig) -> (Rpc, Raw) {
    let (server, client) = pair.stream().await;
    let rpc = Rpc::on_stream(&pair.server, server, methods(), config);
    (rpc, Raw(client))
}

/// A method that stays until it is let go, tells when it begins and when it is dropped.
pub fn gate() -> (Methods, Arc<Semaphore>, mpsc::Receiver<&'static str>) {
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
