//! Spreading sessions over several servers.

mod backend;
mod config;
mod error;
mod order;
mod stats;

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use futures_util::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use wt_core::{Connection, Session};

use self::{backend::Backend, order::order};
pub use self::{
    config::{BalancerConfig, Strategy, UnknownStrategy},
    error::BalanceError,
    stats::{BalancerStats, TargetStats},
};
use crate::{
    connect::{Connect, ConnectError},
    lock::lock,
    target::Target,
};

/// Spreads sessions over several servers that do the same.
///
/// It keeps one connection to each target that is in use, and shares it between sessions as far as the
/// server allows. A target that cannot be reached is left alone until a health check finds it again;
/// meanwhile the next one is taken ([`BalancerConfig::failover`]). What the server *answers* is no
/// failure of the target: a session that is refused with 403 here would be refused elsewhere too. A
/// status of 5xx, 408, 425 or 429 is one.
///
/// A cheap handle: clones speak of the same targets. One task checks the targets that failed; it ends
/// with [`Self::close`] or with the last handle.
///
/// # Examples
///
/// ```no_run
/// use wt_client::{BalancerConfig, Client, LoadBalancer, Strategy};
///
/// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let targets = ["https://a.example/chat", "https://b.example/chat"];
/// let config = BalancerConfig::new(Strategy::LeastLatency);
/// let balancer = LoadBalancer::new(targets.map(|url| client.connect(url)), config)?;
/// let session = balancer.session().await?;
/// println!("served by {}", session.authority());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "ConnectionLoadBalancer")]
pub struct LoadBalancer {
    owner: Arc<Owner>,
    strategy: Strategy,
}

/// What all handles hold; the last one stops the task.
#[derive(Debug)]
struct Owner {
    inner: Arc<Inner>,
    health: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn stop(&self) {
        if let Some(task) = lock(&self.health).take() {
            task.abort();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug)]
struct Inner {
    backends: Vec<Backend>,
    config: BalancerConfig,
    /// Whose turn it is.
    next: Mutex<usize>,
    closed: AtomicBool,
}

impl LoadBalancer {
    /// Makes a balancer over the targets that `connects` lead to, with their header fields, time
    /// limits and clients. Of those with the same host and port the first one stays.
    ///
    /// # Errors
    ///
    /// See [`BalanceError`]: there are no targets, a URL is none, or a value of `config` cannot work.
    pub fn new(
        connects: impl IntoIterator<Item = Connect>,
        config: BalancerConfig,
    ) -> Result<Self, BalanceError> {
        config.validate()?;
        let mut seen = HashSet::new();
        let mut backends = Vec::new();
        for connect in connects {
            let target = Target::parse(connect.url()).map_err(BalanceError::Url)?;
            if seen.insert(target.authority.clone()) {
                backends.push(Backend::new(connect, target));
            }
        }
        let Some(first) = backends.first() else {
            return Err(BalanceError::NoTargets);
        };
        let runtime = first.runtime();
        let strategy = config.strategy;
        let inner = Arc::new(Inner {
            backends,
            config,
            next: Mutex::new(0),
            closed: AtomicBool::new(false),
        });
        let health = Mutex::new(Some(runtime.spawn(watch(inner.clone()))));
        let owner = Arc::new(Owner { inner, health });
        Ok(Self { owner, strategy })
    }

    /// Returns a handle that chooses by another strategy among the same targets.
    #[must_use]
    pub const fn with_strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Returns the strategy of this handle.
    #[must_use]
    pub const fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Opens a session on a target, at the path of its URL.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the attempt is given up.
    ///
    /// # Errors
    ///
    /// See [`BalanceError`].
    pub async fn session(&self) -> Result<Session, BalanceError> {
        self.pick(|backend| backend.session(None)).await
    }

    /// Opens a session on a target, at another path, which may carry a query.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the attempt is given up.
    ///
    /// # Errors
    ///
    /// See [`BalanceError`].
    pub async fn session_at(&self, path: &str) -> Result<Session, BalanceError> {
        self.pick(|backend| backend.session(Some(path))).await
    }

    /// Returns the connection to a target, the one there is or a new one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the attempt is given up.
    ///
    /// # Errors
    ///
    /// See [`BalanceError`].
    #[doc(alias = "get_connection")]
    pub async fn connection(&self) -> Result<Connection, BalanceError> {
        self.pick(Backend::connection).await
    }

