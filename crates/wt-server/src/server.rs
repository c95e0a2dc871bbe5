//! The server: an endpoint whose connections bring requests for sessions.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{
        Mutex as AsyncMutex, Semaphore,
        mpsc::{self, error::TrySendError},
    },
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use wt_core::{
    BindError, Connection, Endpoint, ErrorCode, Refusals, SessionRequest, config::ServerConfig,
};

/// A WebTransport server.
///
/// It takes connections by itself and hands out the requests for sessions that come on them. A
/// cheap handle: clones speak of the same server, which stops at once when the last one is dropped;
/// [`Self::close`] stops it in order.
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportServer")]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    requests: AsyncMutex<mpsc::Receiver<SessionRequest>>,
    connections: Connections,
    acceptor: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.endpoint.close(ErrorCode::H3_NO_ERROR, "");
    }
}

/// The connections that are alive.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Mutex<HashMap<usize, Connection>>>);

impl Connections {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<usize, Connection>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Server {
    /// Binds a server and begins to take connections.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        let endpoint = Endpoint::server(config)?;
        let (sender, receiver) = mpsc::channel(config.limits.server_requests);
        let connections = Connections::default();
        let handshakes = Semaphore::new(config.limits.handshakes);
        let clients = take_clients(endpoint.clone(), handshakes, sender, connections.clone());
        let acceptor = tokio::spawn(clients);
        let requests = AsyncMutex::new(receiver);
        Ok(Self(Arc::new(Inner {
            endpoint,
            requests,
            connections,
            acceptor,
        })))
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Returns the endpoint beneath, for what this type does not offer.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Returns how many clients and requests were turned away so far, by cause.
    ///
    /// Each is logged as well, with its cause in words, by `tracing` at level INFO.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.0.endpoint.refusals()
    }

    /// Returns the connections that are alive, in no order.
    #[must_use]
    pub fn connections(&self) -> Vec<Connection> {
        self.0
            .connections
            .with(|all| all.values().cloned().collect())
    }

    /// Waits for the next request for a session, on any connection; `None` when the server was
    /// closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no request is lost.
    pub async fn accept(&self) -> Option<SessionRequest> {
        self.0.requests.lock().await.recv().await
    }

    /// Shuts down in order, within `grace`.
    ///
    /// Takes no new clients and sessions, asks every session to finish, leaves them half of the time
    /// to do so, closes the rest with code 0, and waits until the peers know. The last tenth of the
    /// time is for what QUIC has to say.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe in that it may be called again; sessions that were asked to finish stay asked.
    pub async fn close(&self, grace: Duration) {
        let start = Instant::now();
        let (halfway, late, deadline) = (start + grace / 2, start + grace * 9 / 10, start + grace);
        self.0.endpoint.stop_accepting();
        let mut closing = JoinSet::new();
        for connection in self.connections() {
            connection.goaway();
            closing.spawn(async move {
                let _ = timeout_at(halfway, connection.idle()).await;
                let _ = timeout_at(late, connection.close(0, "")).await;
            });
        }
        while closing.join_next().await.is_some() {}
        self.0.acceptor.abort();
        self.0.endpoint.close(ErrorCode::H3_NO_ERROR, "");
        self.0
            .endpoint
            .wait_idle(deadline.saturating_duration_since(Instant::now()))
            .await;
    }
}

/// Takes clients until the endpoint closes; each connection has a task that ends with it.
async fn take_clients(
    endpoint: Endpoint,
    handshakes: Semaphore,
    requests: mpsc::Sender<SessionRequest>,
    connections: Connections,
) {
    let handshakes = Arc::new(handshakes);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let Some(incoming) = endpoint.accept().await else {
            return;
        };
        let (requests, connections) = (requests.clone(), connections.clone());
        tasks.spawn(async move {
            // Boxed, so that an idle connection does not hold what only its handshake needs. One that
            // fails is counted and logged by the endpoint.
            let connection = Box::pin(incoming.accept()).await;
            drop(permit);
            if let Ok(connection) = connection {
                serve(connection, &requests, &connections).await;
            }
        });
    }
}

/// Hands on the requests of one connection until it ends.
async fn serve(
    connection: Connection,
    requests: &mpsc::Sender<SessionRequest>,
    connections: &Connections,
) {
    let id = connection.stable_id();
    connections.with(|all| all.insert(id, connection.clone()));
    while let Ok(request) = connection.accept_session().await {
        match requests.try_send(request) {
            Ok(()) => {}
            // Boxed for the same reason as the handshake: it happens seldom.
            Err(TrySendError::Full(request)) => {
                if Box::pin(requests.send(request)).await.is_err() {
                    break;
                }
            }
            Err(TrySendError::Closed(_)) => break,
        }
    }
    connections.with(|all| all.remove(&id));
}
