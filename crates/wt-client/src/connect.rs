//! Connecting to a URL.

use std::{
    error::Error,
    future::{Future, IntoFuture},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use wt_core::{Connection, ErrorCode, Session, config::ProxyConfig};

use crate::{
    client::Client,
    making::Open,
    reconnect::{ReconnectingClient, RetryPolicy},
    setting::InvalidSetting,
    slot::Slot,
    target::{InvalidUrl, Target},
};

/// A connection to a URL that is about to be made: `.await` it for the [`Session`].
///
/// Its clones ask for sessions of their own, with the same settings.
///
/// # Cancel safety
///
/// Cancel safe: if the future is dropped, the attempt is given up.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Connect {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
    addresses: Vec<SocketAddr>,
    timeout: Option<Duration>,
    pooling: bool,
    early: bool,
}

impl Connect {
    pub(crate) const fn new(client: Client, url: String, pooling: bool) -> Self {
        Self {
            client,
            url,
            headers: Vec::new(),
            protocols: Vec::new(),
            addresses: Vec::new(),
            timeout: None,
            pooling,
            early: false,
        }
    }

    /// Adds a header field to the request.
    ///
    /// It takes the place of a field of the same name among the client's
    /// [default header fields](Client::set_default_headers), which in turn take the place of those in
    /// its configuration.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers subprotocols, the preferred one first.
    pub fn protocols<P: Into<String>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.protocols.extend(protocols.into_iter().map(Into::into));
        self
    }

    /// Dials these addresses in the place of those that the name of the host has; the certificate
    /// still has to carry that name.
    ///
    /// They are tried in this order, a quarter of a second apart; the first that answers is taken.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// Limits the time for all of it: name, connection, SETTINGS and answer. The configuration's
    /// `connect_timeout` by default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Shares a connection with other sessions to the same authority, or not, whatever the client
    /// does by default.
    pub const fn pooling(mut self, pooling: bool) -> Self {
        self.pooling = pooling;
        self
    }

    /// Does not wait for the server's answer: the session is handed out as soon as it has been asked for.
    ///
    /// Streams can be opened and datagrams sent at once, so that the first answer on them comes a round trip earlier.
    /// Whether the server accepts the session is known after [`Session::established`]; until then it keeps only a little
    /// of what comes. See [`Connection::open_session_early`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn first(client: wt_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let session = client.connect("https://example.com/play").early(true).await?;
    /// let mut stream = session.open_bi().await?;
    /// stream.send.write_all(b"hello").await?;
    /// session.established().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn early(mut self, early: bool) -> Self {
        self.early = early;
        self
    }

    /// Keeps a session to the URL from now on, by connecting again whenever it is lost.
    ///
    /// # Errors
    ///
    /// See [`ReconnectingClient::new`].
    pub fn reconnecting(self, policy: RetryPolicy) -> Result<ReconnectingClient, InvalidSetting> {
        ReconnectingClient::new(self, policy)
    }

    /// Whoever keeps a session for others needs to know that it is one.
    pub(crate) const fn answered(mut self) -> Self {
        self.early = false;
        self
    }

    pub(crate) fn with_url(mut self, url: String) -> Self {
        self.url = url;
        self
    }

    /// Returns the runtime that the client's socket is driven by.
    pub(crate) fn runtime(&self) -> tokio::runtime::Handle {
        self.client.inner.runtime.clone()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn headers(&self) -> Result<HeaderMap, ConnectError> {
        let config = self.client.config();
        let mut headers = config.headers.clone();
        // `extend` replaces what has the same name and keeps repetitions among the new ones.
        headers.extend(HeaderMap::clone(&self.client.default_headers()));
        let mut own = HeaderMap::new();
        for (name, value) in &self.headers {
            let invalid = |what| ConnectError::InvalidHeader {
                name: name.clone(),
                what,
            };
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid("name"))?;
            own.append(
                key,
                HeaderValue::from_str(value).map_err(|_| invalid("value"))?,
            );
        }
        headers.extend(own);
        if let Some(agent) = &config.user_agent
            && !headers.contains_key(header::USER_AGENT)
        {
            let invalid = |_| ConnectError::InvalidHeader {
                name: "user-agent".to_owned(),
                what: "value",
            };
            headers.insert(
                header::USER_AGENT,
                HeaderValue::from_str(agent).map_err(invalid)?,
            );
        }
        Ok(headers)
    }

    fn deadline(&self) -> (Duration, Instant) {
        let limit = self.timeout.unwrap_or(self.client.config().connect_timeout);
        // A limit beyond what the clock can count is none.
        let now = Instant::now();
        let far = now + Duration::from_secs(365 * 24 * 60 * 60);
        (limit, now.checked_add(limit).unwrap_or(far))
    }

    /// Checks what can be known to be wrong without the network.
    fn check(&self) -> Result<Target, ConnectError> {
        if self.client.is_closed() {
            return Err(ConnectError::Closed);
        }
        if let Some(ProxyConfig { url, .. }) = self.client.proxy() {
            let url = url.clone();
            return Err(ConnectError::ProxyUnsupported { url });
        }
        Ok(Target::parse(&self.url)?)
    }

    /// Runs `work` within the time limit and counts how it went.
    async fn count<T>(
        &self,
        (limit, deadline): (Duration, Instant),
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        let attempt = self.client.inner.recorder.attempt();
        let result = tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or(Err(ConnectError::TimedOut(limit)));
        match result {
            Ok(done) => {
                attempt.succeeded();
                Ok(done)
            }
            // Whatever it died of, the reason is that the client was closed.
            Err(_) if self.client.is_closed() => Err(ConnectError::Closed),
            Err(error) => Err(error),
        }
    }

    async fn run(self) -> Result<Session, ConnectError> {
        let target = self.check()?;
        let headers = self.headers()?;
        let time = self.deadline();
        let slot = self.pooling.then(|| self.client.slot(&target));
        let work = self.open(&target, headers, time.1, slot.as_deref());
        self.count(time, work).await
    }

    /// Makes a connection without a session.
    pub(crate) async fn dial(&self) -> Result<Connection, ConnectError> {
        let target = self.check()?;
        let time = self.deadline();
        let work = async {
            let connection = self.client.dial(&target, &self.addresses, time.1).await?;
            let ready = connection.ready().await;
            ready.map_err(wt_core::ConnectError::from)?;
            Ok(connection)
        };
        self.count(time, work).await
    }

    /// Opens a session on the connection in `slot`, which is made if it is not there.
    pub(crate) async fn open_in(&self, slot: &Slot) -> Result<Session, ConnectError> {
        let target = self.check()?;
        let headers = self.headers()?;
        let time = self.deadline();
        let work = self.open(&target, headers, time.1, Some(slot));
        self.count(time, work).await
    }

    async fn open(
        &self,
        target: &Target,
        headers: HeaderMap,
        deadline: Instant,
        slot: Option<&Slot>,
    ) -> Result<Session, ConnectError> {
        let dial = || self.client.dial(target, &self.addresses, deadline);
        let Some(slot) = slot else {
            return self.ask(&dial().await?, target, headers).await;
        };
        let (connection, new) = slot.get_or_dial(dial()).await?;
        let asked = self.ask(&connection, target, headers.clone()).await;
        let alone = new && connection.session_count() == 0;
        match asked {
            // The server's limit was reached, or it is going away: a new connection.
            Err(error) if error.is_unprocessed() && !alone => {
                tracing::debug!(%error, "could not share the connection");
            }
            result => return result,
        }
        let connection = dial().await?;
        let session = self.ask(&connection, target, headers).await?;
        slot.keep(&connection);
        Ok(session)
    }

    async fn ask(
        &self,
        connection: &Connection,
        target: &Target,
        headers: HeaderMap,
    ) -> Result<Session, ConnectError> {
        let open = Open {
            connection: connection.clone(),
            target: target.clone(),
            headers,
            protocols: self.protocols.clone(),
            early: self.early,
        };
        self.client.open(open).await
    }
}

