//! Connecting to a URL.

use std::{
    future::{Future, IntoFuture},
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use wt_core::{Connection, ErrorCode, Session};

use crate::{
    client::Client,
    target::{InvalidUrl, Target},
};

/// A connection to a URL that is about to be made: `.await` it for the [`Session`].
#[derive(Debug)]
#[must_use = "nothing happens until it is awaited"]
pub struct Connect {
    client: Client,
    url: String,
    headers: Vec<(String, String)>,
    protocols: Vec<String>,
    timeout: Option<Duration>,
    pooling: bool,
}

impl Connect {
    pub(crate) fn new(client: Client, url: String, pooling: bool) -> Self {
        Self {
            client,
            url,
            headers: Vec::new(),
            protocols: Vec::new(),
            timeout: None,
            pooling,
        }
    }

    /// Adds a header field to the request.
    ///
    /// It takes the place of a field of the same name in the client's configuration.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers subprotocols, the preferred one first.
    pub fn protocols<P: Into<String>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.protocols.extend(protocols.into_iter().map(Into::into));
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

    fn headers(&self) -> Result<HeaderMap, ConnectError> {
        let config = self.client.config();
        let mut headers = config.headers.clone();
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
        // `extend` replaces what has the same name and keeps repetitions among the new ones.
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

    async fn run(self) -> Result<Session, ConnectError> {
        let target = Target::parse(&self.url)?;
        let headers = self.headers()?;
        let limit = self.timeout.unwrap_or(self.client.config().connect_timeout);
        let deadline = Instant::now() + limit;
        let work = self.open(&target, headers, deadline);
        tokio::time::timeout_at(deadline, work)
            .await
            .unwrap_or(Err(ConnectError::TimedOut(limit)))
    }

    async fn open(
        &self,
        target: &Target,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<Session, ConnectError> {
        if self.pooling
            && let Some(connection) = self.client.pooled(&target.authority)
        {
            match self.ask(&connection, target, headers.clone()).await {
                // The server's limit was reached, or it is going away: a new connection.
                Err(error) if error.is_unprocessed() => {
                    tracing::debug!(%error, "could not share the connection");
                }
                result => return result,
            }
        }
        let connection = self.client.dial(target, deadline).await?;
        let session = self.ask(&connection, target, headers).await?;
        if self.pooling {
            self.client.keep(&target.authority, &connection);
        }
        Ok(session)
    }

    async fn ask(
        &self,
        connection: &Connection,
        target: &Target,
        headers: HeaderMap,
    ) -> Result<Session, ConnectError> {
        let Target {
            authority, path, ..
        } = target;
        Ok(connection
            .open_session(authority, path, headers, &self.protocols)
            .await?)
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
        /// The last address that was tried.
        address: SocketAddr,
    },
    /// Time ran out.
    #[error("no session after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection or the request failed.
    #[error(transparent)]
    Session(#[from] wt_core::ConnectError),
}

impl ConnectError {
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

    /// Returns whether the request was not processed and another connection may do better.
    ///
    /// A request that the server may have seen is never sent twice (RFC 9114, 4.1.1).
    fn is_unprocessed(&self) -> bool {
        use wt_core::ConnectError as E;
        match self {
            Self::Session(E::Unavailable(_)) => true,
            Self::Session(E::Rejected(code)) => *code == ErrorCode::H3_REQUEST_REJECTED,
            _ => false,
        }
    }
}
