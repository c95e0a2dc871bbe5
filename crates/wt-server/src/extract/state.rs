//! The state that handlers share.

use std::convert::Infallible;

use super::FromRequest;
use crate::message::Request;

/// The state of the application, or a part of it ([`FromRef`]).
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
/// use wt_server::{Router, Session, extract::State};
///
/// async fn count(_: Session, State(visits): State<Arc<AtomicU64>>) {
///     visits.fetch_add(1, Relaxed);
/// }
///
/// let router: Router = Router::new().route("/", count).with_state(Arc::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

/// A part of a state, for [`State`].
///
/// ```
/// use wt_server::extract::FromRef;
///
/// #[derive(Clone)]
/// struct Database;
///
/// #[derive(Clone)]
/// struct App { database: Database }
///
/// impl FromRef<App> for Database {
///     fn from_ref(app: &App) -> Self {
///         app.database.clone()
///     }
/// }
/// ```
pub trait FromRef<S> {
    /// Takes it out of the state.
    fn from_ref(state: &S) -> Self;
}

impl<S: Clone> FromRef<S> for S {
    fn from_ref(state: &S) -> Self {
        state.clone()
    }
}

impl<S: Sync, T: FromRef<S>> FromRequest<S> for State<T> {
    type Rejection = Infallible;

    async fn from_request(_: &mut Request, state: &S) -> Result<Self, Infallible> {
        Ok(Self(T::from_ref(state)))
    }
}
