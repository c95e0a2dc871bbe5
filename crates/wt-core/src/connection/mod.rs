//! Connections: QUIC connections that carry sessions.

mod activity;
mod allowance;
mod driver;
mod inner;
mod io;
mod lookout;
mod wake;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::Instant,
};

use http::HeaderMap;
use rustls::pki_types::CertificateDer;
use wt_proto::{
    DialectSet, ErrorCode, SessionId, SessionInfo, head::RequestHead, settings::Settings,
};

pub(crate) use self::{
    driver::drive,
    inner::{Inner, Origin},
    lookout::Lookout,
};
use crate::{
    diagnostics::ConnectionDiagnostics,
    error::{ConnectError, ConnectionError},
    events::{Event, Events},
    observe::{Observe, Snapshot},
    session::{Session, SessionRequest},
    state::ConnectionState,
    stats::ConnectionStats,
};

/// What a server knows of a request that waits to be taken.
pub(crate) type PendingRequest = (wt_proto::SessionId, Box<RequestHead>, wt_proto::Dialect);

/// What all handles of a connection and its open sessions hold; the last one ends the connection.
#[derive(Debug)]
pub(crate) struct ConnRef(Arc<Inner>);

impl ConnRef {
    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Drop for ConnRef {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// A connection between two endpoints, which carries any number of sessions.
///
/// A cheap handle: clones speak of the same connection. When all handles of a connection are dropped
/// and its sessions are over, it is closed as soon as the peer knows how they ended.
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportConnection")]
pub struct Connection(Arc<ConnRef>);

impl Connection {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self(Arc::new(ConnRef(inner)))
    }

    pub(crate) const fn from_ref(conn: Arc<ConnRef>) -> Self {
        Self(conn)
    }

    fn inner(&self) -> &Arc<Inner> {
        self.0.inner()
    }

    /// Waits for the next request for a session. For servers.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no request is lost.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when the connection is over.
    pub async fn accept_session(&self) -> Result<SessionRequest, ConnectionError> {
        let (id, head, dialect) = self.inner().next_request().await?;
        Ok(SessionRequest::new(id, head, dialect, self.0.clone()))
    }

    /// Asks for a session. For clients.
    ///
    /// Waits for the server's SETTINGS and for its answer. `path` may carry a query. Subprotocols are
    /// offered in order of preference.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the request is given up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn open_session(
        &self,
        authority: &str,
        path: &str,
        headers: HeaderMap,
        protocols: &[String],
    ) -> Result<Session, ConnectError> {
        let early = self.open_session_early(authority, path, headers, protocols);
        let session = early.await?;
        session.established().await?;
        Ok(session)
    }

