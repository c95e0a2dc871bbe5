//! `interop-server` and `interop-client` against each other, started as the public runners start them.

#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod peers;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{client, folder, identity, payload, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use wt::Session;

const SERVER: &str = env!("CARGO_BIN_EXE_interop-server");
const CLIENT: &str = env!("CARGO_BIN_EXE_interop-client");

/// The folders of one case, as the runner lays them out.
struct Stage {
    root: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let root = folder(name);
        let (cert, key) = identity().to_pem();
        let stage = Self { root };
        fs::create_dir_all(stage.path("certs")).unwrap();
        fs::write(stage.path("certs/cert.pem"), cert).unwrap();
        fs::write(stage.path("certs/priv.key"), key).unwrap();
        for role in ["server", "client"] {
            fs::create_dir_all(stage.path(&format!("{role}/www"))).unwrap();
            fs::create_dir_all(stage.path(&format!("{role}/downloads"))).unwrap();
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes files of these sizes that `role` serves below `endpoint`, and returns their names.
    fn serve(&self, role: &str, endpoint: &str, sizes: &[usize]) -> Vec<String> {
        let www = self.path(&format!("{role}/www/{endpoint}"));
        fs::create_dir_all(&www).unwrap();
        let names = (0..sizes.len()).map(|n| format!("quiet-river-{endpoint}-{n:04}"));
        let names: Vec<String> = names.collect();
        for (name, size) in names.iter().zip(sizes) {
            fs::write(www.join(name), payload(*size)).unwrap();
        }
        names
    }

    fn command(&self, role: &str, case: &str, requests: &str, protocols: &str) -> Command {
        let program = if role == "server" { SERVER } else { CLIENT };
        let mut command = Command::new(program);
        command
            .env("ROLE", role)
            .env("TESTCASE", case)
            .env("REQUESTS", requests)
            .env("PROTOCOLS", protocols)
            .env("SSLKEYLOGFILE", self.path(&format!("{role}/keys.log")))
            .env("INTEROP_WWW", self.path(&format!("{role}/www")))
            .env("INTEROP_DOWNLOADS", self.path(&format!("{role}/downloads")))
            .env("INTEROP_CERTS", self.path("certs"))
            .env("INTEROP_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn server(&self, case: &str, requests: &str, protocols: &str) -> Server {
        Server::start(self.command("server", case, requests, protocols)).await
    }

    /// Runs the client to its end and returns its exit status.
    async fn client(&self, case: &str, requests: &str, protocols: &str) -> i32 {
        let mut command = self.command("client", case, requests, protocols);
        within(command.status()).await.unwrap().code().unwrap()
    }

    /// Compares what `role` downloaded with what the other side serves: all of it, and nothing else.
    fn compare(&self, role: &str) {
        let other = if role == "server" { "client" } else { "server" };
        let sent = tree(&self.path(&format!("{other}/www")));
        assert!(!sent.is_empty());
        assert!(
            tree(&self.path(&format!("{role}/downloads"))) == sent,
            "the files differ"
        );
    }

    /// The connections of which `role` logged secrets.
    fn connections(&self, role: &str) -> usize {
        let log = fs::read_to_string(self.path(&format!("{role}/keys.log"))).unwrap();
        let randoms = log.lines().filter_map(|line| {
            line.strip_prefix("CLIENT_TRAFFIC_SECRET_0 ")?
                .split_whitespace()
                .next()
        });
        randoms.collect::<HashSet<_>>().len()
    }
}

/// All files below a folder, by their path in it.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.push((path.strip_prefix(folder).unwrap().to_owned(), bytes));
            }
        }
    }
    files.sort();
    files
}

struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    origin: String,
}

impl Server {
    async fn start(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        within(stdout.read_line(&mut line)).await.unwrap();
        let port = line.trim_end().rsplit(':').next().unwrap();
        Self {
            origin: format!("https://127.0.0.1:{port}"),
            process,
            stdout,
        }
    }

    async fn status(&mut self) -> i32 {
        within(self.process.wait()).await.unwrap().code().unwrap()
    }

