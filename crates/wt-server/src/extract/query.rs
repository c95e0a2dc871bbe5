//! The query of a request.

use serde::de::DeserializeOwned;

use super::{FromRequest, Rejection};
use crate::message::Request;

/// The query of the request, percent-decoded, by serde; no query is an empty one.
///
/// The client gets 400 when it does not fit.
///
/// ```
/// use serde::Deserialize;
/// use wt_server::{Router, Session, extract::Query};
///
/// #[derive(Deserialize)]
/// struct Options { name: String, history: Option<usize> }
///
/// async fn chat(_: Session, Query(options): Query<Options>) {}
///
/// let router: Router = Router::new().route("/chat", chat);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned + Send> FromRequest<S> for Query<T> {
    type Rejection = Rejection;

    async fn from_request(request: &mut Request, _: &S) -> Result<Self, Rejection> {
        let query = request.uri().query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|error| Rejection::bad_request(format!("query: {error}")))
    }
}
