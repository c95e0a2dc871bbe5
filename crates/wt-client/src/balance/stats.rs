//! Figures of targets.

use std::time::Duration;

/// Figures of a target at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetStats {
    /// Host and port, as the URL names them.
    pub authority: String,
    /// The weight for the weighted strategy.
    pub weight: f64,
    /// The round-trip time that was measured last; `None` before the first connection.
    #[doc(alias = "latency")]
    pub rtt: Option<Duration>,
    /// Whether it is left alone until a health check finds it.
    pub failed: bool,
    /// Whether there is a connection to it.
    pub connected: bool,
    /// Times that it was tried.
    pub picked: u64,
    /// Times that it failed.
    pub failures: u64,
}

/// Figures of all targets together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalancerStats {
    /// Targets.
    #[doc(alias = "total_targets")]
    pub targets: usize,
    /// Targets that failed and were not found again yet.
    #[doc(alias = "failed_targets")]
    pub failed: usize,
    /// The others.
    #[doc(alias = "available_targets")]
    pub available: usize,
    /// Connections to targets.
    #[doc(alias = "active_connections")]
    pub connections: usize,
}