    async fn terminate(&mut self) -> i32 {
        let id = self.process.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status();
        assert!(kill.await.unwrap().success());
        self.status().await
    }
}

#[tokio::test]
async fn handshake_settles_on_the_clients_first_choice() {
    let stage = Stage::new("handshake");
    let mut server = stage
        .server("handshake", "", "\"one two three four five\"")
        .await;
    let url = format!("{}/endpoint", server.origin);
    let status = stage
        .client("handshake", &url, "six five seven two eight")
        .await;
    assert_eq!((status, server.status().await), (0, 0));
    for role in ["server", "client"] {
        let file = stage.path(&format!("{role}/downloads/negotiated_protocol.txt"));
        assert_eq!(fs::read_to_string(file).unwrap(), "five", "{role}");
        assert_eq!(stage.connections(role), 1, "{role}");
    }
}

#[tokio::test]
async fn handshake_without_a_common_protocol_fails() {
    let stage = Stage::new("handshake-none");
    let mut server = stage.server("handshake", "", "one two").await;
    let url = format!("{}/endpoint", server.origin);
    assert_eq!(stage.client("handshake", &url, "three").await, 1);
    assert_eq!(server.status().await, 1);
}

const STREAM_FILES: &[usize] = &[100_000, 500_000, 250_000, 1_000_000, 2_000_000];

fn datagram_files() -> Vec<usize> {
    (0..200).map(|n| 600 + 2 * n).collect()
}

/// The client asks for files.
async fn receive(kind: &str, sizes: &[usize]) {
    let stage = Stage::new(&format!("{kind}-receive"));
    let names = stage.serve("server", "gate", sizes);
    let mut server = stage.server("transfer", "", "").await;
    let urls: Vec<_> = names
        .iter()
        .map(|name| format!("{}/gate/{name}", server.origin))
        .collect();
    let case = format!("transfer-{kind}-receive");
    assert_eq!(stage.client(&case, &urls.join(" "), "").await, 0);
    stage.compare("client");
    assert_eq!(stage.connections("client"), 1);
    assert_eq!(server.terminate().await, 0);
}

/// The server asks for files.
async fn send(kind: &str, sizes: &[usize]) {
    let stage = Stage::new(&format!("{kind}-send"));
    let names = stage.serve("client", "gate", sizes);
    let requests: Vec<_> = names.iter().map(|name| format!("gate/{name}")).collect();
    let case = format!("transfer-{kind}-send");
    let mut server = stage.server(&case, &requests.join(" "), "").await;
    let url = format!("{}/gate", server.origin);
    assert_eq!(stage.client("transfer", &url, "").await, 0);
    assert_eq!(server.status().await, 0);
    stage.compare("server");
    assert_eq!(stage.connections("server"), 1);
}

#[tokio::test]
async fn unidirectional_receive() {
    receive("unidirectional", STREAM_FILES).await;
}

#[tokio::test]
async fn unidirectional_send() {
    send("unidirectional", STREAM_FILES).await;
}

#[tokio::test]
async fn bidirectional_receive() {
    receive("bidirectional", STREAM_FILES).await;
}

#[tokio::test]
async fn bidirectional_send() {
    send("bidirectional", STREAM_FILES).await;
}

#[tokio::test]
async fn datagram_receive() {
    receive("datagram", &datagram_files()).await;
}

#[tokio::test]
async fn datagram_send() {
    send("datagram", &datagram_files()).await;
}

