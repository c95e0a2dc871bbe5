//! Calls in both directions: the client asks the server to add, and the server asks the client back.
//!
//! ```console
//! $ cargo run -p wt --example rpc --features messaging
//! 1 + 2 = 3
//! found ["cats", "cats"]
//! may the server delete notes.txt? yes
//! deleted notes.txt
//! no result: the peer answered: 1 / 0 (1), "dividend 1"
//! with a stream for each call: 1000000 bytes, and meanwhile 3 + 4 = 7
//! ```
//!
//! Server and client are in one program here, which makes its own certificate.

use std::{error::Error, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    messaging::rpc::{CallError, Methods, Request, Rpc, RpcConfig, RpcError},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

async fn add(a: i64, b: i64) -> std::result::Result<i64, RpcError> {
    Ok(a + b)
}

async fn divide(a: i64, b: i64) -> std::result::Result<i64, RpcError> {
    // Code, message and data are up to the application.
    let error = || RpcError::new(1, format!("{a} / {b}")).with_data(format!("dividend {a}"));
    a.checked_div(b).ok_or_else(error)
}

#[derive(Serialize, Deserialize)]
struct Search {
    words: String,
    #[serde(default)]
    limit: usize,
}

/// What the server can do.
fn methods() -> Methods {
    Methods::new()
        // Positional parameters: those of the function.
        .method("add", add)
        .method("divide", divide)
        .method("zeros", |count: usize| async move { Ok("0".repeat(count)) })
        // Named ones: the fields of a struct.
        .method_named("search", |search: Search| async move {
            Ok(vec![search.words; search.limit])
        })
        // With the way back to whoever calls.
        .method_with(
            "delete",
            |request: Request, (file,): (String,)| async move {
                let client = request.peer().ok_or_else(|| RpcError::new(2, "gone"))?;
                let sure: bool = client.call("confirm", (&file,)).await?;
                Ok(format!("{} {file}", if sure { "deleted" } else { "kept" }))
            },
        )
}

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["localhost"])?;
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(&ServerConfig::new(identity).with_bind(loopback))?;
    let port = server.local_addr()?.port();
    let serving = tokio::spawn(serve(server.clone()));

    let config = ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Client::new(config)?;

    let session = client
        .connect(format!("https://localhost:{port}/rpc"))
        .await?;
    call(&session).await?;
    session.close(0, "done");

    let session = client
        .connect(format!("https://localhost:{port}/streams"))
        .await?;
    call_on_streams(&session).await?;
    session.close(0, "done");

    drop(session);
    client.close().await;
    server.close(Duration::from_secs(1)).await;
    serving.await?;
    Ok(())
}

/// One stream for all calls, as PyWebTransport has it.
async fn call(session: &Session) -> Result {
    // The client has a method, too.
    let methods = Methods::new().method("confirm", |file: String| async move {
        println!("may the server delete {file}? yes");
        Ok(true)
    });
    let rpc = Rpc::open(session, methods, RpcConfig::new()).await?;

    let sum: i64 = rpc.call("add", (1, 2)).await?;
    println!("1 + 2 = {sum}");

    let found: Vec<String> = rpc
        .call(
            "search",
            Search {
                words: "cats".to_owned(),
                limit: 2,
            },
        )
        .timeout(Duration::from_secs(5))
        .await?;
    println!("found {found:?}");

    let done: String = rpc.call("delete", ("notes.txt",)).await?;
    println!("{done}");

    match rpc.call::<i64>("divide", (1, 0)).await {
        Err(CallError::Remote(error)) => {
            println!(
                "no result: the peer answered: {error}, {}",
                error.data.clone().unwrap_or_default()
            );
        }
        other => println!("a surprise: {other:?}"),
    }
    rpc.close().await;
    Ok(())
}

/// A stream for each call: a large answer holds up no other.
async fn call_on_streams(session: &Session) -> Result {
    let rpc = Rpc::over_session(session, Methods::new(), RpcConfig::new());
    let (zeros, sum) = tokio::try_join!(
        rpc.call::<String>("zeros", (1_000_000,)).into_future(),
        rpc.call::<i64>("add", (3, 4)).into_future(),
    )?;
    println!(
        "with a stream for each call: {} bytes, and meanwhile 3 + 4 = {sum}",
        zeros.len()
    );
    Ok(())
}

async fn serve(server: Server) {
    while let Some(request) = server.accept().await {
        tokio::spawn(async move {
            let Ok(session) = request.accept().await else {
                return;
            };
            let config = RpcConfig::new();
            let rpc = match session.path() {
                "/streams" => Ok(Rpc::over_session(&session, methods(), config)),
                _ => Rpc::accept(&session, methods(), config).await,
            };
            if let Ok(rpc) = rpc {
                rpc.closed().await;
            }
        });
    }
}