    /// Tries targets in the order of the strategy.
    async fn pick<'a, T, F>(&'a self, work: impl Fn(&'a Backend) -> F) -> Result<T, BalanceError>
    where
        F: Future<Output = Result<T, ConnectError>>,
    {
        let inner = &self.owner.inner;
        let mut tried = 0;
        let mut last = None;
        for index in inner.candidates(self.strategy) {
            let Some(backend) = inner.backends.get(index) else {
                continue;
            };
            if inner.closed.load(SeqCst) {
                return Err(BalanceError::Closed);
            }
            tried += 1;
            backend.picked();
            let error = match work(backend).await {
                // Whoever closed the balancer meanwhile did not see this connection.
                Ok(_) if inner.closed.load(SeqCst) => {
                    backend.forget();
                    return Err(BalanceError::Closed);
                }
                Ok(done) => {
                    backend.succeeded();
                    return Ok(done);
                }
                Err(error) => error,
            };
            let blamed = is_blamed_on_target(&error);
            if blamed {
                tracing::debug!(authority = backend.authority(), %error, "target failed");
                backend.failed();
            }
            let authority = backend.authority().to_owned();
            last = Some((authority, error));
            if !(blamed && inner.config.failover) {
                break;
            }
        }
        if inner.closed.load(SeqCst) {
            return Err(BalanceError::Closed);
        }
        Err(match last {
            Some((authority, error)) => BalanceError::Failed {
                authority,
                tried,
                error,
            },
            None => BalanceError::NoneAvailable {
                targets: inner.backends.len(),
            },
        })
    }

    /// Sets the weight of a target for [`Strategy::Weighted`]; 1 at first. What is below 0, or no
    /// number, counts as 0.
    ///
    /// # Errors
    ///
    /// [`BalanceError::UnknownTarget`] when there is no target with this host and port.
    #[doc(alias = "update_target_weight")]
    pub fn set_weight(&self, authority: &str, weight: f64) -> Result<(), BalanceError> {
        let mut backends = self.owner.inner.backends.iter();
        match backends.find(|backend| backend.authority() == authority) {
            Some(backend) => {
                backend.set_weight(weight);
                Ok(())
            }
            None => Err(BalanceError::UnknownTarget {
                authority: authority.to_owned(),
            }),
        }
    }

    /// Checks the targets that failed now, without waiting for the next interval.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn check(&self) {
        self.owner.inner.check().await;
    }

    /// Returns how many targets there are.
    #[must_use]
    #[doc(alias = "len")]
    pub fn target_count(&self) -> usize {
        self.owner.inner.backends.len()
    }

    /// Returns figures of each target, in the order they were given in.
    #[must_use]
    #[doc(alias = "get_target_stats")]
    pub fn target_stats(&self) -> Vec<TargetStats> {
        let backends = self.owner.inner.backends.iter();
        backends.map(Backend::stats).collect()
    }

    /// Returns figures of all targets together.
    #[must_use]
    #[doc(alias = "get_load_balancer_stats")]
    pub fn stats(&self) -> BalancerStats {
        let all = self.target_stats();
        let failed = all.iter().filter(|target| target.failed).count();
        BalancerStats {
            targets: all.len(),
            failed,
            available: all.len() - failed,
            connections: all.iter().filter(|target| target.connected).count(),
        }
    }

    /// Closes the connections, with their sessions, and waits until the servers know. The next
    /// session makes a new one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the connections go on closing.
    #[doc(alias = "close_all_connections")]
    pub async fn close_connections(&self) {
        let backends = self.owner.inner.backends.iter();
        let connections: Vec<_> = backends.filter_map(Backend::forget).collect();
        join_all(connections.iter().map(|c| c.close(0, ""))).await;
    }

    /// Stops the health checks and closes the connections as [`Self::close_connections`] does. From
    /// the call on nothing is opened any more. May be called again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the connections go on closing.
    #[doc(alias = "shutdown")]
    pub async fn close(&self) {
        self.owner.inner.closed.store(true, SeqCst);
        self.owner.stop();
        self.close_connections().await;
    }

    /// Returns whether the balancer was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.owner.inner.closed.load(SeqCst)
    }
}

/// Returns whether another target may do better.
fn is_blamed_on_target(error: &ConnectError) -> bool {
    !error.is_permanent() && !matches!(error, ConnectError::TooManyConnections { .. })
}

impl Inner {
    /// The targets to try, the best first.
    fn candidates(&self, strategy: Strategy) -> Vec<usize> {
        let mut standing: Vec<_> = self.backends.iter().map(Backend::standing).collect();
        if self.config.failover && standing.iter().all(|target| target.failed) {
            // Better to try what may be back than to wait for the next health check.
            for target in &mut standing {
                target.failed = false;
            }
        }
        let mut order = order(strategy, &standing, &mut lock(&self.next));
        if !self.config.failover {
            order.truncate(1);
        }
        order
    }

    /// Looks whether targets that failed are back.
    async fn check(&self) {
        let limit = self.config.health_timeout;
        let failed = self.backends.iter().filter(|b| b.standing().failed);
        let checks = failed.map(|backend| async move {
            match timeout(limit, backend.connection()).await {
                Ok(Ok(_)) => {
                    tracing::debug!(authority = backend.authority(), "target is back");
                    backend.succeeded();
                }
                Ok(Err(error)) => {
                    tracing::debug!(authority = backend.authority(), %error, "still failed");
                }
                Err(_) => tracing::debug!(authority = backend.authority(), "no answer"),
            }
        });
        join_all(checks).await;
    }
}

/// Checks targets until it is aborted.
async fn watch(inner: Arc<Inner>) {
    loop {
        sleep(inner.config.health_interval).await;
        inner.check().await;
    }
}
