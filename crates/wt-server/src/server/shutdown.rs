//! How a server shuts down.

use std::{borrow::Cow, time::Duration};

/// How a server shuts down: how long it may take, and what sessions that do not end by themselves
/// are closed with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Time for all of it; half of it is for sessions to finish by themselves. Default: 5 s.
    pub grace: Duration,
    /// The code of sessions that are closed. Default: 0.
    pub code: u32,
    /// The reason of sessions that are closed. Default: empty.
    pub reason: Cow<'static, str>,
    /// Whether another process has taken the port over, as
    /// [`Handover::handed_over`](wt_core::takeover::Handover::handed_over) tells: clients whose
    /// handshake has begun here may then complete it, and are told at once to go to the other one.
    /// Default: no. [`RunningApp::shut_down`](crate::RunningApp::shut_down) knows by itself.
    pub handed_over: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(Duration::from_secs(5))
    }
}

impl Shutdown {
    /// Creates one that closes sessions with code 0.
    #[must_use]
    pub const fn new(grace: Duration) -> Self {
        Self {
            grace,
            code: 0,
            reason: Cow::Borrowed(""),
            handed_over: false,
        }
    }

    /// Sets what sessions are closed with.
    #[must_use]
    pub fn with_close(mut self, code: u32, reason: impl Into<Cow<'static, str>>) -> Self {
        self.code = code;
        self.reason = reason.into();
        self
    }

    /// Sets whether another process has taken the port over.
    #[must_use]
    pub const fn with_handed_over(mut self, handed_over: bool) -> Self {
        self.handed_over = handed_over;
        self
    }
}
