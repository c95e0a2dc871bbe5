//! Figures through the facade of the crate `metrics`.
//!
//! An [`Exporter`] publishes, at an interval, what endpoints count anyway; whichever recorder the program has installed
//! takes it. Nothing on the way of the data knows of it. With the feature `prometheus`, [`Prometheus`] is such a
//! recorder, and its page is served by [`http`](crate::http).
//!
//! All names, labels and units are in [`names`] and in `docs/metrics.md`.

mod exporter;
pub mod names;
#[cfg(feature = "prometheus")]
mod prometheus;
mod publish;

pub use self::exporter::{ExportError, Exporter, Publishing};
#[cfg(feature = "prometheus")]
pub use self::prometheus::{InstallError, Prometheus};
