//! What travels through routers and middleware: a request, and the answer to it.

use std::{error::Error, fmt, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use wt_core::{
    Connection, Dialect, Session, SessionId, SessionRequest,
    http::{self, Method, StatusCode, Uri, Version},
};

use crate::handler::{Ending, IntoEnding};

/// A boxed error, as handlers and layers may return it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A request for a session, as routers, extractors and middleware see it: the head as the crate
/// `http` knows it, and who asks.
///
/// The method is CONNECT, the URI absolute, the version HTTP/3. What is changed in it is what inner
/// middleware, the router and extractors see; the [`Session`] keeps what the client sent.
pub type Request = http::Request<Peer>;

/// The answer to a [`Request`].
///
/// Status 2xx accepts the session with these header fields, and then the [`Outcome`] runs. Any other
/// status refuses it.
pub type Response = http::Response<Outcome>;

/// Who asks for a session.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: Connection,
    id: SessionId,
    dialect: Dialect,
    protocols: Arc<[String]>,
}

impl Peer {
    /// Returns the UDP address of the client.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Returns the connection that carries the request.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the id that the session would have.
    #[must_use]
    pub const fn session_id(&self) -> SessionId {
        self.id
    }

    /// Returns the version of WebTransport of the request.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }
}

/// Describes a request; fails when its authority or path is no URI.
pub(crate) fn describe(request: &SessionRequest) -> Result<Request, http::Error> {
    let path = match request.query() {
        Some(query) => format!("{}?{query}", request.path()),
        None => request.path().to_owned(),
    };
    let uri = Uri::builder()
        .scheme("https")
        .authority(request.authority())
        .path_and_query(path)
        .build()?;
    let peer = Peer {
        connection: request.connection(),
        id: request.id(),
        dialect: request.dialect(),
        protocols: request.protocols().into(),
    };
    let mut described = Request::new(peer);
    *described.method_mut() = Method::CONNECT;
    *described.uri_mut() = uri;
    *described.version_mut() = Version::HTTP_3;
    described.headers_mut().clone_from(request.headers());
    Ok(described)
}

type Run = Box<dyn FnOnce(Session) -> BoxFuture<'static, Ending> + Send>;

/// What happens once a session is accepted: the body of a [`Response`].
///
/// The default does nothing, so that a session that is accepted with it is closed with code 0.
#[derive(Default)]
pub struct Outcome {
    protocol: Option<String>,
    run: Option<Run>,
}

impl Outcome {
    /// Runs `serve` with the session; what it returns decides how the session ends.
    pub fn new<F, Fut>(serve: F) -> Self
    where
        F: FnOnce(Session) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: IntoEnding,
    {
        Self {
            protocol: None,
            run: Some(Box::new(move |session| {
                let serving = serve(session);
                Box::pin(async move { serving.await.into_ending() })
            })),
        }
    }

    /// Sets the subprotocol of the session, one of those that the client offered.
    ///
    /// Another one makes the server refuse the session with status 500.
    #[must_use]
    pub fn with_protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// Returns the subprotocol that was set.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Wraps what happens: `around` gets the session and what would have run with it.
    ///
    /// This is how middleware reaches the life of a session, which begins when the answer has left
    /// all layers. A panic or an abort drops the future that `around` returned.
    #[must_use]
    pub fn wrap<F, Fut>(self, around: F) -> Self
    where
        F: FnOnce(Session, BoxFuture<'static, Ending>) -> Fut + Send + 'static,
        Fut: Future<Output = Ending> + Send + 'static,
    {
        let Self { protocol, run } = self;
        let run: Run = Box::new(move |session: Session| {
            let inner = start(run, session.clone());
            Box::pin(around(session, inner))
        });
        Self {
            protocol,
            run: Some(run),
        }
    }

    pub(crate) fn into_parts(self) -> (Option<String>, Option<Run>) {
        (self.protocol, self.run)
    }
}

/// Begins to serve a session.
pub(crate) fn start(run: Option<Run>, session: Session) -> BoxFuture<'static, Ending> {
    match run {
        Some(run) => run(session),
        None => Box::pin(async { ().into_ending() }),
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("protocol", &self.protocol)
            .field("runs", &self.run.is_some())
            .finish()
    }
}

/// Makes the answer that accepts a session with status 200 and serves it with `serve`.
pub fn accept<F, Fut>(serve: F) -> Response
where
    F: FnOnce(Session) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: IntoEnding,
{
    Response::new(Outcome::new(serve))
}

/// Makes the answer that refuses a session with `status`.
#[must_use]
pub fn refuse(status: StatusCode) -> Response {
    let mut response = Response::new(Outcome::default());
    *response.status_mut() = status;
    response
}
