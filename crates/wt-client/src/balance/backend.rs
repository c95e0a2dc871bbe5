//! One target: its connection and what is known of it.

use std::{sync::Mutex, time::Duration};

use wt_core::{Connection, Session};

use super::{TargetStats, order::Standing};
use crate::{
    connect::{Connect, ConnectError},
    lock::lock,
    slot::Slot,
    target::Target,
};

#[derive(Debug)]
pub(super) struct Backend {
    connect: Connect,
    target: Target,
    slot: Slot,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    weight: f64,
    rtt: Option<Duration>,
    failed: bool,
    picked: u64,
    failures: u64,
}

impl Backend {
    pub(super) fn new(connect: Connect, target: Target) -> Self {
        Self {
            connect,
            target,
            slot: Slot::default(),
            known: Mutex::new(Known {
                weight: 1.0,
                rtt: None,
                failed: false,
                picked: 0,
                failures: 0,
            }),
        }
    }

    pub(super) fn runtime(&self) -> tokio::runtime::Handle {
        self.connect.runtime()
    }

    pub(super) fn authority(&self) -> &str {
        &self.target.authority
    }

    pub(super) async fn connection(&self) -> Result<Connection, ConnectError> {
        let (connection, _) = self.slot.get_or_dial(self.connect.dial()).await?;
        Ok(connection)
    }

    pub(super) async fn session(&self, path: Option<&str>) -> Result<Session, ConnectError> {
        let connect = self.connect.clone();
        let connect = match path {
            // The slash stays between the two: no path can become a part of the host.
            Some(path) => {
                let path = path.strip_prefix('/').unwrap_or(path);
                connect.with_url(format!("https://{}/{path}", self.target.authority))
            }
            None => connect,
        };
        connect.open_in(&self.slot).await
    }

    /// Lets go of the connection.
    pub(super) fn forget(&self) -> Option<Connection> {
        self.slot.take()
    }

    pub(super) fn picked(&self) {
        lock(&self.known).picked += 1;
    }

    pub(super) fn succeeded(&self) {
        let rtt = self.rtt();
        let mut known = lock(&self.known);
        known.failed = false;
        known.rtt = rtt.or(known.rtt);
    }

    /// Leaves the target alone until it is found again. Sessions that are open on it stay.
    pub(super) fn failed(&self) {
        {
            let mut known = lock(&self.known);
            known.failed = true;
            known.failures += 1;
        }
        drop(self.forget());
    }

    pub(super) fn set_weight(&self, weight: f64) {
        // `max` takes the number where the other is none.
        lock(&self.known).weight = weight.max(0.0);
    }

    fn rtt(&self) -> Option<Duration> {
        let connection = self.slot.live()?;
        Some(connection.stats().rtt)
    }

    pub(super) fn standing(&self) -> Standing {
        let rtt = self.rtt();
        let mut known = lock(&self.known);
        known.rtt = rtt.or(known.rtt);
        Standing {
            weight: known.weight,
            rtt: known.rtt,
            failed: known.failed,
        }
    }

    pub(super) fn stats(&self) -> TargetStats {
        let rtt = self.rtt();
        let known = lock(&self.known);
        TargetStats {
            authority: self.target.authority.clone(),
            weight: known.weight,
            rtt: rtt.or(known.rtt),
            failed: known.failed,
            connected: rtt.is_some(),
            picked: known.picked,
            failures: known.failures,
        }
    }
}
