//! Servers that break the rules, against our client.
//!
//! The client has another session, on another connection to an honest server, which must not notice; and where only a
//! session is concerned, one beside it on the same connection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod connection;
mod floods;
mod sessions;

use std::time::Duration;

use tokio::task::JoinHandle;
use wt::{
    Client, ClientConfig, ServerVerification, Session,
    client::ConnectError,
    core::{ConnectError as Core, ConnectionError},
    proto::ProtocolViolation,
};
use wt_tests::{
    raw::{
        self,
        Attack::{self, Bidi, UniReset},
        Raw, RawServer, wire, within,
    },
    target::{Bystander, Target},
};

/// A test has to be over in this time.
const LONG: Duration = Duration::from_secs(60);

const TARGET: &str = env!("CARGO_BIN_EXE_hostile-target");

type Connecting = JoinHandle<Result<Session, ConnectError>>;

struct Scene {
    client: Client,
    server: RawServer,
    bystander: Bystander,
    _target: Target,
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new().with_verification(ServerVerification::Insecure);
    config.limits.settings_timeout = Duration::from_secs(2);
    config
}

impl Scene {
    async fn new() -> Self {
        Self::with(config()).await
    }

    async fn with(config: ClientConfig) -> Self {
        let target = Target::start(TARGET, &[]);
        let client = Client::new(config).unwrap();
        let bystander = target.client_over(client.clone()).await;
        Self {
            client,
            server: RawServer::start(),
            bystander,
            _target: target,
        }
    }

    /// Has the client connect.
    fn connecting(&self) -> Connecting {
        tokio::spawn(self.client.connect(self.server.url.as_str()).into_future())
    }

    /// Has the client connect; our end has said nothing.
    async fn silent(&self) -> (Raw, Connecting) {
        let connecting = self.connecting();
        (self.server.accept().await, connecting)
    }

    /// Has the client connect and ask for a session.
    async fn asked(&self) -> (Raw, raw::Session, Connecting) {
        let (raw, connecting) = self.silent().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        let request = raw.request().await;
        (raw, request, connecting)
    }

    /// Has two sessions on one connection: both ends of one, and the client's end of another.
    async fn two(&self) -> Two {
        let client = self.client.clone().with_pooling(true);
        let url = self.server.url.clone();
        let connecting = tokio::spawn(client.connect(url.as_str()).into_future());
        let raw = self.server.accept().await;
        raw.settings(wire::SERVER_SETTINGS).await;
        raw.keep(raw.accept_session().await);
        let beside = connecting.await.unwrap().unwrap();
        Two {
            raw,
            client,
            beside,
            url,
        }
    }

    async fn assert_unharmed(&self) {
        self.bystander.is_served().await;
    }

    /// Runs attacks, each on a connection of its own, and asserts the code with which it is closed.
    async fn assert_closed(&self, attacks: Vec<(&str, Attack, ProtocolViolation)>) {
        for (what, attack, violation) in attacks {
            let (raw, connecting) = self.silent().await;
            if matches!(attack, Bidi(_) | UniReset(_)) || what.starts_with("hello") {
                raw.settings(wire::SERVER_SETTINGS).await;
            }
            let fence = async { raw.keep(raw.request().await) };
            attack.launch(&raw, wire::SERVER_SETTINGS, fence).await;
            assert_eq!(raw.closed().await, violation.code().get(), "{what}");
            let error = connecting.await.unwrap().expect_err(what);
            let expected = ConnectionError::Violation(violation);
            let ConnectError::Session(Core::Connection(error)) = error else {
                panic!("{what}: {error}")
            };
            assert_eq!(error, expected, "{what}");
            self.bystander.echo().await;
        }
        self.assert_unharmed().await;
    }
}

struct Two {
    raw: Raw,
    client: Client,
    beside: Session,
    url: String,
}

impl Two {
    /// Opens another session on the same connection.
    async fn another(&self) -> (raw::Session, Session) {
        let connecting = self.client.connect(self.url.as_str());
        let (far, near) = tokio::join!(self.raw.accept_session(), connecting.into_future());
        (far, near.unwrap())
    }

    /// Asserts that the session on the same connection goes on.
    async fn assert_beside(&self) {
        echo_by_hand(&self.raw, &self.beside).await;
    }
}

/// Has a stream of the client echoed.
async fn echo_by_hand(raw: &Raw, near: &Session) {
    within("the echo", async {
        let mut stream = near.open_bi().await.unwrap();
        stream.send.write_all(b"beside").await.unwrap();
        stream.send.finish().unwrap();
        let (mut send, mut recv) = raw.quic.accept_bi().await.unwrap();
        let read = recv.read_to_end(100).await.unwrap();
        assert_eq!(
            read,
            wire::stream(wire::WT_BIDI, near.id().get(), b"beside")
        );
        send.write_all(b"beside").await.unwrap();
        send.finish().unwrap();
        assert_eq!(stream.recv.read_to_end(100).await.unwrap(), b"beside"[..]);
    })
    .await;
}
