//! An application on loopback, and clients for it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test file uses all of it, and a failed helper is a failed test"
)]

use std::{net::Ipv4Addr, time::Duration};

use tokio::time::timeout;
use wt_client::{Client, ClientConfig, Connect, ServerVerification};
use wt_server::{
    BoxError, Identity, RunningApp, Server, ServerApp, ServerConfig, Session, SessionError,
    http::{HeaderMap, StatusCode},
};

/// No test waits longer than this for what has to happen.
pub const LIMIT: Duration = Duration::from_secs(30);

pub fn config() -> ServerConfig {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"]).unwrap();
    ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into())
}

/// Makes a client that trusts the server.
pub fn client(server: &Server) -> Client {
    let hash = server.config().identity.certificate_hash();
    let verification = ServerVerification::Hashes(vec![hash]);
    Client::new(ClientConfig::new().with_verification(verification)).unwrap()
}

/// Writes a text to the client and waits until it says that it has read it.
pub async fn tell(session: &Session, text: impl AsRef<str>) -> Result<(), BoxError> {
    let mut stream = session.open_uni().await?;
    stream.write_all(text.as_ref().as_bytes()).await?;
    stream.finish()?;
    session.accept_uni().await?.read_to_end(0).await?;
    Ok(())
}

/// Reads what [`tell`] wrote, and says so.
pub async fn told(session: &Session) -> String {
    let reading = async {
        let mut stream = session.accept_uni().await.unwrap();
        let bytes = stream.read_to_end(64 * 1024).await.unwrap();
        let mut answer = session.open_uni().await.unwrap();
        answer.flush().await.unwrap();
        answer.finish().unwrap();
        bytes
    };
    let bytes = timeout(LIMIT, reading).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Waits for the end of a session and returns its code and reason.
pub async fn ended(session: &Session) -> (u32, String) {
    let end: SessionError = timeout(LIMIT, session.closed()).await.unwrap();
    (end.code().unwrap_or(u32::MAX), end.reason().to_owned())
}

/// Waits until something holds; the test fails when it does not come to.
pub async fn eventually(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap();
}

/// An application that runs, and a client.
#[derive(Debug)]
pub struct Running {
    pub app: RunningApp,
    pub client: Client,
}

pub async fn start<S: Clone + Send + Sync + 'static>(app: ServerApp<S>) -> Running {
    let app = app.start().await.unwrap();
    let client = client(app.server());
    Running { app, client }
}

impl Running {
    pub fn connect(&self, path: &str) -> Connect {
        let port = self.app.local_addr().unwrap().port();
        self.client
            .connect(format!("https://127.0.0.1:{port}{path}"))
    }

    pub async fn session(&self, path: &str) -> Session {
        self.connect(path).await.unwrap()
    }

    /// Opens a session and returns the first thing that it tells.
    pub async fn ask(&self, path: &str) -> String {
        told(&self.session(path).await).await
    }

    pub async fn status(&self, path: &str) -> StatusCode {
        refusal(self.connect(path)).await.0
    }
}

/// Returns with what a session was refused.
pub async fn refusal(connect: Connect) -> (StatusCode, HeaderMap) {
    match connect.await {
        Err(wt_client::ConnectError::Session(wt_core::ConnectError::Refused {
            status,
            headers,
        })) => (status, *headers),
        other => panic!("not refused: {other:?}"),
    }
}
