//! A client's request for a session, before it is answered.

use std::{fmt, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use rustls::pki_types::CertificateDer;
use wt_proto::{
    Dialect, SessionId,
    head::{RequestHead, validate_user_headers},
    subprotocol,
};

use super::{Answer, Session};
use crate::{
    connection::{ConnRef, Connection},
    error::SessionError,
    refusal::RefusalCause,
};

/// A client's request for a session.
///
/// Answer it with [`Self::accept`] or [`Self::reject`]. Dropping it refuses it with status 503.
#[derive(Debug)]
pub struct SessionRequest {
    id: SessionId,
    head: Option<Box<RequestHead>>,
    dialect: Dialect,
    protocols: Vec<String>,
    conn: Arc<ConnRef>,
}

/// What a server says when it accepts a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accept {
    /// The status, any of 2xx; 200 by default. PyWebTransport 0.8 takes nothing else.
    pub status: StatusCode,
    /// Header fields of the response.
    pub headers: HeaderMap,
    /// The subprotocol, one of those that the client offered.
    pub protocol: Option<String>,
}

impl Default for Accept {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            protocol: None,
        }
    }
}

impl Accept {
    /// Creates an answer with status 200 and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the header fields of the response.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the subprotocol.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// Sets the status.
    #[must_use]
    pub const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

/// Why a request could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The status does not do what was asked for: 2xx accepts, anything else from 300 refuses.
    #[error("status {0} cannot be used here: 2xx accepts a session, 3xx to 5xx refuse it")]
    Status(StatusCode),
    /// The client does not take so many header fields (SETTINGS_MAX_FIELD_SECTION_SIZE; RFC 9114, 4.2.2).
    #[error("the header fields of the answer are larger than the client takes")]
    TooLarge,
    /// A header field cannot be sent.
    #[error("{0}")]
    Header(String),
    /// The subprotocol is not one of those that the client offered.
    #[error("the client did not offer the subprotocol {0:?}")]
    Protocol(String),
    /// The client is gone.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl SessionRequest {
    pub(crate) fn new(
        id: SessionId,
        head: Box<RequestHead>,
        dialect: Dialect,
        conn: Arc<ConnRef>,
    ) -> Self {
        let protocols = subprotocol::decode_offer(&head.headers);
        Self {
            id,
            head: Some(head),
            dialect,
            protocols,
            conn,
        }
    }

    fn head(&self) -> &RequestHead {
        // It is taken only by the methods that consume the request.
        match &self.head {
            Some(head) => head,
            None => unreachable!("a request that was answered is gone"),
        }
    }

    /// Returns the id that the session would have.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the version of WebTransport of the request.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        split_path(self.head().path.as_deref()).0
    }

    /// Returns the query, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        split_path(self.head().path.as_deref()).1
    }

    /// Returns the authority: host and port as the client named them.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.head().authority.as_deref().unwrap_or_default()
    }

    /// Returns the header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head().headers
    }

    /// Returns the whole message head, pseudo-header fields included.
    #[must_use]
    pub fn request(&self) -> &RequestHead {
        self.head()
    }

    /// Returns the origin of the page that asks, when a browser asks.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.headers().get(header::ORIGIN)?.to_str().ok()
    }

    /// Returns the subprotocols that the client offers, in its order of preference.
    #[must_use]
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// Returns the UDP address of the client.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.conn.inner().quic().remote_address()
    }

    /// Returns the certificate chain of the client, leaf first; empty when it has none.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.conn.inner().peer_certificates()
    }

    /// Returns the connection that carries the request.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::from_ref(self.conn.clone())
    }

    /// Accepts the session with status 200.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Session`] when the client is gone.
    pub async fn accept(self) -> Result<Session, AnswerError> {
        self.accept_with(Accept::default()).await
    }

    /// Accepts the session with a status, header fields and a subprotocol.
    ///
    /// Returns when the answer is on its way, so that nothing that the session sends overtakes it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, the session is closed.
    ///
    /// # Errors
    ///
    /// See [`AnswerError`]. When the answer cannot be sent as it is, the request is refused with
    /// status 500.
    pub async fn accept_with(mut self, answer: Accept) -> Result<Session, AnswerError> {
        let response = match self.response(&answer) {
            Ok(response) => response,
            Err(error) => {
                self.refuse_for(&error);
                return Err(error);
            }
        };
        let Some(head) = self.head.take() else {
            unreachable!("a request that was answered is gone")
        };
        let answer = Answer::new(answer.status, response, answer.protocol);
        let inner = self.conn.inner();
        let (shared, answered) = inner.accept_session(self.id, *head, self.dialect, answer)?;
        let session = Session::new(shared, self.conn.clone());
        tokio::select! {
            _ = answered => {}
            _ = session.closed() => {}
        }
        Ok(session)
    }

    fn response(&self, answer: &Accept) -> Result<HeaderMap, AnswerError> {
        if !answer.status.is_success() {
            return Err(AnswerError::Status(answer.status));
        }
        check(&answer.headers)?;
        let mut headers = answer.headers.clone();
        if let Some(protocol) = &answer.protocol {
            if !self.protocols.contains(protocol) {
                return Err(AnswerError::Protocol(protocol.clone()));
            }
            let value: HeaderValue = subprotocol::encode_choice(protocol)
                .map_err(|error| AnswerError::Header(error.to_string()))?;
            headers.insert(subprotocol::WT_PROTOCOL, value);
        }
        let conn = self.conn.inner();
        if !conn.with_proto(|proto| proto.takes_answer(self.id, answer.status, &headers)) {
            return Err(AnswerError::TooLarge);
        }
        Ok(headers)
    }

    /// Refuses the session with a status that is not 2xx.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Status`] when the status is 2xx or below 300; the request is refused with 500.
    pub fn reject(self, status: StatusCode) -> Result<(), AnswerError> {
        self.reject_with(status, HeaderMap::new())
    }

    /// Refuses the session with a status and header fields, such as Retry-After or Location.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Status`] and [`AnswerError::Header`]; the request is refused with 500 then.
    pub fn reject_with(
        mut self,
        status: StatusCode,
        headers: HeaderMap,
    ) -> Result<(), AnswerError> {
        let valid = if status.is_success() || status.is_informational() {
            Err(AnswerError::Status(status))
        } else {
            check(&headers)
        };
        match &valid {
            Ok(()) => self.refuse(RefusalCause::Application, &status, status, headers),
            Err(error) => self.refuse_for(error),
        }
        valid
    }

    /// Refuses a request whose answer cannot be sent.
    fn refuse_for(&mut self, error: &AnswerError) {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        self.refuse(RefusalCause::BadAnswer, error, status, HeaderMap::new());
    }

    fn refuse(
        &mut self,
        cause: RefusalCause,
        detail: &dyn fmt::Display,
        status: StatusCode,
        headers: HeaderMap,
    ) {
        if let Some(head) = self.head.take() {
            let path = split_path(head.path.as_deref()).0.escape_debug();
            let conn = self.conn.inner();
            conn.refused(cause, &format_args!("{detail}; path {path}"));
            conn.reject_session(self.id, status, headers);
        }
    }
}

fn check(headers: &HeaderMap) -> Result<(), AnswerError> {
    validate_user_headers(headers).map_err(|error| AnswerError::Header(error.to_string()))
}

impl Drop for SessionRequest {
    fn drop(&mut self) {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        self.refuse(RefusalCause::Unanswered, &status, status, HeaderMap::new());
    }
}

/// Splits the `:path` of a request into path and query.
pub(super) fn split_path(path: Option<&str>) -> (&str, Option<&str>) {
    let path = path.unwrap_or("/");
    match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    }
}
