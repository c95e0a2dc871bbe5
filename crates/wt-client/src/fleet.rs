//! Several clients that are used as one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use futures_util::future::join_all;
use wt_core::{BindError, Session, config::ClientConfig};

use crate::{
    client::Client,
    connect::{Connect, ConnectError},
};

/// Several clients, each with a socket of its own, that are used as one.
///
/// One client carries any number of connections. Several are of use where they have to differ: in
/// their certificate, their local address, or the port that a server sees.
///
/// A cheap handle: clones speak of the same clients and take turns together.
#[derive(Clone, Debug)]
pub struct ClientFleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: Vec<Client>,
    next: AtomicUsize,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// It would have no clients.
    #[error("a fleet needs at least one client")]
    Empty,
    /// One of the clients could not be made; those before it are closed again.
    #[error("client {index} of the fleet could not be made")]
    Bind {
        /// Which one, from 0 on.
        index: usize,
        /// Why not.
        #[source]
        error: BindError,
    },
}

impl ClientFleet {
    /// Makes a fleet of clients.
    ///
    /// # Errors
    ///
    /// [`FleetError::Empty`] when there are none.
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Result<Self, FleetError> {
        let clients: Vec<_> = clients.into_iter().collect();
        if clients.is_empty() {
            return Err(FleetError::Empty);
        }
        let next = AtomicUsize::new(0);
        Ok(Self(Arc::new(Inner { clients, next })))
    }

    /// Makes a fleet with a client for each configuration.
    ///
    /// # Errors
    ///
    /// See [`FleetError`].
    pub fn bind(configs: impl IntoIterator<Item = ClientConfig>) -> Result<Self, FleetError> {
        let clients = configs.into_iter().enumerate().map(|(index, config)| {
            Client::new(config).map_err(|error| FleetError::Bind { index, error })
        });
        Self::new(clients.collect::<Result<Vec<_>, _>>()?)
    }

    /// Returns the clients.
    #[must_use]
    #[doc(alias = "get_client_count")]
    pub fn clients(&self) -> &[Client] {
        &self.0.clients
    }

    /// Returns the next client, one after the other from the first on.
    #[must_use]
    #[doc(alias = "get_client")]
    pub fn client(&self) -> &Client {
        let turn = self.0.next.fetch_add(1, Relaxed);
        // The remainder is an index: there is at least one client.
        &self.0.clients[turn % self.0.clients.len()]
    }

    /// Connects every client to a URL, at the same time.
    ///
    /// The results are in the order of [`Self::clients`]; none depends on another.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, attempts are given up, and sessions that were there
    /// already are closed.
    pub async fn connect_all(&self, url: &str) -> Vec<Result<Session, ConnectError>> {
        self.connect_all_with(|client| client.connect(url)).await
    }

    /// Connects every client in the way that `connect` says; otherwise like [`Self::connect_all`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, as [`Self::connect_all`] is.
    pub async fn connect_all_with(
        &self,
        connect: impl FnMut(&Client) -> Connect,
    ) -> Vec<Result<Session, ConnectError>> {
        let attempts = self.0.clients.iter().map(connect);
        let attempts: Vec<_> = attempts.map(IntoFuture::into_future).collect();
        join_all(attempts).await
    }

    /// Closes all clients at the same time, as [`Client::close`] does.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: may be called again.
    pub async fn close_all(&self) {
        join_all(self.0.clients.iter().map(Client::close)).await;
    }
}
