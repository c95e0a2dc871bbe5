//! The part of a connection that its handles, its sessions and the driver share.

mod ask;
mod command;
mod credit;
mod datagrams;
mod early;
mod events;
mod help;
mod tell;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Instant,
};

use http::{HeaderMap, StatusCode, header};
use rustc_hash::FxHashMap;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, oneshot};
use wt_proto::{
    Dialect, Dir, ErrorCode, ProtocolViolation, SessionId, SessionState, StreamId,
    connection::Connection as Proto,
    early::{Early, EarlyLimits},
    head::RequestHead,
};

pub(super) use self::ask::request_head;
use self::credit::Audit;
use super::{
    PendingRequest, activity::Activity, allowance::Allowance, driver::Driver, io::Io,
    lookout::Lookout, wake::Ready,
};
use crate::{
    config::{Limits, TransportConfig},
    error::{ConnectionError, SessionError},
    events::{Emitter, Event as TellEvent},
    gate::Member,
    lock::lock,
    refusal::{self, RefusalCause},
    report::{HandshakeOutcome, Traffic},
    session::{Answer, Heads, Shared},
    stats::{Totals, count},
    stream::{Slot, quic_code},
};

/// A piece of work that the driver carries on beside its streams.
pub(super) type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream of the peer that waits for its session.
#[derive(Debug)]
pub(super) struct EarlyStream {
    slot: Arc<Slot>,
    /// Bytes that came with its header.
    bytes: usize,
}

/// Behind the one lock of a connection.
#[derive(Debug)]
pub(super) struct State {
    pub(super) proto: Proto,
    pub(super) early: Early<EarlyStream>,
    /// Request streams that were opened here and that the driver has not taken yet.
    pub(super) opened: Vec<(StreamId, Io)>,
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
    sessions: FxHashMap<SessionId, Arc<Shared>>,
    /// Sessions that were asked for and not answered yet.
    asked: HashMap<SessionId, Arc<Shared>>,
}

/// Where a connection comes from: what it needs of its endpoint.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) limits: Arc<Limits>,
    pub(crate) transport: TransportConfig,
    /// Whether the windows of sessions grow.
    pub(crate) auto_scale: bool,
    pub(crate) refusals: refusal::Counters,
    /// Tells what happens on all connections of the endpoint.
    pub(crate) events: Emitter<TellEvent>,
    pub(crate) totals: Totals,
    pub(crate) lookout: Arc<Lookout>,
    pub(crate) proto: Arc<wt_proto::connection::Config>,
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
    origin: Arc<Origin>,
    /// What the connection holds of its server.
    member: Option<Arc<Member>>,
    pub(super) state: Mutex<State>,
    pub(super) ready: Arc<Ready>,
    driver: OnceLock<Weak<Mutex<Driver>>>,
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
    /// Tells what happens on this connection; made for the first who listens.
    events: OnceLock<Emitter<TellEvent>>,
    told: Mutex<Told>,
    /// One side wants no new sessions.
    going_away: AtomicBool,
    created: Instant,
    activity: Mutex<Activity>,
    errors: AtomicU64,
    /// What sessions that are over have done, and datagrams that reached none; boxed, since mostly there is nothing.
    past: Mutex<Option<Box<Traffic>>>,
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
    pub(crate) fn new(
        quic: quinn::Connection,
        origin: Arc<Origin>,
        member: Option<Arc<Member>>,
    ) -> Arc<Self> {
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
            sessions: FxHashMap::default(),
            asked: HashMap::new(),
        };
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let id = NEXT.fetch_add(1, Relaxed);
        let inner = Arc::new(Self {
            id,
            quic,
            member,
            state: Mutex::new(state),
            ready: Ready::new(origin.lookout.clone()),
            driver: OnceLock::new(),
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
            events: OnceLock::new(),
            told: Mutex::default(),
            going_away: AtomicBool::new(false),
            created: Instant::now(),
            activity: Mutex::new(Activity::new()),
            errors: AtomicU64::new(0),
            past: Mutex::default(),
            origin,
        });
        inner.origin.totals.registry.add(id, &inner);
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
        // Who listens later is told at once that there is nothing more.
        self.events().close();
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
        let mut volunteer = self.volunteer();
        loop {
            let mut arrived = pin!(self.request_arrived.notified());
            // As for streams: each request wakes only one of those that wait.
            arrived.as_mut().enable();
            if let Some(request) = self.take_request() {
                return Ok(request);
            }
            if let Some(end) = self.end() {
                return Err(end);
            }
            volunteer.wait(arrived).await;
        }
    }

    fn take_request(&self) -> Option<PendingRequest> {
        let mut requests = lock(&self.requests);
        let request = requests.pop_front();
        if requests.is_empty() {
            // On most connections there is no other.
            *requests = VecDeque::new();
        }
        request
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
            .accept(id, answer.status, answer.headers().clone());
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
        self.do_now();
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
        for EarlyStream { slot, bytes } in streams {
            self.place_stream(state, shared.id, slot, bytes);
        }
        for datagram in datagrams {
            shared.push_datagram(datagram);
        }
    }

    // ---- what the driver does for sessions

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
}
