//! Middleware that lets a request pass or refuses it.

use std::{mem, task::Poll};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use crate::message::{Request, Response};

/// What lets a request pass or refuses it. [`guard`] makes it a layer.
///
/// ```
/// use wt_server::{IntoResponse, Request, Response, Router, Session};
/// use wt_server::{http::StatusCode, middleware::{Guard, guard}};
///
/// #[derive(Clone)]
/// struct OnlyLeft;
///
/// impl Guard for OnlyLeft {
///     async fn check(&self, request: &mut Request) -> Result<(), Response> {
///         if request.uri().path().starts_with("/left") {
///             Ok(())
///         } else {
///             Err(StatusCode::FORBIDDEN.into_response())
///         }
///     }
/// }
///
/// let router: Router = Router::new()
///     .fallback(async |_: Session| {})
///     .layer(guard(OnlyLeft));
/// ```
#[doc(alias = "MiddlewareProtocol")]
pub trait Guard: Clone + Send + Sync + 'static {
    /// Lets the request pass, altered perhaps, or refuses it with an answer.
    fn check(&self, request: &mut Request) -> impl Future<Output = Result<(), Response>> + Send;
}

/// Makes a layer of a [`Guard`].
pub const fn guard<G: Guard>(guard: G) -> GuardLayer<G> {
    GuardLayer(guard)
}

/// The layer of a [`Guard`].
#[derive(Clone, Debug)]
pub struct GuardLayer<G>(G);

impl<G: Guard, I> Layer<I> for GuardLayer<G> {
    type Service = Guarded<G, I>;

    fn layer(&self, inner: I) -> Self::Service {
        Guarded::new(self.0.clone(), inner)
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<G, I> {
    guard: G,
    inner: I,
}

impl<G, I> Guarded<G, I> {
    pub(super) const fn new(guard: G, inner: I) -> Self {
        Self { guard, inner }
    }
}

impl<G, I> Service<Request> for Guarded<G, I>
where
    G: Guard,
    I: Service<Request, Response = Response> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
{
    type Response = Response;
    type Error = I::Error;
    type Future = BoxFuture<'static, Result<Response, I::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let guard = self.guard.clone();
        let fresh = self.inner.clone();
        // The one that is ready, not its clone.
        let mut inner = mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            match guard.check(&mut request).await {
                Ok(()) => inner.call(request).await,
                Err(refusal) => Ok(refusal),
            }
        })
    }
}

/// Makes a [`Guard`] of this module usable as a layer by itself.
macro_rules! layer {
    ($guard:ident $(<$($param:ident),*>)? $(where $($bounds:tt)*)?) => {
        impl<I, $($($param,)*)?> tower_layer::Layer<I> for $guard $(<$($param),*>)?
        $(where $($bounds)*)?
        {
            type Service = super::Guarded<Self, I>;

            fn layer(&self, inner: I) -> Self::Service {
                super::Guarded::new(self.clone(), inner)
            }
        }
    };
}
pub(super) use layer;
