//! aioquic and PyWebTransport, driven by the scripts in `tests/python`.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{Ours, client, exercise_server, folder, identity, loopback, within};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wt::messaging::pubsub::{PubSub, PubSubError, Subscription};
use wt::messaging::rpc::{Methods, Request, Rpc, RpcConfig, RpcError, RpcErrorCode};
use wt::messaging::serializer::{Json, MessagePack};
use wt::messaging::structured::{Codec, StructuredDatagramTransport, StructuredStream};
use wt::{Dialect, Server, ServerConfig, Session};
use wt_tests::interop::site::Site;

/// The interpreter in an environment that `cargo xtask setup` prepares.
fn python(environment: &str) -> Option<PathBuf> {
    // CARGO_TARGET_TMPDIR is TARGET/tmp.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join(environment).join("bin/python");
    python.exists().then_some(python)
}

/// A script for the environment of Python 3.11; where that is missing, the test is skipped.
fn script(name: &str) -> Option<Command> {
    if let Some(python) = python("python-peers") {
        return Some(command(&python, name));
    }
    eprintln!("skipped: no Python peers; `cargo xtask setup` installs them");
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !in_ci,
        "no Python peers, and with CI=true nothing is skipped"
    );
    None
}

/// A script for the environment of Python 3.12, which few systems have: it is no failure to skip it.
fn new_script(name: &str) -> Option<Command> {
    let python = python("python-peers-3.12");
    if python.is_none() {
        eprintln!("skipped: no Python 3.12 with PyWebTransport 0.21");
    }
    Some(command(&python?, name))
}

fn command(python: &Path, name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(folder.join(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a client script to its end, which has to be a good one.
async fn run(mut command: Command, port: u16, what: &str) {
    let output = within(command.args([&port.to_string(), what]).output())
        .await
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.ends_with("passed\n"),
        "{what}: {printed}{complaint}"
    );
}

/// Starts a server script; its origin.
async fn start(mut command: Command, name: &str) -> (Child, String) {
    let folder = folder(name);
    let (cert, key) = identity().to_pem();
    let files = [folder.join("cert.pem"), folder.join("key.pem")];
    for (file, text) in files.iter().zip([cert, key]) {
        std::fs::write(file, text).unwrap();
    }
    let mut process = command.args(&files).spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    within(stdout.read_line(&mut line)).await.unwrap();
    let port: u16 = line.trim().parse().unwrap();
    (process, format!("https://127.0.0.1:{port}"))
}

#[tokio::test]
async fn aioquics_client_and_our_server() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"));
    server.empty().await;
}

#[tokio::test]
async fn aioquics_client_learns_of_our_close() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "close").await;
    assert!(server.end().await.is_closed_locally());
}

#[tokio::test]
async fn fifty_sessions_of_aioquics_client() {
    let Some(command) = script("aioquic_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft02);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        assert_eq!(server.end().await.code(), Some(0));
    }
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_aioquics_server() {
    let Some(command) = script("aioquic_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "aioquic").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft02).await;

    let client = client();
    let error = within(client.connect(format!("{origin}/forbidden")))
        .await
        .unwrap_err();
    assert_eq!(
        error.status().map(|status| status.as_u16()),
        Some(403),
        "{error}"
    );
    let session = within(client.connect(format!("{origin}/close")))
        .await
        .unwrap();
    let end = within(session.closed()).await;
    assert!(end.is_closed_by_peer(), "{end}");
    assert_eq!((end.code(), end.reason()), (Some(7), "seven"));
}

#[tokio::test]
async fn pywebtransports_client_and_our_server() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft13);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"), "{end}");
}

#[tokio::test]
async fn fifty_sessions_of_pywebtransports_client() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft13);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        server.end().await;
    }
    // Its clients leave without a word.
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft13).await;
}

/// The next message, as text.
async fn next(subscription: &mut Subscription) -> String {
    let message = within(subscription.recv()).await.unwrap();
    message.text().unwrap().to_owned()
}

