//! What a server must stand over time: nothing stays behind, and nothing hangs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use tokio::{sync::Barrier, task::JoinSet};
use wt::{Client, ClientConfig, Dialect, DialectSet, RecvStream, ServerVerification, Session};
use wt_tests::{
    proxy::{Faults, Proxy},
    raw::{self, End, Raw, wire, within, within_time},
    target::{Facts, Target},
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

fn target(args: &[&str]) -> Target {
    Target::start(env!("CARGO_BIN_EXE_hostile-target"), args)
}

/// Waits until tasks, connections, sessions and files are as they were.
async fn settled(target: &mut Target, before: Facts) -> Facts {
    let after = target
        .until(Duration::from_secs(20), |facts| {
            facts.connections <= before.connections
                && facts.sessions <= before.sessions
                && facts.tasks <= before.tasks
                && facts.files <= before.files
        })
        .await;
    eprintln!("before {before:?}, after {after:?}");
    after
}

fn assert_memory_did_not_grow(earlier: Facts, later: Facts, mib: u64) {
    let grown = later.memory.saturating_sub(earlier.memory);
    assert!(
        grown <= mib << 20,
        "{grown} bytes more than after an earlier round"
    );
}

/// One session after the other on one connection; each carries a stream and ends in one of four ways.
async fn sessions(raw: &Raw, count: usize) {
    for n in 0..count {
        let mut session = raw.session("/echo").await;
        if n % 10 == 0 {
            raw.echo(session.id, b"x").await;
        }
        match n % 4 {
            0 => session.send.finish().unwrap(),
            1 => {
                session.write(&wire::close(7, b"done")).await;
                session.send.finish().unwrap();
            }
            2 => session.send.reset(7_u32.into()).unwrap(),
            _ => {
                session.frames.stop(7);
                session.send.finish().unwrap();
                continue;
            }
        }
        assert_eq!(session.ended().await, End::Fin);
    }
}

#[tokio::test]
async fn ten_thousand_sessions_leave_nothing_behind() {
    let mut target = target(&["linger=60000"]);
    let bystander = target.client().await;
    let raw = target.hello().await;
    within_time(LONG, "2000 sessions", sessions(&raw, 2000)).await;
    let first = target.until(raw::WAIT, |facts| facts.sessions == 1).await;
    within_time(LONG, "8000 sessions", sessions(&raw, 8000)).await;
    let after = settled(&mut target, first).await;
    assert_memory_did_not_grow(first, after, 2);
    bystander.is_served().await;
}

#[tokio::test]
async fn sessions_of_connections_of_their_own_leave_nothing_behind() {
    let mut target = target(&["linger=100"]);
    let bystander = target.client().await;
    let quiet = target.facts();
    let endpoint = raw::client_endpoint(raw::transport());
    let mut rounds = Vec::new();
    for _ in 0..2 {
        for _ in 0..250 {
            let quic = raw::connect(&endpoint, target.port).await;
            let raw = Raw::over(quic, &endpoint);
            raw.settings(wire::CLIENT_SETTINGS).await;
            let session = raw.session("/echo").await;
            raw.echo(session.id, b"x").await;
            raw.quic.close(0x100_u32.into(), b"");
        }
        rounds.push(settled(&mut target, quiet).await);
    }
    assert_memory_did_not_grow(rounds[0], rounds[1], 4);
    bystander.is_served().await;
}

#[tokio::test]
async fn a_thousand_connections_cut_leave_nothing_behind() {
    let mut target = target(&["idle=3000"]);
    let quiet = {
        // Has everything done once that is done only once.
        let raw = target.hello().await;
        raw.session("/echo").await;
        raw.quic.close(0_u32.into(), b"");
        target
            .until(raw::WAIT, |facts| facts.connections == 0)
            .await
    };
    let mut rounds = Vec::new();
    for round in 0..3 {
        let proxy = Proxy::start(target.port, Faults::default(), round).await;
        let endpoint = raw::client_endpoint(raw::transport());
        let mut peers = Vec::new();
        for n in 0..334 {
            let quic = raw::connect(&endpoint, proxy.port).await;
            let raw = Raw::over(quic, &endpoint);
            // In every state that a connection can be in.
            if n % 4 > 0 {
                raw.settings(wire::CLIENT_SETTINGS).await;
            }
            if n % 4 > 1 {
                let session = raw.session("/echo").await;
                if n % 4 > 2 {
                    raw.keep_uni(&wire::stream(wire::WT_UNI, session.id, b"x"))
                        .await;
                    raw.keep_bi(&wire::stream(wire::WT_BIDI, session.id, b"x"))
                        .await;
                    raw.keep_bi(&[0x40]).await;
                }
                raw.keep(session);
            }
            peers.push(raw);
        }
        proxy.cut(true);
        drop(peers);
        rounds.push(settled(&mut target, quiet).await);
    }
    // How many live at a time depends on the load of the machine: the allocator is settled after the second round.
    assert_memory_did_not_grow(rounds[1], rounds[2], 6);
    target.client().await.is_served().await;
}

/// A session between our client and our server in this process.
struct Pair {
    _client: Client,
    _server: wt::Server,
    near: Session,
    far: Session,
}

async fn pair(dialects: DialectSet) -> Pair {
    let identity = wt::Identity::self_signed(["127.0.0.1"]).unwrap();
    let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let config = wt::ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    assert_eq!(config.transport.receive_window, 16 << 20);
    let server = wt::Server::bind(&config).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut config = ClientConfig::new().with_verification(verification);
    config.dialects = dialects;
    let client = Client::new(config).unwrap();
    let connect = client.connect(format!("https://127.0.0.1:{port}/"));
    let (near, far) = within("a session", async {
        tokio::join!(async { connect.await.unwrap() }, async {
            server.accept().await.unwrap().accept().await.unwrap()
        },)
    })
    .await;
    Pair {
        _client: client,
        _server: server,
        near,
        far,
    }
}

const STREAMS: usize = 1000;
const BODY: usize = 64 * 1024;

/// Opens 1000 streams at once, each with a task that writes 64 KiB.
fn write_all_at_once(session: &Session, tasks: &mut JoinSet<()>) {
    for n in 0..STREAMS {
        let session = session.clone();
        tasks.spawn(async move {
            let mut stream = session.open_uni().await.unwrap();
            stream.write_all(&body(n)).await.unwrap();
            stream.finish().unwrap();
            stream.closed().await.unwrap();
        });
    }
}

fn body(n: usize) -> Vec<u8> {
    let mut body = vec![n as u8; BODY];
    body[..8].copy_from_slice(&(n as u64).to_be_bytes());
    body
}

/// Reads streams, each in a task of its own, and asserts that each of the 1000 came once and whole.
async fn read_all(streams: impl IntoIterator<Item = RecvStream>) {
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        tasks.spawn(async move { stream.read_to_end(BODY).await.unwrap() });
    }
    let mut seen = vec![false; STREAMS];
    while let Some(read) = tasks.join_next().await {
        check(&read.unwrap(), &mut seen);
    }
    assert!(seen.iter().all(|seen| *seen), "a stream is missing");
}

