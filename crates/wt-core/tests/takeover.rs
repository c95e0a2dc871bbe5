//! A port goes from one process to the next: here each endpoint stands for a process.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod common;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};

use common::{configs, connect, echo, eventually, pattern, recv, send, session, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use wt_core::{
    ConnectionError, Endpoint, ErrorCode, Session, SessionError,
    config::{ClientConfig, ServerConfig},
    fault::Fault,
    takeover::{Handover, MAX_EARLIER, Takeover, TakeoverError},
};

/// A folder of its own, which goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("wt-takeover-{name}-{id}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn control(&self) -> PathBuf {
        self.0.join("control")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that has the port.
struct Process {
    endpoint: Endpoint,
    handover: Handover,
}

impl Process {
    async fn start(config: &ServerConfig, path: &Path) -> Self {
        let takeover = within(Takeover::begin(path)).await.unwrap();
        let (endpoint, pending) = takeover.server(config).unwrap();
        let handover = within(pending.complete()).await.unwrap();
        Self { endpoint, handover }
    }

    /// Takes a client with a session, whose streams it sends back; the client's end is returned.
    async fn session(&self, client: &Endpoint) -> Session {
        let address = self.endpoint.local_addr().unwrap();
        let (there, here) = within(connect(&self.endpoint, client, address)).await;
        let (theirs, ours) = within(session(&there, &here)).await;
        echo(theirs);
        ours
    }
}

async fn check_echo(session: &Session, len: usize) {
    let mut stream = within(session.open_bi()).await.unwrap();
    let sending = send(&mut stream.send, pattern(len));
    let ((), back) = tokio::join!(sending, recv(&mut stream.recv));
    assert!(back.unwrap() == pattern(len));
}

fn client(config: &ClientConfig) -> Endpoint {
    Endpoint::client(config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_go_on_in_the_old_process_wherever_the_client_moves() {
    let (folder, (server, config)) = (Folder::new("moves"), configs());
    let old = Process::start(&server, &folder.control()).await;
    let client = client(&config);
    let of_old = old.session(&client).await;
    check_echo(&of_old, 1000).await;
    assert!(!old.handover.is_handed_over());

    let new = Process::start(&server, &folder.control()).await;
    within(old.handover.handed_over()).await;
    let address = new.endpoint.local_addr().unwrap();
    assert_eq!(address, old.endpoint.local_addr().unwrap());
    // Both connections of the client come from one UDP socket, so their packets arrive together.
    let of_new = new.session(&client).await;
    let large = 4 << 20;
    tokio::join!(check_echo(&of_old, large), check_echo(&of_new, large));
    let before = new.handover.passed_on().passed;
    // At the largest there are 1452 bytes in a packet.
    assert!(before > 2000, "{before} packets were passed on");

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client.rebind(socket).unwrap();
    tokio::join!(check_echo(&of_old, large), check_echo(&of_new, large));
    assert!(new.handover.passed_on().passed > before + 2000);
    assert_eq!(old.handover.passed_on().passed, 0);

    // Its end is told as ever.
    old.endpoint.close(ErrorCode::H3_NO_ERROR, "through");
    let end = within(of_old.closed()).await;
    assert!(
        matches!(
            &end,
            SessionError::Connection(ConnectionError::ClosedByPeer { .. })
        ),
        "{end}"
    );
    check_echo(&of_new, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_of_a_line_keeps_its_sessions() {
    let (folder, (server, config)) = (Folder::new("line"), configs());
    let mut processes = Vec::new();
    let mut sessions = Vec::new();
    let client = client(&config);
    for _ in 0..4 {
        let process = Process::start(&server, &folder.control()).await;
        sessions.push(process.session(&client).await);
        processes.push(process);
    }
    for session in &sessions {
        check_echo(session, 100_000).await;
    }
    // One in the middle goes, and nobody else notices.
    drop(sessions.remove(1));
    drop(processes.remove(1));
    for session in &sessions {
        check_echo(session, 100_000).await;
    }
}

#[tokio::test]
async fn a_handshake_goes_on_where_it_began() {
    let (folder, (server, config)) = (Folder::new("handshake"), configs());
    let old = Process::start(&server, &folder.control()).await;
    let client = client(&config);
    let address = old.endpoint.local_addr().unwrap();
    let connecting = tokio::spawn(async move { client.connect(address, "localhost").await });
    let incoming = within(old.endpoint.accept()).await.unwrap();
    let new = Process::start(&server, &folder.control()).await;
    let there = within(incoming.accept()).await.unwrap();
    let here = within(connecting).await.unwrap().unwrap();
    let (theirs, ours) = within(session(&there, &here)).await;
    echo(theirs);
    check_echo(&ours, 1000).await;
    assert!(new.handover.passed_on().passed > 0);
}

#[tokio::test]
async fn clients_of_a_process_that_is_killed_learn_it_from_the_next() {
    let (folder, (server, mut config)) = (Folder::new("killed"), configs());
    config.transport.keep_alive = Some(Duration::from_millis(100));
    config.transport.idle_timeout = Some(Duration::from_secs(600));
    let mut server = server;
    server.transport.idle_timeout = Some(Duration::from_secs(600));
    let dying = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (its_config, path) = (server.clone(), folder.control());
    let starting = dying.spawn(async move { Process::start(&its_config, &path).await });
    let old = within(starting).await.unwrap();
    let client = client(&config);
    let address = old.endpoint.local_addr().unwrap();
    let accepting = dying.spawn(async move {
        let there = old.endpoint.accept().await.unwrap().accept().await.unwrap();
        let session = there
            .accept_session()
            .await
            .unwrap()
            .accept()
            .await
            .unwrap();
        (old, there, session)
    });
    let here = within(client.connect(address, "localhost")).await.unwrap();
    let session = within(here.open_session("localhost", "/", http::HeaderMap::new(), &[]));
    let session = session.await.unwrap();
    let held = within(accepting).await.unwrap();
    let _new = Process::start(&server, &folder.control()).await;
    // Nothing of it runs any more, not even to say goodbye.
    dying.shutdown_background();
    drop(held);
    let end = within(session.closed()).await;
    assert_eq!(end, SessionError::Connection(ConnectionError::Reset));
}

#[tokio::test]
async fn a_newcomer_that_gives_up_changes_nothing() {
    let (folder, (server, config)) = (Folder::new("gives-up"), configs());
    let old = Process::start(&server, &folder.control()).await;
    let client = client(&config);

    let takeover = within(Takeover::begin(folder.control())).await.unwrap();
    assert!(takeover.has_predecessor());
    drop(takeover);
    old.session(&client).await;

    let takeover = within(Takeover::begin(folder.control())).await.unwrap();
    let (endpoint, pending) = takeover.server(&server).unwrap();
    // A packet that it could take away would be missed here.
    let session = old.session(&client).await;
    drop((endpoint, pending));
    check_echo(&session, 100_000).await;

    // One that dies when the port is its own already.
    let mut stream = UnixStream::connect(folder.control()).await.unwrap();
    stream.write_all(b"takeover 1\r\n").await.unwrap();
    let mut offer = [0; 1 + 48 + 1 + 3];
    within(stream.read_exact(&mut offer)).await.unwrap();
    stream.write_all(b"T").await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'Y');
    drop(stream);
    old.session(&client).await;
    check_echo(&session, 100_000).await;

    // One that says what nobody understands.
    let mut stream = UnixStream::connect(folder.control()).await.unwrap();
    stream.write_all(b"takeover 2\r\n").await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
    old.session(&client).await;
    assert!(!old.handover.is_handed_over());
}

#[tokio::test]
async fn the_control_socket_is_the_owner_s_alone_and_goes_with_its_process() {
    let (folder, (server, _)) = (Folder::new("file"), configs());
    let path = folder.control();
    // What a process that was killed has left behind.
    drop(UnixListener::bind(&path).unwrap());
    let takeover = within(Takeover::begin(&path)).await.unwrap();
    assert!(!takeover.has_predecessor());
    let (endpoint, pending) = takeover.server(&server).unwrap();
    let handover = within(pending.complete()).await.unwrap();
    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = || fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(files(), 1);

    let new = Process::start(&server, &path).await;
    within(handover.handed_over()).await;
    drop((endpoint, handover));
    assert_eq!(files(), 1, "it is the successor's by now");
    drop(new);
    eventually(|| files() == 0).await;
}

#[tokio::test]
async fn what_cannot_be_taken_over_is_said() {
    let (folder, (server, _)) = (Folder::new("cannot"), configs());
    let file = folder.0.join("file");
    fs::write(&file, "precious").unwrap();
    let error = within(Takeover::begin(&file)).await.unwrap_err();
    assert!(matches!(error, TakeoverError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let nowhere = folder.0.join("no/such/folder");
    let takeover = within(Takeover::begin(&nowhere)).await.unwrap();
    let (_endpoint, pending) = takeover.server(&server).unwrap();
    let error = within(pending.complete()).await.unwrap_err();
    assert!(matches!(error, TakeoverError::Socket { .. }), "{error}");

    let old = Process::start(&server, &folder.control()).await;
    let theirs = old.endpoint.local_addr().unwrap();
    let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, theirs.port() ^ 1));
    let takeover = within(Takeover::begin(folder.control())).await.unwrap();
    let error = takeover
        .server(&server.clone().with_bind(elsewhere))
        .unwrap_err();
    assert!(
        matches!(error, TakeoverError::OtherAddress { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&theirs.to_string()), "{error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    old.endpoint.rebind(socket).unwrap_err();

    // Somebody who listens and says something else.
    let path = folder.0.join("other");
    let other = tokio::net::UnixListener::bind(&path).unwrap();
    let answering = async {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"220 ready\r\n").await.unwrap();
        stream
    };
    let (error, _stream) = tokio::join!(within(Takeover::begin(&path)), answering);
    let error = error.unwrap_err();
    assert!(matches!(error, TakeoverError::Version { .. }), "{error}");
    assert!(error.is_fatal());
}

#[tokio::test]
async fn so_many_earlier_processes_may_have_sessions() {
    let (folder, (server, config)) = (Folder::new("many"), configs());
    let client = client(&config);
    let first = Process::start(&server, &folder.control()).await;
    let session = first.session(&client).await;
    let mut later = Vec::new();
    for _ in 0..MAX_EARLIER {
        later.push(Process::start(&server, &folder.control()).await);
    }
    let error = within(Takeover::begin(folder.control())).await.unwrap_err();
    assert!(matches!(error, TakeoverError::Busy), "{error}");
    assert!(error.is_retriable());
    check_echo(&session, 1000).await;
    // When one of them is through, there is room again.
    drop(later.remove(0));
    let again = async {
        while let Err(error) = Takeover::begin(folder.control()).await {
            assert!(matches!(error, TakeoverError::Busy), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(again).await;
    check_echo(&session, 1000).await;
}
