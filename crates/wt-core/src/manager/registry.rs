//! The manager of things that end by themselves.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use tokio::{sync::Notify, task::JoinHandle};
use wt_proto::SessionId;

use super::{ManagerConfig, ManagerError, ManagerStats};
use crate::{connection::Connection, lock::lock, session::Session};

/// Something that a [`Manager`] can hold: a handle of something that ends by itself.
pub trait Managed: Clone + Send + Sync + 'static {
    /// What tells one from another.
    type Id: Copy + Eq + Hash + Send + Sync + fmt::Debug + 'static;

    /// What such things are called, in the plural.
    const PLURAL: &'static str;

    /// Returns which one it is.
    fn id(&self) -> Self::Id;

    /// Returns the name of its state.
    fn state_name(&self) -> &'static str;

    /// Returns since when nothing has moved on it; `None` when nobody knows.
    fn last_activity(&self) -> Option<Instant>;

    /// Begins to close it.
    fn begin_close(&self, reason: &str);

    /// Waits until it is over.
    fn over(&self) -> impl Future<Output = ()> + Send;
}

impl Managed for Connection {
    type Id = usize;

    const PLURAL: &'static str = "connections";

    fn id(&self) -> usize {
        self.stable_id()
    }

    fn state_name(&self) -> &'static str {
        self.state().name()
    }

    fn last_activity(&self) -> Option<Instant> {
        Some(Self::last_activity(self))
    }

    fn begin_close(&self, reason: &str) {
        self.start_close(0, reason);
    }

    async fn over(&self) {
        self.closed().await;
    }
}

/// Ids of sessions tell them apart on one connection only.
impl Managed for Session {
    type Id = (usize, SessionId);

    const PLURAL: &'static str = "sessions";

    fn id(&self) -> Self::Id {
        (self.connection_id(), Self::id(self))
    }

    fn state_name(&self) -> &'static str {
        self.state().name()
    }

    fn last_activity(&self) -> Option<Instant> {
        None
    }

    fn begin_close(&self, reason: &str) {
        self.close(0, reason);
    }

    async fn over(&self) {
        self.closed().await;
    }
}

/// Holds things until they are over, at most so many at a time.
///
/// A cheap handle: clones speak of the same manager. Whatever ends is let go at once, so there is nothing to clean up
/// from time to time. One task watches them all; it ends with the last handle, which lets go of everything without
/// closing it.
pub struct Manager<T: Managed> {
    inner: Arc<Inner<T>>,
}

struct Inner<T: Managed> {
    shared: Arc<Shared<T>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Managed> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

struct Shared<T: Managed> {
    config: ManagerConfig,
    state: Mutex<State<T>>,
    /// Something was added.
    added: Notify,
    /// Something is gone.
    gone: Notify,
}

struct State<T: Managed> {
    held: HashMap<T::Id, Held<T>>,
    /// Those that the task does not watch yet.
    fresh: Vec<Watch<T>>,
    total: u64,
    peak: usize,
    shut_down: bool,
}

struct Held<T> {
    thing: T,
    watch: AbortHandle,
}

struct Watch<T> {
    thing: T,
    registration: futures_util::future::AbortRegistration,
}

impl<T: Managed> Manager<T> {
    /// Makes a manager.
    #[must_use]
    pub fn new(config: ManagerConfig) -> Self {
        let state = State {
            held: HashMap::new(),
            fresh: Vec::new(),
            total: 0,
            peak: 0,
            shut_down: false,
        };
        let shared = Shared {
            config,
            state: Mutex::new(state),
            added: Notify::new(),
            gone: Notify::new(),
        };
        Self {
            inner: Arc::new(Inner {
                shared: Arc::new(shared),
                task: Mutex::default(),
            }),
        }
    }

    fn shared(&self) -> &Arc<Shared<T>> {
        &self.inner.shared
    }

    /// Takes something, and holds it until it is over. What is held already is not taken again.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Full`], [`ManagerError::ShutDown`], or [`ManagerError::NoRuntime`]; nothing was taken then, and
    /// what was to be taken is as it was.
    #[doc(alias = "add_connection")]
    #[doc(alias = "add_session")]
    pub fn add(&self, thing: T) -> Result<T::Id, ManagerError> {
        self.watch()?;
        let id = thing.id();
        let shared = self.shared();
        let mut state = lock(&shared.state);
        if state.shut_down {
            return Err(ManagerError::ShutDown);
        }
        if state.held.contains_key(&id) {
            return Ok(id);
        }
        if state.held.len() >= shared.config.limit {
            return Err(ManagerError::Full {
                what: T::PLURAL,
                limit: shared.config.limit,
            });
        }
        let (watch, registration) = AbortHandle::new_pair();
        state.fresh.push(Watch {
            thing: thing.clone(),
            registration,
        });
        state.held.insert(id, Held { thing, watch });
        state.total += 1;
        state.peak = state.peak.max(state.held.len());
        drop(state);
        shared.added.notify_one();
        Ok(id)
    }

