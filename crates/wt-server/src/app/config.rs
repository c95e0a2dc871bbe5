//! What can be set on an application, beside its server.

use std::{path::PathBuf, time::Duration};

use crate::server::Shutdown;

/// What can be set on a [`ServerApp`](crate::ServerApp), beside the configuration of its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppConfig {
    /// Sessions, those that are being decided on among them; further requests are refused with 503.
    /// Default: 10,000.
    pub max_sessions: usize,
    /// Time that middleware and extractors have to answer a request; then it is refused with 503.
    /// Default: 30 s.
    pub answer_timeout: Duration,
    /// Whether each session is logged ([`AccessLog`](crate::middleware::AccessLog)). Default: yes.
    pub access_log: bool,
    /// Whether [`ServerApp::serve`](crate::ServerApp::serve) takes SIGHUP for a request to read certificates again, where
    /// one was read from files. Default: yes.
    ///
    /// Without it, or without such files, SIGHUP ends the process as it does by itself, for instance when its terminal is
    /// closed.
    pub reload_on_hangup: bool,
    /// How the application shuts down: by default within 5 s, and sessions that do not end by
    /// themselves are closed with code 0.
    pub shutdown: Shutdown,
    /// The path of a control socket, by which a new process takes the port of this application over
    /// as this one takes it from the process before. Default: none. See [`wt_core::takeover`].
    pub takeover: Option<PathBuf>,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            max_sessions: 10_000,
            answer_timeout: Duration::from_secs(30),
            access_log: true,
            reload_on_hangup: true,
            shutdown: Shutdown::default(),
            takeover: None,
        }
    }
}

impl AppConfig {
    /// Creates one with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many sessions there may be.
    #[must_use]
    pub const fn with_max_sessions(mut self, max: usize) -> Self {
        self.max_sessions = max;
        self
    }

    /// Sets how long answering a request may take.
    #[must_use]
    pub const fn with_answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Sets whether each session is logged.
    #[must_use]
    pub const fn with_access_log(mut self, access_log: bool) -> Self {
        self.access_log = access_log;
        self
    }

    /// Sets whether SIGHUP has certificates read again.
    #[must_use]
    pub const fn with_reload_on_hangup(mut self, reload: bool) -> Self {
        self.reload_on_hangup = reload;
        self
    }

    /// Sets how the application shuts down.
    #[must_use]
    pub fn with_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Sets the path of the control socket by which the port is taken over and handed over.
    #[must_use]
    pub fn with_takeover(mut self, path: impl Into<PathBuf>) -> Self {
        self.takeover = Some(path.into());
        self
    }
}