/// The port of a server with the paths of PyWebTransport's tests.
fn pywebtransport_site() -> u16 {
    let site = Site::bind(loopback(), identity())
        .unwrap()
        .for_pywebtransport();
    let line: Value = serde_json::from_str(&site.start_line(true).unwrap()).unwrap();
    tokio::spawn(async move { site.run().await.unwrap() });
    line["port"].as_u64().unwrap() as u16
}

#[tokio::test]
async fn pywebtransports_calls_and_structured_messages_at_our_server() {
    let port = pywebtransport_site();
    for what in ["structured", "rpc"] {
        let Some(command) = script("pywebtransport_client.py") else {
            return;
        };
        run(command, port, what).await;
    }
}

#[tokio::test]
async fn pywebtransports_pubsub_client_and_our_broker() {
    let Some(command) = script("pywebtransport_client.py") else {
        return;
    };
    let port = pywebtransport_site();
    let client = client();
    let session = within(client.connect(format!("https://127.0.0.1:{port}/pubsub")))
        .await
        .unwrap();
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    let mut from_python = within(pubsub.subscribe("to-rust")).await.unwrap();
    let script = tokio::spawn(async move { run(command, port, "pubsub").await });
    assert_eq!(next(&mut from_python).await, "ready");
    // What it sends back is what it got, whatever the size and however it was cut. Its queue of 16
    // would drop some if they all came at once.
    let lines = "SUB x\nMSG to-python 3\nabc".to_owned();
    for sent in [String::new(), lines, "ü".repeat(1000)] {
        pubsub.publish("to-python", sent.clone()).await.unwrap();
        assert_eq!(next(&mut from_python).await, sent);
    }
    let large = "x".repeat(200_000);
    pubsub.publish("to-python", large.clone()).await.unwrap();
    assert_eq!(next(&mut from_python).await, large);
    pubsub.publish("to-python", "unsubscribe").await.unwrap();
    assert_eq!(next(&mut from_python).await, "unsubscribe");
    assert_eq!(next(&mut from_python).await, "unsubscribed");
    pubsub
        .publish("to-python", "nobody is there")
        .await
        .unwrap();
    pubsub.publish("again", "again").await.unwrap();
    assert_eq!(next(&mut from_python).await, "done");
    pubsub.publish("again", "goodbye").await.unwrap();
    within(script).await.unwrap();
    within(pubsub.close()).await.unwrap();
}

#[tokio::test]
async fn our_pubsub_client_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-pubsub").await;
    let client = client();
    let session = within(client.connect(format!("{origin}/pubsub")))
        .await
        .unwrap();
    let pubsub = within(PubSub::open(&session)).await.unwrap();
    let refused = within(pubsub.subscribe("secret")).await.unwrap_err();
    assert!(
        matches!(&refused, PubSubError::Refused { reason, .. } if reason == "not for Rust"),
        "{refused}"
    );
    let mut news = within(pubsub.subscribe("news")).await.unwrap();
    let mut more = within(pubsub.subscribe("grüße/1")).await.unwrap();
    for sent in ["", "hello", "PUB x 1\nSUB y\n", &"ü".repeat(50_000)] {
        pubsub.publish("news", sent.to_owned()).await.unwrap();
        assert_eq!(next(&mut news).await, sent);
        pubsub.publish("grüße/1", sent.to_owned()).await.unwrap();
        assert_eq!(next(&mut more).await, sent);
    }
    pubsub.unsubscribe("news").unwrap();
    pubsub.publish("news", "nobody is there").await.unwrap();
    pubsub.publish("grüße/1", "the last").await.unwrap();
    assert_eq!(next(&mut more).await, "the last");
    assert_eq!(within(news.recv()).await, None);
    assert_eq!(pubsub.stats().messages_received, 9);
    within(pubsub.close()).await.unwrap();
}