#[tokio::test]
async fn several_sessions_share_a_connection() {
    let stage = Stage::new("several");
    let mut server = stage.server("transfer", "", "").await;
    let mut urls = Vec::new();
    for endpoint in ["gate", "lake", "moor"] {
        let names = stage.serve("server", endpoint, &[10_000, 200_000]);
        urls.extend(
            names
                .iter()
                .map(|name| format!("{}/{endpoint}/{name}", server.origin)),
        );
    }
    let case = "transfer-bidirectional-receive";
    assert_eq!(stage.client(case, &urls.join(" "), "").await, 0);
    stage.compare("client");
    assert_eq!(stage.connections("client"), 1);
    assert_eq!(server.terminate().await, 0);

    let stage = Stage::new("several-send");
    let mut requests = Vec::new();
    for endpoint in ["gate", "lake"] {
        let names = stage.serve("client", endpoint, &[10_000, 200_000]);
        requests.extend(names.iter().map(|name| format!("{endpoint}/{name}")));
    }
    let case = "transfer-unidirectional-send";
    let mut server = stage.server(case, &requests.join(" "), "").await;
    let urls = format!("{0}/gate {0}/lake", server.origin);
    assert_eq!(stage.client("transfer", &urls, "").await, 0);
    assert_eq!(server.status().await, 0);
    stage.compare("server");
    assert_eq!(stage.connections("server"), 1);
}

#[tokio::test]
async fn a_file_that_is_not_there_fails_the_case() {
    let stage = Stage::new("missing");
    let mut server = stage.server("transfer", "", "").await;
    let url = format!("{}/gate/nothing", server.origin);
    assert_eq!(
        stage
            .client("transfer-bidirectional-receive", &url, "")
            .await,
        1
    );
    assert_eq!(server.terminate().await, 0);
}

#[tokio::test]
async fn unknown_cases_are_not_supported() {
    let stage = Stage::new("unknown");
    for role in ["server", "client"] {
        for case in [
            "",
            "zyxwvut",
            "transfer-unidirectional",
            "transfer-pigeon-send",
        ] {
            let mut command = stage.command(role, case, "https://127.0.0.1:1/x", "");
            let status = within(command.status()).await.unwrap();
            assert_eq!(status.code(), Some(127), "{role} {case:?}");
        }
    }
}

/// Starts the server of the second runner.
async fn site(args: &[&str]) -> (Server, Value) {
    let mut command = Command::new(SERVER);
    command
        .args(["--listen", "127.0.0.1:0", "--json"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    within(stdout.read_line(&mut line)).await.unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let origin = format!("https://127.0.0.1:{}", event["port"]);
    let server = Server {
        process,
        stdout,
        origin,
    };
    (server, event)
}

/// Runs the client with arguments; its exit status and what it printed.
async fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(CLIENT)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(output).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), printed)
}

