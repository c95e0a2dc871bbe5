//! A look after volunteers: a task may wait for a stream and not be polled, and then nobody does what it was woken for.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

use super::wake::Ready;
use crate::lock::lock;

/// How long a volunteer may take to come.
const TIME: Duration = Duration::from_millis(10);

/// Looks after the volunteers of all connections of an endpoint.
///
/// One timer for all of them: one for each connection would cost more than what volunteers do for those with a
/// request now and then.
#[derive(Debug)]
pub(crate) struct Lookout {
    runtime: Handle,
    /// Connections that have woken a volunteer since the last look, each at most once.
    watched: Mutex<Vec<Weak<Ready>>>,
}

impl Lookout {
    pub(crate) fn new(runtime: Handle) -> Arc<Self> {
        let watched = Mutex::default();
        Arc::new(Self { runtime, watched })
    }

    /// Has a look at this connection in a while.
    pub(super) fn add(self: &Arc<Self>, ready: &Arc<Ready>) {
        let mut watched = lock(&self.watched);
        watched.push(Arc::downgrade(ready));
        if watched.len() == 1 {
            drop(watched);
            self.runtime.spawn(self.clone().look());
        }
    }

    async fn look(self: Arc<Self>) {
        sleep(TIME).await;
        let watched = std::mem::take(&mut *lock(&self.watched));
        for ready in watched.iter().filter_map(Weak::upgrade) {
            ready.look();
        }
    }
}
