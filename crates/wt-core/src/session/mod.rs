//! Sessions: what applications work with.

mod claim;
mod request;
mod shared;
mod ticket;

use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use rustls::pki_types::CertificateDer;
use wt_proto::{Dialect, Dir, SessionId, SessionState, StreamId, stream_header};

pub use self::claim::DatagramClaim;
pub use self::request::{Accept, AnswerError, SessionRequest};
use self::shared::no_headers;
pub(crate) use self::shared::{Answer, Heads, Shared};
use crate::{
    connection::{ConnRef, Connection},
    diagnostics::SessionDiagnostics,
    error::{ConnectError, SessionError},
    events::{Event, Events, Lagged},
    observe::{Observe, Snapshot},
    stats::SessionStats,
    stream::{self, BiStream, RecvStream, SendStream, Slot, StreamInfo, StreamStats},
};

/// What all handles of a session and of its streams hold; the last one closes the session.
#[derive(Debug)]
pub(crate) struct SessionRef(Arc<Shared>);

impl SessionRef {
    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    pub(crate) const fn arc(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for SessionRef {
    fn drop(&mut self) {
        if self.0.end().is_none() {
            self.0.conn().close_session(self.0.id, 0, "");
        }
    }
}

/// A WebTransport session.
///
/// A cheap handle: clones speak of the same session. It is closed with code 0 when all its handles
/// and streams are dropped.
///
/// Streams and datagrams of one session do not wait for those of another, also when they share a
/// connection.
#[derive(Clone, Debug)]
#[doc(alias = "WebTransportSession")]
pub struct Session(Arc<SessionRef>);

/// A handle of a [`Session`] that does not keep it open.
#[derive(Clone, Debug)]
pub struct WeakSession(Weak<SessionRef>);

impl WeakSession {
    /// Returns the session; `None` when all its handles and streams are dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<Session> {
        self.0.upgrade().map(Session)
    }
}

/// A stream that the peer opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum IncomingStream {
    /// A bidirectional stream.
    Bi(BiStream),
    /// A unidirectional stream.
    Uni(RecvStream),
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, conn: Arc<ConnRef>) -> Self {
        shared.hold(conn);
        Self(Arc::new(SessionRef(shared)))
    }

    fn shared(&self) -> &Shared {
        self.0.shared()
    }

    /// Returns a handle that does not keep the session open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSession {
        WeakSession(Arc::downgrade(&self.0))
    }

    // ---- what it is

    /// Returns the id of the session: that of its CONNECT stream.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.shared().id
    }

    /// Returns the connection that carries the session.
    ///
    /// A session that is over does not keep its connection alive: for another session on the same
    /// one, take the connection before.
    #[must_use]
    pub fn connection(&self) -> Connection {
        match self.shared().held() {
            Some(conn) => Connection::from_ref(conn),
            None => Connection::new(self.shared().conn().clone()),
        }
    }

    /// Returns the version of WebTransport that the session speaks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.shared().heads.dialect
    }

    /// Returns the path of the request, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        request::split_path(self.shared().heads.path.as_deref()).0
    }

    /// Returns the query of the request, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        request::split_path(self.shared().heads.path.as_deref()).1
    }

    /// Returns the authority of the request: host and port as the client named them.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.shared().heads.authority.as_deref().unwrap_or_default()
    }

    /// Returns the header fields of the request.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.shared().heads.headers
    }

    /// Returns the status of the response; 100 (Continue) before there is one.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let answer = self.shared().heads.answer();
        answer.map_or(StatusCode::CONTINUE, |answer| answer.status)
    }

    /// Returns the header fields of the response; none before there is one.
    #[must_use]
    pub fn response_headers(&self) -> &HeaderMap {
        let answer = self.shared().heads.answer();
        answer.map_or_else(|| no_headers(), Answer::headers)
    }

    /// Returns the subprotocol that client and server settled on; `None` also before there is a response.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.shared().heads.answer()?.protocol.as_deref()
    }

    /// Waits for the server's answer to a session that was opened early.
    ///
    /// See [`Connection::open_session_early`]. All other sessions are established when they are handed out.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] when the server refuses the session or it ends before there is an answer.
    #[doc(alias = "ready")]
    pub async fn established(&self) -> Result<(), ConnectError> {
        self.shared().established().await
    }

    /// Returns the UDP address of the peer.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.shared().conn().quic().remote_address()
    }

    /// Returns the local address that the peer's packets come to, where the system tells.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.shared().conn().quic().local_ip()
    }

    /// Returns the certificate chain of the peer, leaf first; empty when it has none.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.shared().conn().peer_certificates()
    }

    /// Returns figures of the session.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        use std::sync::atomic::Ordering::Relaxed;
        let shared = self.shared();
        let counters = &shared.counters;
        let streams = shared.stream_counts();
        SessionStats {
            uptime: shared.uptime(),
            streams_opened: streams.opened,
            streams_accepted: streams.accepted,
            streams_bidi: streams.bidi,
            streams_uni: (streams.opened + streams.accepted).saturating_sub(streams.bidi),
            stream_errors: counters.stream_errors.load(Relaxed),
            streams_active: shared.active_streams() as u64,
            datagrams_sent: shared.datagrams_sent(),
            datagrams_received: counters.datagrams_received.load(Relaxed),
            datagrams_dropped: counters.datagrams_dropped.load(Relaxed),
            send_credit: shared.flow.as_ref().map(|f| f.send_data.available()),
            recv_window: shared.flow.as_ref().map(|f| f.recv_data.window()),
            recv_credit: shared
                .flow
                .as_ref()
                .map(|f| f.recv_data.limit().saturating_sub(f.recv_data.arrived())),
        }
    }

    /// Returns how the session stands.
    #[must_use]
    pub fn state(&self) -> SessionState {
        if self.shared().end().is_some() {
            SessionState::Closed
        } else if self.is_draining() {
            SessionState::Draining
        } else if self.shared().heads.answer().is_none() {
            SessionState::Connecting
        } else {
            SessionState::Established
        }
    }

    /// Returns everything that tells how the session does, at this moment.
    #[must_use]
    pub fn diagnostics(&self) -> SessionDiagnostics {
        let shared = self.shared();
        SessionDiagnostics {
            id: self.id(),
            path: self.path().to_owned(),
            state: self.state(),
            connection: shared.conn().state(),
            datagram_backlog: shared.datagram_backlog(),
            unread: shared.kept(),
            stats: self.stats(),
        }
    }

    /// Returns what is known of each stream that the application holds or will get, in no particular order.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let id = self.id();
        let slots = self.shared().streams();
        slots.iter().map(|slot| slot.info(id)).collect()
    }

    /// Returns figures of each stream that the application holds or will get, in no particular order.
    #[must_use]
    pub fn stream_stats(&self) -> Vec<StreamStats> {
        let shared = self.shared();
        let ended = shared.end().is_some();
        let slots = shared.streams();
        slots
            .iter()
            .map(|slot| slot.stats(shared.id, ended))
            .collect()
    }

    /// Returns the number that tells the session's connection apart from others of its endpoint.
    pub(crate) fn connection_id(&self) -> usize {
        self.shared().conn().id()
    }

    /// Listens to what happens to the session and its streams from now on, up to its end.
    ///
    /// A listener that is more than [`CAPACITY`](crate::events::CAPACITY) events of the connection behind loses the
    /// oldest and is told so.
    pub fn events(&self) -> impl Stream<Item = Result<Event, Lagged>> + Send + Unpin + use<> {
        let events = self.shared().conn().events().subscribe();
        // One that ends from now on is told.
        let events = self.shared().end().is_none().then_some(events);
        Box::pin(stream_of(events, self.id()))
    }

    /// Derives key material that only the two ends of this session know.
    ///
    /// TLS exporter with the label "EXPORTER-WebTransport" and a context that names the session
    /// (draft-16, 4.8).
    ///
    /// # Errors
    ///
    /// [`ExportError`] when `label` or `context` is longer than 255 bytes, or when `out` is longer
    /// than the exporter can fill.
    pub fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportError> {
        let mut full = Vec::with_capacity(10 + label.len() + context.len());
        full.extend_from_slice(&self.id().get().to_be_bytes());
        for part in [label, context] {
            full.push(u8::try_from(part.len()).map_err(|_| ExportError::TooLong(part.len()))?);
            full.extend_from_slice(part);
        }
        let quic = self.shared().conn().quic();
        let result = quic.export_keying_material(out, b"EXPORTER-WebTransport", &full);
        result.map_err(|_| ExportError::Output(out.len()))
    }

    // ---- streams

    /// Opens a bidirectional stream.
    ///
    /// Waits while the peer's limit for streams is reached. The peer learns of the stream with its
    /// first bytes, or by [`SendStream::flush`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream was opened.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    #[doc(alias = "create_bidirectional_stream")]
    pub async fn open_bi(&self) -> Result<BiStream, SessionError> {
        let credit = self.open_credit(Dir::Bi).await?;
        let open = self.shared().conn().quic().open_bi();
        let (send, recv) = self.while_open(open).await?;
        let slot = self.shared().register(Slot::opened(send, Some(recv)))?;
        credit.spent();
        self.shared().tell_opened(&slot);
        let header = stream_header::encode_bi(self.id());
        Ok(stream::bi(&self.0, slot, Some(header)))
    }

    /// Opens a unidirectional stream; otherwise like [`Self::open_bi`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream was opened.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    #[doc(alias = "create_unidirectional_stream")]
    pub async fn open_uni(&self) -> Result<SendStream, SessionError> {
        let credit = self.open_credit(Dir::Uni).await?;
        let open = self.shared().conn().quic().open_uni();
        let send = self.while_open(open).await?;
        let slot = self.shared().register(Slot::opened(send, None))?;
        credit.spent();
        self.shared().tell_opened(&slot);
        Ok(stream::uni(
            &self.0,
            slot,
            stream_header::encode_uni(self.id()),
        ))
    }

    async fn open_credit(&self, dir: Dir) -> Result<OpenCredit<'_>, SessionError> {
        self.shared().open_credit(dir).await?;
        Ok(OpenCredit {
            shared: self.shared(),
            dir,
            spent: false,
        })
    }

    /// Waits for a new stream of QUIC, or for the end of the session.
    async fn while_open<T>(
        &self,
        open: impl Future<Output = Result<T, quinn::ConnectionError>>,
    ) -> Result<T, SessionError> {
        let shared = self.shared();
        let mut open = pin!(open);
        // Mostly there is room, and nothing to wait for.
        if let Some(opened) = open.as_mut().now_or_never() {
            return opened.map_err(|error| shared.lost(error));
        }
        tokio::select! {
            biased;
            opened = open => opened.map_err(|error| shared.lost(error)),
            end = shared.ended() => Err(end),
        }
    }

    /// Waits for the next bidirectional stream of the peer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn accept_bi(&self) -> Result<BiStream, SessionError> {
        let slot = self.shared().accept(Dir::Bi).await?;
        Ok(stream::bi(&self.0, slot, None))
    }

    /// Waits for the next unidirectional stream of the peer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn accept_uni(&self) -> Result<RecvStream, SessionError> {
        let slot = self.shared().accept(Dir::Uni).await?;
        Ok(stream::uni_recv(&self.0, slot))
    }

    /// Waits for the next stream of the peer, of either kind.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no stream is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn accept(&self) -> Result<IncomingStream, SessionError> {
        tokio::select! {
            stream = self.accept_bi() => stream.map(IncomingStream::Bi),
            stream = self.accept_uni() => stream.map(IncomingStream::Uni),
        }
    }

    /// Returns the streams of the peer, of both kinds, until the session ends.
    #[doc(alias = "incoming_streams")]
    pub fn incoming(&self) -> impl Stream<Item = IncomingStream> + Send + 'static + use<> {
        futures_util::stream::unfold(self.clone(), |session| async move {
            let stream = session.accept().await.ok()?;
            Some((stream, session))
        })
    }

    // ---- datagrams

    /// Returns the largest payload of a datagram now, in bytes.
    ///
    /// It changes with the path: ask again before sending. `None` when the peer takes no datagrams.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.shared().max_datagram_size()
    }

    /// Sends a datagram without waiting.
    ///
    /// When the send buffer of the connection is full, its oldest datagram is dropped; see
    /// [`Self::send_datagram_wait`].
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`].
    pub fn send_datagram(&self, payload: impl AsRef<[u8]>) -> Result<(), SendDatagramError> {
        let datagram = self.datagram(payload.as_ref())?;
        let quic = self.shared().conn().quic();
        quic.send_datagram(datagram)
            .map_err(|e| self.datagram_error(e, payload.as_ref().len()))?;
        self.shared().datagram_sent();
        Ok(())
    }

    /// Sends a datagram if there is room in the send buffer; returns whether there was.
    ///
    /// It takes the connection's lock once and nothing else.
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`].
    #[inline]
    pub fn try_send_datagram(&self, payload: impl AsRef<[u8]>) -> Result<bool, SendDatagramError> {
        self.shared().try_send_datagram(payload.as_ref())
    }

    /// Sends a datagram, waiting for room in the send buffer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, nothing was sent.
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`].
    pub async fn send_datagram_wait(
        &self,
        payload: impl AsRef<[u8]>,
    ) -> Result<(), SendDatagramError> {
        let payload = payload.as_ref();
        // Mostly there is room, and nothing to wait for.
        if self.try_send_datagram(payload)? {
            return Ok(());
        }
        let datagram = self.datagram(payload)?;
        self.send_framed(datagram, payload.len()).await
    }

    /// Sends a datagram that has its prefix, waiting for room; `len` is the length of its payload.
    async fn send_framed(&self, datagram: Bytes, len: usize) -> Result<(), SendDatagramError> {
        let quic = self.shared().conn().quic();
        let mut send = pin!(quic.send_datagram_wait(datagram));
        // Mostly there is room, and nothing to wait for.
        let at_once = poll_fn(|cx| match send.as_mut().poll(cx) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending => Poll::Ready(None),
        });
        let sent = match at_once.await {
            Some(sent) => sent,
            None => tokio::select! {
                biased;
                sent = send => sent,
                end = self.shared().ended() => return Err(end.into()),
            },
        };
        sent.map_err(|e| self.datagram_error(e, len))?;
        self.shared().datagram_sent();
        Ok(())
    }

    fn datagram(&self, payload: &[u8]) -> Result<Bytes, SendDatagramError> {
        self.shared().datagram(payload)
    }

    fn datagram_error(&self, error: quinn::SendDatagramError, size: usize) -> SendDatagramError {
        self.shared().datagram_error(error, size)
    }

    /// Returns the next datagram if it is there.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    #[inline]
    pub fn try_recv_datagram(&self) -> Result<Option<Bytes>, SessionError> {
        self.shared().try_recv_datagram()
    }

    /// Waits for the next datagram.
    ///
    /// Datagrams that nobody takes are kept up to a limit, then the oldest is dropped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no datagram is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session is over.
    pub async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        self.shared().recv_datagram().await
    }

    // ---- the end

    /// Closes the session: the peer gets `code` and `reason` (cut to 1024 bytes at a character).
    ///
    /// Returns at once and does nothing when the session is over. All streams of the session are
    /// reset on both sides, so let the peer say that it has what it needs before.
    pub fn close(&self, code: u32, reason: &str) {
        self.shared().conn().close_session(self.id(), code, reason);
    }

    /// Closes the session without a word: the CONNECT stream ends, with no code and no reason in it.
    ///
    /// The peer takes it for code 0 and an empty reason (draft-16, 6), as after `close(0, "")`, which is
    /// the better choice with anything but a test of the peer. Otherwise like [`Self::close`].
    pub fn close_silently(&self) {
        self.shared().conn().close_session_silently(self.id());
    }

    /// Waits for the end of the session and says how it ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    #[doc(alias = "wait_closed")]
    pub async fn closed(&self) -> SessionError {
        self.shared().ended().await
    }

    /// Returns how the session ended; `None` while it is open.
    #[must_use]
    pub fn close_reason(&self) -> Option<SessionError> {
        self.shared().end().cloned()
    }

    /// Asks the peer to finish soon; the session goes on until somebody closes it (draft-16, 4.7).
    pub fn drain(&self) {
        self.shared().conn().drain_session(self.id());
    }

    /// Waits until either side asked the other to finish.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session ends first.
    pub async fn draining(&self) -> Result<(), SessionError> {
        self.shared().draining().await
    }

    /// Returns whether either side asked the other to finish.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared().is_draining()
    }

    /// Returns the id of the CONNECT stream.
    #[must_use]
    pub fn stream_id(&self) -> StreamId {
        self.id().stream_id()
    }
}

impl Observe for Session {
    fn observe(&self) -> Snapshot {
        self.diagnostics().snapshot()
    }
}

/// The events of one session among those of its connection, up to its end.
fn stream_of(
    events: Option<Events<Event>>,
    id: SessionId,
) -> impl Stream<Item = Result<Event, Lagged>> + Send {
    futures_util::stream::unfold(events, move |events| async move {
        let mut events = events?;
        loop {
            let item = events.recv().await?;
            match &item {
                Ok(event) if event.session() != Some(id) => {}
                Ok(Event::SessionClosed { .. }) => return Some((item, None)),
                _ => return Some((item, Some(events))),
            }
        }
    })
}

/// Credit for one stream, returned unless the stream came to be.
struct OpenCredit<'a> {
    shared: &'a Shared,
    dir: Dir,
    spent: bool,
}

impl OpenCredit<'_> {
    fn spent(mut self) {
        self.spent = true;
    }
}

impl Drop for OpenCredit<'_> {
    fn drop(&mut self) {
        if !self.spent {
            self.shared.unopened(self.dir);
        }
    }
}

/// Why a datagram could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendDatagramError {
    /// It is larger than the path carries now.
    #[error("a datagram of {size} bytes does not fit, at most {max} do now")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size at this moment.
        max: usize,
    },
    /// The peer takes no datagrams.
    #[error("the peer takes no datagrams")]
    Unsupported,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why key material could not be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The label or the context has more than 255 bytes.
    #[error("a label or context of {0} bytes is too long, at most 255 are possible")]
    TooLong(usize),
    /// More bytes were asked for than the exporter gives.
    #[error("{0} bytes are more than the exporter gives")]
    Output(usize),
}
