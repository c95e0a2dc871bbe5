//! An application that runs.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use wt_core::{
    observe::{Observe, Snapshot},
    takeover::Handover,
};

use super::{AppError, AppStats, AppWatch, hooks::Ending, serving::Serving};
use crate::server::{Server, Shutdown};

/// An application that runs: clients are taken and requests answered.
///
/// End it with [`Self::shut_down`]. Dropping it ends it at once, without its shutdown hooks.
#[must_use = "dropping it stops the application"]
pub struct RunningApp {
    serving: Serving,
    shutdown: Shutdown,
    handover: Option<Handover>,
    /// Never locked: the steps are `Send` alone, and others may look at the application meanwhile.
    ending: Mutex<Ending>,
}

impl RunningApp {
    pub(super) const fn new(
        serving: Serving,
        shutdown: Shutdown,
        handover: Option<Handover>,
        ending: Ending,
    ) -> Self {
        Self {
            serving,
            shutdown,
            handover,
            ending: Mutex::new(ending),
        }
    }

    /// Returns the address that the application listens on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server().local_addr()
    }

    /// Returns the server beneath. Its requests belong to the application: do not take them.
    #[must_use]
    pub const fn server(&self) -> &Server {
        self.serving.server()
    }

    /// Looks at the application from elsewhere, such as from a monitor.
    #[must_use]
    pub fn watch(&self) -> AppWatch {
        AppWatch::new(&self.serving)
    }

    /// Returns figures of the application.
    #[must_use]
    pub fn stats(&self) -> AppStats {
        self.serving.stats()
    }

    /// Waits until another process has taken the port over. [Shut down](Self::shut_down) then:
    /// clients have where to go.
    ///
    /// Never returns without [`AppConfig::takeover`](crate::AppConfig::takeover).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn handed_over(&self) {
        match &self.handover {
            Some(handover) => handover.handed_over().await,
            None => std::future::pending().await,
        }
    }

    /// Returns what hands the port over, if [`AppConfig::takeover`](crate::AppConfig::takeover) is set.
    #[must_use]
    pub const fn handover(&self) -> Option<&Handover> {
        self.handover.as_ref()
    }

    /// Shuts down in order, as [`AppConfig::shutdown`](crate::AppConfig::shutdown) says.
    ///
    /// Takes no new clients (where the port was [handed over](Self::handed_over), they go to the other
    /// process) and refuses requests with 503; asks every session to finish (GOAWAY and
    /// drain); gives them half of the time; closes the rest with the code and reason set; gives
    /// handlers the rest of the time to return, then drops them; runs the shutdown hooks; stops the
    /// resources.
    ///
    /// # Errors
    ///
    /// [`AppError::Shutdown`] when a hook failed; everything else was done all the same.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, what is left of the application ends at once,
    /// without its shutdown hooks.
    pub async fn shut_down(self) -> Result<(), AppError> {
        let handed_over = self.handover.as_ref().is_some_and(Handover::is_handed_over);
        let shutdown = self.shutdown.with_handed_over(handed_over);
        self.serving.shut_down(&shutdown).await;
        let ending = self.ending.into_inner();
        ending.unwrap_or_else(PoisonError::into_inner).run().await
    }
}

impl Observe for RunningApp {
    fn observe(&self) -> Snapshot {
        self.watch().observe()
    }
}

impl std::fmt::Debug for RunningApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningApp")
            .field("server", self.server())
            .finish_non_exhaustive()
    }
}
