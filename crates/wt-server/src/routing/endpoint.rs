//! What stands at the end of a route, while the state may still be missing.

use std::{convert::Infallible, fmt, marker::PhantomData, sync::Arc, task::Poll};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use super::Route;
use crate::{
    handler::Handler,
    message::{BoxError, Request, Response},
    response::IntoResponse,
};

/// Makes a [`Route`] once the state is there.
pub(super) struct Endpoint<S>(Arc<dyn Fn(&S) -> Route + Send + Sync>);

impl<S: 'static> Endpoint<S> {
    pub(super) fn handler<H, T>(handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync,
    {
        Self(Arc::new(move |state| {
            Route::new(HandlerService {
                handler: handler.clone(),
                state: state.clone(),
                args: PhantomData,
            })
        }))
    }

    pub(super) fn route(route: Route) -> Self {
        Self(Arc::new(move |_| route.clone()))
    }

    pub(super) fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse,
        <L::Service as Service<Request>>::Error: Into<BoxError>,
        <L::Service as Service<Request>>::Future: Send,
    {
        Self(Arc::new(move |state| {
            Route::new(layer.layer((self.0)(state)))
        }))
    }

    pub(super) fn with_state(&self, state: &S) -> Route {
        (self.0)(state)
    }
}

impl<S> Clone for Endpoint<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// A handler as a service.
struct HandlerService<H, T, S> {
    handler: H,
    state: S,
    args: PhantomData<fn() -> T>,
}

impl<H: Clone, T, S: Clone> Clone for HandlerService<H, T, S> {
    fn clone(&self) -> Self {
        Self {
            handler: self.handler.clone(),
            state: self.state.clone(),
            args: PhantomData,
        }
    }
}

impl<H, T, S> Service<Request> for HandlerService<H, T, S>
where
    H: Handler<T, S>,
    S: Clone,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.handler.clone().call(request, self.state.clone());
        Box::pin(async move { Ok(answer.await) })
    }
}
