//! The part of a connection that its handles, its sessions and the driver share.

mod tell;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, oneshot};
use wt_proto::{
    Dialect, Dir, ErrorCode, Initiator, ProtocolViolation, SessionEnd, SessionId, SessionState,
    StreamId,
    connection::{self as proto, Connection as Proto, Event, Route},
    early::{Early, EarlyLimits},
    flow::Flow,
    head::{RequestHead, ResponseHead, UpgradeToken, validate_user_headers},
    subprotocol,
};

use super::{PendingRequest, activity::Activity, allowance::Allowance, io::reject, wake::Ready};
use crate::{
    config::{Limits, TransportConfig},
    error::{ConnectError, ConnectionError, SessionError},
    events::{Emitter, Event as TellEvent},
    gate::Member,
    lock::lock,
    refusal::{self, RefusalCause},
    report::{DatagramDrop, HandshakeOutcome, Traffic},
    session::{Answer, Heads, Shared},
    stats::{Totals, count},
    stream::{Slot, quic_code},
};

/// A piece of work that the driver carries on beside its streams.
pub(super) type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream of the peer that waits for its session.
#[derive(Debug)]
pub(super) struct EarlyStream {
    slot: Slot,
    first: Bytes,
}

/// Behind the one lock of a connection.
#[derive(Debug)]
pub(super) struct State {
    pub(super) proto: Proto,
    pub(super) early: Early<EarlyStream>,
    /// Request streams that were opened here and that the driver has not taken yet.
    pub(super) opened: Vec<(StreamId, quinn::SendStream, quinn::RecvStream)>,
    /// Since when no session is open, after there was one or a request for one.
    pub(super) idle_since: Option<Instant>,
    /// Since when the connection waits for its first session.
    pub(super) unused_since: Option<Instant>,
    /// Streams of sessions that ended, and when to stop waiting for the peer to end them as well.
    pub(super) closing: VecDeque<(Instant, StreamId)>,
    /// When to look next at what sessions with flow control have not read.
    pub(super) audit: Option<Audit>,
    /// Who waits until the driver has given QUIC the answers that it knows of now.
    pub(super) answering: Vec<oneshot::Sender<()>>,
    sessions: HashMap<SessionId, Arc<Shared>>,
    /// Sessions that were asked for and not answered yet.
    asked: HashMap<SessionId, Arc<Shared>>,
}

/// The looks at what arrived for sessions and was not read.
///
/// What a peer sends is counted as it is read. One that sends more than its session may to an
/// application that does not read would go unnoticed, and would take the window of the connection
/// from the other sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audit {
    pub(super) due: Instant,
    pause: Duration,
    /// What the connection had received at the last look, in bytes.
    received: u64,
}

impl Audit {
    const MIN_PAUSE: Duration = Duration::from_secs(1);
    /// A connection on which little happens is woken this seldom.
    const MAX_PAUSE: Duration = Duration::from_secs(16);
    /// So much can go unseen.
    const LITTLE: u64 = 64 * 1024;

    fn next(last: Option<Self>, received: u64, now: Instant) -> Self {
        let pause = last.map_or(Self::MIN_PAUSE, |last| {
            if received.saturating_sub(last.received) < Self::LITTLE {
                (last.pause * 2).min(Self::MAX_PAUSE)
            } else {
                Self::MIN_PAUSE
            }
        });
        Self {
            due: now + pause,
            pause,
            received,
        }
    }
}

/// Where a connection comes from: what it needs of its endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) limits: Arc<Limits>,
    pub(crate) transport: Arc<TransportConfig>,
    /// Whether the windows of sessions grow.
    pub(crate) auto_scale: bool,
    pub(crate) refusals: Arc<refusal::Counters>,
    /// Tells what happens on all connections of the endpoint.
    pub(crate) events: Emitter<TellEvent>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) proto: wt_proto::connection::Config,
    /// What the connection holds of its server.
    pub(crate) member: Option<Arc<Member>>,
}

/// What was told of a connection: its end comes behind its beginning, and not without.
#[derive(Debug, Default)]
struct Told {
    established: bool,
    ended: bool,
}

