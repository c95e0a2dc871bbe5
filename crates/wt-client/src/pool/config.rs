//! How large a pool may be, and how long things may take.

use std::time::Duration;

use crate::setting::{InvalidSetting, ensure};

/// Bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Objects that exist at a time, lent and idle together. Default: 10.
    pub max_size: usize,
    /// Objects that stay idle at a time; of those that come back beyond it the oldest idle one is
    /// disposed of. `None`: as many as may exist. Default: `None`.
    pub max_idle: Option<usize>,
    /// How long an object stays idle before it is disposed of; `None`: as long as it is good.
    /// Default: 60 s.
    pub idle_timeout: Option<Duration>,
    /// How long to wait for an object, the time to make one included; `None`: as long as it takes.
    /// Default: 30 s.
    pub acquire_timeout: Option<Duration>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_size: 10,
            max_idle: None,
            idle_timeout: Some(Duration::from_secs(60)),
            acquire_timeout: Some(Duration::from_secs(30)),
        }
    }
}

impl PoolConfig {
    /// The most objects that a pool may have.
    pub const MAX_SIZE: usize = 1 << 20;

    /// Makes the default configuration with room for `max_size` objects.
    #[must_use]
    pub fn new(max_size: usize) -> Self {
        Self {
            max_size,
            ..Self::default()
        }
    }

    /// Sets how many objects stay idle at a time.
    #[must_use]
    pub fn with_max_idle(mut self, max: impl Into<Option<usize>>) -> Self {
        self.max_idle = max.into();
        self
    }

    /// Sets how long an object stays idle.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Sets how long to wait for an object.
    #[must_use]
    pub fn with_acquire_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.acquire_timeout = timeout.into();
        self
    }

    pub(super) fn idle_limit(&self) -> usize {
        self.max_idle.unwrap_or(self.max_size)
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        ensure(
            (1..=Self::MAX_SIZE).contains(&self.max_size),
            "PoolConfig.max_size",
            self.max_size,
            "must be between 1 and 1048576",
        )?;
        for (key, time) in [
            ("PoolConfig.idle_timeout", self.idle_timeout),
            ("PoolConfig.acquire_timeout", self.acquire_timeout),
        ] {
            ensure(
                time.is_none_or(|time| !time.is_zero()),
                key,
                time,
                "must be longer than 0",
            )?;
        }
        Ok(())
    }
}
