//! Who may open a session.

use wt_core::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::guard::{Guard, layer};
use crate::{
    message::{Request, Response, refuse},
    response::IntoResponse,
};

/// Asks an async function, by the header fields, who may open a session.
///
/// What the function returns goes into the extensions of the request: handlers get it by
/// [`Extension`](crate::extract::Extension). A panic of it refuses the session with 500.
///
/// ```
/// use wt_server::{Router, Session, extract::Extension};
/// use wt_server::{http::HeaderMap, middleware::{Auth, AuthError}};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn check(headers: HeaderMap) -> Result<User, AuthError> {
///     match headers.get("authorization").map(|value| value.as_bytes()) {
///         Some(b"Bearer 5f1c") => Ok(User("ann".to_owned())),
///         Some(_) => Err(AuthError::Forbidden),
///         None => Err(AuthError::Unauthorized),
///     }
/// }
///
/// async fn chat(session: Session, Extension(User(name)): Extension<User>) {}
///
/// let router: Router = Router::new().route("/chat", chat).layer(Auth::new(check));
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "create_auth_middleware")]
pub struct Auth<F> {
    check: F,
    challenge: HeaderValue,
}

/// Why someone may not open a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Nobody knows who it is: status 401.
    #[error("not authenticated")]
    Unauthorized,
    /// Who it is may not: status 403.
    #[error("not allowed")]
    Forbidden,
}

impl<F> Auth<F> {
    /// Creates one that asks `check`.
    pub const fn new(check: F) -> Self {
        Self {
            check,
            challenge: HeaderValue::from_static("Bearer"),
        }
    }

    /// Sets the field `www-authenticate` of answers with status 401. Default: `Bearer`.
    #[must_use]
    pub fn with_challenge(mut self, challenge: HeaderValue) -> Self {
        self.challenge = challenge;
        self
    }
}

impl<F, Fut, T> Guard for Auth<F>
where
    F: Fn(HeaderMap) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<T, AuthError>> + Send,
    T: Clone + Send + Sync + 'static,
{
    async fn check(&self, request: &mut Request) -> Result<(), Response> {
        match (self.check)(request.headers().clone()).await {
            Ok(who) => {
                request.extensions_mut().insert(who);
                Ok(())
            }
            Err(AuthError::Unauthorized) => {
                let mut headers = HeaderMap::new();
                headers.insert(header::WWW_AUTHENTICATE, self.challenge.clone());
                Err((StatusCode::UNAUTHORIZED, headers).into_response())
            }
            Err(AuthError::Forbidden) => Err(refuse(StatusCode::FORBIDDEN)),
        }
    }
}

layer!(Auth<F> where F: Clone);
