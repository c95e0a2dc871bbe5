//! What runs before an application takes clients, and after.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;

use super::AppError;
use crate::message::BoxError;

/// Something that has to be started before the first request and stopped after the last: a pool, a
/// cache, middleware with a task of its own.
///
/// ```
/// use wt_server::{BoxError, Resource};
///
/// struct Database;
///
/// impl Resource for Database {
///     async fn start(&self) -> Result<(), BoxError> {
///         // Connect ...
///         Ok(())
///     }
///
///     async fn stop(&self) -> Result<(), BoxError> {
///         // Disconnect ...
///         Ok(())
///     }
/// }
/// ```
pub trait Resource: Send + Sync + 'static {
    /// Starts it. An error keeps the application from starting.
    fn start(&self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }

    /// Stops it.
    fn stop(&self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }
}

/// What a hook may return: nothing, or a `Result`.
pub trait HookResult {
    /// Makes it a result.
    fn into_result(self) -> Result<(), BoxError>;
}

impl HookResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> HookResult for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

type Step = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), BoxError>> + Send>;

/// Makes a step of a function.
pub(super) fn step<F, Fut>(hook: F) -> Step
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: HookResult,
{
    Box::new(|| {
        let running = hook();
        Box::pin(async move { running.await.into_result() })
    })
}

/// All that runs before and after.
#[derive(Default)]
pub(super) struct Hooks {
    /// How to start and to stop each resource, in the order in which they were added.
    resources: Vec<(Step, Step)>,
    startup: Vec<Step>,
    shutdown: Vec<Step>,
}

impl Hooks {
    pub(super) fn add_resource<R: Resource>(&mut self, resource: Arc<R>) {
        let stopping = resource.clone();
        let start = step(move || async move { resource.start().await });
        let stop = step(move || async move { stopping.stop().await });
        self.resources.push((start, stop));
    }

    pub(super) fn add_startup(&mut self, step: Step) {
        self.startup.push(step);
    }

    pub(super) fn add_shutdown(&mut self, step: Step) {
        self.shutdown.push(step);
    }

    /// Starts the resources, then runs the startup hooks, all in their order, and returns what is to
    /// be done at the end. After a failure the resources that had started are stopped.
    pub(super) async fn start(self) -> Result<Ending, AppError> {
        let mut ending = Ending {
            shutdown: Vec::new(),
            stop: Vec::new(),
        };
        let mut result = Ok(());
        for (start, stop) in self.resources {
            result = start().await;
            if result.is_err() {
                break;
            }
            ending.stop.push(stop);
        }
        if result.is_ok() {
            for hook in self.startup {
                result = hook().await;
                if result.is_err() {
                    break;
                }
            }
        }
        if let Err(error) = result {
            // The error that counts is the first.
            let _ = ending.run().await;
            return Err(AppError::Startup(error));
        }
        ending.shutdown = self.shutdown;
        Ok(ending)
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("resources", &self.resources.len())
            .field("startup", &self.startup.len())
            .field("shutdown", &self.shutdown.len())
            .finish()
    }
}

/// What is to be done at the end.
pub(super) struct Ending {
    shutdown: Vec<Step>,
    stop: Vec<Step>,
}

impl Ending {
    /// Runs the shutdown hooks in their order, then stops the resources, the last one first. A
    /// failure is logged and keeps nothing else from running; the first is returned.
    pub(super) async fn run(self) -> Result<(), AppError> {
        let mut result = Ok(());
        for step in self.shutdown.into_iter().chain(self.stop.into_iter().rev()) {
            if let Err(error) = step().await {
                tracing::error!(%error, "a shutdown hook failed");
                if result.is_ok() {
                    result = Err(AppError::Shutdown(error));
                }
            }
        }
        result
    }
}
