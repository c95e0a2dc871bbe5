//! Middleware made of async functions.

use std::{convert::Infallible, fmt, marker::PhantomData, task::Poll};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    extract::FromRequest,
    message::{BoxError, Request, Response},
    response::IntoResponse,
    routing::Route,
};

/// What comes after a middleware: the next one, or the handler.
#[derive(Clone, Debug)]
pub struct Next(Route);

impl Next {
    /// Passes the request on and returns the answer.
    pub async fn run(self, request: Request) -> Response {
        self.0.answer(request).await
    }
}

/// Makes a layer of an async function that gets the request and what comes [`Next`].
///
/// It may pass the request on, alter it before, alter the answer, or answer itself. Up to four
/// arguments before the request are extracted from it.
///
/// ```
/// use wt_server::{IntoResponse, Request, Response, Router, Session};
/// use wt_server::{extract::PeerAddr, http::StatusCode, middleware::{self, Next}};
///
/// async fn local_only(PeerAddr(peer): PeerAddr, request: Request, next: Next) -> Response {
///     if !peer.ip().to_canonical().is_loopback() {
///         return StatusCode::FORBIDDEN.into_response();
///     }
///     next.run(request).await
/// }
///
/// let router: Router = Router::new()
///     .route("/admin", async |_: Session| {})
///     .layer(middleware::from_fn(local_only));
/// ```
pub const fn from_fn<F, T>(function: F) -> FromFnLayer<F, (), T> {
    from_fn_with_state((), function)
}

/// Makes a layer of an async function as [`from_fn`] does, whose arguments may be taken from a
/// state.
pub const fn from_fn_with_state<F, S, T>(state: S, function: F) -> FromFnLayer<F, S, T> {
    FromFnLayer {
        function,
        state,
        args: PhantomData,
    }
}

/// A layer that is an async function; see [`from_fn`].
pub struct FromFnLayer<F, S, T> {
    function: F,
    state: S,
    args: PhantomData<fn() -> T>,
}

impl<F: Clone, S: Clone, T> Clone for FromFnLayer<F, S, T> {
    fn clone(&self) -> Self {
        from_fn_with_state(self.state.clone(), self.function.clone())
    }
}

impl<F, S: fmt::Debug, T> fmt::Debug for FromFnLayer<F, S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFnLayer")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<F: Clone, S: Clone, T, I> Layer<I> for FromFnLayer<F, S, T> {
    type Service = FromFn<F, S, T, I>;

    fn layer(&self, inner: I) -> Self::Service {
        FromFn {
            layer: self.clone(),
            inner,
        }
    }
}

/// A service behind an async function; see [`from_fn`].
pub struct FromFn<F, S, T, I> {
    layer: FromFnLayer<F, S, T>,
    inner: I,
}

impl<F: Clone, S: Clone, T, I: Clone> Clone for FromFn<F, S, T, I> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<F, S: fmt::Debug, T, I: fmt::Debug> fmt::Debug for FromFn<F, S, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn")
            .field("layer", &self.layer)
            .field("inner", &self.inner)
            .finish()
    }
}

/// An async function that can be a middleware; see [`from_fn`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be middleware with state `{S}`",
    note = "it has to be an async function of up to four extractors, a `Request` and a `Next`, \
            whose result is an answer"
)]
pub trait Middleware<T, S>: Clone + Send + Sync + 'static {
    /// Answers a request.
    fn call(self, request: Request, state: S, next: Next) -> BoxFuture<'static, Response>;
}

macro_rules! middlewares {
    ($($arg:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables, reason = "of no arguments, and names")]
        impl<F, Fut, S, $($arg,)*> Middleware<($($arg,)*), S> for F
        where
            F: FnOnce($($arg,)* Request, Next) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoResponse,
            S: Send + Sync + 'static,
            $($arg: FromRequest<S> + Send + 'static,)*
        {
            fn call(self, mut request: Request, state: S, next: Next) -> BoxFuture<'static, Response> {
                Box::pin(async move {
                    $(
                        let $arg = match $arg::from_request(&mut request, &state).await {
                            Ok(arg) => arg,
                            Err(rejection) => return rejection.into_response(),
                        };
                    )*
                    self($($arg,)* request, next).await.into_response()
                })
            }
        }
    };
}

middlewares!();
middlewares!(T1);
middlewares!(T1, T2);
middlewares!(T1, T2, T3);
middlewares!(T1, T2, T3, T4);

impl<F, S, T, I> Service<Request> for FromFn<F, S, T, I>
where
    F: Middleware<T, S>,
    S: Clone,
    I: Service<Request> + Clone + Send + Sync + 'static,
    I::Response: IntoResponse,
    I::Error: Into<BoxError>,
    I::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        // `Next` waits for the inner service.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let next = Next(Route::new(self.inner.clone()));
        let (function, state) = (self.layer.function.clone(), self.layer.state.clone());
        let answer = function.call(request, state, next);
        Box::pin(async move { Ok(answer.await) })
    }
}