    /// Starts the task that watches, unless it runs.
    fn watch(&self) -> Result<(), ManagerError> {
        let mut task = lock(&self.inner.task);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let runtime =
                tokio::runtime::Handle::try_current().map_err(|_| ManagerError::NoRuntime)?;
            *task = Some(runtime.spawn(watch(self.shared().clone())));
        }
        Ok(())
    }

    /// Lets go of something without closing it; `None` when it is not held.
    #[doc(alias = "remove_connection")]
    #[doc(alias = "remove_session")]
    pub fn remove(&self, id: T::Id) -> Option<T> {
        let held = self.shared().remove(id)?;
        held.watch.abort();
        Some(held.thing)
    }

    /// Returns one of those held.
    #[doc(alias = "get_resource")]
    #[must_use]
    pub fn get(&self, id: T::Id) -> Option<T> {
        let state = lock(&self.shared().state);
        state.held.get(&id).map(|held| held.thing.clone())
    }

    /// Returns all of those held, in no particular order.
    #[doc(alias = "get_all_resources")]
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        let state = lock(&self.shared().state);
        state.held.values().map(|held| held.thing.clone()).collect()
    }

    /// Returns those in a state, by its name.
    #[doc(alias = "get_sessions_by_state")]
    #[must_use]
    pub fn in_state(&self, name: &str) -> Vec<T> {
        let mut all = self.all();
        all.retain(|thing| thing.state_name() == name);
        all
    }

    /// Returns how many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.shared().state).held.len()
    }

    /// Returns whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns figures of the manager.
    #[doc(alias = "get_stats")]
    #[must_use]
    pub fn stats(&self) -> ManagerStats {
        let shared = self.shared();
        let mut stats = ManagerStats {
            limit: shared.config.limit,
            ..ManagerStats::default()
        };
        let all = self.all();
        {
            let state = lock(&shared.state);
            stats.total = state.total;
            stats.current = state.held.len();
            stats.closed = state.total - state.held.len() as u64;
            stats.peak = state.peak;
        }
        for thing in all {
            *stats.states.entry(thing.state_name()).or_default() += 1;
        }
        stats
    }

    /// Closes all, waits until they are over, at most for `limit`, and takes nothing more. Returns how many were not
    /// over by then; they are let go.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was closed goes on closing.
    pub async fn shutdown(&self, limit: Duration) -> usize {
        let shared = self.shared();
        lock(&shared.state).shut_down = true;
        for thing in self.all() {
            thing.begin_close("shutdown");
        }
        let _ = tokio::time::timeout(limit, shared.empty()).await;
        let left = std::mem::take(&mut lock(&shared.state).held);
        for held in left.values() {
            held.watch.abort();
        }
        left.len()
    }
}

impl<T: Managed> Shared<T> {
    fn remove(&self, id: T::Id) -> Option<Held<T>> {
        let held = {
            let mut state = lock(&self.state);
            // The task may not have run since it was added.
            state.fresh.retain(|watch| watch.thing.id() != id);
            state.held.remove(&id)
        };
        if held.is_some() {
            self.gone.notify_waiters();
        }
        held
    }

    async fn empty(&self) {
        loop {
            let gone = self.gone.notified();
            if lock(&self.state).held.is_empty() {
                return;
            }
            gone.await;
        }
    }

    /// Begins to close what is idle.
    fn close_idle(&self, timeout: Duration) {
        let all: Vec<T> = {
            let state = lock(&self.state);
            state.held.values().map(|held| held.thing.clone()).collect()
        };
        for thing in all {
            let idle = thing.last_activity().map(|since| since.elapsed());
            if idle.is_some_and(|idle| idle >= timeout) {
                thing.begin_close("idle timeout");
            }
        }
    }
}

/// Waits for the end of all that is held, and closes what is idle.
async fn watch<T: Managed>(shared: Arc<Shared<T>>) {
    let mut watched = FuturesUnordered::new();
    let interval = shared
        .config
        .idle_check_interval
        .max(ManagerConfig::MIN_CHECK_INTERVAL);
    let mut looks = tokio::time::interval(interval);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let fresh = std::mem::take(&mut lock(&shared.state).fresh);
        watched.extend(fresh.into_iter().map(|watch| {
            let over = async move {
                watch.thing.over().await;
                watch.thing.id()
            };
            Abortable::new(over, watch.registration)
        }));
        let idle_timeout = shared.config.idle_timeout;
        tokio::select! {
            // What was removed is aborted, and nothing has to be done.
            Some(ended) = watched.next() => if let Ok(id) = ended {
                shared.remove(id);
            },
            () = shared.added.notified() => {}
            _ = looks.tick(), if idle_timeout.is_some() => {
                if let Some(timeout) = idle_timeout {
                    shared.close_idle(timeout);
                }
            }
        }
    }
}

impl<T: Managed> Clone for Manager<T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T: Managed> fmt::Debug for Manager<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("of", &T::PLURAL)
            .field("held", &self.len())
            .field("config", &self.shared().config)
            .finish_non_exhaustive()
    }
}
