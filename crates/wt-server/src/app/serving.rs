//! The task that takes requests from a server, and those that answer them.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tracing::Instrument;
use wt_core::{BindError, SessionRequest, config::ServerConfig, http::StatusCode};

use super::{AppConfig, session};
use crate::{
    routing::Route,
    server::{Server, ServerStats, Shutdown},
};

/// A server whose requests are answered by a service.
#[derive(Debug)]
pub(crate) struct Serving {
    server: Server,
    shared: Arc<Shared>,
    /// Says until when tasks may run once the server is closed.
    deadline: watch::Sender<Option<Instant>>,
    /// Becomes true when all tasks are over.
    over: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// What the tasks of all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) route: Route,
    pub(super) answer_timeout: Duration,
    pub(super) counters: Counters,
    sessions: Arc<Semaphore>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) active: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) panicked: AtomicU64,
}

impl Counters {
    /// Puts them beside the figures of the server.
    pub(super) fn stats(&self, server: ServerStats) -> AppStats {
        AppStats {
            server,
            requests: self.requests.load(Relaxed),
            sessions_accepted: self.accepted.load(Relaxed),
            sessions_active: self.active.load(Relaxed),
            handlers_failed: self.failed.load(Relaxed),
            handlers_panicked: self.panicked.load(Relaxed),
        }
    }
}

/// Figures of an application at one moment. By serde they are a map with these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AppStats {
    /// Those of its server.
    pub server: ServerStats,
    /// Requests that arrived.
    pub requests: u64,
    /// Sessions that were accepted.
    pub sessions_accepted: u64,
    /// Sessions whose handler runs.
    pub sessions_active: u64,
    /// Handlers that returned an error while their session was open.
    pub handlers_failed: u64,
    /// Handlers, and answers to requests, that panicked.
    pub handlers_panicked: u64,
}

impl Serving {
    /// Binds a server and begins to answer.
    pub(crate) fn start(
        server: &ServerConfig,
        route: Route,
        config: &AppConfig,
    ) -> Result<Self, BindError> {
        Ok(Self::answer(Server::bind(server)?, route, config))
    }

    /// Begins to answer the requests of a server.
    pub(super) fn answer(server: Server, route: Route, config: &AppConfig) -> Self {
        let max_sessions = config.max_sessions.min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            route,
            answer_timeout: config.answer_timeout,
            counters: Counters::default(),
            sessions: Arc::new(Semaphore::new(max_sessions)),
            stopping: AtomicBool::new(false),
        });
        let (deadline, asked) = watch::channel(None);
        let (ended, over) = watch::channel(false);
        let task = take_requests(server.clone(), shared.clone(), asked, ended);
        let task = tokio::spawn(task);
        Self {
            server,
            shared,
            deadline,
            over,
            task,
        }
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn stats(&self) -> AppStats {
        self.shared.counters.stats(self.server.stats())
    }

    /// What the tasks share, for those who do not keep it alive.
    pub(super) fn shared(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Shuts down in order: refuses requests, has sessions finish, closes the rest, and ends the
    /// tasks that are left at the end of the time.
    pub(crate) async fn shut_down(&self, shutdown: &Shutdown) {
        let deadline = Instant::now() + shutdown.grace;
        self.shared.stopping.store(true, Relaxed);
        self.server.shut_down(shutdown).await;
        self.deadline.send_replace(Some(deadline));
        let mut over = self.over.clone();
        // An error means that the task is gone.
        let _ = over.wait_for(|over| *over).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives each request a task until the server is closed, then waits for the tasks.
async fn take_requests(
    server: Server,
    shared: Arc<Shared>,
    mut deadline: watch::Receiver<Option<Instant>>,
    over: watch::Sender<bool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            request = server.accept() => match request {
                Some(request) => take(&shared, request, &mut tasks),
                None => break,
            },
            Some(ended) = tasks.join_next() => note(ended),
        }
    }
    drop(server);
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            note(ended)
        }
    };
    let cut = async {
        if let Ok(Some(deadline)) = deadline.wait_for(Option::is_some).await.map(|at| *at) {
            tokio::time::sleep_until(deadline).await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = cut => {}
    }
    if !tasks.is_empty() {
        tracing::warn!(
            count = tasks.len(),
            "handlers did not end in time and are dropped"
        );
    }
    tasks.shutdown().await;
    over.send_replace(true);
}

/// Gives a request a task, or refuses it.
fn take(shared: &Arc<Shared>, request: SessionRequest, tasks: &mut JoinSet<()>) {
    shared.counters.requests.fetch_add(1, Relaxed);
    let permit: Option<OwnedSemaphorePermit> = if shared.stopping.load(Relaxed) {
        None
    } else {
        shared.sessions.clone().try_acquire_owned().ok()
    };
    let Some(permit) = permit else {
        tracing::debug!(path = %request.path().escape_debug(), "refused: no room, or stopping");
        // The status can be sent.
        let _ = request.reject(StatusCode::SERVICE_UNAVAILABLE);
        return;
    };
    let shared = shared.clone();
    let span = tracing::info_span!(
        "session",
        peer = %request.remote_address(),
        path = %request.path().escape_debug(),
    );
    let serving = async move {
        session::serve(&shared, request).await;
        drop(permit);
    };
    tasks.spawn(serving.instrument(span));
}

/// Panics of handlers are caught before; this is for those of their destructors.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a session panicked");
    }
}
