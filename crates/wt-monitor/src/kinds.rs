//! Monitors with the rules for what they watch.

use std::ops::Deref;

use wt_core::{config::ConfigError, observe::Observe};

use crate::{config::MonitorConfig, monitor::Monitor};

/// Why a monitor could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NewMonitorError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It would watch something whose figures its rules do not know.
    #[error("it watches {expected}, not {found}: use a Monitor with rules of your own")]
    #[non_exhaustive]
    Kind {
        /// What it can watch.
        expected: &'static str,
        /// What it was given.
        found: &'static str,
    },
}

fn watch(
    observed: impl Observe + 'static,
    config: MonitorConfig,
    expected: &'static str,
    kinds: &[&str],
) -> Result<Monitor, NewMonitorError> {
    config.validate()?;
    let first = observed.observe();
    if !kinds.contains(&first.kind) {
        let found = first.kind;
        return Err(NewMonitorError::Kind { expected, found });
    }
    Ok(Monitor::with_first(Box::new(observed), config, first))
}

macro_rules! monitor {
    ($(#[$doc:meta])* $name:ident, $defaults:ident, $expected:literal, $kinds:expr) => {
        $(#[$doc])*
        ///
        /// Everything else is in [`Monitor`], which it dereferences to.
        #[derive(Clone, Debug)]
        pub struct $name(Monitor);

        impl $name {
            #[doc = concat!("Makes a monitor with [`MonitorConfig::", stringify!($defaults), "`].")]
            ///
            /// # Errors
            ///
            /// [`NewMonitorError::Kind`] when it is given something else.
            pub fn new(observed: impl Observe + 'static) -> Result<Self, NewMonitorError> {
                Self::with_config(observed, MonitorConfig::$defaults())
            }

            #[doc = concat!(
                "Makes a monitor with this configuration: [`MonitorConfig::", stringify!($defaults),
                "`] with changes, since others have no rules."
            )]
            ///
            /// # Errors
            ///
            /// When it is given something else, or the configuration cannot work.
            pub fn with_config(
                observed: impl Observe + 'static,
                config: MonitorConfig,
            ) -> Result<Self, NewMonitorError> {
                watch(observed, config, $expected, $kinds).map(Self)
            }
        }

        impl Deref for $name {
            type Target = Monitor;

            fn deref(&self) -> &Monitor {
                &self.0
            }
        }

        impl From<$name> for Monitor {
            fn from(monitor: $name) -> Self {
                monitor.0
            }
        }
    };
}

monitor!(
    /// Watches a `wt_client::Client`: whether sessions come to be, and how long that takes.
    ClientMonitor, client, "a client", &["client"]
);

monitor!(
    /// Watches a `wt_server::Server` or a `wt_server::RunningApp`: whether it serves, and whether clients come in.
    ServerMonitor, server, "a server or an application", &["server", "app"]
);

monitor!(
    /// Watches a `wt_datagram::DatagramTransport`: its queue, what cannot be sent, and how long datagrams wait.
    DatagramMonitor, datagrams, "a datagram transport", &["datagrams"]
);
