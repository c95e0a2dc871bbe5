//! How a target is chosen, and how those that failed are watched.

use std::{fmt, str::FromStr, time::Duration};

use crate::setting::{InvalidSetting, ensure};

/// How a target is chosen among those that are available.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// One after the other, from the first on.
    #[default]
    RoundRobin,
    /// At random, in proportion to the weights. A target of weight 0 is not chosen, unless all are 0.
    Weighted,
    /// The one with the shortest round-trip time, as QUIC measures it. A target that was never
    /// connected to goes first, so that its time becomes known.
    LeastLatency,
}

impl Strategy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::Weighted, Self::LeastLatency];

    /// Returns the name: `round_robin`, `weighted` or `least_latency`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::LeastLatency => "least_latency",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let mut all = Self::ALL.into_iter();
        all.find(|strategy| strategy.as_str() == name)
            .ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// No strategy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy {0:?}: it is one of round_robin, weighted, least_latency")]
pub struct UnknownStrategy(pub String);

/// Settings of a [`LoadBalancer`](super::LoadBalancer).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalancerConfig {
    /// How targets are chosen. Default: [`Strategy::RoundRobin`].
    pub strategy: Strategy,
    /// Whether the next target is tried when one fails, and targets marked as failed when there are
    /// no others. Default: `true`.
    pub failover: bool,
    /// How often targets that failed are checked. Default: 30 s.
    pub health_interval: Duration,
    /// How long a check may take: a connection has to be made. Default: 5 s.
    pub health_timeout: Duration,
}

impl Default for BalancerConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            failover: true,
            health_interval: Duration::from_secs(30),
            health_timeout: Duration::from_secs(5),
        }
    }
}

impl BalancerConfig {
    /// Makes the default configuration with a strategy.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            ..Self::default()
        }
    }

    /// Sets whether the next target is tried when one fails.
    #[must_use]
    pub const fn with_failover(mut self, failover: bool) -> Self {
        self.failover = failover;
        self
    }

    /// Sets how often targets that failed are checked, and how long a check may take.
    #[must_use]
    pub const fn with_health_checks(mut self, interval: Duration, timeout: Duration) -> Self {
        self.health_interval = interval;
        self.health_timeout = timeout;
        self
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        for (key, time) in [
            ("BalancerConfig.health_interval", self.health_interval),
            ("BalancerConfig.health_timeout", self.health_timeout),
        ] {
            ensure(!time.is_zero(), key, time, "must be longer than 0")?;
        }
        Ok(())
    }
}
