//! The server that hostile clients attack, in a process of its own so that its memory can be measured; with
//! `connect=PORT`, the client that hostile servers attack, which echoes what comes in two sessions on one connection.
//!
//! Arguments are `KEY=NUMBER`. The first line of output is JSON with the port and the hash of the certificate; each line
//! of input is answered with a line of JSON that says what the process holds. It ends with its input. A panic anywhere
//! ends it with a failure.
//!
//! | Path | What the application does |
//! |---|---|
//! | `/hold` | never answers the request |
//! | `/missing` | answers 404 |
//! | `/stall` | accepts the session, and nothing that comes in it |
//! | `/hoard` | accepts streams and reads none |
//! | `/later` | waits for a datagram, then echoes |
//! | `/flood` | waits for a datagram, then sends without end on unidirectional streams |
//! | `/bye` | waits for a stream, then closes with 42 and `bye` |
//! | others | echoes streams and datagrams |

#![allow(clippy::unwrap_used, reason = "a test process fails by panicking")]

use std::{
    env,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::Handle,
    task::JoinSet,
};
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    SessionRequest,
};

fn configure(config: &mut ServerConfig, key: &str, value: u64) {
    let time = Duration::from_millis(value);
    let limits = &mut config.limits;
    match key {
        "connections" => limits.connections = Some(value as usize),
        "sessions" => limits.sessions_per_connection = value as usize,
        "header-timeout" => limits.header_timeout = time,
        "settings-timeout" => limits.settings_timeout = time,
        "early-age" => limits.early_age = time,
        "early-streams" => limits.early_streams = value as usize,
        "pending-headers" => limits.pending_headers = value as usize,
        "handshakes" => limits.handshakes = value as usize,
        "incoming-buffer" => config.transport.incoming_buffer = value,
        "linger" => limits.linger = time,
        "idle" => config.transport.idle_timeout = Some(time),
        "max-data" => config.session.max_data = value,
        "max-streams-bidi" => config.session.max_streams_bidi = value,
        "max-streams-uni" => config.session.max_streams_uni = value,
        "flow-control" => config.session.flow_control = value != 0,
        _ => panic!("unknown argument {key}"),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::abort();
    }));
    let first = env::args().nth(1);
    if let Some(port) = first.as_deref().and_then(|a| a.strip_prefix("connect=")) {
        return be_client(port).await;
    }
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let hash = identity.certificate_hash().to_string();
    let mut config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());
    for argument in env::args().skip(1) {
        let (key, value) = argument.split_once('=').unwrap();
        configure(&mut config, key, value.parse().unwrap());
    }
    let server = Server::bind(&config).unwrap();
    let port = server.local_addr().unwrap().port();
    println!("{}", json!({ "port": port, "hash": hash }));

    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            tokio::spawn(serve(request));
        }
    });
    tell_facts(|| {
        let connections = server.connections();
        let sessions = connections.iter().map(|c| c.session_count()).sum();
        (connections.len(), sessions)
    })
    .await;
}

/// Answers each line of input with what the process holds.
async fn tell_facts(counts: impl Fn() -> (usize, u64)) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let (connections, sessions) = counts();
        let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let facts = json!({
            "connections": connections,
            "sessions": sessions,
            "tasks": Handle::current().metrics().num_alive_tasks(),
            "files": files,
        });
        println!("{facts}");
    }
}

async fn be_client(port: &str) {
    println!("{}", json!({ "port": 0, "hash": "" }));
    let config = ClientConfig::new().with_verification(ServerVerification::Insecure);
    let client = Client::new(config).unwrap().with_pooling(true);
    let sessions = Arc::<AtomicU64>::default();
    let url = format!("https://127.0.0.1:{port}/");
    let counted = sessions.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            let session = client.connect(url.as_str()).await.unwrap();
            let counted = counted.clone();
            counted.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                echo(session).await;
                counted.fetch_sub(1, SeqCst);
            });
        }
        // The client keeps its connection as long as it lives.
        std::future::pending::<()>().await;
        drop(client);
    });
    tell_facts(|| (1, sessions.load(SeqCst))).await;
}

async fn serve(request: SessionRequest) {
    let path = request.path().to_owned();
    match path.as_str() {
        "/hold" => {
            request.connection().closed().await;
            return;
        }
        "/missing" => return request.reject(StatusCode::NOT_FOUND).unwrap(),
        _ => {}
    }
    // The client may have gone away meanwhile.
    let Ok(session) = request.accept().await else {
        return;
    };
    match path.as_str() {
        "/stall" => {
            session.closed().await;
        }
        "/hoard" => hoard(&session).await,
        "/later" => {
            if session.recv_datagram().await.is_ok() {
                echo(session).await;
            }
        }
        "/flood" => flood(&session).await,
        "/bye" => {
            let _ = session.accept_uni().await;
            session.close(42, "bye");
        }
        _ => echo(session).await,
    }
}

async fn hoard(session: &Session) {
    let mut held = Vec::new();
    loop {
        tokio::select! {
            stream = session.accept() => match stream {
                Ok(stream) => held.push(stream),
                Err(_) => return,
            },
            _ = session.closed() => return,
        }
    }
}

async fn flood(session: &Session) {
    if session.recv_datagram().await.is_err() {
        return;
    }
    // What each of its writers holds is the application's own.
    let mut writers = JoinSet::new();
    for _ in 0..32 {
        let Ok(mut stream) = session.open_uni().await else {
            return;
        };
        writers.spawn(async move {
            // Each piece has memory of its own, as those of real applications.
            while stream
                .write_chunk(Bytes::from(vec![1; 64 * 1024]))
                .await
                .is_ok()
            {}
        });
    }
    session.closed().await;
}

async fn echo(session: Session) {
    loop {
        tokio::select! {
            stream = session.accept_bi() => {
                let Ok(stream) = stream else { return };
                tokio::spawn(async move {
                    let (mut send, mut recv) = stream.split();
                    while let Ok(Some(chunk)) = recv.read_chunk(64 * 1024).await {
                        if send.write_chunk(chunk).await.is_err() {
                            return;
                        }
                    }
                    let _ = send.finish();
                });
            }
            stream = session.accept_uni() => {
                let Ok(mut stream) = stream else { return };
                tokio::spawn(async move { while let Ok(Some(_)) = stream.read_chunk(64 * 1024).await {} });
            }
            datagram = session.recv_datagram() => {
                let Ok(datagram) = datagram else { return };
                // It may be too large to go back.
                let _ = session.send_datagram(&datagram);
            }
        }
    }
}