fn check(read: &[u8], seen: &mut [bool]) {
    let n = u64::from_be_bytes(read[..8].try_into().unwrap()) as usize;
    assert!(read == body(n), "stream {n}");
    assert!(!std::mem::replace(&mut seen[n], true), "stream {n} twice");
}

/// Waits until the sender can send no more.
async fn until_full(session: &Session) {
    let mut last = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let sent = session.connection().stats().packets_sent;
        if sent.saturating_sub(last) < 3 {
            return;
        }
        last = sent;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_accepted_late() {
    for dialects in [DialectSet::ALL, DialectSet::only(Dialect::Draft02)] {
        let pair = pair(dialects).await;
        let mut writers = JoinSet::new();
        write_all_at_once(&pair.near, &mut writers);
        until_full(&pair.near).await;
        within_time(LONG, "all streams", async {
            let mut tasks = JoinSet::new();
            for _ in 0..STREAMS {
                let mut stream = pair.far.accept_uni().await.unwrap();
                tasks.spawn(async move { stream.read_to_end(BODY).await.unwrap() });
            }
            let mut seen = vec![false; STREAMS];
            while let Some(read) = tasks.join_next().await {
                check(&read.unwrap(), &mut seen);
            }
            while let Some(written) = writers.join_next().await {
                written.unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_accepted_before_any_is_read() {
    // Flow control of the session leaves room for the headers of all.
    let pair = pair(DialectSet::ALL).await;
    let mut writers = JoinSet::new();
    write_all_at_once(&pair.near, &mut writers);
    within_time(LONG, "all streams", async {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            streams.push(pair.far.accept_uni().await.unwrap());
        }
        streams.reverse();
        read_all(streams).await;
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_headers_come_out_of_order() {
    let target = target(&[]);
    let raw = target.raw().await;
    // This peer grants once for all.
    let mut settings = wire::CLIENT_SETTINGS.to_vec();
    settings[2].1 = 1 << 40;
    raw.settings(&settings).await;
    let session = raw.session("/echo").await;
    // 50 streams whose first byte comes last, among 500 that are whole, and the bodies before the headers of others.
    let mut late = Vec::new();
    for n in 0..550_u64 {
        let bytes = wire::stream(wire::WT_BIDI, session.id, &vec![n as u8; 64 * 1024]);
        if n % 11 == 0 {
            let (mut send, recv) = raw.quic.open_bi().await.unwrap();
            send.write_all(&bytes[..1]).await.unwrap();
            late.push((send, recv, bytes));
        } else {
            let (mut send, mut recv) = within("a stream", raw.quic.open_bi()).await.unwrap();
            let write = async {
                send.write_all(&bytes).await.unwrap();
                send.finish().unwrap();
            };
            let read = async { recv.read_to_end(1 << 20).await.unwrap() };
            let ((), read) = within("the echo", async { tokio::join!(write, read) }).await;
            assert!(read == bytes[bytes.len() - 64 * 1024..]);
        }
    }
    for (mut send, mut recv, bytes) in late.into_iter().rev() {
        let write = async {
            send.write_all(&bytes[1..]).await.unwrap();
            send.finish().unwrap();
        };
        let read = async { recv.read_to_end(1 << 20).await.unwrap() };
        let ((), read) = within("the late echo", async { tokio::join!(write, read) }).await;
        assert!(read == bytes[bytes.len() - 64 * 1024..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_at_once() {
    let target = target(&[]);
    let start = Arc::new(Barrier::new(100));
    let mut tasks = JoinSet::new();
    let (port, endpoint) = (target.port, raw::client_endpoint(raw::transport()));
    for _ in 0..100 {
        let (start, endpoint) = (start.clone(), endpoint.clone());
        tasks.spawn(async move {
            start.wait().await;
            let raw = Raw::over(raw::connect(&endpoint, port).await, &endpoint);
            raw.settings(wire::CLIENT_SETTINGS).await;
            let session = raw.session("/echo").await;
            raw.echo(session.id, b"among a hundred").await;
        });
    }
    while let Some(done) = within_time(LONG, "a client", tasks.join_next()).await {
        done.unwrap();
    }
    target.client().await.is_served().await;
}