/// A connection, as its handles, its sessions and the driver know it.
pub(crate) struct Inner {
    /// Never that of another connection, as an address in memory would be.
    id: usize,
    quic: quinn::Connection,
    origin: Origin,
    pub(super) state: Mutex<State>,
    pub(super) ready: Arc<Ready>,
    requests: Mutex<VecDeque<PendingRequest>>,
    request_arrived: Notify,
    settings: AtomicBool,
    settings_arrived: Notify,
    /// No session is open any more.
    idle: Notify,
    end: OnceLock<ConnectionError>,
    ended: Notify,
    released: AtomicBool,
    allowance: Allowance,
    datagram_readers: AtomicUsize,
    /// Several sessions have wanted datagrams at a time.
    shares_datagrams: AtomicBool,
    /// Sessions with credit to announce.
    due: Mutex<Vec<SessionId>>,
    chores: Mutex<Vec<Chore>>,
    /// Tells what happens on this connection.
    events: Emitter<TellEvent>,
    told: Mutex<Told>,
    /// One side wants no new sessions.
    going_away: AtomicBool,
    created: Instant,
    activity: Mutex<Activity>,
    errors: AtomicU64,
    /// What sessions that are over have done, and datagrams that reached none.
    past: Mutex<Traffic>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("quic", &self.quic)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(quic: quinn::Connection, origin: Origin) -> Arc<Self> {
        let limits = &origin.limits;
        let early = EarlyLimits {
            streams: limits.early_streams,
            datagrams: limits.early_datagrams,
            per_session: limits.early_per_session,
            bytes: limits.early_bytes,
            age: limits.early_age,
        };
        let state = State {
            proto: Proto::new(origin.proto.clone(), Instant::now()),
            early: Early::new(early),
            opened: Vec::new(),
            idle_since: None,
            unused_since: Some(Instant::now()),
            closing: VecDeque::new(),
            audit: None,
            answering: Vec::new(),
            sessions: HashMap::new(),
            asked: HashMap::new(),
        };
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Relaxed);
        let totals = origin.totals.clone();
        let inner = Arc::new(Self {
            id,
            quic,
            state: Mutex::new(state),
            ready: Arc::default(),
            requests: Mutex::default(),
            request_arrived: Notify::new(),
            settings: AtomicBool::new(false),
            settings_arrived: Notify::new(),
            idle: Notify::new(),
            end: OnceLock::new(),
            ended: Notify::new(),
            released: AtomicBool::new(false),
            allowance: Allowance::new(&origin.transport),
            datagram_readers: AtomicUsize::new(0),
            shares_datagrams: AtomicBool::new(false),
            due: Mutex::default(),
            chores: Mutex::default(),
            events: Emitter::new(),
            told: Mutex::default(),
            going_away: AtomicBool::new(false),
            created: Instant::now(),
            activity: Mutex::new(Activity::new()),
            errors: AtomicU64::new(0),
            past: Mutex::default(),
            origin,
        });
        totals.registry.add(id, &inner);
        inner
    }

    // ---- getters

    pub(crate) const fn id(&self) -> usize {
        self.id
    }

    pub(crate) const fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.origin.limits
    }

    /// Returns how many bytes the peer may have in flight on one stream.
    pub(crate) fn stream_window(&self) -> u64 {
        self.origin.transport.stream_receive_window
    }

    pub(crate) fn with_proto<T>(&self, f: impl FnOnce(&Proto) -> T) -> T {
        f(&lock(&self.state).proto)
    }

    pub(crate) fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        let identity = self.quic.peer_identity();
        let chain = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        chain.map(|chain| *chain).unwrap_or_default()
    }

    /// Counts and logs that a client or a request was turned away. For servers.
    pub(crate) fn refused(&self, cause: impl Into<RefusalCause>, detail: &dyn fmt::Display) {
        if self.quic.side() == quinn::Side::Server {
            let peer = self.quic.remote_address();
            self.errors.fetch_add(1, Relaxed);
            self.origin.refusals.note(cause.into(), peer, detail);
        } else {
            tracing::debug!(peer = %self.quic.remote_address(), %detail, "refused");
        }
    }

    // ---- the end

    pub(crate) fn end(&self) -> Option<ConnectionError> {
        self.end.get().cloned()
    }

    pub(crate) async fn closed(&self) -> ConnectionError {
        loop {
            let ended = self.ended.notified();
            if let Some(end) = self.end() {
                return end;
            }
            ended.await;
        }
    }

    /// Waits until no session is open.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if lock(&self.state).sessions.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Takes note that no handle is left: the driver closes the connection when its sessions are
    /// over and the peer knows.
    pub(crate) fn release(&self) {
        self.released.store(true, SeqCst);
        self.ready.wake();
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(SeqCst)
    }

    /// Ends everything that the connection carried.
    pub(super) fn finish(&self, error: &ConnectionError) {
        let (sessions, asked) = {
            let mut state = lock(&self.state);
            let _ = self.end.set(error.clone());
            (
                std::mem::take(&mut state.sessions),
                std::mem::take(&mut state.asked),
            )
        };
        let ended = SessionError::Connection(error.clone());
        for session in sessions.into_values() {
            session.terminate(ended.clone());
            self.tell_closed(&session, &ended);
        }
        self.tell_past();
        for asked in asked.into_values() {
            asked.terminate(ended.clone());
        }
        lock(&self.requests).clear();
        lock(&self.chores).clear();
        self.ended.notify_waiters();
        self.idle.notify_waiters();
        self.request_arrived.notify_waiters();
        self.settings_arrived.notify_waiters();
        self.tell_ended(error);
        self.events.close();
    }

    /// Closes the connection for a violation.
    pub(super) fn violated(&self, violation: ProtocolViolation) -> ConnectionError {
        self.refused(
            violation,
            &format_args!("{violation}; closing the connection"),
        );
        let error = ConnectionError::Violation(violation);
        let connection = self.id;
        self.errors.fetch_add(1, Relaxed);
        self.tell(|| TellEvent::ProtocolError {
            connection,
            violation,
        });
        // First come, first kept: QUIC will only say that the connection was closed here.
        let _ = self.end.set(error.clone());
        self.quic.close(
            quic_code(violation.code()),
            violation.to_string().as_bytes(),
        );
        error
    }

    // ---- sessions: servers

    pub(crate) async fn next_request(&self) -> Result<PendingRequest, ConnectionError> {
        loop {
            let mut arrived = pin!(self.request_arrived.notified());
            // As for streams: each request wakes only one of those that wait.
            arrived.as_mut().enable();
            if let Some(request) = lock(&self.requests).pop_front() {
                return Ok(request);
            }
            if let Some(end) = self.end() {
                return Err(end);
            }
            arrived.await;
        }
    }

    /// Accepts a session. What is returned with it ends as soon as the answer is with QUIC, or never will be: what
    /// the session sends before that could reach the client before the answer, which keeps little of such.
    pub(crate) fn accept_session(
        self: &Arc<Self>,
        id: SessionId,
        head: RequestHead,
        dialect: Dialect,
        answer: Answer,
    ) -> Result<(Arc<Shared>, oneshot::Receiver<()>), SessionError> {
        if head.headers.contains_key(header::ORIGIN) {
            self.allowance.allow_browser(&self.quic);
        }
        let mut state = lock(&self.state);
        if let Some(end) = self.end() {
            return Err(end.into());
        }
        let flow = state.proto.flow(id);
        let accepted = state
            .proto
            .accept(id, answer.status, answer.headers.clone());
        if !accepted.map_err(|violation| self.violated(violation))? {
            return Err(SessionError::Aborted(ErrorCode::H3_REQUEST_CANCELLED));
        }
        let heads = Heads::answered(head, dialect, answer);
        let shared = Arc::new(Shared::new(id, self.clone(), flow, heads));
        self.admit(&mut state, &shared);
        self.pump(&mut state);
        let (done, answered) = oneshot::channel();
        state.answering.push(done);
        drop(state);
        self.ready.wake();
        Ok((shared, answered))
    }

    pub(crate) fn reject_session(
        self: &Arc<Self>,
        id: SessionId,
        status: StatusCode,
        headers: HeaderMap,
    ) {
        let mut state = lock(&self.state);
        let info = state.proto.session_info(id);
        if let Some(info) = info.filter(|info| info.state == SessionState::Connecting) {
            self.count_handshake(info.dialect, HandshakeOutcome::Refused);
        }
        state.proto.reject(id, status, headers);
        self.pump(&mut state);
        if state.sessions.is_empty() {
            state.idle_since = Some(Instant::now());
        }
        drop(state);
        self.ready.wake();
    }

    // ---- sessions: clients

    /// Waits for the peer's SETTINGS.
    pub(crate) async fn ready(&self) -> Result<(), ConnectionError> {
        loop {
            let arrived = self.settings_arrived.notified();
            if let Some(end) = self.end() {
                return Err(end);
            }
            if self.settings.load(SeqCst) {
                return Ok(());
            }
            arrived.await;
        }
    }

    /// Asks for a session, whose answer is yet to come.
    pub(crate) async fn ask_for_session(
        self: &Arc<Self>,
        head: RequestHead,
    ) -> Result<Arc<Shared>, ConnectError> {
        self.ready().await?;
        self.with_proto(Proto::can_connect)?;
        let opened = self.quic.open_bi().await;
        let (send, recv) = opened.map_err(|e| self.end().unwrap_or_else(|| e.into()))?;
        let stream = StreamId::new(u64::from(send.id())).unwrap_or(StreamId::MAX);
        let shared = {
            let mut state = lock(&self.state);
            if let Some(end) = self.end() {
                return Err(end.into());
            }
            let id = match state.proto.connect(stream, head.clone()) {
                Ok(id) => id,
                Err(error) => {
                    // Dropped, it would look like a request that ends before it begins.
                    reject(Some(send), Some(recv), ErrorCode::H3_REQUEST_CANCELLED);
                    return Err(error.into());
                }
            };
            let dialect = state.proto.session_dialect(id).unwrap_or(Dialect::Draft15);
            let heads = Heads::asked(head, dialect);
            let shared = Arc::new(Shared::new(id, self.clone(), state.proto.flow(id), heads));
            state.opened.push((stream, send, recv));
            state.asked.insert(id, shared.clone());
            state.idle_since = None;
            shared
        };
        self.ready.wake();
        Ok(shared)
    }

    // ---- sessions: commands

    /// Runs a command on the protocol and has its outcome carried out.
    fn command(self: &Arc<Self>, f: impl FnOnce(&mut Proto)) {
        let mut state = lock(&self.state);
        f(&mut state.proto);
        self.pump(&mut state);
        drop(state);
        self.ready.wake();
    }

    pub(crate) fn close_session(self: &Arc<Self>, id: SessionId, code: u32, reason: &str) {
        let asked = lock(&self.state).asked.remove(&id);
        self.command(|proto| proto.close(id, code, reason));
        if let Some(asked) = asked {
            // Given up before it was answered.
            asked.terminate(SessionError::Closed {
                by: Initiator::Local,
                code,
                reason: reason.to_owned(),
            });
        }
    }

    pub(crate) fn close_session_silently(self: &Arc<Self>, id: SessionId) {
        self.command(|proto| proto.close_silently(id));
    }

    pub(crate) fn close_sessions(self: &Arc<Self>, code: u32, reason: &str) {
        self.command(|proto| {
            let open: Vec<_> = proto.open_sessions().collect();
            for id in open {
                proto.close(id, code, reason);
            }
        });
    }

    pub(crate) fn drain_session(self: &Arc<Self>, id: SessionId) {
        self.command(|proto| proto.drain(id));
    }

    pub(crate) fn goaway(self: &Arc<Self>) {
        self.going_away.store(true, SeqCst);
        self.command(Proto::goaway);
    }

    pub(crate) fn session_violation(self: &Arc<Self>, id: SessionId, violation: ProtocolViolation) {
        self.command(|proto| proto.handle_violation(id, violation));
    }

    /// Takes a session into the tables and gives it what arrived early.
    fn admit(self: &Arc<Self>, state: &mut State, shared: &Arc<Shared>) {
        state.sessions.insert(shared.id, shared.clone());
        count(&self.origin.totals.sessions_made);
        self.count_handshake(shared.heads.dialect, HandshakeOutcome::Established);
        let (connection, session) = (self.id, shared.id);
        self.tell(|| TellEvent::SessionReady {
            connection,
            session,
        });
        state.unused_since = None;
        state.idle_since = None;
        if shared.flow.is_some() {
            let received = self.quic.stats().udp_rx.bytes;
            state.audit = Some(Audit::next(None, received, Instant::now()));
        }
        let (streams, datagrams) = state.early.take(shared.id);
        for EarlyStream { slot, first } in streams {
            self.place_stream(state, shared.id, slot, first);
        }
        for datagram in datagrams {
            shared.push_datagram(datagram);
        }
    }

    /// Brings a stream of the peer, whose header has been read, to its session.
    pub(super) fn place_stream(&self, state: &mut State, id: SessionId, slot: Slot, first: Bytes) {
        let code = match state.proto.accept_stream(id, slot.dir) {
            Route::Deliver => match state.sessions.get(&id).cloned() {
                Some(session) => match session.flow_arrived(first.len()) {
                    Ok(()) => return session.push_stream(slot, first),
                    Err(violation) => {
                        state.proto.handle_violation(id, violation);
                        ErrorCode::WT_SESSION_GONE
                    }
                },
                None => ErrorCode::WT_SESSION_GONE,
            },
            Route::Early => {
                let bytes = first.len();
                let stream = EarlyStream { slot, first };
                if let Err(stream) = state.early.push_stream(id, stream, bytes, Instant::now()) {
                    self.drop_early(&stream);
                }
                return;
            }
            Route::Reject(code) => code,
        };
        self.allowance.ended(slot.dir);
        slot.abort(code);
    }

    /// Rejects the early streams that waited too long.
    pub(super) fn expire_early(&self, state: &mut State, now: Instant) {
        let before = state.early.datagrams();
        for stream in state.early.expire(now) {
            self.drop_early(&stream);
        }
        let expired = before - state.early.datagrams();
        if expired > 0 {
            self.drop_datagrams(DatagramDrop::EarlyExpired, expired as u64);
        }
    }

    fn drop_early(&self, stream: &EarlyStream) {
        self.allowance.ended(stream.slot.dir);
        stream.slot.abort(ErrorCode::WT_BUFFERED_STREAM_REJECTED);
    }

    /// Carries out the events of the protocol.
    pub(super) fn pump(self: &Arc<Self>, state: &mut State) {
        while let Some(event) = state.proto.poll_event() {
            match event {
                Event::Settings => {
                    self.settings.store(true, SeqCst);
                    self.settings_arrived.notify_waiters();
                    let connection = self.id;
                    self.tell(|| TellEvent::SettingsReceived { connection });
                }
                Event::Requested { id, head, dialect } => {
                    self.requested(state, (id, head, dialect));
                }
                Event::Established { id, head, protocol } => {
                    self.established(state, id, *head, protocol);
                }
                Event::Failed { id, dialect, error } => {
                    let outcome = match error {
                        proto::ConnectError::Status(_) => HandshakeOutcome::Refused,
                        _ => HandshakeOutcome::Failed,
                    };
                    self.count_handshake(dialect, outcome);
                    if let Some(asked) = state.asked.remove(&id) {
                        asked.terminate(SessionError::Refused(Box::new(error.into())));
                    }
                    // A request that the client gave up needs no answer.
                    lock(&self.requests).retain(|request| request.0 != id);
                }
                Event::Refused { id, refusal } => {
                    let stream = id.get();
                    self.refused(
                        refusal,
                        &format_args!("{refusal}; request on stream {stream}"),
                    );
                }
                Event::Draining { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.set_draining();
                        let connection = self.id;
                        self.tell(|| TellEvent::SessionDraining {
                            connection,
                            session: id,
                        });
                    }
                }
                Event::CreditRaised { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.credit_raised();
                        self.tell_credit(session);
                    }
                }
                Event::CreditDue { id } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.credit_due();
                    }
                }
                Event::Datagram { id, payload } => {
                    if let Some(session) = state.sessions.get(&id) {
                        session.push_datagram(payload);
                    }
                }
                Event::Closed { id, end } => {
                    let peer = self.quic.remote_address();
                    tracing::debug!(%peer, session = id.get(), %end, "session over");
                    if let Some(session) = state.sessions.remove(&id) {
                        if !matches!(end, SessionEnd::Closed { .. }) {
                            self.errors.fetch_add(1, Relaxed);
                        }
                        let error = SessionError::from(end);
                        session.terminate(error.clone());
                        self.tell_closed(&session, &error);
                    }
                    let due = Instant::now() + self.limits().close_timeout;
                    state.closing.push_back((due, id.stream_id()));
                    if state.sessions.is_empty() {
                        state.idle_since = Some(Instant::now());
                        self.idle.notify_waiters();
                    }
                }
                Event::GoAway => self.going_away.store(true, SeqCst),
                _ => {}
            }
        }
        if let Some(member) = &self.origin.member {
            member.sessions_left(|| state.proto.session_count());
        }
    }

    fn requested(&self, state: &mut State, request: PendingRequest) {
        let mut requests = lock(&self.requests);
        if requests.len() >= self.limits().pending_requests {
            drop(requests);
            let status = StatusCode::TOO_MANY_REQUESTS;
            self.refused(RefusalCause::TooManyRequests, &status);
            self.count_handshake(request.2, HandshakeOutcome::Refused);
            state.proto.reject(request.0, status, HeaderMap::new());
            return;
        }
        let member = self.origin.member.as_ref();
        if let Some(Err(no)) = member.map(|member| member.open_session()) {
            drop(requests);
            self.refused(no.cause, &no.status);
            state.proto.reject(request.0, no.status, no.headers);
            return;
        }
        let (connection, session) = (self.id, request.0);
        self.tell(|| TellEvent::SessionRequest {
            connection,
            session,
            path: request.1.path.clone().unwrap_or_default(),
        });
        requests.push_back(request);
        drop(requests);
        self.request_arrived.notify_one();
    }

    fn established(
        self: &Arc<Self>,
        state: &mut State,
        id: SessionId,
        head: ResponseHead,
        protocol: Option<String>,
    ) {
        let Some(shared) = state.asked.remove(&id) else {
            state.proto.close(id, 0, "");
            return;
        };
        self.admit(state, &shared);
        shared.establish(Answer {
            status: head.status,
            headers: head.headers,
            protocol,
        });
        if shared.is_credit_due() {
            // Of streams that were opened early.
            self.announce_credit(state, id);
        }
    }

    // ---- what the driver does for sessions

    pub(crate) fn credit_due(&self, id: SessionId) {
        lock(&self.due).push(id);
        self.ready.wake();
    }

    /// Takes the sessions whose credit is to be announced.
    pub(super) fn take_due(&self) -> Vec<SessionId> {
        std::mem::take(&mut *lock(&self.due))
    }

    /// Announces the credit of a session.
    pub(super) fn announce_credit(self: &Arc<Self>, state: &mut State, id: SessionId) {
        let Some(session) = state.sessions.get(&id).cloned() else {
            return;
        };
        session.credit_taken();
        if let Some(flow) = &session.flow
            && flow.recv_data.is_due_now()
        {
            // More credit would make lawful what is too much now.
            if !self.look_ahead(state, &session) {
                return;
            }
            self.widen(&session, flow, state.sessions.len());
        }
        state.proto.refresh_credit(id);
    }

    /// Counts all that arrived for a session; `false` when it was too much and ended the session.
    fn look_ahead(self: &Arc<Self>, state: &mut State, session: &Shared) -> bool {
        let result = session.look_ahead();
        if let Err(violation) = result {
            state.proto.handle_violation(session.id, violation);
            self.pump(state);
        }
        result.is_ok()
    }

    /// Looks at what the sessions have not read, when the time has come.
    pub(super) fn audit(self: &Arc<Self>, state: &mut State, now: Instant) {
        let Some(last) = state.audit.filter(|audit| audit.due <= now) else {
            return;
        };
        let mut received = self.quic.stats().udp_rx.bytes;
        let sessions: Vec<_> = state.sessions.values().cloned().collect();
        if received.saturating_sub(last.received) < Audit::LITTLE {
            // Small amounts add up until the next look.
            received = last.received;
        } else {
            for session in sessions.iter().filter(|session| session.flow.is_some()) {
                self.look_ahead(state, session);
            }
        }
        let flowing = sessions.iter().any(|session| session.flow.is_some());
        state.audit = flowing.then(|| Audit::next(Some(last), received, now));
    }

    /// Widens the window of a session that is read faster than its credit travels.
    ///
    /// Never so far that a session could take the whole connection from the others.
    fn widen(&self, session: &Shared, flow: &Flow, sessions: usize) {
        let most = self.origin.transport.receive_window / (sessions as u64 + 1);
        let window = flow.recv_data.window();
        let quickly = session.renewed_within(self.quic.rtt() * 2);
        if self.origin.auto_scale && quickly && window < most {
            flow.recv_data.set_window((window * 2).min(most));
        }
    }

    pub(crate) fn add_chore(&self, chore: Chore) {
        lock(&self.chores).push(chore);
        self.ready.wake();
    }

    pub(super) fn take_chores(&self) -> Vec<Chore> {
        std::mem::take(&mut *lock(&self.chores))
    }

    /// Makes up for a stream of the peer that ended before it was known whose it is.
    pub(super) fn forgive_stream(&self, state: &State, dir: Dir) {
        for session in state.sessions.values() {
            session.forgive_stream(dir);
        }
    }

    // ---- streams of the peer, as QUIC counts them

    pub(super) fn remote_stream_opened(&self, dir: Dir) {
        self.allowance.opened(&self.quic, dir);
    }

    pub(crate) fn remote_half_ended(&self, dir: Dir) {
        self.allowance.half_ended(dir);
    }

    /// Takes note that a stream of the peer is over that no handle was made of.
    pub(crate) fn remote_stream_ended(&self, dir: Dir) {
        self.allowance.ended(dir);
    }

    // ---- datagrams

    /// Returns whether a session takes datagrams from QUIC itself.
    pub(super) fn has_datagram_reader(&self) -> bool {
        self.reads_datagrams_itself() && self.datagram_readers.load(SeqCst) > 0
    }

    /// Returns whether a session that wants datagrams takes them from QUIC itself.
    ///
    /// That is the shortest way while only one session wants them. If several waited in QUIC, each
    /// datagram would wake all of them.
    pub(crate) fn reads_datagrams_itself(&self) -> bool {
        !self.shares_datagrams.load(SeqCst)
    }

    pub(crate) fn datagram_reader_came(&self) {
        if self.datagram_readers.fetch_add(1, SeqCst) > 0 {
            // It stays so: who waits for the driver would not learn of the change.
            self.shares_datagrams.store(true, SeqCst);
            self.ready.wake();
        }
    }

    pub(crate) fn datagram_reader_left(&self) {
        if self.datagram_readers.fetch_sub(1, SeqCst) == 1 {
            self.ready.wake();
        }
    }

    /// Brings a datagram to its session; gives it back when that is `reader`.
    pub(crate) fn route_datagram(&self, datagram: Bytes, reader: SessionId) -> Option<Bytes> {
        let placed = match wt_proto::datagram::decode(datagram) {
            Ok((id, payload)) if id == reader => return Some(payload),
            Ok((id, payload)) => self.place_datagram(id, payload),
            Err(violation) => Err(violation),
        };
        if let Err(violation) = placed {
            self.violated(violation);
        }
        None
    }

    pub(super) fn place_datagram(
        &self,
        id: SessionId,
        payload: Bytes,
    ) -> Result<(), ProtocolViolation> {
        let mut state = lock(&self.state);
        let allowed = self.allowance.granted(Dir::Bi);
        match state.proto.handle_datagram(id, allowed)? {
            Route::Deliver => {
                if let Some(session) = state.sessions.get(&id) {
                    session.push_datagram(payload);
                }
            }
            Route::Early => {
                if !state.early.push_datagram(id, payload, Instant::now()) {
                    self.drop_datagrams(DatagramDrop::EarlyFull, 1);
                }
                drop(state);
                // The driver drops it when it grows too old.
                self.ready.wake();
            }
            Route::Reject(_) => self.drop_datagrams(DatagramDrop::NoSession, 1),
        }
        Ok(())
    }
}

/// Makes the head of a request for a session, checked.
pub(super) fn request_head(
    authority: &str,
    path: &str,
    mut headers: HeaderMap,
    protocols: &[String],
) -> Result<RequestHead, ConnectError> {
    let invalid = |error: &dyn fmt::Display| ConnectError::InvalidRequest(error.to_string());
    validate_user_headers(&headers).map_err(|error| invalid(&error))?;
    if !protocols.is_empty() {
        let offer = subprotocol::encode_offer(protocols).map_err(|error| invalid(&error))?;
        headers.insert(subprotocol::WT_AVAILABLE_PROTOCOLS, offer);
    }
    // The token follows from the dialect, once it is known.
    Ok(RequestHead::webtransport(
        authority,
        path,
        UpgradeToken::WebTransport,
        headers,
    ))
}