#[tokio::test]
async fn new_pywebtransports_client_and_our_server() {
    let Some(command) = new_script("pywebtransport_new_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft15);
    run(command, server.port, "echo").await;
    let end = server.end().await;
    assert_eq!((end.code(), end.reason()), (Some(9), "nine"), "{end}");
}

#[tokio::test]
async fn fifty_sessions_of_new_pywebtransports_client() {
    let Some(command) = new_script("pywebtransport_new_client.py") else {
        return;
    };
    let mut server = Ours::speaking(Dialect::Draft15);
    run(command, server.port, "many").await;
    for _ in 0..50 {
        assert_eq!(server.end().await.code(), Some(9));
    }
    server.empty().await;
}

#[tokio::test]
async fn our_client_and_new_pywebtransports_server() {
    let Some(command) = new_script("pywebtransport_new_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-new").await;
    exercise_server(&format!("{origin}/"), Dialect::Draft15).await;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct UserData {
    id: u32,
    name: String,
    email: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StatusUpdate {
    status: String,
    timestamp: f64,
}

wt::messaging::messages! {
    /// What the test server of PyWebTransport echoes.
    #[derive(Clone, Debug, PartialEq)]
    enum Message {
        User(UserData) = 1,
        Status(StatusUpdate) = 2,
    }
}

/// Echoes messages in streams and datagrams, each of them read and written anew.
async fn echo_messages<C: Codec<Message> + Clone>(session: &Session, codec: C) {
    let datagrams = StructuredDatagramTransport::new(session.clone(), codec.clone());
    let in_datagrams = async {
        while let Ok(message) = datagrams.recv().await {
            datagrams.send(message).await.unwrap();
        }
    };
    let in_streams = async {
        while let Ok(mut stream) = StructuredStream::accept(session, codec.clone()).await {
            while let Ok(Some(message)) = stream.recv().await {
                stream.send(message).await.unwrap();
            }
            let _ = stream.finish().await;
        }
    };
    tokio::join!(in_datagrams, in_streams);
}

/// Has messages echoed.
async fn have_echoed<C: Codec<Message> + Clone>(session: &Session, codec: C) {
    let messages: [Message; 4] = [
        UserData {
            id: 1,
            name: "test".to_owned(),
            email: "é@x".to_owned(),
        }
        .into(),
        StatusUpdate {
            status: "\u{1f600}\n\"\\\u{7f}".to_owned(),
            timestamp: 1e-7,
        }
        .into(),
        StatusUpdate {
            status: String::new(),
            timestamp: -0.0,
        }
        .into(),
        UserData {
            id: u32::MAX,
            name: "x".repeat(500),
            email: String::new(),
        }
        .into(),
    ];
    let opened = within(StructuredStream::open(session, codec.clone())).await;
    let mut stream: StructuredStream<Message, C> = opened.unwrap();
    let datagrams = StructuredDatagramTransport::<Message, C>::new(session.clone(), codec);
    for message in messages {
        within(stream.send(message.clone())).await.unwrap();
        let echoed = within(stream.recv()).await.unwrap();
        assert_eq!(echoed.as_ref(), Some(&message));
        within(datagrams.send(message.clone())).await.unwrap();
        assert_eq!(within(datagrams.recv()).await.unwrap(), message);
    }
    within(stream.finish()).await.unwrap();
    assert_eq!(within(stream.recv()).await.unwrap(), None);
}

/// The methods of PyWebTransport's test server, and some more.
fn methods() -> Methods {
    Methods::new()
        .method("add", |a: i64, b: i64| async move { Ok(a + b) })
        .method("get_user", |id: u32| async move {
            Ok(json!({"id": id, "name": format!("User {id}")}))
        })
        .method("echo", |value: Value| async move { Ok(value) })
        .method("divide", |a: i64, b: i64| async move {
            Ok(a.checked_div(b).ok_or(std::fmt::Error)?)
        })
        .method("custom", || async {
            Err::<(), _>(RpcError::new(7, "no more").with_data("data"))
        })
        .method("double", |number: i64| async move { Ok(number * 2) })
        .method("slow_operation", |seconds: u64| async move {
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            Ok(())
        })
        .method_with(
            "call_back",
            |request: Request, (number,): (i64,)| async move {
                let peer = request.peer().ok_or(std::fmt::Error)?;
                let doubled: i64 = peer.call("double", (number,)).await?;
                Ok(doubled + 1)
            },
        )
        .method_with(
            "add_at_yours",
            |request: Request, sum: (i64, i64)| async move {
                let peer = request.peer().ok_or(std::fmt::Error)?;
                Ok(peer.call::<i64>("add", sum).await?)
            },
        )
}

/// A server of messages and RPC.
fn messages_server() -> (Server, u16) {
    let server = Server::bind(&ServerConfig::new(identity()).with_bind(loopback())).unwrap();
    let port = server.local_addr().unwrap().port();
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            tokio::spawn(async move {
                let session = request.accept().await.unwrap();
                match session.path() {
                    "/structured/json" => echo_messages(&session, Json::new()).await,
                    "/structured/msgpack" => echo_messages(&session, MessagePack::new()).await,
                    _ => {
                        let rpc = Rpc::accept(&session, methods(), RpcConfig::new());
                        rpc.await.unwrap().closed().await;
                    }
                }
            });
        }
    });
    (server, port)
}

