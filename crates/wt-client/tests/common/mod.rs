//! Servers that can be killed and come back on the same port, and what else the tests share.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use tokio::{
    net::UdpSocket,
    task::{JoinHandle, JoinSet},
};
use wt_client::{Client, ClientConfig, Identity, ServerVerification, Session};
use wt_core::SessionRequest;
use wt_server::{Accept, Server, ServerConfig};

/// Far more than anything takes, also on a machine that is busy with something else.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Fails the test when something takes forever.
pub(crate) async fn within<F: IntoFuture>(work: F) -> F::Output {
    tokio::time::timeout(LONG, work)
        .await
        .expect("it takes forever")
}

/// Looks again and again until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(wait).await;
}

pub(crate) fn identity() -> Identity {
    Identity::self_signed(["localhost", "127.0.0.1", "::1"]).unwrap()
}

pub(crate) fn client_config(identity: &Identity) -> ClientConfig {
    let hashes = vec![identity.certificate_hash()];
    ClientConfig::new().with_verification(ServerVerification::Hashes(hashes))
}

pub(crate) fn client(identity: &Identity) -> Client {
    Client::new(client_config(identity)).unwrap()
}

/// A server and the tasks of its sessions.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Running {
    /// Starts a server that does `serve` with each request; on a port that was used just before, as
    /// soon as it is free.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        identity: &Identity,
        port: u16,
        serve: impl Fn(SessionRequest) -> F + Send + 'static,
    ) -> Self {
        Self::start_at(identity, (Ipv4Addr::LOCALHOST, port).into(), serve).await
    }

    pub(crate) async fn start_at<F: Future<Output = ()> + Send + 'static>(
        identity: &Identity,
        address: SocketAddr,
        serve: impl Fn(SessionRequest) -> F + Send + 'static,
    ) -> Self {
        let config = ServerConfig::new(identity.clone()).with_bind(address);
        let bind = async {
            loop {
                match Server::bind(&config) {
                    Ok(server) => return server,
                    Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        let server = within(bind).await;
        let address = server.local_addr().unwrap();
        let port = address.port();
        let accepting = server.clone();
        let task = tokio::spawn(async move {
            let mut sessions = JoinSet::new();
            while let Some(request) = accepting.accept().await {
                sessions.spawn(serve(request));
                while sessions.try_join_next().is_some() {}
            }
        });
        Self {
            server,
            address,
            port,
            task,
        }
    }

    /// Starts a server that echoes bidirectional streams.
    pub(crate) async fn echo(identity: &Identity, port: u16) -> Self {
        Self::start(identity, port, echo).await
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections and is gone.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Refuses `/refused`, and elsewhere echoes bidirectional streams until the session ends.
pub(crate) async fn echo(request: SessionRequest) {
    if request.path() == "/refused" {
        request.reject(StatusCode::FORBIDDEN).unwrap();
        return;
    }
    let Ok(session) = request.accept_with(Accept::new()).await else {
        return;
    };
    let mut streams = JoinSet::new();
    while let Ok(mut stream) = session.accept_bi().await {
        streams.spawn(async move {
            if tokio::io::copy(&mut stream.recv, &mut stream.send)
                .await
                .is_ok()
            {
                let _ = stream.send.finish();
            }
        });
    }
}

/// Shows that a session works.
pub(crate) async fn check_echo(session: &Session, text: &str) {
    let exchange = async {
        let mut stream = session.open_bi().await.unwrap();
        stream.send.write_all(text.as_bytes()).await.unwrap();
        stream.send.finish().unwrap();
        stream.recv.read_to_end(1 << 16).await.unwrap()
    };
    assert_eq!(within(exchange).await, text.as_bytes());
}

/// Carries packets to and from a server, each of them `delay` later, for one client.
pub(crate) async fn slow_way_to(server: SocketAddr, delay: Duration) -> (u16, JoinSet<()>) {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let (front, back) = (bind().await.unwrap(), bind().await.unwrap());
    let port = front.local_addr().unwrap().port();
    let (front, back) = (Arc::new(front), Arc::new(back));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut client = None;
        let (mut there, mut here) = (vec![0; 2048], vec![0; 2048]);
        let mut under_way = JoinSet::new();
        loop {
            let (packet, socket, to) = tokio::select! {
                Ok((len, from)) = front.recv_from(&mut there) => {
                    client = Some(from);
                    (there[..len].to_vec(), back.clone(), server)
                }
                Ok((len, _)) = back.recv_from(&mut here) => {
                    let Some(client) = client else { continue };
                    (here[..len].to_vec(), front.clone(), client)
                }
            };
            under_way.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = socket.send_to(&packet, to).await;
            });
            while under_way.try_join_next().is_some() {}
        }
    });
    (port, tasks)
}

/// A port of this machine where packets arrive and nobody answers, while the socket lives.
pub(crate) fn silent_port() -> (std::net::UdpSocket, u16) {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}
