//! A server that may be gone.

use std::sync::{Arc, Weak};

use super::{Inner, Server};

/// Finds a server again without keeping it alive.
#[derive(Clone, Debug)]
pub(crate) struct WeakServer(Weak<Inner>);

impl Server {
    pub(crate) fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.0))
    }
}

impl WeakServer {
    pub(crate) fn upgrade(&self) -> Option<Server> {
        self.0.upgrade().map(Server)
    }
}