#[tokio::test]
async fn pywebtransports_messages_and_our_server() {
    let Some(command) = script("pywebtransport_messages_client.py") else {
        return;
    };
    let (_server, port) = messages_server();
    run(command, port, "structured").await;
}

#[tokio::test]
async fn our_messages_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_messages_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-messages").await;
    let client = client();
    let connect = |path| within(client.connect(format!("{origin}/structured/{path}")));
    have_echoed(&connect("json").await.unwrap(), Json::new()).await;
    have_echoed(&connect("msgpack").await.unwrap(), MessagePack::new()).await;
}

#[tokio::test]
async fn pywebtransports_rpc_client_and_our_server() {
    let Some(command) = script("pywebtransport_messages_client.py") else {
        return;
    };
    let (_server, port) = messages_server();
    run(command, port, "rpc").await;
}

#[tokio::test]
async fn our_rpc_client_and_pywebtransports_server() {
    let Some(command) = script("pywebtransport_messages_server.py") else {
        return;
    };
    let (_process, origin) = start(command, "pywebtransport-rpc").await;
    let client = client();
    let session = within(client.connect(format!("{origin}/rpc")))
        .await
        .unwrap();
    let rpc = Rpc::open(&session, methods(), RpcConfig::new());
    let rpc = within(rpc).await.unwrap();

    let sums = (0..50_i64).map(|n| rpc.call::<i64>("add", (n, n)).into_future());
    for (n, sum) in (0..50).zip(within(futures_util::future::join_all(sums)).await) {
        assert_eq!(sum.unwrap(), 2 * n);
    }
    let user: Value = within(rpc.call("get_user", (7,))).await.unwrap();
    assert_eq!(user, json!({"id": 7, "name": "User 7"}));
    // The other way, while a call of ours waits.
    let back: i64 = within(rpc.call("call_back", (20,))).await.unwrap();
    assert_eq!(back, 41);

    let error = within(rpc.call::<()>("nope", ())).await.unwrap_err();
    assert!(error.is_method_not_found(), "{error}");
    let error = within(rpc.call::<f64>("divide", (1, 0))).await.unwrap_err();
    assert_eq!(error.code(), Some(RpcErrorCode::INTERNAL_ERROR));
    assert!(
        error
            .to_string()
            .contains("Error executing 'divide': division by zero"),
        "{error}"
    );
    let named = within(rpc.call::<()>("add", json!({"a": 1, "b": 2})))
        .await
        .unwrap_err();
    assert!(named.is_invalid_params(), "{named}");

    // That it is told of the call's end by a notification that it does not know does no harm.
    let slow = rpc
        .call::<String>("slow_operation", (30,))
        .timeout(std::time::Duration::from_millis(100));
    assert!(within(slow).await.unwrap_err().is_timeout());
    within(rpc.notify("log_message", ("é",))).await.unwrap();
    let logged: Vec<String> = within(rpc.call("logged", ())).await.unwrap();
    assert_eq!(logged, ["é"]);
    within(rpc.close()).await;
}
