//! Why an application does not run.

use std::io;

use wt_core::{BindError, takeover::TakeoverError};

use crate::{message::BoxError, routing::RouteError};

/// Why an application could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A route cannot be used.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The server cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The port cannot be taken over from a running process, or a successor cannot be waited for.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// A startup hook, or a resource that starts, failed; what had started was stopped again.
    #[error("the application could not start: a startup hook failed")]
    Startup(#[source] BoxError),
    /// A shutdown hook failed. The others ran all the same.
    #[error("the application stopped, but a shutdown hook failed")]
    Shutdown(#[source] BoxError),
    /// The system refused what the application needs to run: a runtime, or to listen to signals.
    #[error("the application cannot run: {0}")]
    System(#[source] io::Error),
}

impl AppError {
    pub(super) fn system(error: io::Error) -> Self {
        Self::System(error)
    }
}
