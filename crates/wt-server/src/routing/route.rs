//! Services with their types erased.

use std::{convert::Infallible, error::Error, fmt, future::poll_fn, sync::Arc, task::Poll};

use futures_util::future::BoxFuture;
use tower_service::Service;
use wt_core::http::StatusCode;

use crate::{
    message::{BoxError, Request, Response, refuse},
    response::IntoResponse,
};

/// A service that answers requests for sessions, with its type erased: what a [`tower_layer::Layer`]
/// wraps.
#[derive(Clone)]
pub struct Route(Arc<dyn Erased>);

trait Erased: Send + Sync {
    fn answer(&self, request: Request) -> BoxFuture<'static, Response>;
}

impl<T> Erased for T
where
    T: Service<Request> + Clone + Send + Sync + 'static,
    T::Response: IntoResponse,
    T::Error: Into<BoxError>,
    T::Future: Send,
{
    fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        let mut service = self.clone();
        Box::pin(async move {
            if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
                return failed(&*error.into());
            }
            match service.call(request).await {
                Ok(answer) => answer.into_response(),
                Err(error) => failed(&*error.into()),
            }
        })
    }
}

/// Refuses a request whose service failed.
fn failed(error: &(dyn Error + Send + Sync)) -> Response {
    tracing::warn!(%error, "refused, since a service failed");
    refuse(StatusCode::SERVICE_UNAVAILABLE)
}

impl Route {
    /// Erases the type of a service.
    ///
    /// What its `Response` is has to be an answer. An error refuses the session with 503 and is
    /// logged.
    pub fn new<T>(service: T) -> Self
    where
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
    {
        Self(Arc::new(service))
    }

    /// Answers a request; waits until the service is ready.
    pub(crate) fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        self.0.answer(request)
    }
}

impl Service<Request> for Route {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call waits for a service of its own.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}
