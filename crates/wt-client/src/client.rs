//! The client: an endpoint that connects to URLs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use http::HeaderMap;
use tokio::runtime::Handle;
use wt_core::{
    BindError, Endpoint, ErrorCode,
    config::{ClientConfig, ProxyConfig},
};

use crate::{
    connect::Connect,
    lock::lock,
    making::Making,
    slot::Slot,
    stats::{ClientDiagnostics, ClientStats, ConnectionStates, Recorder},
    target::Target,
    track::Tracker,
};

/// A WebTransport client.
///
/// A cheap handle: clones share one UDP socket, the default header fields, the figures and, with
/// [`Self::with_pooling`], the connections.
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportClient")]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pooling: bool,
    proxy: Option<Arc<ProxyConfig>>,
    pub(crate) making: Making,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: ClientConfig,
    pub(crate) endpoint: Endpoint,
    /// What the socket is driven by.
    pub(crate) runtime: Handle,
    pub(crate) recorder: Recorder,
    pub(crate) tracker: Tracker,
    default_headers: Mutex<Arc<HeaderMap>>,
    /// Connections by authority, of clients that pool.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    closed: AtomicBool,
}

impl Client {
    /// Creates a client and binds its socket.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub fn new(config: ClientConfig) -> Result<Self, BindError> {
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let endpoint = Endpoint::client(&config)?;
        let inner = Inner {
            config,
            endpoint,
            runtime,
            recorder: Recorder::default(),
            tracker: Tracker::default(),
            default_headers: Mutex::default(),
            slots: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Ok(Self {
            inner: Arc::new(inner),
            pooling: false,
            proxy: None,
            making: Making::default(),
        })
    }

    /// Returns the client with pooling on or off: with it, sessions to the same authority share a
    /// connection as far as the server allows. Off by default.
    #[must_use]
    pub const fn with_pooling(mut self, pooling: bool) -> Self {
        self.pooling = pooling;
        self
    }

    /// Returns the client with a proxy, which makes connecting fail with
    /// [`ConnectError::ProxyUnsupported`](crate::ConnectError::ProxyUnsupported): going through one
    /// takes CONNECT-UDP (RFC 9298), and nothing is sent past a proxy that was asked for.
    #[must_use]
    pub fn with_proxy(mut self, proxy: ProxyConfig) -> Self {
        self.proxy = Some(Arc::new(proxy));
        self
    }

    /// Connects to a URL: `https://host[:port]/path[?query]`.
    ///
    /// The returned builder takes header fields, subprotocols and a time limit; `.await` it.
    pub fn connect(&self, url: impl Into<String>) -> Connect {
        Connect::new(self.clone(), url.into(), self.pooling)
    }

    /// Sets header fields that each request of all handles of this client carries from now on.
    ///
    /// They take the place of fields of the same name in the configuration; those of a call take
    /// theirs. The fields that were set before are gone. A
    /// [`ReconnectingClient`](crate::ReconnectingClient) sends the new ones with its next request, so
    /// this is the place for a token that expires.
    pub fn set_default_headers(&self, headers: HeaderMap) {
        *lock(&self.inner.default_headers) = Arc::new(headers);
    }

    /// Returns the header fields of [`Self::set_default_headers`].
    #[must_use]
    pub fn default_headers(&self) -> Arc<HeaderMap> {
        lock(&self.inner.default_headers).clone()
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

    /// Returns figures of the attempts to connect so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.inner.recorder.stats()
    }

    /// Returns figures, connections by state, and from them what somebody should look at.
    #[must_use]
    pub fn diagnostics(&self) -> ClientDiagnostics {
        let census = self.inner.tracker.census();
        let alive = self.inner.endpoint.open_connections();
        ClientDiagnostics {
            stats: self.stats(),
            connections: ConnectionStates {
                connecting: census.connecting,
                connected: census.connected,
                draining: census.draining,
                closing: alive.saturating_sub(census.alive()),
            },
            sessions: census.sessions,
        }
    }

    /// Returns whether [`Self::close`] was called on a handle of this client.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(SeqCst)
    }

    /// Lets the connections end and waits until the servers know, at most for
    /// `limits.close_timeout`.
    ///
    /// Close the sessions before: sessions that are still open are cut off at the end of that time.
    /// From the call on, connecting fails with [`ConnectError::Closed`](crate::ConnectError::Closed).
    /// May be called again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn close(&self) {
        self.inner.closed.store(true, SeqCst);
        lock(&self.inner.slots).clear();
        let limit = self.inner.config.limits.close_timeout;
        self.inner.endpoint.wait_idle(limit).await;
        self.inner.endpoint.close(ErrorCode::H3_NO_ERROR, "");
        self.inner.endpoint.wait_idle(limit).await;
    }

    pub(crate) fn proxy(&self) -> Option<&ProxyConfig> {
        self.proxy.as_deref()
    }

    /// Returns where the pooled connection to a target is kept.
    ///
    /// Places that are empty are forgotten on the way.
    pub(crate) fn slot(&self, target: &Target) -> Arc<Slot> {
        let mut slots = lock(&self.inner.slots);
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_vacant());
        slots.entry(target.authority.clone()).or_default().clone()
    }
}
