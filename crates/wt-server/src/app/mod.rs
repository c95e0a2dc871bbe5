//! An application: a server with routes, middleware, and a beginning and an end.

mod config;
mod error;
mod hooks;
mod running;
mod serving;
mod session;
mod signal;
mod watch;

use std::{fmt, io, net::SocketAddr, path::PathBuf, sync::Arc};

use tower_layer::Layer;
use tower_service::Service;
use wt_core::{
    config::ServerConfig,
    takeover::{Handover, Takeover},
};

pub(crate) use self::serving::Serving;
pub use self::{
    config::AppConfig,
    error::AppError,
    hooks::{HookResult, Resource},
    running::RunningApp,
    serving::AppStats,
    watch::AppWatch,
};
use self::{
    hooks::Hooks,
    signal::{Hangup, Signals},
};
use crate::{
    handler::Handler,
    message::{BoxError, Request},
    middleware::AccessLog,
    response::IntoResponse,
    routing::{Route, Router},
    server::Server,
};

/// A server application: routes and their handlers, middleware, startup and shutdown.
///
/// ```no_run
/// use wt_server::{Identity, ServerApp, ServerConfig, Session, extract::Path};
///
/// async fn chat(session: Session, Path(room): Path<String>) {
///     println!("{} enters {room}", session.remote_address());
///     session.closed().await;
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = ServerConfig::new(Identity::self_signed(["localhost"])?);
///     ServerApp::new(config).route("/chat/{room}", chat).run()?;
///     Ok(())
/// }
/// ```
///
/// Each request is answered in a task of its own, so a slow one keeps no other waiting, and each
/// handler runs in that task to the end of its session.
#[must_use = "an application does nothing until it runs"]
pub struct ServerApp<S = ()> {
    server: ServerConfig,
    config: AppConfig,
    router: Router<S>,
    state: S,
    layers: Vec<Box<dyn FnOnce(Route) -> Route + Send>>,
    hooks: Hooks,
}

impl ServerApp {
    /// Creates an application without state.
    pub fn new(server: ServerConfig) -> Self {
        Self::with_state(server, ())
    }
}

