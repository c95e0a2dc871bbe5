//! Settling on a subprotocol.

use std::{mem, sync::Arc, task::Poll};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;
use wt_core::http::StatusCode;

use crate::message::{Request, Response, refuse};

/// Settles on a subprotocol: of those that the client offers, in its order of preference, the first
/// that the server speaks.
///
/// Handlers learn of it by [`Subprotocol`](crate::extract::Subprotocol). When nothing matches, the
/// session goes without, unless [`Self::required`] was called. What a handler sets itself
/// ([`Outcome::with_protocol`](crate::Outcome::with_protocol)) stays.
///
/// ```
/// use wt_server::{Router, Session, extract::Subprotocol, middleware::Subprotocols};
///
/// async fn chat(_: Session, Subprotocol(protocol): Subprotocol) {
///     println!("{protocol:?}");
/// }
///
/// let router: Router = Router::new()
///     .route("/chat", chat)
///     .layer(Subprotocols::new(["chat-2", "chat-1"]).required());
/// ```
#[derive(Clone, Debug)]
pub struct Subprotocols {
    spoken: Arc<[String]>,
    required: bool,
}

impl Subprotocols {
    /// Speaks these.
    pub fn new<P: Into<String>>(spoken: impl IntoIterator<Item = P>) -> Self {
        Self {
            spoken: spoken.into_iter().map(Into::into).collect(),
            required: false,
        }
    }

    /// Refuses clients that offer none of them, with status 400.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl<I> Layer<I> for Subprotocols {
    type Service = SubprotocolsService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        SubprotocolsService {
            protocols: self.clone(),
            inner,
        }
    }
}

/// A service behind [`Subprotocols`].
#[derive(Clone, Debug)]
pub struct SubprotocolsService<I> {
    protocols: Subprotocols,
    inner: I,
}

impl<I> Service<Request> for SubprotocolsService<I>
where
    I: Service<Request, Response = Response> + Clone + Send + 'static,
    I::Future: Send,
{
    type Response = Response;
    type Error = I::Error;
    type Future = BoxFuture<'static, Result<Response, I::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let offered = request.body().protocols().iter();
        let mut offered = offered.filter(|protocol| self.protocols.spoken.contains(protocol));
        let chosen = offered.next().cloned();
        if chosen.is_none() && self.protocols.required {
            return Box::pin(async { Ok(refuse(StatusCode::BAD_REQUEST)) });
        }
        let fresh = self.inner.clone();
        let answer = mem::replace(&mut self.inner, fresh).call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|outcome| match chosen {
                Some(chosen) if outcome.protocol().is_none() => outcome.with_protocol(chosen),
                _ => outcome,
            }))
        })
    }
}
