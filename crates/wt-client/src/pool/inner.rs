//! How a pool lends and takes back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Manage, PoolConfig, PoolError, PoolStats, Pooled};
use crate::lock::lock;

/// How often at most idle objects are looked at.
const LOOK_AT_MOST: Duration = Duration::from_millis(10);

/// A pool without its handles: guards hold it too.
pub(super) struct Inner<M: Manage> {
    manager: M,
    config: PoolConfig,
    /// One permit for each object that is lent or being made.
    places: Arc<Semaphore>,
    state: Mutex<State<M::Object>>,
    closed: watch::Sender<bool>,
    reaper: OnceLock<JoinHandle<()>>,
}

struct State<T> {
    /// The oldest first.
    idle: VecDeque<Idle<T>>,
    closed: bool,
    figures: PoolStats,
}

struct Idle<T> {
    object: T,
    since: Instant,
}

/// A borrower that waits, counted as long as it does.
struct Waiting<'a, M: Manage>(&'a Inner<M>);

impl<M: Manage> Drop for Waiting<'_, M> {
    fn drop(&mut self) {
        lock(&self.0.state).figures.waiting -= 1;
    }
}

impl<M: Manage> Drop for Inner<M> {
    fn drop(&mut self) {
        if let Some(reaper) = self.reaper.get() {
            reaper.abort();
        }
    }
}

impl<M: Manage> Inner<M> {
    pub(super) fn new(manager: M, config: PoolConfig) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_size)),
            manager,
            config,
            state: Mutex::new(State {
                idle: VecDeque::new(),
                closed: false,
                figures: PoolStats::default(),
            }),
            closed: watch::Sender::new(false),
            reaper: OnceLock::new(),
        }
    }

    pub(super) const fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    pub(super) fn stats(&self) -> PoolStats {
        let free = self.places.available_permits();
        let state = lock(&self.state);
        PoolStats {
            max_size: self.config.max_size,
            idle: state.idle.len(),
            lent: self.config.max_size.saturating_sub(free),
            ..state.figures
        }
    }

    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Pooled<M>, PoolError<M::Error>> {
        let mut closed = self.closed.subscribe();
        let work = async {
            tokio::select! {
                biased;
                // The sender lives as long as `self`.
                _ = closed.wait_for(|closed| *closed) => Err(PoolError::Closed),
                lent = self.lend() => lent,
            }
        };
        let Some(limit) = self.config.acquire_timeout else {
            return work.await;
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            lock(&self.state).figures.timed_out += 1;
            Err(PoolError::TimedOut(limit))
        })
    }

    async fn lend(self: &Arc<Self>) -> Result<Pooled<M>, PoolError<M::Error>> {
        self.start_reaper();
        let place = self.place().await?;
        if let Some(object) = self.take_idle() {
            return Ok(Pooled::new(object, self.clone(), place));
        }
        match self.manager.create().await {
            Ok(object) => {
                lock(&self.state).figures.created += 1;
                // Back it goes, should the pool have been closed meanwhile.
                let lent = Pooled::new(object, self.clone(), place);
                if self.is_closed() {
                    return Err(PoolError::Closed);
                }
                Ok(lent)
            }
            Err(error) => {
                lock(&self.state).figures.failed += 1;
                Err(PoolError::Create(error))
            }
        }
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, PoolError<M::Error>> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        lock(&self.state).figures.waiting += 1;
        let _waiting = Waiting(self);
        let place = self.places.clone().acquire_owned().await;
        place.map_err(|_| PoolError::Closed)
    }

    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Pooled<M>> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let object = self.take_idle()?;
        Some(Pooled::new(object, self.clone(), place))
    }

    /// Takes the oldest idle object that is good.
    fn take_idle(&self) -> Option<M::Object> {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut found = None;
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        while let Some(mut idle) = state.idle.pop_front() {
            if self.is_expired(&idle, now) {
                state.figures.expired += 1;
            } else if !self.manager.is_healthy(&mut idle.object) {
                state.figures.unhealthy += 1;
            } else {
                state.figures.reused += 1;
                found = Some(idle.object);
                break;
            }
            gone.push(idle.object);
        }
        drop(guard);
        self.dispose(gone);
        found
    }

    /// Takes an object back: for the next borrower, or out of the way.
    pub(super) fn give_back(&self, mut object: M::Object) {
        let mut gone = Vec::new();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        if state.closed {
            gone.push(object);
        } else if !self.manager.is_healthy(&mut object) {
            state.figures.unhealthy += 1;
            gone.push(object);
        } else {
            let since = Instant::now();
            state.idle.push_back(Idle { object, since });
            while state.idle.len() > self.config.idle_limit() {
                state.figures.expired += 1;
                gone.extend(state.idle.pop_front().map(|idle| idle.object));
            }
        }
        drop(guard);
        self.dispose(gone);
    }

    /// Disposes of an object that its borrower does not trust.
    pub(super) fn discard(&self, object: M::Object) {
        lock(&self.state).figures.unhealthy += 1;
        self.manager.dispose(object);
    }

    /// Without the lock: what happens to an object is none of the pool's business.
    fn dispose(&self, objects: Vec<M::Object>) {
        for object in objects {
            self.manager.dispose(object);
        }
    }

    pub(super) fn close(&self) {
        let idle = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        self.closed.send_replace(true);
        self.places.close();
        if let Some(reaper) = self.reaper.get() {
            reaper.abort();
        }
        self.dispose(idle.into_iter().map(|idle| idle.object).collect());
    }

    fn is_expired(&self, idle: &Idle<M::Object>, now: Instant) -> bool {
        let limit = self.config.idle_timeout;
        limit.is_some_and(|limit| now.saturating_duration_since(idle.since) >= limit)
    }

    /// Disposes of idle objects that are too old or no good.
    fn reap(&self) {
        let now = Instant::now();
        let mut gone = Vec::new();
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        for mut idle in std::mem::take(&mut state.idle) {
            if self.is_expired(&idle, now) {
                state.figures.expired += 1;
            } else if !self.manager.is_healthy(&mut idle.object) {
                state.figures.unhealthy += 1;
            } else {
                state.idle.push_back(idle);
                continue;
            }
            gone.push(idle.object);
        }
        drop(guard);
        self.dispose(gone);
    }

    /// Starts the task that looks at idle objects; it ends with the pool.
    fn start_reaper(self: &Arc<Self>) {
        let (Some(limit), Ok(runtime)) = (self.config.idle_timeout, Handle::try_current()) else {
            return;
        };
        self.reaper.get_or_init(|| {
            let weak = Arc::downgrade(self);
            let pause = (limit / 4).max(LOOK_AT_MOST);
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(pause).await;
                    let Some(inner) = weak.upgrade() else { return };
                    inner.reap();
                }
            })
        });
    }
}
