//! Extractors: what the arguments of handlers and middleware are made from.
//!
//! | Argument | Is |
//! |---|---|
//! | [`Session`] | the session |
//! | [`Path<T>`] | the parameters of the route, by serde |
//! | [`Query<T>`] | the query, by serde |
//! | [`State<T>`] | the application's state, or a part of it |
//! | [`Extension<T>`] | what middleware put into the request |
//! | [`PeerAddr`] | the address of the client |
//! | [`Subprotocol`] | the subprotocol that was settled on |
//! | [`OfferedProtocols`] | the subprotocols that the client offers |
//! | [`Origin`] | the origin of the page that asks |
//! | [`MatchedPath`] | the route that matched |
//! | [`PeerCertificates`] | the certificate chain of the client |
//! | [`Peer`], [`HeaderMap`], [`Uri`], [`Dialect`] | as they are |
//! | `Option<T>`, `Result<T, T::Rejection>` | `T`, and no refusal when it is not there |
//!
//! Others are made by implementing [`FromRequest`] or [`FromSession`].

mod path;
mod query;
mod rejection;
mod request;
mod session;
mod state;

#[doc(no_inline)]
pub use wt_core::{
    Dialect,
    http::{HeaderMap, Uri},
};

pub(crate) use self::path::PathParams;
pub use self::{
    path::Path,
    query::Query,
    rejection::Rejection,
    request::{Extension, MatchedPath, OfferedProtocols, Origin, PeerAddr, PeerCertificates},
    session::Subprotocol,
    state::{FromRef, State},
};
#[doc(no_inline)]
pub use crate::message::Peer;
use crate::{
    Session,
    handler::{Ending, IntoEnding},
    message::{BoxError, Request, Response},
    response::IntoResponse,
};

/// What can be extracted from a request, before it is answered.
///
/// `S` is the state of the router.
///
/// ```
/// use wt_server::{IntoResponse, Request, extract::FromRequest, http::StatusCode};
///
/// struct Token(String);
///
/// impl<S: Sync> FromRequest<S> for Token {
///     type Rejection = StatusCode;
///
///     async fn from_request(request: &mut Request, _: &S) -> Result<Self, StatusCode> {
///         let token = request.headers().get("authorization").and_then(|v| v.to_str().ok());
///         token.map(|t| Self(t.to_owned())).ok_or(StatusCode::UNAUTHORIZED)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a request with state `{S}`"
)]
pub trait FromRequest<S>: Sized {
    /// The answer when it cannot be extracted.
    type Rejection: IntoResponse;

    /// Extracts it.
    fn from_request(
        request: &mut Request,
        state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// What can be extracted from a session, once it is accepted.
///
/// A type implements this or [`FromRequest`], not both.
///
/// ```
/// use wt_server::{BoxError, RecvStream, Session, extract::FromSession};
///
/// /// The stream with which the client begins.
/// struct Control(RecvStream);
///
/// impl FromSession for Control {
///     type Rejection = BoxError;
///
///     async fn from_session(session: &Session) -> Result<Self, BoxError> {
///         Ok(Self(session.accept_uni().await?))
///     }
/// }
/// ```
pub trait FromSession: Sized {
    /// Why it cannot be; the session then ends as if its handler had returned this error.
    type Rejection: Into<BoxError>;

    /// Extracts it.
    fn from_session(
        session: &Session,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send;
}

/// An argument of a handler, by either of the two ways.
pub trait Argument<S, Marker>: Sized {
    /// What is there before the session is accepted.
    type Early: Send + 'static;

    /// Extracts it from the request, or refuses.
    fn early(
        request: &mut Request,
        state: &S,
    ) -> impl Future<Output = Result<Self::Early, Response>> + Send;

    /// Extracts the rest from the session, or ends it.
    fn late(
        early: Self::Early,
        session: &Session,
    ) -> impl Future<Output = Result<Self, Ending>> + Send;
}

/// Marks arguments that come from the request.
#[derive(Debug)]
pub struct ViaRequest(());

/// Marks arguments that come from the session.
#[derive(Debug)]
pub struct ViaSession(());

impl<S: Sync, T: FromRequest<S> + Send + 'static> Argument<S, ViaRequest> for T {
    type Early = Self;

    async fn early(request: &mut Request, state: &S) -> Result<Self, Response> {
        let extracted = Self::from_request(request, state).await;
        extracted.map_err(IntoResponse::into_response)
    }

    async fn late(early: Self, _: &Session) -> Result<Self, Ending> {
        Ok(early)
    }
}

impl<S: Sync, T: FromSession + Send> Argument<S, ViaSession> for T {
    type Early = ();

    async fn early(_: &mut Request, _: &S) -> Result<(), Response> {
        Ok(())
    }

    async fn late((): (), session: &Session) -> Result<Self, Ending> {
        let extracted = Self::from_session(session).await;
        extracted.map_err(|error| Err::<(), BoxError>(error.into()).into_ending())
    }
}

impl<S: Sync, T: FromRequest<S>> FromRequest<S> for Option<T> {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: &mut Request, state: &S) -> Result<Self, Self::Rejection> {
        Ok(T::from_request(request, state).await.ok())
    }
}

impl<S: Sync, T: FromRequest<S>> FromRequest<S> for Result<T, T::Rejection> {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: &mut Request, state: &S) -> Result<Self, Self::Rejection> {
        Ok(T::from_request(request, state).await)
    }
}
