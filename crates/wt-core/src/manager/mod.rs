//! Keeping track of many connections, sessions or streams.
//!
//! Nothing here is needed to use them: handles close by themselves. A manager is for programs that hold many, want to
//! know what they hold, and want a limit of their own.

mod registry;
mod streams;

use std::{collections::BTreeMap, time::Duration};

pub use self::{
    registry::{Managed, Manager},
    streams::StreamManager,
};
use crate::{
    connection::Connection,
    error::SessionError,
    fault::{Category, Fault},
    session::Session,
};

/// Keeps connections until they are over, closes those that are idle, and holds at most so many.
pub type ConnectionManager = Manager<Connection>;

/// Keeps sessions until they are over, and holds at most so many.
pub type SessionManager = Manager<Session>;

/// How many a [`Manager`] holds, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerConfig {
    /// The most that is held at a time. Default: 3000 connections, 10,000 sessions.
    #[doc(alias = "max_connections")]
    #[doc(alias = "max_sessions")]
    pub limit: usize,
    /// Time after which something on which nothing moves is closed; `None` never. Default: 60 s for connections, `None`
    /// for sessions.
    ///
    /// What keeps a connection alive is no activity: streams and datagrams are.
    #[doc(alias = "connection_idle_timeout")]
    pub idle_timeout: Option<Duration>,
    /// How often to look for what is idle; so much later than `idle_timeout` it may be closed. Default: 5 s.
    #[doc(alias = "connection_idle_check_interval")]
    pub idle_check_interval: Duration,
}

impl ManagerConfig {
    /// The shortest time between two looks for what is idle.
    pub const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(1);

    /// Makes the defaults for connections.
    #[must_use]
    pub const fn connections() -> Self {
        Self {
            limit: 3000,
            idle_timeout: Some(Duration::from_secs(60)),
            idle_check_interval: Duration::from_secs(5),
        }
    }

    /// Makes the defaults for sessions.
    #[must_use]
    pub const fn sessions() -> Self {
        Self {
            limit: 10_000,
            idle_timeout: None,
            idle_check_interval: Duration::from_secs(5),
        }
    }

    /// Sets how many are held at a time.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets after which time something on which nothing moves is closed, and how often to look.
    #[must_use]
    pub const fn with_idle_timeout(
        mut self,
        timeout: Option<Duration>,
        interval: Duration,
    ) -> Self {
        self.idle_timeout = timeout;
        self.idle_check_interval = interval;
        self
    }
}

/// Figures of a manager at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagerStats {
    /// What was ever taken.
    #[doc(alias = "total_created")]
    pub total: u64,
    /// What is gone again.
    #[doc(alias = "total_closed")]
    pub closed: u64,
    /// What is held now.
    #[doc(alias = "current_count")]
    pub current: usize,
    /// The most that was held at a time.
    #[doc(alias = "max_concurrent")]
    pub peak: usize,
    /// The most that may be.
    pub limit: usize,
    /// How many are in each state, by its name.
    pub states: BTreeMap<&'static str, usize>,
}

/// Why a manager does not take or open something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// It holds as many as it may.
    #[error("{limit} {what} are open, and no more are allowed: close some, or raise the limit")]
    Full {
        /// What it holds, in the plural.
        what: &'static str,
        /// How many it may.
        limit: usize,
    },
    /// It was shut down.
    #[error("the manager was shut down")]
    ShutDown,
    /// There is no tokio runtime on which it could watch what it holds.
    #[error("no tokio runtime: call this from within one")]
    NoRuntime,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Fault for ManagerError {
    fn category(&self) -> Category {
        match self {
            Self::Full { what, .. } => match *what {
                "connections" => Category::Connection,
                "sessions" => Category::Session,
                _ => Category::Stream,
            },
            Self::Session(error) => error.category(),
            _ => Category::Client,
        }
    }

    /// Room comes back when something closes.
    fn is_retriable(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Session(error) => error.is_retriable(),
            _ => false,
        }
    }
}
