//! Looking at an application that runs.

use std::sync::Weak;

use wt_core::observe::{Observe, Snapshot, State};

use super::{AppStats, Serving, serving::Shared};
use crate::server::WeakServer;

/// Looks at an application that runs, for monitors.
///
/// A cheap handle, which does not keep the application alive and does not stand in the way of its shutdown. Behind the
/// end of the application it says that it is closed.
#[derive(Clone, Debug)]
pub struct AppWatch {
    id: String,
    server: WeakServer,
    shared: Weak<Shared>,
}

impl AppWatch {
    pub(super) fn new(serving: &Serving) -> Self {
        Self {
            id: serving.server().observe().id,
            server: serving.server().downgrade(),
            shared: serving.shared(),
        }
    }

    /// Returns figures of the application; `None` behind its end.
    #[must_use]
    pub fn stats(&self) -> Option<AppStats> {
        let (server, shared) = (self.server.upgrade()?, self.shared.upgrade()?);
        Some(shared.counters.stats(server.stats()))
    }
}

impl Observe for AppWatch {
    fn observe(&self) -> Snapshot {
        let (server, shared) = (self.server.upgrade(), self.shared.upgrade());
        let (Some(server), Some(shared)) = (server, shared) else {
            return Snapshot::new("app", self.id.clone(), State::Closed);
        };
        let mut snapshot = server.observe();
        let stats = shared.counters.stats(server.stats());
        snapshot.kind = "app";
        snapshot
            .with_gauge("handlers", stats.sessions_active as f64)
            .with_counter("requests", stats.requests)
            .with_counter("sessions_accepted", stats.sessions_accepted)
            .with_counter("handlers_failed", stats.handlers_failed)
            .with_counter("handlers_panicked", stats.handlers_panicked)
    }
}
