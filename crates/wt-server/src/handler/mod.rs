//! Handlers: async functions that serve a session.

mod close;
mod decide;

use futures_util::future::BoxFuture;

pub use self::{
    close::{Close, Ending, IntoEnding},
    decide::{Decide, decide},
};
use crate::{
    extract::Argument,
    message::{Outcome, Request, Response},
};

/// An async function that serves a session.
///
/// It takes up to eight arguments, each of which is extracted from the request
/// ([`FromRequest`](crate::extract::FromRequest)) or from the session
/// ([`FromSession`](crate::extract::FromSession)), in any order, and returns how the session ends
/// ([`IntoEnding`]). What comes from the request is extracted before the session is accepted: if it
/// cannot be, the session is refused, for instance with 400 for a bad path parameter.
///
/// ```
/// use wt_server::{Close, Router, Session, extract::Path};
///
/// async fn chat(session: Session, Path(room): Path<String>) -> Close {
///     let end = session.closed().await;
///     println!("{room}: {end}");
///     Close::new(0, "bye")
/// }
///
/// let router: Router = Router::new().route("/chat/{room}", chat);
/// ```
///
/// # The end
///
/// When the function returns, fails or panics, its session is closed, and **closing cuts off what is
/// on its way**: the streams are reset, and the client may throw away what it has not read yet. So
/// let the client have the last word where the last bytes matter, for instance by
/// `session.closed().await` as the last thing.
///
/// A function that goes on after its session is over does no harm until the server shuts down, which
/// drops it. An error or a panic ends no other session, and is logged.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot serve sessions with state `{S}`",
    note = "it has to be an async function, `Clone + Send + Sync`, whose arguments are extractors \
            and whose result is `()`, `Close` or a `Result` of them"
)]
pub trait Handler<T, S>: Clone + Send + Sync + Sized + 'static {
    /// Answers a request.
    fn call(self, request: Request, state: S) -> BoxFuture<'static, Response>;
}

macro_rules! handlers {
    ($($marker:ident $arg:ident),*) => {
        #[allow(non_snake_case, unused_mut, unused_variables, reason = "of no arguments, and names")]
        impl<F, Fut, S, $($marker, $arg,)*> Handler<($(($marker, $arg),)*), S> for F
        where
            F: FnOnce($($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            Fut::Output: IntoEnding,
            S: Send + Sync + 'static,
            $($arg: Argument<S, $marker> + Send + 'static,)*
        {
            fn call(self, mut request: Request, state: S) -> BoxFuture<'static, Response> {
                Box::pin(async move {
                    $(
                        let $arg = match $arg::early(&mut request, &state).await {
                            Ok(early) => early,
                            Err(refusal) => return refusal,
                        };
                    )*
                    Response::new(Outcome::new(move |session| async move {
                        $(
                            let $arg = match $arg::late($arg, &session).await {
                                Ok(arg) => arg,
                                Err(ending) => return ending,
                            };
                        )*
                        // The function has what it wants of the session.
                        drop(session);
                        self($($arg),*).await.into_ending()
                    }))
                })
            }
        }
    };
}

handlers!();
handlers!(M1 T1);
handlers!(M1 T1, M2 T2);
handlers!(M1 T1, M2 T2, M3 T3);
handlers!(M1 T1, M2 T2, M3 T3, M4 T4);
handlers!(M1 T1, M2 T2, M3 T3, M4 T4, M5 T5);
handlers!(M1 T1, M2 T2, M3 T3, M4 T4, M5 T5, M6 T6);
handlers!(M1 T1, M2 T2, M3 T3, M4 T4, M5 T5, M6 T6, M7 T7);
handlers!(M1 T1, M2 T2, M3 T3, M4 T4, M5 T5, M6 T6, M7 T7, M8 T8);