    /// Asks for a session and does not wait for the answer. For clients.
    ///
    /// Streams can be opened and datagrams sent at once; they leave together with the request, and so the first answer
    /// on them comes a round trip earlier (draft-16, 4.2). They get lost when the server refuses the session: all that
    /// is done with it fails with [`SessionError::Refused`](crate::SessionError::Refused) then. A server keeps only so
    /// much until it has accepted the session and rejects what is more, this one as its
    /// [`limits`](crate::config::Limits) say (`early_streams` and others).
    ///
    /// [`Session::established`] waits for the answer. Before it, status, header fields and subprotocol of the response
    /// are not known, and what the server opens is not seen. Dropping or closing the session gives up the request.
    ///
    /// Waits for the server's SETTINGS, without which no request may be made (draft-16, 3.1).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing was asked for.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn open_session_early(
        &self,
        authority: &str,
        path: &str,
        headers: HeaderMap,
        protocols: &[String],
    ) -> Result<Session, ConnectError> {
        let head = inner::request_head(authority, path, headers, protocols)?;
        let shared = self.inner().ask_for_session(head).await?;
        Ok(Session::new(shared, self.0.clone()))
    }

    /// Waits for the peer's SETTINGS.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`] when the connection ends first.
    pub async fn ready(&self) -> Result<(), ConnectionError> {
        self.inner().ready().await
    }

    /// Returns the peer's SETTINGS once they arrived.
    #[must_use]
    pub fn peer_settings(&self) -> Option<Settings> {
        self.inner()
            .with_proto(|proto| proto.peer_settings().cloned())
    }

    /// Returns the dialects that the peer offers; empty until its SETTINGS arrived.
    #[must_use]
    pub fn peer_dialects(&self) -> DialectSet {
        self.inner().with_proto(|proto| proto.peer_dialects())
    }

    /// Returns how many sessions are open or being opened.
    #[must_use]
    pub fn session_count(&self) -> u64 {
        self.inner().with_proto(|proto| proto.session_count())
    }

    /// Returns whether another session can be asked for now. For clients.
    ///
    /// # Errors
    ///
    /// Says why not.
    pub fn can_open_session(&self) -> Result<(), ConnectError> {
        if let Some(error) = self.inner().end() {
            return Err(error.into());
        }
        self.inner().with_proto(|proto| proto.can_connect())?;
        Ok(())
    }

    /// Returns the UDP address of the peer.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.inner().quic().remote_address()
    }

    /// Returns the local address that the peer's packets come to, where the system tells.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.inner().quic().local_ip()
    }

    /// Returns the certificate chain of the peer, leaf first; empty when it has none.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.inner().peer_certificates()
    }

    /// Returns the largest QUIC datagram that the peer takes now, in bytes; `None` when it takes none.
    ///
    /// It changes with the path. A datagram of a session has some bytes less for its payload; see
    /// [`Session::max_datagram_size`].
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.inner().quic().max_datagram_size()
    }

    /// Returns figures of the connection.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.inner().quic().stats().into()
    }

    /// Returns how the connection stands.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.inner().state()
    }

    /// Returns everything that tells how the connection does, at this moment.
    #[must_use]
    pub fn diagnostics(&self) -> ConnectionDiagnostics {
        let inner = self.inner();
        ConnectionDiagnostics {
            id: self.stable_id(),
            state: self.state(),
            remote_address: self.remote_address(),
            local_ip: self.local_ip(),
            uptime: inner.created().elapsed(),
            idle: inner.last_activity().elapsed(),
            sessions: self.session_count(),
            pending_requests: inner.pending_requests(),
            errors: inner.errors(),
            stats: self.stats(),
        }
    }

    /// Returns since when no stream and no datagram has moved, either way.
    ///
    /// What only keeps a connection alive does not count. Nothing on the way of the data takes the time: this compares
    /// counters with those of the last call, so it is as exact as the calls are close.
    #[must_use]
    #[doc(alias = "last_activity_time")]
    pub fn last_activity(&self) -> Instant {
        self.inner().last_activity()
    }

    /// Returns what is known of each session that is open.
    #[must_use]
    #[doc(alias = "get_all_sessions")]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.inner().with_proto(|proto| {
            let open = proto.open_sessions();
            open.filter_map(|id| proto.session_info(id)).collect()
        })
    }

    /// Returns what is known of a session; `None` when there is none of that id.
    #[must_use]
    #[doc(alias = "get_session_info")]
    pub fn session_info(&self, id: SessionId) -> Option<SessionInfo> {
        self.inner().with_proto(|proto| proto.session_info(id))
    }

    /// Listens to what happens on the connection from now on, up to its end.
    ///
    /// A listener that is more than [`CAPACITY`](crate::events::CAPACITY) events behind loses the oldest and is told so.
    pub fn events(&self) -> Events<Event> {
        self.inner().events().subscribe()
    }

    /// Returns a number that tells connections apart; no other connection of this process ever has the same.
    #[must_use]
    #[doc(alias = "connection_id")]
    pub fn stable_id(&self) -> usize {
        self.inner().id()
    }

    /// Returns a handle that does not keep the connection alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection(Arc::downgrade(&self.0))
    }

    /// Tells the peer that no new sessions are taken and asks all sessions to finish (GOAWAY).
    pub fn goaway(&self) {
        self.inner().goaway();
    }

    /// Waits until no session is open.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn idle(&self) {
        self.inner().idle().await;
    }

    /// Closes all sessions with `code` and `reason`, waits until the peer knows, and closes the
    /// connection. Waits at most for `limits.close_timeout`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the connection goes on closing.
    pub async fn close(&self, code: u32, reason: &str) {
        self.start_close(code, reason);
        self.closed().await;
    }

    /// Does what [`Self::close`] does, but does not wait.
    pub(crate) fn start_close(&self, code: u32, reason: &str) {
        self.inner().close_sessions(code, reason);
        self.inner().release();
    }

    /// Closes the connection at once with an HTTP/3 error code; sessions see no reason of their own.
    pub fn abort(&self, code: ErrorCode, reason: &str) {
        self.inner()
            .quic()
            .close(crate::stream::quic_code(code), reason.as_bytes());
    }

    /// Waits for the end of the connection and says how it ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> ConnectionError {
        self.inner().closed().await
    }

    /// Returns how the connection ended; `None` while it lives.
    #[must_use]
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.inner().end()
    }
}

/// A handle of a [`Connection`] that does not keep it alive.
#[derive(Clone, Debug)]
pub struct WeakConnection(Weak<ConnRef>);

impl WeakConnection {
    /// Returns the connection; `None` when its handles are dropped and its sessions are over.
    #[must_use]
    pub fn upgrade(&self) -> Option<Connection> {
        self.0.upgrade().map(Connection)
    }
}

impl Observe for Connection {
    fn observe(&self) -> Snapshot {
        self.diagnostics().snapshot()
    }
}
