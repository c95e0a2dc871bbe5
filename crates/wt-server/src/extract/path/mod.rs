//! The parameters of a route.

mod de;

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::{FromRequest, Rejection};
use crate::message::Request;

/// The parameters of the route that matched, percent-decoded, by serde.
///
/// One parameter can be taken as a value, several as a tuple in their order or as a struct by their
/// names. Of a pattern these are its groups; groups without a name have their number for one, and an
/// optional group that did not take part is `None` in an `Option`. The client gets 400 when a value
/// does not fit.
///
/// ```
/// use serde::Deserialize;
/// use wt_server::{Router, Session, extract::Path};
///
/// #[derive(Deserialize)]
/// struct Seat { room: String, number: u16 }
///
/// async fn sit(_: Session, Path(Seat { room, number }): Path<Seat>) {}
/// async fn look(_: Session, Path((room, number)): Path<(String, u16)>) {}
/// async fn enter(_: Session, Path(room): Path<String>) {}
///
/// let router: Router = Router::new()
///     .route("/rooms/{room}/seats/{number}", sit)
///     .route("/rooms/{room}/windows/{number}", look)
///     .route("/rooms/{room}", enter);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[doc(alias = "path_params")]
pub struct Path<T>(pub T);

/// The parameters of a request as they stand in its path; `None` is a group that took no part.
#[derive(Clone, Debug)]
pub(crate) struct PathParams(pub(crate) Arc<[(String, Option<String>)]>);

impl<S: Sync, T: DeserializeOwned + Send> FromRequest<S> for Path<T> {
    type Rejection = Rejection;

    async fn from_request(request: &mut Request, _: &S) -> Result<Self, Rejection> {
        let Some(PathParams(raw)) = request.extensions().get() else {
            let reason = "the handler wants path parameters, but no route was taken".to_owned();
            return Err(Rejection::internal(reason));
        };
        let mut params = Vec::with_capacity(raw.len());
        for (name, value) in raw.iter() {
            let decoded = value
                .as_deref()
                .map(|v| percent_decode_str(v).decode_utf8());
            let decoded = decoded.transpose().map_err(|_| {
                Rejection::bad_request(format!("path parameter {name:?} is not UTF-8"))
            })?;
            params.push((&name[..], decoded));
        }
        T::deserialize(de::Params(&params))
            .map(Self)
            .map_err(|error| {
                let reason = format!("path parameters: {error}");
                if error.is_misuse() {
                    Rejection::internal(reason)
                } else {
                    Rejection::bad_request(reason)
                }
            })
    }
}
