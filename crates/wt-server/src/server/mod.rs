//! The server: an endpoint whose connections bring requests for sessions.

mod diagnostics;
mod shutdown;
mod stats;
mod traffic;
mod weak;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Mutex as AsyncMutex, Notify, Semaphore,
        mpsc::{self, error::TrySendError},
    },
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use wt_core::{
    BindError, Connection, Endpoint, ErrorCode, Refusals, SessionRequest,
    config::ServerConfig,
    events::{Event, Events},
    takeover::{PendingTakeover, Takeover, TakeoverError},
    tls::{Certificates, TlsError},
};

pub(crate) use self::weak::WeakServer;
pub use self::{
    diagnostics::{Issue, ServerDiagnostics},
    shutdown::Shutdown,
    stats::ServerStats,
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
    config: ServerConfig,
    started: Instant,
    closed: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.endpoint.close(ErrorCode::H3_NO_ERROR, "");
    }
}

/// The connections that are alive.
#[derive(Clone, Debug, Default)]
struct Connections(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    alive: Mutex<HashMap<usize, Connection>>,
    /// There is another one. One waits for it at most: who shuts the server down.
    arrived: Notify,
    /// How many there ever were.
    accepted: AtomicU64,
}

impl Connections {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<usize, Connection>) -> T) -> T {
        f(&mut self.0.alive.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, connection: &Connection) {
        self.0.accepted.fetch_add(1, Relaxed);
        let id = connection.stable_id();
        self.with(|all| all.insert(id, connection.clone()));
        self.0.arrived.notify_one();
    }
}

impl Server {
    /// Binds a server and begins to take connections.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        Ok(Self::serve(Endpoint::server(config)?, config))
    }

    /// Makes a server on a port that is taken over from a running process, or binds it, so that a
    /// successor can take it over in turn.
    ///
    /// Where there is a predecessor, clients come once the takeover is
    /// [completed](PendingTakeover::complete). When a successor has come
    /// ([`Handover::handed_over`](wt_core::takeover::Handover::handed_over)), [shut down](Self::shut_down).
    ///
    /// # Errors
    ///
    /// See [`TakeoverError`].
    pub fn take_over(
        config: &ServerConfig,
        takeover: Takeover,
    ) -> Result<(Self, PendingTakeover), TakeoverError> {
        let (endpoint, pending) = takeover.server(config)?;
        Ok((Self::serve(endpoint, config), pending))
    }

    fn serve(endpoint: Endpoint, config: &ServerConfig) -> Self {
        let (sender, receiver) = mpsc::channel(config.limits.server_requests);
        let connections = Connections::default();
        let handshakes = config.limits.handshakes;
        let clients = take_clients(endpoint.clone(), handshakes, sender, connections.clone());
        let acceptor = tokio::spawn(clients);
        let requests = AsyncMutex::new(receiver);
        Self(Arc::new(Inner {
            endpoint,
            requests,
            connections,
            acceptor,
            config: config.clone(),
            started: Instant::now(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Returns the configuration that the server was bound with. Certificates may be others by now, see
    /// [`Self::certificates`].
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.0.config
    }

    /// Returns whether clients are taken: `true` until [`Self::close`] begins.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.0.closed.load(Relaxed)
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

    /// Returns the certificates that clients are shown, which can be replaced there while the server runs.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        let certificates = self.0.endpoint.certificates();
        certificates.expect("the endpoint was bound for a server")
    }

    /// Reads the files again that certificates came from, as [`Certificates::reload`] does, without blocking. Returns
    /// how many changed.
    ///
    /// # Cancel safety
    ///
    /// The files are read all the same when the future is dropped.
    ///
    /// # Errors
    ///
    /// What is wrong with the first of those that stay as they are.
    pub async fn reload_certificates(&self) -> Result<usize, TlsError> {
        let certificates = self.certificates().clone();
        let reloading = tokio::task::spawn_blocking(move || certificates.reload());
        // Nobody waits for files when the runtime ends.
        reloading.await.unwrap_or(Ok(0))
    }

    /// Returns how many clients and requests were turned away so far, by cause.
    ///
    /// Each is logged as well, with its cause in words, by `tracing` at level INFO; of those that come before a handshake,
    /// the first, the second, the fourth and so on, the others at level DEBUG.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.0.endpoint.refusals()
    }

    /// Listens to what happens on all connections from now on: requests, sessions, streams, and how
    /// they end.
    ///
    /// Events only tell; requests are answered by who takes them with [`Self::accept`].
    #[doc(alias = "SESSION_REQUEST")]
    pub fn events(&self) -> Events<Event> {
        self.0.endpoint.events()
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

    /// Shuts down in order, within `grace`, as [`Self::shut_down`] does with code 0.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe in that it may be called again; sessions that were asked to finish stay asked.
    pub async fn close(&self, grace: Duration) {
        self.shut_down(&Shutdown::new(grace)).await;
    }

    /// Shuts down in order.
    ///
    /// Takes no new clients and sessions, asks every session to finish, leaves them half of the time
    /// to do so, closes the rest with the code and reason given, and waits until the peers know. The
    /// last tenth of the time is for what QUIC has to say.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe in that it may be called again; sessions that were asked to finish stay asked.
    pub async fn shut_down(&self, shutdown: &Shutdown) {
        self.0.closed.store(true, Relaxed);
        let grace = shutdown.grace;
        let start = Instant::now();
        let (halfway, late, deadline) = (start + grace / 2, start + grace * 9 / 10, start + grace);
        // Where a successor has the port, what comes here is for handshakes that began here.
        if !shutdown.handed_over {
            self.0.endpoint.stop_accepting();
        }
        let (mut closing, mut asked) = (JoinSet::new(), HashSet::new());
        loop {
            // Those among them whose handshake was not over when it began.
            let arrived = self.0.connections.0.arrived.notified();
            for connection in self.connections() {
                if !asked.insert(connection.stable_id()) {
                    continue;
                }
                connection.goaway();
                let (code, reason) = (shutdown.code, shutdown.reason.clone());
                closing.spawn(async move {
                    let _ = timeout_at(halfway, connection.idle()).await;
                    let _ = timeout_at(late, connection.close(code, &reason)).await;
                });
            }
            tokio::select! {
                closed = closing.join_next() => if closed.is_none() {
                    break;
                },
                () = arrived => {}
            }
        }
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
    limit: usize,
    requests: mpsc::Sender<SessionRequest>,
    connections: Connections,
) {
    let handshakes = Arc::new(Semaphore::new(limit));
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
        // Boxed, and outside of the task, so that that of an idle connection has no room for what only the
        // handshake needs. One that fails is counted and logged by the endpoint.
        let handshake = Box::pin(incoming.accept());
        tasks.spawn(async move {
            let connection = handshake.await;
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
    connections.add(&connection);
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
    connections.with(|all| all.remove(&connection.stable_id()));
}