#[tokio::test]
async fn the_server_says_where_it_listens_and_ends_in_order() {
    let stage = Stage::new("start");
    let (cert, key) = (stage.path("certs/cert.pem"), stage.path("certs/priv.key"));
    let args = [
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let (mut server, event) = site(&args).await;
    assert_eq!(event["event"], "listening");
    let port = event["port"].as_u64().unwrap();
    assert_eq!(event["address"], format!("127.0.0.1:{port}"));
    assert_eq!(event["url"], format!("https://localhost:{port}/"));
    let hash = event["certificate_sha256"].as_str().unwrap();
    assert!(
        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
        "{hash}"
    );

    let url = format!("{}/echo", server.origin);
    let (status, printed) = run(&["echo", &url, "--ca", cert.to_str().unwrap()]).await;
    assert_eq!(status, 0, "{printed}");
    assert_eq!(
        printed
            .lines()
            .filter(|line| line.starts_with("ok "))
            .count(),
        6,
        "{printed}"
    );
    // Neither the system nor another certificate vouches for it.
    assert_eq!(run(&["echo", &url]).await.0, 1);

    assert_eq!(server.terminate().await, 0);
    let mut rest = String::new();
    within(server.stdout.read_to_string(&mut rest))
        .await
        .unwrap();
    assert_eq!(rest, "");
}

#[tokio::test]
async fn the_server_has_the_paths_of_pywebtransports_tests() {
    let (mut server, _) = site(&["--pywebtransport"]).await;
    let client = client();
    let connect = async |path: &str| {
        let url = format!("{}{path}", server.origin);
        within(client.connect(url)).await
    };
    let ask = async |session: &Session, sent: &[u8]| {
        let mut stream = within(session.open_bi()).await.unwrap();
        within(stream.send.write_all(sent)).await.unwrap();
        stream.send.finish().unwrap();
        within(stream.recv.read_to_end(1 << 21)).await.unwrap()
    };
    for path in ["/", "/echo"] {
        let session = connect(path).await.unwrap();
        assert_eq!(ask(&session, b"").await, "ECHO: ");
        let large = payload(1 << 20);
        assert!(ask(&session, &large).await == [b"ECHO: ", &large[..]].concat());
        session.send_datagram(b"hi").unwrap();
        assert_eq!(within(session.recv_datagram()).await.unwrap(), "ECHO: hi");
    }
    for path in ["/structured-echo/json", "/structured-echo/msgpack"] {
        let session = connect(path).await.unwrap();
        // The client keeps the stream open and waits for each message.
        let mut stream = within(session.open_bi()).await.unwrap();
        for message in [&b"\0\x01\0\0\0\x02{}"[..], b"\0\x02\0\0\0\x02[]"] {
            within(stream.send.write_all(message)).await.unwrap();
            let mut echoed = vec![0; message.len()];
            within(stream.recv.read_exact(&mut echoed)).await.unwrap();
            assert_eq!(echoed, message);
        }
        session.send_datagram(b"\0\x01{}").unwrap();
        assert_eq!(
            &within(session.recv_datagram()).await.unwrap()[..],
            b"\0\x01{}"
        );
    }
    let session = connect("/health").await.unwrap();
    let health = within(session.recv_datagram()).await.unwrap();
    let health: Value = serde_json::from_slice(&health).unwrap();
    assert_eq!(health["status"], "healthy");
    assert!(health["active_sessions"].as_u64() >= Some(1), "{health}");
    assert_eq!(within(session.closed()).await.code(), Some(0));
    let session = connect("/stats").await.unwrap();
    let stats = within(session.accept_bi()).await.unwrap();
    let stats = within(stats.split().1.read_to_end(1000)).await.unwrap();
    assert!(serde_json::from_slice::<Value>(&stats).unwrap()["uptime"].is_f64());
    let error = connect("/nowhere").await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(404));
    within(client.close()).await;
    assert_eq!(server.terminate().await, 0);
}

#[tokio::test]
async fn the_client_checks_echo() {
    let (mut server, _) = site(&[]).await;
    let url = format!("{}/echo", server.origin);
    let (status, printed) = run(&["echo", &url, "--insecure", "--no-uni"]).await;
    assert_eq!(status, 0, "{printed}");
    assert!(!printed.contains("unidirectional"), "{printed}");
    // Neither a path that is not there nor one that does not echo passes.
    let nowhere = format!("{}/nowhere", server.origin);
    assert_eq!(run(&["echo", &nowhere, "--insecure"]).await.0, 1);
    assert_eq!(server.terminate().await, 0);
}

#[tokio::test]
async fn the_client_plays_devious_baton() {
    let (mut server, _) = site(&[]).await;
    for query in [
        "?baton=200",
        "",
        "?count=8",
        "?baton=250&baton=251&baton=5&count=5",
        "?baton=255",
    ] {
        let url = format!("{}/webtransport/devious-baton{query}", server.origin);
        let (status, printed) = run(&["baton", &url, "--insecure"]).await;
        assert_eq!(status, 0, "{query}: {printed}");
    }
    let url = format!("{}/webtransport/devious-baton?version=1", server.origin);
    assert_eq!(run(&["baton", &url, "--insecure"]).await.0, 1);
    assert_eq!(server.terminate().await, 0);
}

#[tokio::test]
async fn bad_arguments_and_addresses_end_with_2() {
    let taken = std::net::UdpSocket::bind(peers::loopback()).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for args in [
        &["--listen", &taken][..],
        &["--listen", "nowhere"],
        &["--json"],
        &[
            "--listen",
            "127.0.0.1:0",
            "--cert",
            "/nowhere",
            "--key",
            "/nowhere",
        ],
        &["--listen", "127.0.0.1:0", "--cert", "/nowhere"],
    ] {
        let output = Command::new(SERVER).args(args).kill_on_drop(true).output();
        let output = within(output).await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
}
