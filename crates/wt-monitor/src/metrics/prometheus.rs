//! Metrics as Prometheus reads them.

use std::{fmt, sync::Arc, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{runtime::Handle, task::JoinHandle};

use super::names;

/// How often distributions are brought up to date although nobody asks; they would grow otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// Upper bounds of what is counted together, for each histogram.
const BUCKETS: [(&str, &[f64]); 4] = [
    (
        names::RTT,
        &[
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2,
        ],
    ),
    (
        names::LOSS,
        &[0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
    ),
    (
        names::WINDOW,
        &[
            4096.0,
            16384.0,
            65536.0,
            262_144.0,
            1_048_576.0,
            4_194_304.0,
            16_777_216.0,
            67_108_864.0,
        ],
    ),
    (
        names::HANDLER_DURATION,
        &[
            0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
        ],
    ),
];

/// The recorder for Prometheus cannot be installed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The program has a recorder of the crate `metrics`; there can be one only.
    #[error("another recorder for metrics is installed already")]
    Taken,
    /// It was installed outside of a tokio runtime.
    #[error("the recorder for metrics is installed within a tokio runtime only")]
    NoRuntime,
    /// The recorder cannot be made.
    #[error("the recorder for metrics cannot be made: {0}")]
    Build(String),
}

/// The recorder that keeps metrics for Prometheus.
///
/// A cheap handle: clones speak of the same recorder. Keep one, or the page of one, for as long as metrics are
/// recorded: with the last handle ends the task that keeps distributions small.
#[derive(Clone)]
pub struct Prometheus(Arc<Inner>);

struct Inner {
    handle: PrometheusHandle,
    upkeep: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

impl Prometheus {
    /// The type of what [`Self::render`] writes.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Makes a recorder and installs it for the whole program. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`InstallError`].
    pub fn install() -> Result<Self, InstallError> {
        let runtime = Handle::try_current().map_err(|_| InstallError::NoRuntime)?;
        let failed = |error: BuildError| InstallError::Build(error.to_string());
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in BUCKETS {
            let name = Matcher::Full(name.to_owned());
            builder = builder
                .set_buckets_for_metric(name, bounds)
                .map_err(failed)?;
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        ::metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
        names::describe();
        let kept = handle.clone();
        let upkeep = runtime.spawn(async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                kept.run_upkeep();
            }
        });
        Ok(Self(Arc::new(Inner { handle, upkeep })))
    }

    /// Writes all metrics that were recorded, those of other crates among them, in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.handle.render()
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}
