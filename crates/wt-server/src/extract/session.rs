//! Extractors of what a session has.

use std::convert::Infallible;

use super::FromSession;
use crate::Session;

/// The subprotocol that client and server settled on, if any; see
/// [`Subprotocols`](crate::middleware::Subprotocols).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subprotocol(pub Option<String>);

impl FromSession for Session {
    type Rejection = Infallible;

    async fn from_session(session: &Session) -> Result<Self, Infallible> {
        Ok(session.clone())
    }
}

impl FromSession for Subprotocol {
    type Rejection = Infallible;

    async fn from_session(session: &Session) -> Result<Self, Infallible> {
        Ok(Self(session.protocol().map(str::to_owned)))
    }
}
