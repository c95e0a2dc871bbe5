//! How a client looks names up, makes connections and opens sessions, where an application does it its own
//! way.

use std::{fmt, future::Future, io, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use http::HeaderMap;
use wt_core::{Connection, Endpoint, Session};

use crate::{
    client::Client,
    connect::ConnectError,
    dial::{by_turns, race, resolve},
    target::Target,
};

type Make<A, T, E> = Arc<dyn Fn(A) -> BoxFuture<'static, Result<T, E>> + Send + Sync>;

/// What the application does itself.
#[derive(Clone, Default)]
pub(crate) struct Making {
    resolve: Option<Make<Target, Vec<SocketAddr>, io::Error>>,
    dial: Option<Make<Dial, Connection, ConnectError>>,
    open: Option<Make<Open, Session, ConnectError>>,
}

impl fmt::Debug for Making {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making")
            .field("resolve", &self.resolve.is_some())
            .field("dial", &self.dial.is_some())
            .field("open", &self.open.is_some())
            .finish()
    }
}

fn make<A, T, E, F, Fut>(make: F) -> Option<Make<A, T, E>>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, E>> + Send + 'static,
{
    Some(Arc::new(move |what| Box::pin(make(what))))
}

/// A connection that is to be made, for [`Client::with_dialer`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dial {
    /// The client's endpoint.
    pub endpoint: Endpoint,
    /// Where the URL leads.
    pub target: Target,
    /// The addresses of [`Connect::addresses`](crate::Connect::addresses); empty when the name is to be
    /// looked up.
    pub addresses: Vec<SocketAddr>,
    making: Making,
}

impl Dial {
    /// Makes the connection as a client does by itself: looks the name up and takes the first address
    /// that answers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the attempt is given up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn run(self) -> Result<Connection, ConnectError> {
        let mut failed = None;
        let (addresses, first) = self.find().await?;
        let race = race(&self.endpoint, &self.target, addresses, &mut failed).await;
        race.ok_or_else(|| failed.unwrap_or(ConnectError::NoAnswer { address: first }))
    }

    /// Returns the addresses to try, and the first of them.
    pub(crate) async fn find(&self) -> Result<(Vec<SocketAddr>, SocketAddr), ConnectError> {
        let target = &self.target;
        let addresses = match (&self.addresses[..], &self.making.resolve) {
            ([], None) => resolve(target).await?,
            ([], Some(resolve)) => {
                let found = resolve(target.clone()).await;
                let found = found.map_err(|error| ConnectError::Resolve {
                    host: target.host.clone(),
                    reason: error.to_string(),
                })?;
                by_turns(found.into_iter())
            }
            (given, _) => given.to_vec(),
        };
        let host = || target.host.clone();
        let first = addresses.first().copied();
        let first = first.ok_or_else(|| ConnectError::NoAddress { host: host() })?;
        Ok((addresses, first))
    }
}

/// A session that is to be opened on a connection, for [`Client::with_opener`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Open {
    /// The connection: a new one, or with pooling one that has other sessions.
    pub connection: Connection,
    /// Where the URL leads.
    pub target: Target,
    /// The header fields of the request.
    pub headers: HeaderMap,
    /// The subprotocols that are offered.
    pub protocols: Vec<String>,
    /// Whether it is handed out before the server has answered, see [`Connect::early`](crate::Connect::early).
    pub early: bool,
}

impl Open {
    /// Opens the session as a client does by itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the request is given up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn run(self) -> Result<Session, ConnectError> {
        let Target {
            authority, path, ..
        } = &self.target;
        let (connection, headers, protocols) = (&self.connection, self.headers, &self.protocols);
        let session = connection.open_session_early(authority, path, headers, protocols);
        let session = session.await?;
        if !self.early {
            session.established().await?;
        }
        Ok(session)
    }
}

impl Client {
    /// Returns the client with a way of its own to look up names: a cache, a directory of services.
    ///
    /// It gets the target and returns addresses; of more than 16 the first of each family are tried. The
    /// client's time limit includes it.
    ///
    /// ```
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use wt_client::{Client, ClientConfig};
    ///
    /// let client = Client::new(ClientConfig::new())?
    ///     .with_resolver(async |target| Ok(vec![([127, 0, 0, 1], target.port).into()]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_resolver<F, Fut>(mut self, resolver: F) -> Self
    where
        F: Fn(Target) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        self.making.resolve = make(resolver);
        self
    }

    /// Returns the client with a way of its own to make connections; [`Dial::run`] is the usual one.
    ///
    /// It is asked for each connection, also by pools and by clients that reconnect, counts against
    /// `limits.connections`, and the client's time limit includes it. Handles of one client that pool share
    /// connections however they were made. Errors of your own become [`ConnectError::custom`].
    #[must_use]
    #[doc(alias = "connection_factory")]
    pub fn with_dialer<F, Fut>(mut self, dialer: F) -> Self
    where
        F: Fn(Dial) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Connection, ConnectError>> + Send + 'static,
    {
        self.making.dial = make(dialer);
        self
    }

    /// Returns the client with a way of its own to open sessions; [`Open::run`] is the usual one.
    ///
    /// It may change the request, look at the connection first, or say something on the session before
    /// anybody else gets it. The client's time limit includes it.
    #[must_use]
    #[doc(alias = "session_factory")]
    pub fn with_opener<F, Fut>(mut self, opener: F) -> Self
    where
        F: Fn(Open) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Session, ConnectError>> + Send + 'static,
    {
        self.making.open = make(opener);
        self
    }

    pub(crate) fn to_dial(&self, target: &Target, addresses: &[SocketAddr]) -> Dial {
        Dial {
            endpoint: self.inner.endpoint.clone(),
            target: target.clone(),
            addresses: addresses.to_vec(),
            making: self.making.clone(),
        }
    }

    /// Makes a connection in the application's way; `None` when it has none.
    pub(crate) fn own_dial(
        &self,
        dial: &Dial,
    ) -> Option<BoxFuture<'static, Result<Connection, ConnectError>>> {
        self.making.dial.as_ref().map(|make| make(dial.clone()))
    }

    pub(crate) async fn open(&self, open: Open) -> Result<Session, ConnectError> {
        match &self.making.open {
            Some(make) => make(open).await,
            None => open.run().await,
        }
    }
}
