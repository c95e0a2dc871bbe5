//! Handlers that answer the request themselves.

use std::marker::PhantomData;

use futures_util::future::BoxFuture;

use super::Handler;
use crate::{
    extract::FromRequest,
    message::{Request, Response},
    response::IntoResponse,
};

/// Makes a handler of an async function that answers the request itself: with status and header
/// fields, with a subprotocol, or with a refusal.
///
/// Its arguments are extracted from the request; there is no session yet. [`accept`](crate::accept)
/// and [`refuse`](crate::refuse) make answers.
///
/// ```
/// use wt_server::{Close, IntoResponse, Outcome, Response, Router, accept, decide};
/// use wt_server::extract::OfferedProtocols;
/// use wt_server::http::StatusCode;
///
/// async fn chat(OfferedProtocols(offer): OfferedProtocols) -> Response {
///     if !offer.iter().any(|offered| offered == "chat-1") {
///         return StatusCode::BAD_REQUEST.into_response();
///     }
///     accept(async |session| drop(session.closed().await))
///         .map(|outcome| outcome.with_protocol("chat-1"))
/// }
///
/// let router: Router = Router::new().route("/chat", decide(chat));
/// ```
pub const fn decide<F, T>(function: F) -> Decide<F, T> {
    Decide {
        function,
        args: PhantomData,
    }
}

/// A handler that answers the request itself; see [`decide`].
#[derive(Debug)]
pub struct Decide<F, T> {
    function: F,
    args: PhantomData<fn() -> T>,
}

impl<F: Clone, T> Clone for Decide<F, T> {
    fn clone(&self) -> Self {
        decide(self.function.clone())
    }
}

macro_rules! decisions {
    ($($arg:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables, reason = "of no arguments, and names")]
        impl<F, Fut, S, $($arg,)*> Handler<(Decide<(), ()>, $($arg,)*), S> for Decide<F, ($($arg,)*)>
        where
            F: FnOnce($($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoResponse,
            S: Send + Sync + 'static,
            $($arg: FromRequest<S> + Send + 'static,)*
        {
            fn call(self, mut request: Request, state: S) -> BoxFuture<'static, Response> {
                Box::pin(async move {
                    $(
                        let $arg = match $arg::from_request(&mut request, &state).await {
                            Ok(arg) => arg,
                            Err(rejection) => return rejection.into_response(),
                        };
                    )*
                    drop(request);
                    (self.function)($($arg),*).await.into_response()
                })
            }
        }
    };
}

decisions!();
decisions!(T1);
decisions!(T1, T2);
decisions!(T1, T2, T3);
decisions!(T1, T2, T3, T4);
decisions!(T1, T2, T3, T4, T5);
decisions!(T1, T2, T3, T4, T5, T6);
decisions!(T1, T2, T3, T4, T5, T6, T7);
decisions!(T1, T2, T3, T4, T5, T6, T7, T8);
