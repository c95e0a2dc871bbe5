//! Extractors of what a request says and of who sent it.

use std::{any::type_name, convert::Infallible, net::SocketAddr, sync::Arc};

use wt_core::{
    Dialect,
    http::{HeaderMap, StatusCode, Uri, header},
    tls::CertificateDer,
};

use super::{FromRequest, Rejection};
use crate::message::{Peer, Request};

/// The UDP address of the client.
///
/// On a server that listens on `[::]` the addresses of IPv4 come mapped; `ip().to_canonical()` gives
/// them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The certificate chain of the client, leaf first; empty when it showed none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

/// The subprotocols that the client offers, in its order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedProtocols(pub Vec<String>);

/// The origin of the page that asks. The client gets 403 when it sent none: with `Option<Origin>`
/// programs that are no browsers may ask as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(pub String);

/// The route that matched, as it was written: `/chat/{room}`, or the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPath(pub(crate) Arc<str>);

impl MatchedPath {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value that middleware put into the extensions of the request, such as the user.
///
/// The client gets 500 when there is none: it is the application's fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension<T>(pub T);

impl<S: Sync, T: Clone + Send + Sync + 'static> FromRequest<S> for Extension<T> {
    type Rejection = Rejection;

    async fn from_request(request: &mut Request, _: &S) -> Result<Self, Rejection> {
        let missing = || {
            Rejection::internal(format!(
                "no middleware put a {} into the request",
                type_name::<T>()
            ))
        };
        let value = request.extensions().get::<T>();
        value.cloned().map(Self).ok_or_else(missing)
    }
}

impl<S: Sync> FromRequest<S> for Origin {
    type Rejection = StatusCode;

    async fn from_request(request: &mut Request, _: &S) -> Result<Self, StatusCode> {
        let origin = request.headers().get(header::ORIGIN);
        let origin = origin.and_then(|origin| origin.to_str().ok());
        let origin = origin.ok_or(StatusCode::FORBIDDEN)?;
        Ok(Self(origin.to_owned()))
    }
}

impl<S: Sync> FromRequest<S> for MatchedPath {
    type Rejection = Rejection;

    async fn from_request(request: &mut Request, _: &S) -> Result<Self, Rejection> {
        let matched = request.extensions().get::<Self>().cloned();
        matched.ok_or_else(|| Rejection::internal("no route matched".to_owned()))
    }
}

macro_rules! always_there {
    ($($type:ty: $from:expr;)*) => {
        $(impl<S: Sync> FromRequest<S> for $type {
            type Rejection = Infallible;

            async fn from_request(request: &mut Request, _: &S) -> Result<Self, Infallible> {
                let from: fn(&Request) -> Self = $from;
                Ok(from(request))
            }
        })*
    };
}

always_there! {
    HeaderMap: |request| request.headers().clone();
    Uri: |request| request.uri().clone();
    Peer: |request| request.body().clone();
    Dialect: |request| request.body().dialect();
    PeerAddr: |request| Self(request.body().remote_address());
    PeerCertificates: |request| Self(request.body().connection().peer_certificates());
    OfferedProtocols: |request| Self(request.body().protocols().to_vec());
}
