//! Looking for newer certificates now and then.

use std::time::{Duration, SystemTime};

use tokio::{
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};

use super::{Certificates, refresh::renewal};
use crate::lock::lock;

/// When a certificate that should have been renewed by now is tried again, and the shortest time between two looks.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time between two looks: clocks are set, and machines sleep.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The task that looks. It ends when this is dropped, or stopped.
#[derive(Debug)]
pub(crate) struct Watch(AbortHandle);

impl Watch {
    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Certificates {
    /// Keeps them fresh. Has to be called within a runtime.
    pub(crate) fn watch(&self) -> Watch {
        let certificates = self.clone();
        Watch(tokio::spawn(async move { certificates.look_now_and_then().await }).abort_handle())
    }

    async fn look_now_and_then(self) {
        loop {
            let edited = self.0.edited.notified();
            let Some(wait) = self.next_look(SystemTime::now()) else {
                edited.await;
                continue;
            };
            if timeout(wait, edited).await.is_err() {
                let certificates = self.clone();
                // It fails only when the runtime ends.
                let _ = spawn_blocking(move || certificates.check(SystemTime::now())).await;
            }
        }
    }

    /// Returns how long to wait; `None` when there is nothing to look for.
    fn next_look(&self, now: SystemTime) -> Option<Duration> {
        let config = &self.0.config;
        let slots = lock(&self.0.slots);
        let files = slots.all.iter().any(|slot| slot.identity.files().is_some());
        let interval = config.check_interval.filter(|_| files);
        let due = slots
            .all
            .iter()
            .filter_map(|slot| renewal(&slot.identity, config))
            .min()
            .map(|due| due.duration_since(now).unwrap_or_default());
        let due = due.map(|due| due.clamp(RETRY, LONGEST));
        [interval, due].into_iter().flatten().min()
    }
}
