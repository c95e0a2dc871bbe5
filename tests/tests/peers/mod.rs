//! What the tests with other programs and stacks share.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]

use std::future::IntoFuture;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use wt::{
    Client, ClientConfig, Dialect, Identity, Server, ServerConfig, ServerVerification, SessionError,
};
use wt_tests::interop::echo;
use wt_tests::interop::site::Site;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `what`, but not for ever.
///
/// # Panics
///
/// When it does not come.
pub async fn within<F: IntoFuture>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what.into_future())
        .await
        .expect("something that was waited for never came")
}

/// A free port of 127.0.0.1.
pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A certificate for this machine.
pub fn identity() -> Identity {
    Identity::self_signed(["localhost", "127.0.0.1", "::1"]).unwrap()
}

/// A client of ours that takes any certificate.
pub fn client() -> Client {
    let config = ClientConfig::new().with_verification(ServerVerification::Insecure);
    Client::new(config).unwrap()
}

/// The interop server in this process, and its origin.
pub async fn site() -> String {
    let site = Site::bind(loopback(), identity()).unwrap();
    let line: Value = serde_json::from_str(&site.start_line(true).unwrap()).unwrap();
    tokio::spawn(async move { site.run().await.unwrap() });
    format!("https://127.0.0.1:{}", line["port"])
}

/// An empty folder of this name below the target directory.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Bytes in which a shift or a swap shows.
pub fn payload(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32 ^ size as u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// A server of ours that echoes and remembers how its sessions ended. `/close` closes with 7 and "seven".
pub struct Ours {
    pub port: u16,
    /// What its clients are expected to speak, where that matters.
    dialect: Option<Dialect>,
    ends: mpsc::UnboundedReceiver<(Dialect, SessionError)>,
    server: Server,
}

impl Ours {
    /// Starts it for a peer that speaks this dialect.
    pub fn speaking(dialect: Dialect) -> Self {
        Self {
            dialect: Some(dialect),
            ..Self::start()
        }
    }

    pub fn start() -> Self {
        let config = ServerConfig::new(identity()).with_bind(loopback());
        let server = Server::bind(&config).unwrap();
        let port = server.local_addr().unwrap().port();
        let (ended, ends) = mpsc::unbounded_channel();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Some(request) = accepting.accept().await {
                let ended = ended.clone();
                tokio::spawn(async move {
                    let session = request.accept().await.unwrap();
                    if session.path() == "/close" {
                        session.close(7, "seven");
                    }
                    echo::serve(&session).await;
                    let _ = ended.send((session.dialect(), session.closed().await));
                });
            }
        });
        Self {
            port,
            dialect: None,
            ends,
            server,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// How the next session to end did so.
    pub async fn end(&mut self) -> SessionError {
        let (dialect, end) = within(self.ends.recv()).await.unwrap();
        assert!(
            self.dialect.is_none_or(|expected| expected == dialect),
            "{dialect:?}"
        );
        end
    }

    /// Waits until no connection is left.
    pub async fn empty(&self) {
        within(async {
            while !self.server.connections().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// A client's end of a session of another stack.
#[allow(async_fn_in_trait, reason = "nobody else implements it")]
pub trait Peer {
    /// Sends bytes on a bidirectional stream and returns what comes back.
    async fn bidi(&self, bytes: &[u8]) -> Vec<u8>;
    /// Sends bytes on a unidirectional stream and returns what comes on the next one of the server.
    async fn uni(&self, bytes: &[u8]) -> Vec<u8>;
    /// Sends a datagram and returns the next one that comes.
    async fn datagram(&self, bytes: &[u8]) -> Vec<u8>;
}

/// Has everything echoed.
pub async fn exercise(peer: &impl Peer) {
    for size in [0, 1, 1000, 64 * 1024, 1024 * 1024] {
        let sent = payload(size);
        assert!(
            within(peer.bidi(&sent)).await == sent,
            "bidirectional, {size} B"
        );
    }
    for size in [1, 100_000] {
        let sent = payload(size);
        assert!(
            within(peer.uni(&sent)).await == sent,
            "unidirectional, {size} B"
        );
    }
    for size in [1, 1000] {
        let sent = payload(size);
        assert!(
            within(peer.datagram(&sent)).await == sent,
            "datagram, {size} B"
        );
    }
}

/// Has a server of another stack echo everything to our client, and 50 times in a row one stream on a session of
/// its own. The server has to speak this dialect.
pub async fn exercise_server(url: &str, dialect: Dialect) {
    let client = client();
    let session = within(client.connect(url)).await.unwrap();
    assert_eq!(session.dialect(), dialect);
    assert!(echo::check(&session, true).await);
    session.close(0, "");
    drop(session);
    for number in 0..50 {
        let session = within(client.connect(url)).await.unwrap();
        let mut stream = session.open_bi().await.unwrap();
        let sent = payload(number);
        stream.send.write_all(&sent).await.unwrap();
        stream.send.finish().unwrap();
        let answer = within(stream.recv.read_to_end(1000)).await.unwrap();
        assert_eq!(answer, sent, "session {number}");
        session.close(0, "");
    }
    within(client.close()).await;
}
