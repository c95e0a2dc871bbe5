//! The task that publishes.

use std::{fmt, sync::Arc, time::Duration};

use ::metrics::SharedString;
use tokio::{
    runtime::Handle,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use wt_core::{Endpoint, config::ConfigError, observe::Observe};

use super::{names, publish};

/// An [`Exporter`] cannot start.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It holds a value that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It was started outside of a tokio runtime.
    #[error("metrics are published within a tokio runtime only")]
    NoRuntime,
}

/// Publishes figures of endpoints, and of whatever else can be observed, to the recorder of the crate `metrics`.
///
/// It reads what is counted anyway: while nobody exports, nothing is done for it. At each interval it locks each
/// connection for a moment, off the tasks of the runtime. Labels are names that the program gives here and fixed
/// words, never what a peer says.
///
/// # Examples
///
/// ```no_run
/// use wt_core::Endpoint;
/// use wt_monitor::metrics::{ExportError, Exporter};
///
/// fn watch(endpoint: Endpoint) -> Result<(), ExportError> {
///     let publishing = Exporter::new().endpoint("game", endpoint).start()?;
///     // ... as long as the server runs.
///     drop(publishing);
///     Ok(())
/// }
/// ```
#[must_use = "an exporter does nothing until it is started"]
pub struct Exporter {
    endpoints: Vec<(SharedString, Endpoint)>,
    observed: Vec<(SharedString, Box<dyn Observe>)>,
    interval: Duration,
    samples: usize,
}

impl Default for Exporter {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            observed: Vec::new(),
            interval: Duration::from_secs(5),
            samples: 100,
        }
    }
}

impl Exporter {
    /// The most connections of an endpoint that are sampled at each interval.
    pub const MAX_SAMPLES: usize = 10_000;

    /// Makes one that publishes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an endpoint, that of a server or of a client, whose metrics have the label `endpoint` with this name.
    ///
    /// Its socket stays open until the exporter is dropped: stop that when the server is closed.
    pub fn endpoint(mut self, name: impl Into<String>, endpoint: Endpoint) -> Self {
        self.endpoints.push((name.into().into(), endpoint));
        self
    }

    /// Adds anything that can be observed: a client, a pool, a datagram transport.
    ///
    /// Its figures become `wt_observed_value` and `wt_observed_total` with the labels `name`, as given here, `kind`
    /// and `figure`. Add what lives long; of things that come and go with peers each would be a new series.
    pub fn observe(mut self, name: impl Into<String>, observed: impl Observe + 'static) -> Self {
        self.observed.push((name.into().into(), Box::new(observed)));
        self
    }

    /// Sets how often to publish. Default: 5 s.
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets of how many connections of each endpoint round-trip time, loss and congestion window are taken at each
    /// interval; of more connections, others each time. Default: 100, at most [`Self::MAX_SAMPLES`].
    pub const fn with_samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Publishes once, now. What is observed is looked at in this thread.
    pub fn publish(&self) {
        for (name, endpoint) in &self.endpoints {
            publish::endpoint(name, &endpoint.report(self.samples));
        }
        for (name, observed) in &self.observed {
            publish::observed(name, &observed.observe());
        }
    }

    /// Describes the metrics and publishes now and at each interval, until what is returned is dropped.
    ///
    /// Install the recorder before.
    ///
    /// # Errors
    ///
    /// [`ExportError`] outside of a tokio runtime, or when two have the same name, or for values that cannot work.
    pub fn start(self) -> Result<Publishing, ExportError> {
        self.validate()?;
        let runtime = Handle::try_current().map_err(|_| ExportError::NoRuntime)?;
        names::describe();
        let exporter = Arc::new(self);
        let task = runtime.spawn(run(exporter.clone()));
        Ok(Publishing { exporter, task })
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.interval.is_zero() {
            let reason = "must be longer than 0";
            return Err(ConfigError::new("Exporter.interval", self.interval, reason));
        }
        if self.samples > Self::MAX_SAMPLES {
            let reason = "must be at most 10000";
            return Err(ConfigError::new("Exporter.samples", self.samples, reason));
        }
        let endpoints: Vec<_> = self.endpoints.iter().map(|(name, _)| name).collect();
        let observed: Vec<_> = self.observed.iter().map(|(name, _)| name).collect();
        for (key, names) in [
            ("Exporter.endpoint", endpoints),
            ("Exporter.observe", observed),
        ] {
            if let Some(name) = twice(&names) {
                return Err(ConfigError::new(key, name, "must be a name of its own"));
            }
        }
        Ok(())
    }
}

/// Returns the first name that was given before.
fn twice<'a>(names: &[&'a SharedString]) -> Option<&'a SharedString> {
    let mut all = names.iter().enumerate();
    all.find_map(|(at, name)| names[..at].contains(name).then_some(*name))
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observed: Vec<_> = self.observed.iter().map(|(name, _)| name).collect();
        f.debug_struct("Exporter")
            .field("endpoints", &self.endpoints)
            .field("observed", &observed)
            .field("interval", &self.interval)
            .field("samples", &self.samples)
            .finish()
    }
}

async fn run(exporter: Arc<Exporter>) {
    let mut ticks = interval(exporter.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        publish_aside(exporter.clone()).await;
    }
}

/// Publishes where nobody has to wait for it.
async fn publish_aside(exporter: Arc<Exporter>) {
    if let Err(error) = spawn_blocking(move || exporter.publish()).await
        && error.is_panic()
    {
        tracing::error!(%error, "what is observed for metrics panicked");
    }
}

/// An [`Exporter`] at work; dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping it ends the publishing"]
pub struct Publishing {
    exporter: Arc<Exporter>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Publishes a last time, so that what happened since the last interval is not lost, and ends.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the publishing ends, maybe without the last time.
    pub async fn stop(self) {
        self.task.abort();
        publish_aside(self.exporter.clone()).await;
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.task.abort();
    }
}
