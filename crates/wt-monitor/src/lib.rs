//! Watches WebTransport clients, servers and datagram transports, and whatever else has figures.
//!
//! A [`Monitor`] looks at something that can be [observed](wt_core::observe::Observe) at each interval and keeps a
//! bounded history of [`Sample`]s: the figures of that moment, and by how much counters grew since the one before.
//! After each sample it judges its [`Rule`]s, which are data: over the newest samples (the window), not since the
//! beginning. A rule that is broken raises one [`Alert`], which clears when the rule holds again. The alerts that are
//! active make the [`Health`], with its reasons.
//!
//! [`ClientMonitor`], [`ServerMonitor`] and [`DatagramMonitor`] are monitors with the rules for what they watch; your own
//! rules stand beside them.
//!
//! ```
//! use wt_core::observe::{self, Snapshot, State};
//! use wt_monitor::{Measure, Monitor, MonitorConfig, Rule, Status};
//!
//! let cache = observe::from_fn(|| Snapshot::new("cache", "of-pages", State::Active).with_gauge("entries", 3.0));
//! let full = Rule::above("full", Measure::last("entries"), 2.0).with_message("{count} entries are many");
//! let monitor = Monitor::new(cache, MonitorConfig::new().with_rule(full))?;
//!
//! // `monitor.start()?` would do this at each interval.
//! monitor.sample();
//! let health = monitor.health();
//! assert_eq!(health.status, Status::Degraded);
//! assert_eq!(health.reasons, ["3 entries are many"]);
//! # Ok::<(), wt_monitor::ConfigError>(())
//! ```

mod alert;
mod config;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "dashboard")]
pub mod feed;
mod health;
#[cfg(feature = "http")]
pub mod http;
mod judge;
mod kinds;
mod lock;
#[cfg(feature = "metrics")]
pub mod metrics;
mod monitor;
mod report;
mod rule;
mod sample;
mod serial;
mod window;

pub use alert::{Alert, MonitorEvent};
pub use config::{MAX_HISTORY, MAX_RULES, MAX_SERIES, MonitorConfig};
pub use health::{Health, Status};
pub use kinds::{ClientMonitor, DatagramMonitor, NewMonitorError, ServerMonitor};
pub use monitor::{Monitor, NoRuntime};
pub use report::Report;
pub use rule::{Condition, Enough, Measure, Rule, Severity, Side};
pub use sample::{Figure, Sample};
pub use window::{Summary, Trend};
/// What can be watched, and what is wrong with a configuration, as the methods here take and give it.
pub use wt_core::{config::ConfigError, observe};
