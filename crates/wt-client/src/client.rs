//! The client: an endpoint that connects to URLs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;
use wt_core::{BindError, Connection, Endpoint, ErrorCode, config::ClientConfig};

use crate::{
    connect::{Connect, ConnectError},
    target::Target,
};

/// A WebTransport client.
///
/// A cheap handle: clones share one UDP socket and, with [`Self::with_pooling`], the connections.
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportClient")]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pooling: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: ClientConfig,
    endpoint: Endpoint,
    /// Connections by authority, of clients that pool.
    pool: Mutex<HashMap<String, Connection>>,
}

impl Client {
    /// Creates a client and binds its socket.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn new(config: ClientConfig) -> Result<Self, BindError> {
        let endpoint = Endpoint::client(&config)?;
        let inner = Inner {
            config,
            endpoint,
            pool: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            pooling: false,
        })
    }

    /// Returns the client with pooling on or off: with it, sessions to the same authority share a
    /// connection as far as the server allows. Off by default.
    #[must_use]
    pub const fn with_pooling(mut self, pooling: bool) -> Self {
        self.pooling = pooling;
        self
    }

    /// Connects to a URL: `https://host[:port]/path[?query]`.
    ///
    /// The returned builder takes header fields, subprotocols and a time limit; `.await` it.
    pub fn connect(&self, url: impl Into<String>) -> Connect {
        Connect::new(self.clone(), url.into(), self.pooling)
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Returns the endpoint beneath, for what this type does not offer.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// Lets the connections end and waits until the servers know, at most for
    /// `limits.close_timeout`.
    ///
    /// Close the sessions before: sessions that are still open are cut off at the end of that time.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn close(&self) {
        self.pool(HashMap::clear);
        self.inner
            .endpoint
            .wait_idle(self.inner.config.limits.close_timeout)
            .await;
        self.inner.endpoint.close(ErrorCode::H3_NO_ERROR, "");
        self.inner
            .endpoint
            .wait_idle(self.inner.config.limits.close_timeout)
            .await;
    }

    fn pool<T>(&self, f: impl FnOnce(&mut HashMap<String, Connection>) -> T) -> T {
        f(&mut self
            .inner
            .pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a pooled connection on which another session can be opened.
    pub(crate) fn pooled(&self, authority: &str) -> Option<Connection> {
        self.pool(|pool| {
            pool.retain(|_, connection| connection.close_reason().is_none());
            let connection = pool.get(authority)?;
            connection
                .can_open_session()
                .is_ok()
                .then(|| connection.clone())
        })
    }

    pub(crate) fn keep(&self, authority: &str, connection: &Connection) {
        self.pool(|pool| pool.insert(authority.to_owned(), connection.clone()));
    }

    /// Dials the addresses of a target in turn until one answers.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let addresses = resolve(target).await?;
        let mut last = None;
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for (tried, address) in (0..).zip(addresses) {
            // An address that does not answer must leave time for the others.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (count - tried).max(1);
            let attempt = self.inner.endpoint.connect(address, &target.host);
            match tokio::time::timeout(share, attempt).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => {
                    tracing::debug!(%address, %error, "could not connect");
                    last = Some(ConnectError::Session(error));
                }
                Err(_) => {
                    tracing::debug!(%address, "no answer");
                    last.get_or_insert(ConnectError::NoAnswer { address });
                }
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::NoAddress {
            host: target.host.clone(),
        }))
    }
}

/// Finds the addresses of a target, each once.
async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source: std::io::Error| ConnectError::Resolve {
        host: target.host.clone(),
        reason: source.to_string(),
    };
    let found = tokio::net::lookup_host((target.host.as_str(), target.port));
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.await.map_err(failed)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