impl<S: Clone + Send + Sync + 'static> ServerApp<S> {
    /// Creates an application whose handlers share `state` by
    /// [`State`](crate::extract::State). It is cloned for each request: put what is large or
    /// mutable into an `Arc`.
    pub fn with_state(server: ServerConfig, state: S) -> Self {
        Self {
            server,
            config: AppConfig::default(),
            router: Router::new(),
            state,
            layers: Vec::new(),
            hooks: Hooks::default(),
        }
    }

    /// Sets what can be set on an application.
    pub fn configure(mut self, config: AppConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the address and port to listen on, instead of those in the server's configuration.
    pub const fn bind(mut self, address: SocketAddr) -> Self {
        self.server.bind = address;
        self
    }

    /// Has a handler answer a path; see [`Router::route`].
    pub fn route<H, T>(mut self, path: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.router = self.router.route(path, handler);
        self
    }

    /// Has a handler answer all paths that a regular expression matches; see [`Router::pattern`].
    #[doc(alias = "pattern_route")]
    pub fn pattern<H, T>(mut self, pattern: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.router = self.router.pattern(pattern, handler);
        self
    }

    /// Has a handler answer what nothing else matches; see [`Router::fallback`].
    pub fn fallback<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.router = self.router.fallback(handler);
        self
    }

    /// Takes the port over from the process that listens on the control socket at `path`, if there is
    /// one, and hands it over to the next in turn: [`AppConfig::takeover`].
    ///
    /// The other process is told to finish when this one has started, and serves its sessions until
    /// they end or its time is over.
    pub fn takeover(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.takeover = Some(path.into());
        self
    }

    /// Adds a router below a prefix; see [`Router::nest`].
    pub fn nest(mut self, prefix: &str, router: Router<S>) -> Self {
        self.router = self.router.nest(prefix, router);
        self
    }

    /// Adds a router; see [`Router::merge`].
    pub fn merge(mut self, router: Router<S>) -> Self {
        self.router = self.router.merge(router);
        self
    }

    /// Wraps the whole application in a layer of middleware, also what is answered with 404.
    ///
    /// A layer that is added later sees the request earlier. See [`crate::middleware`].
    #[doc(alias = "add_middleware")]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Send + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse,
        <L::Service as Service<Request>>::Error: Into<BoxError>,
        <L::Service as Service<Request>>::Future: Send,
    {
        let wrap = move |inner| Route::new(layer.layer(inner));
        self.layers.push(Box::new(wrap));
        self
    }

    /// Runs a function before the first client is taken, after those that were added earlier.
    ///
    /// An error keeps the application from starting.
    pub fn on_startup<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(S) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: HookResult,
    {
        let state = self.state.clone();
        self.hooks.add_startup(hooks::step(move || hook(state)));
        self
    }

    /// Runs a function after the last session is over, after those that were added earlier.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce(S) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: HookResult,
    {
        let state = self.state.clone();
        self.hooks.add_shutdown(hooks::step(move || hook(state)));
        self
    }

    /// Starts a resource before the startup hooks, in the order in which they were added, and stops
    /// it after the shutdown hooks, in reverse order.
    pub fn resource<R: Resource>(mut self, resource: Arc<R>) -> Self {
        self.hooks.add_resource(resource);
        self
    }

    /// Starts the application and gives it into your hands: resources, startup hooks, then the
    /// server.
    ///
    /// # Errors
    ///
    /// See [`AppError`]. What had been started is stopped, and shutdown hooks are run where all
    /// startup hooks had been.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing listens; resources that had started are not stopped.
    pub async fn start(self) -> Result<RunningApp, AppError> {
        let routes = self.router.with_state(self.state).build()?;
        let mut route = Route::new(routes);
        for layer in self.layers {
            route = layer(route);
        }
        if self.config.access_log {
            route = Route::new(AccessLog::new().layer(route));
        }
        let ending = self.hooks.start().await?;
        match serve(&self.server, route, &self.config).await {
            Ok((serving, handover)) => {
                let shutdown = self.config.shutdown;
                Ok(RunningApp::new(serving, shutdown, handover, ending))
            }
            Err(error) => {
                // The error that counts is the first; the others are logged.
                let _ = ending.run().await;
                Err(error)
            }
        }
    }

    /// Runs the application until `stop` is ready, or another process has taken the port over, then
    /// shuts it down.
    ///
    /// # Errors
    ///
    /// See [`AppError`].
    pub async fn serve_until<F: Future>(self, stop: F) -> Result<(), AppError> {
        let running = self.start().await?;
        tokio::select! {
            _ = stop => {}
            () = running.handed_over() => {}
        }
        running.shut_down().await
    }

    /// Runs the application until the process is asked to stop (Ctrl-C, SIGTERM), or another one has
    /// taken the port over, then shuts it down. A second signal does not wait. SIGHUP has
    /// certificates read again, see [`AppConfig::reload_on_hangup`].
    ///
    /// # Errors
    ///
    /// See [`AppError`].
    pub async fn serve(self) -> Result<(), AppError> {
        let mut signals = Signals::listen().map_err(AppError::system)?;
        let mut hangup = self.hangup().map_err(AppError::system)?;
        let running = self.start().await?;
        if let Ok(address) = running.local_addr() {
            tracing::info!(%address, "serving");
        }
        tokio::select! {
            () = signals.next() => tracing::info!("asked to stop; once more stops at once"),
            () = running.handed_over() => tracing::info!("succeeded by another process"),
            () = reload_on(&mut hangup, running.server()) => {}
        }
        tokio::select! {
            result = running.shut_down() => result,
            () = signals.next() => Ok(()),
        }
    }

    /// Begins to listen to SIGHUP, where there is something to read again.
    fn hangup(&self) -> io::Result<Option<Hangup>> {
        let mut all = self.server.identities.iter().chain([&self.server.identity]);
        let from_files = all.any(|identity| identity.files().is_some());
        let wanted = self.config.reload_on_hangup && from_files;
        wanted.then(Hangup::listen).transpose()
    }

    /// Runs the application on a runtime of its own until the process is asked to stop: [`serve`]
    /// for programs that are not async.
    ///
    /// # Errors
    ///
    /// See [`AppError`]; also when it is called within an async runtime, where [`serve`] belongs.
    ///
    /// [`serve`]: Self::serve
    pub fn run(self) -> Result<(), AppError> {
        if tokio::runtime::Handle::try_current().is_ok() {
            let error = io::Error::other("there is a runtime already: use `serve().await`");
            return Err(AppError::system(error));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        runtime.map_err(AppError::system)?.block_on(self.serve())
    }
}

/// Reads certificates again at each SIGHUP. Never ends.
async fn reload_on(hangup: &mut Option<Hangup>, server: &Server) {
    let Some(hangup) = hangup else {
        return std::future::pending().await;
    };
    loop {
        hangup.next().await;
        // Failures were logged.
        if let Ok(changed) = server.reload_certificates().await {
            tracing::info!(changed, "read certificates again");
        }
    }
}

/// Makes the server and begins to answer; takes the port over when all of that is there.
async fn serve(
    server: &ServerConfig,
    route: Route,
    config: &AppConfig,
) -> Result<(Serving, Option<Handover>), AppError> {
    let Some(path) = &config.takeover else {
        return Ok((Serving::start(server, route, config)?, None));
    };
    let takeover = Takeover::begin(path).await?;
    let (server, pending) = Server::take_over(server, takeover)?;
    let serving = Serving::answer(server, route, config);
    let handover = pending.complete().await?;
    Ok((serving, Some(handover)))
}

impl<S> fmt::Debug for ServerApp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerApp")
            .field("server", &self.server)
            .field("config", &self.config)
            .field("router", &self.router)
            .field("layers", &self.layers.len())
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