impl IntoFuture for Connect {
    type Output = Result<Session, ConnectError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Why no session came to be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be connected to.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// A header field cannot be sent.
    #[error("the {what} of header field {name:?} cannot be sent")]
    InvalidHeader {
        /// The field.
        name: String,
        /// What of it is invalid: name or value.
        what: &'static str,
    },
    /// The client was closed.
    #[error("the client was closed; make a new one to connect again")]
    Closed,
    /// A proxy was asked for, and this client can go through none.
    #[error(
        "cannot go through the proxy {url:?}: CONNECT-UDP (RFC 9298) is not supported yet; \
         connect without a proxy"
    )]
    ProxyUnsupported {
        /// The URL of the proxy.
        url: String,
    },
    /// The client has as many connections as it may have.
    #[error("the client has {limit} connections already, which is its `limits.connections`")]
    TooManyConnections {
        /// How many it may have.
        limit: usize,
    },
    /// The host name could not be resolved.
    #[error("cannot find host {host:?}: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The host name has no address.
    #[error("host {host:?} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// Nothing answered.
    #[error("no answer from {address}: is a WebTransport server listening on that UDP port?")]
    NoAnswer {
        /// The first of the addresses that were tried.
        address: SocketAddr,
    },
    /// Time ran out.
    #[error("no session after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The application's own way to connect failed.
    #[error("the application could not connect")]
    Custom(#[source] Arc<dyn Error + Send + Sync>),
    /// The connection or the request failed.
    #[error(transparent)]
    Session(#[from] wt_core::ConnectError),
}

impl ConnectError {
    /// Makes an error of a [dialer](Client::with_dialer) or [opener](Client::with_opener).
    pub fn custom(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Custom(Arc::from(error.into()))
    }

    /// Returns the status with which the server refused the session.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Session(error) => error.status(),
            _ => None,
        }
    }

    /// Returns whether time ran out.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::NoAnswer { .. } => true,
            Self::Session(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// Returns whether trying again in the same way is bound to fail.
    ///
    /// So are mistakes of the caller, a closed client, and requests that the server refused for what
    /// they are: with a status of 4xx other than 408, 425 and 429.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Url(_)
            | Self::InvalidHeader { .. }
            | Self::Closed
            | Self::ProxyUnsupported { .. }
            | Self::Session(wt_core::ConnectError::InvalidRequest(_)) => true,
            Self::Session(error) => error.status().is_some_and(|status| {
                status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
            }),
            _ => false,
        }
    }

    /// Returns whether the request was not processed and another connection may do better.
    ///
    /// A request that the server may have seen is never sent twice (RFC 9114, 4.1.1).
    pub(crate) fn is_unprocessed(&self) -> bool {
        use wt_core::ConnectError as E;
        match self {
            Self::Session(E::Unavailable(_)) => true,
            Self::Session(E::Rejected(code)) => *code == ErrorCode::H3_REQUEST_REJECTED,
            _ => false,
        }
    }
}
