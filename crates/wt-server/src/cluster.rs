//! The same routes on several addresses.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use tokio::{sync::Mutex, task::JoinSet};
use tower_layer::Layer;
use wt_core::{BindError, config::ServerConfig, tls::TlsError};

use crate::{
    app::{AppConfig, AppStats, Serving},
    middleware::AccessLog,
    routing::{Route, RouteError, Router},
    server::Server,
};

/// Servers that answer with the same routes, each on an address of its own.
///
/// They start and stop together; each has its own limits. Dropping the cluster stops them at once.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use wt_server::{Identity, Router, ServerCluster, ServerConfig, Session};
///
/// let identity = Identity::self_signed(["localhost"])?;
/// let on = |port| ServerConfig::new(identity.clone()).with_bind(([127, 0, 0, 1], port).into());
/// let router = Router::new().route("/", async |session: Session| drop(session.closed().await));
/// let cluster = ServerCluster::new(router, [on(4433), on(4434)])?;
/// cluster.start_all().await?;
/// // ...
/// cluster.stop_all().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ServerCluster {
    route: Route,
    config: AppConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    members: Vec<Member>,
}

/// A configuration, and its server while the cluster runs.
#[derive(Debug)]
struct Member {
    config: ServerConfig,
    serving: Option<Serving>,
}

/// Figures of all servers of a cluster together. By serde they are a map with these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterStats {
    /// Servers that run.
    pub server_count: usize,
    /// Clients whose handshake succeeded.
    pub total_connections_accepted: u64,
    /// Clients that got no connection.
    pub total_connections_rejected: u64,
    /// Connections that are alive.
    pub total_connections_active: u64,
    /// Sessions that are open or being opened.
    pub total_sessions_active: u64,
}

impl Member {
    /// Whether it listens on this address, or would if the cluster ran.
    fn is_at(&self, address: SocketAddr) -> bool {
        let own = match &self.serving {
            Some(serving) => serving.server().local_addr().ok(),
            None => Some(self.config.bind),
        };
        own.is_some_and(|own| canonical(own) == canonical(address))
    }
}

/// An address without what does not tell addresses apart: the mapped form of IPv4, and of IPv6 the
/// flow label.
fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

impl ServerCluster {
    /// Creates a cluster that does not run yet.
    ///
    /// # Errors
    ///
    /// The first mistake in the routes.
    pub fn new(
        router: Router,
        configs: impl IntoIterator<Item = ServerConfig>,
    ) -> Result<Self, RouteError> {
        let members = configs.into_iter().map(|config| Member {
            config,
            serving: None,
        });
        Ok(Self {
            route: Route::new(router.build()?),
            config: AppConfig::default(),
            state: Mutex::new(State {
                running: false,
                members: members.collect(),
            }),
        })
    }

    /// Sets what can be set on each of the applications.
    #[must_use]
    pub fn configure(mut self, config: AppConfig) -> Self {
        self.config = config;
        self
    }

    fn serve(&self, server: &ServerConfig) -> Result<Serving, BindError> {
        let mut route = self.route.clone();
        if self.config.access_log {
            route = Route::new(AccessLog::new().layer(route));
        }
        Serving::start(server, route, &self.config)
    }

    /// Starts all servers; does nothing when they run.
    ///
    /// # Errors
    ///
    /// The first that cannot be bound. None runs then.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, either all run or none does.
    pub async fn start_all(&self) -> Result<(), BindError> {
        let mut state = self.state.lock().await;
        if state.running {
            return Ok(());
        }
        // Those that are bound stop when they are dropped; nobody can have reached them for long.
        let started: Result<Vec<Serving>, BindError> = state
            .members
            .iter()
            .map(|member| self.serve(&member.config))
            .collect();
        for (member, serving) in state.members.iter_mut().zip(started?) {
            member.serving = Some(serving);
        }
        state.running = true;
        Ok(())
    }

    /// Shuts all servers down in order, at the same time; does nothing when they do not run.
    ///
    /// # Cancel safety
    ///
    /// Servers that are not through when the future is dropped stop at once.
    pub async fn stop_all(&self) {
        let mut state = self.state.lock().await;
        state.running = false;
        let mut stopping = JoinSet::new();
        for serving in state
            .members
            .iter_mut()
            .filter_map(|member| member.serving.take())
        {
            let shutdown = self.config.shutdown.clone();
            stopping.spawn(async move { serving.shut_down(&shutdown).await });
        }
        while stopping.join_next().await.is_some() {}
    }

    /// Returns whether the cluster runs.
    pub async fn is_running(&self) -> bool {
        self.state.lock().await.running
    }

    /// Adds a server. While the cluster runs it is started, and its address returned; otherwise it
    /// starts with the others.
    ///
    /// # Errors
    ///
    /// [`BindError`] when it cannot be bound; it is not added then.
    pub async fn add_server(&self, config: ServerConfig) -> Result<Option<SocketAddr>, BindError> {
        let mut state = self.state.lock().await;
        let serving = if state.running {
            Some(self.serve(&config)?)
        } else {
            None
        };
        let address = serving
            .as_ref()
            .and_then(|one| one.server().local_addr().ok());
        state.members.push(Member { config, serving });
        Ok(address)
    }

    /// Takes the server at this address out of the cluster, and shuts it down when it runs; `false`
    /// when there is none.
    ///
    /// The address is the one it listens on while the cluster runs, the configured one otherwise.
    pub async fn remove_server(&self, address: SocketAddr) -> bool {
        let removed = {
            let mut state = self.state.lock().await;
            let at = state
                .members
                .iter()
                .position(|member| member.is_at(address));
            at.map(|at| state.members.remove(at))
        };
        let Some(member) = removed else {
            return false;
        };
        if let Some(serving) = member.serving {
            serving.shut_down(&self.config.shutdown).await;
        }
        true
    }

    /// Returns the servers that run.
    #[doc(alias = "get_servers")]
    pub async fn servers(&self) -> Vec<Server> {
        let state = self.state.lock().await;
        let running = state
            .members
            .iter()
            .filter_map(|member| member.serving.as_ref());
        running.map(|serving| serving.server().clone()).collect()
    }

    /// Has each server that runs read its certificates again; see [`Server::reload_certificates`]. Returns how many
    /// changed.
    ///
    /// # Errors
    ///
    /// The first. All others were read all the same.
    pub async fn reload_certificates(&self) -> Result<usize, TlsError> {
        let (mut changed, mut failed) = (0, None);
        for server in self.servers().await {
            match server.reload_certificates().await {
                Ok(count) => changed += count,
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        failed.map_or(Ok(changed), Err)
    }

    /// Returns how many servers run.
    #[doc(alias = "get_server_count")]
    pub async fn server_count(&self) -> usize {
        self.servers().await.len()
    }

    /// Returns figures of each application that runs.
    pub async fn app_stats(&self) -> Vec<AppStats> {
        let state = self.state.lock().await;
        let running = state
            .members
            .iter()
            .filter_map(|member| member.serving.as_ref());
        running.map(Serving::stats).collect()
    }

    /// Returns figures of all servers together.
    #[doc(alias = "get_cluster_stats")]
    pub async fn stats(&self) -> ClusterStats {
        let mut sum = ClusterStats::default();
        for AppStats { server, .. } in self.app_stats().await {
            sum.server_count += 1;
            sum.total_connections_accepted += server.connections_accepted;
            sum.total_connections_rejected += server.connections_rejected;
            sum.total_connections_active += server.connections_active;
            sum.total_sessions_active += server.sessions_active;
        }
        sum
    }
}
