//! Which connections a client has.

use std::sync::Mutex;

use wt_core::{Connection, ConnectionState, WeakConnection};

use crate::lock::lock;

/// From how many entries on the list is looked through for connections that are over.
const PRUNE_FROM: usize = 32;

/// The connections of a client that are alive or being made, without holding them.
#[derive(Debug)]
pub(crate) struct Tracker(Mutex<Tracked>);

#[derive(Debug)]
struct Tracked {
    dialing: usize,
    open: Vec<WeakConnection>,
    prune_at: usize,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    pub(crate) connecting: usize,
    pub(crate) connected: usize,
    pub(crate) draining: usize,
    pub(crate) sessions: u64,
}

impl Census {
    /// Those that are not on their way out.
    pub(crate) const fn alive(&self) -> usize {
        self.connecting + self.connected + self.draining
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self(Mutex::new(Tracked {
            dialing: 0,
            open: Vec::new(),
            prune_at: PRUNE_FROM,
        }))
    }
}

impl Tracked {
    /// Forgets what is over. Each entry is looked at a constant number of times on average.
    fn prune(&mut self) {
        self.open.retain(|weak| live(weak).is_some());
        self.prune_at = (2 * self.open.len()).max(PRUNE_FROM);
    }
}

fn live(weak: &WeakConnection) -> Option<Connection> {
    weak.upgrade()
        .filter(|connection| connection.close_reason().is_none())
}

impl Tracker {
    /// Reserves the place of one more connection; `None` when there are `limit` of them.
    pub(crate) fn reserve(&self, limit: Option<usize>) -> Option<Place<'_>> {
        let mut tracked = lock(&self.0);
        let full = |tracked: &Tracked| {
            limit.is_some_and(|limit| tracked.open.len() + tracked.dialing >= limit)
        };
        if tracked.open.len() >= tracked.prune_at || full(&tracked) {
            tracked.prune();
        }
        if full(&tracked) {
            return None;
        }
        tracked.dialing += 1;
        drop(tracked);
        Some(Place(self))
    }

    pub(crate) fn census(&self) -> Census {
        let mut tracked = lock(&self.0);
        tracked.prune();
        let connections: Vec<Connection> = tracked.open.iter().filter_map(live).collect();
        let dialing = tracked.dialing;
        drop(tracked);
        let count = |wanted| {
            let states = connections.iter().map(Connection::state);
            states.filter(|state| *state == wanted).count()
        };
        Census {
            connecting: dialing + count(ConnectionState::Connecting),
            connected: count(ConnectionState::Connected),
            draining: count(ConnectionState::Draining),
            sessions: connections.iter().map(Connection::session_count).sum(),
        }
    }
}

/// The place of a connection that is being made.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Tracker);

impl Place<'_> {
    /// Gives the place to the connection that came to be.
    pub(crate) fn take(self, connection: &Connection) {
        lock(&self.0.0).open.push(connection.downgrade());
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).dialing -= 1;
    }
}
