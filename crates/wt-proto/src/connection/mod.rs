//! One HTTP/3 connection that carries WebTransport sessions (RFC 9114, draft-16).
//!
//! [`Connection`] is a value that is driven from outside. It never touches a socket or a clock:
//!
//! - `handle_*` says what arrived: the header of a stream, bytes of a critical or a request stream,
//!   their end, the passing of time;
//! - commands (`connect`, `accept`, `reject`, `close`, `drain`, `goaway`) say what the application
//!   wants;
//! - `poll_transmit` and `poll_event` say what should happen next, `deadline` when to call
//!   [`Connection::handle_timeout`].
//!
//! After any call, drain both polls until they are empty:
//!
//! ```text
//! connection.handle_request_data(id, bytes)?;      // Err: close the QUIC connection with its code
//! while let Some(transmit) = connection.poll_transmit() { /* write, finish, reset or stop */ }
//! while let Some(event) = connection.poll_event() { /* tell the application */ }
//! ```
//!
//! # Streams
//!
//! The caller reads the header of each new stream of the peer with [`crate::stream_header`] and brings it
//! to [`Connection::handle_uni`] or [`Connection::handle_bi`], which say what the stream is:
//!
//! | What | Its bytes | Its end, reset, STOP_SENDING |
//! |---|---|---|
//! | critical stream | `handle_critical_data` | `handle_critical_end`; also for STOP_SENDING on one of ours |
//! | request | `handle_request_data`, while `wants_request_data` | `handle_request_fin`, `_reset`, `_stopped` |
//! | stream of a session | the application's, after `accept_stream` | the application's; [`Flow`] counts |
//!
//! What belongs to a session that is not there yet is kept in [`crate::early::Early`] and goes through
//! `accept_stream` when the session is established. When [`Action::Stop`] stopped a request stream, nothing
//! more can arrive on it, and [`Connection::handle_request_abandoned`] says so.

mod command;
mod config;
mod connect;
mod control;
mod error;
mod output;
mod request;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) use self::output::Queues;
pub use self::{
    config::{Config, RawCapsules},
    control::Critical,
    error::{CannotConnect, ConnectError, Refusal},
    output::{Action, BiRole, Event, Route, Target, Transmit, UniRole},
};
use self::{
    control::{Control, ControlEvent},
    request::Request,
};
use crate::{
    Dialect, Dir, ErrorCode, InitialLimits, ProtocolViolation, SessionId, SessionState, Side,
    StreamId, coding,
    dialect::{DialectSet, Quirks},
    flow::Flow,
    frame,
    session::{Session, SessionInfo},
    settings::{Setting, Settings},
    stream_header::{BiHeader, UniHeader},
};

/// What the SETTINGS of the peer say.
#[derive(Clone, Debug)]
struct Peer {
    settings: Settings,
    quirks: Quirks,
    limits: InitialLimits,
}

/// The state of one HTTP/3 connection; see the [module](self) for how to drive it.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    control: Control,
    peer: Option<Peer>,
    /// Whether the peer's transport parameters allow QUIC datagrams; `None` until known.
    datagrams: Option<bool>,
    /// Boxed, since a map makes room for several at once and most connections carry one.
    requests: BTreeMap<StreamId, Box<Request>>,
    /// Requests whose head is complete and which wait for the peer's SETTINGS.
    held: VecDeque<StreamId>,
    /// Deadlines of the request heads that are not complete.
    heads_due: BTreeSet<(Instant, StreamId)>,
    settings_due: Option<Instant>,
    /// The client-initiated bidirectional stream after the last one whose kind is known.
    next_request: u64,
    /// Those before it whose kind is not known yet: their first bytes are late.
    undecided: BTreeSet<u64>,
    /// Requests that datagrams came for before their head.
    with_datagrams: BTreeSet<u64>,
    /// The id that our GOAWAY named.
    goaway_sent: Option<u64>,
    goaway_received: bool,
    out: Queues,
}

impl Connection {
    /// Creates a connection; its control and QPACK streams and its SETTINGS are ready to be sent.
    ///
    /// Connections may share a configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, now: Instant) -> Self {
        let config = config.into();
        let mut out = Queues::default();
        let grease = config.grease;
        let mut control = BytesMut::new();
        control.put_u8(0x00);
        config
            .offer()
            .settings()
            .encode_frame(grease.map(|n| (coding::grease(n).get(), 0)), &mut control);
        if let Some(n) = grease {
            encode_grease_frame(n, &mut control);
        }
        out.critical(Critical::Control, control.freeze());
        out.critical(Critical::QpackEncoder, Bytes::from_static(&[0x02]));
        out.critical(Critical::QpackDecoder, Bytes::from_static(&[0x03]));
        Self {
            control: Control::new(config.side),
            settings_due: Some(now + config.settings_timeout),
            config,
            peer: None,
            datagrams: None,
            requests: BTreeMap::new(),
            held: VecDeque::new(),
            heads_due: BTreeSet::new(),
            next_request: 0,
            undecided: BTreeSet::new(),
            with_datagrams: BTreeSet::new(),
            goaway_sent: None,
            goaway_received: false,
            out,
        }
    }

    // ---- what should happen next

    /// Returns the next instruction for the transport.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        output::pop(&mut self.out.transmits)
    }

    /// Returns the next instruction if it is for the stream of this request, for who has the stream at hand.
    pub fn poll_request_transmit(&mut self, request: StreamId) -> Option<Action> {
        let next = self.out.transmits.front()?;
        if next.target != Target::Request(request) {
            return None;
        }
        self.poll_transmit().map(|next| next.action)
    }

    /// Returns the next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        output::pop(&mut self.out.events)
    }

    /// Returns whether [`Self::poll_event`] has something to tell.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.out.events.is_empty()
    }

    /// Returns when [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let head = self.heads_due.first().map(|(due, _)| *due);
        head.into_iter().chain(self.settings_due).min()
    }

    // ---- getters

    /// Returns the peer's SETTINGS once they arrived.
    #[must_use]
    pub fn peer_settings(&self) -> Option<&Settings> {
        self.peer.as_ref().map(|peer| &peer.settings)
    }

    /// Returns the dialects that the peer offers, empty until its SETTINGS arrived.
    #[must_use]
    pub fn peer_dialects(&self) -> DialectSet {
        self.peer_settings()
            .map_or(DialectSet::EMPTY, DialectSet::offered)
    }

    /// Returns the credit of a session; `None` without flow control.
    #[must_use]
    pub fn flow(&self, id: SessionId) -> Option<Arc<Flow>> {
        self.session(id)?.flow.clone()
    }

    /// Returns the state of a session; `None` when there is none of this id.
    #[must_use]
    pub fn session_state(&self, id: SessionId) -> Option<SessionState> {
        Some(self.session(id)?.state)
    }

    /// Returns the dialect of a session.
    #[must_use]
    pub fn session_dialect(&self, id: SessionId) -> Option<Dialect> {
        Some(self.session(id)?.dialect)
    }

    /// Returns the number of sessions that are connecting or open.
    #[must_use]
    pub fn session_count(&self) -> u64 {
        let sessions = self
            .requests
            .values()
            .filter_map(|request| request.session());
        sessions.filter(|s| !s.state.is_over()).count() as u64
    }

    /// Returns what is known of a session; `None` when there is none of this id.
    #[must_use]
    pub fn session_info(&self, id: SessionId) -> Option<SessionInfo> {
        Some(self.session(id)?.info())
    }

    /// Returns whether a request stream or a session is alive in any state.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Returns the ids of the sessions that are open.
    pub fn open_sessions(&self) -> impl Iterator<Item = SessionId> {
        let sessions = self
            .requests
            .values()
            .filter_map(|request| request.session());
        sessions.filter(|s| s.state.is_open()).map(|s| s.id)
    }

    fn peer_setting(&self, setting: Setting) -> Option<u64> {
        self.peer_settings()?.get(setting)
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.requests.get(&id.stream_id())?.session()
    }

    fn session_mut(&mut self, id: SessionId) -> Option<(&mut Session, &mut Queues)> {
        let session = self.requests.get_mut(&id.stream_id())?.session_mut()?;
        Some((session, &mut self.out))
    }

    // ---- what arrived: transport and control

    /// Takes note of the peer's transport parameters: whether it takes QUIC datagrams.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::SettingsInvalidValue`] when SETTINGS said otherwise (RFC 9297, 2.1.1).
    pub fn handle_transport_parameters(
        &mut self,
        datagrams: bool,
    ) -> Result<(), ProtocolViolation> {
        self.datagrams = Some(datagrams);
        self.check_datagrams()
    }

    fn check_datagrams(&self) -> Result<(), ProtocolViolation> {
        let promised = self.peer_setting(Setting::SETTINGS_H3_DATAGRAM) == Some(1);
        if promised && self.datagrams == Some(false) {
            return Err(ProtocolViolation::SettingsInvalidValue);
        }
        Ok(())
    }

    /// Takes note of the header of a unidirectional stream of the peer and says what the stream is.
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection.
    pub fn handle_uni(&mut self, header: UniHeader) -> Result<UniRole, ProtocolViolation> {
        let critical = match header {
            UniHeader::Control => Critical::Control,
            UniHeader::QpackEncoder => Critical::QpackEncoder,
            UniHeader::QpackDecoder => Critical::QpackDecoder,
            UniHeader::WebTransport(id) => return Ok(UniRole::WebTransport(id)),
            UniHeader::Push if self.config.side == Side::Server => {
                return Err(ProtocolViolation::PushStream);
            }
            UniHeader::Push => return Err(ProtocolViolation::PushId),
            _ => return Ok(UniRole::Discard(ErrorCode::H3_STREAM_CREATION_ERROR)),
        };
        self.control.open(critical)?;
        Ok(UniRole::Critical(critical))
    }

    /// Processes bytes of a critical stream of the peer.
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection.
    pub fn handle_critical_data(
        &mut self,
        which: Critical,
        bytes: Bytes,
    ) -> Result<(), ProtocolViolation> {
        self.control.push(which, bytes)?;
        while let Some(event) = self.control.next()? {
            match event {
                ControlEvent::Settings(settings) => self.handle_settings(settings)?,
                ControlEvent::GoAway(id) => self.handle_goaway(id),
            }
        }
        Ok(())
    }

    /// Returns the violation that the end of a critical stream is (RFC 9114, 6.2.1).
    #[must_use]
    pub const fn handle_critical_end(&self, _which: Critical) -> ProtocolViolation {
        ProtocolViolation::CriticalStreamClosed
    }

    fn handle_settings(&mut self, settings: Settings) -> Result<(), ProtocolViolation> {
        let mut quirks = Quirks::detect(&settings);
        match self.config.raw_capsules {
            RawCapsules::Auto => {}
            RawCapsules::Always => quirks.raw_capsules = true,
            RawCapsules::Never => quirks.raw_capsules = false,
        }
        let limits = InitialLimits::from_settings(&settings);
        self.peer = Some(Peer {
            settings,
            quirks,
            limits,
        });
        self.settings_due = None;
        self.check_datagrams()?;
        self.out.event(Event::Settings);
        for id in std::mem::take(&mut self.held) {
            self.process_request(id);
        }
        Ok(())
    }

    fn handle_goaway(&mut self, id: u64) {
        self.goaway_received = true;
        self.out.event(Event::GoAway);
        for (stream, request) in &mut self.requests {
            let Some(session) = request.session_mut() else {
                continue;
            };
            let unprocessed = self.config.side == Side::Client && stream.get() >= id;
            if unprocessed && session.state == SessionState::Connecting {
                session.cancel(&mut self.out, ErrorCode::H3_REQUEST_CANCELLED);
                let error = ConnectError::Rejected(ErrorCode::H3_REQUEST_REJECTED);
                self.out.event(Event::Failed {
                    id: session.id,
                    dialect: session.dialect,
                    error,
                });
            } else {
                // GOAWAY asks every session to finish (draft-16, 4.7).
                session.handle_drain(&mut self.out);
            }
        }
    }

    /// Processes the passing of time.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::MissingSettings`] when the peer's SETTINGS are overdue.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ProtocolViolation> {
        if self.settings_due.is_some_and(|due| due <= now) {
            return Err(ProtocolViolation::MissingSettings);
        }
        while let Some((due, id)) = self.heads_due.first().copied()
            && due <= now
        {
            self.heads_due.pop_first();
            self.abort_request(id, ProtocolViolation::RequestIncomplete);
        }
        Ok(())
    }

    // ---- streams and datagrams of sessions

    /// Takes note of the header of a bidirectional stream of the peer and says what the stream is.
    ///
    /// A stream that ends or is reset before its header is known goes to [`Self::handle_bidi_opened`].
    ///
    /// # Errors
    ///
    /// The violation with which to close the connection: a server opened a request stream.
    pub fn handle_bi(
        &mut self,
        id: StreamId,
        header: BiHeader,
        now: Instant,
    ) -> Result<BiRole, ProtocolViolation> {
        match header {
            BiHeader::WebTransport(session) => {
                self.handle_bidi_opened(id);
                Ok(BiRole::WebTransport(session))
            }
            BiHeader::Request if self.config.side == Side::Client => {
                Err(ProtocolViolation::UnexpectedServerStream)
            }
            BiHeader::Request => {
                self.handle_request_opened(id, now);
                Ok(BiRole::Request)
            }
        }
    }

    /// Takes note that a bidirectional stream of the peer is no request, or is over before it said what it is.
    ///
    /// Call it when the kind of the stream is known and not before: until then it may be the CONNECT of a
    /// session whose streams and datagrams overtook it, and these are kept.
    pub fn handle_bidi_opened(&mut self, id: StreamId) {
        self.note_opened(id);
        self.with_datagrams.remove(&id.get());
    }

    fn note_opened(&mut self, id: StreamId) {
        /// More than any transport lets a peer open; it only bounds the damage of a wrong id.
        const MAX_UNDECIDED: u64 = 1 << 16;
        if self.config.side == Side::Client {
            return;
        }
        let id = id.get();
        if id < self.next_request {
            self.undecided.remove(&id);
            return;
        }
        let first = self.next_request.max(id.saturating_sub(4 * MAX_UNDECIDED));
        self.undecided.extend((first..id).step_by(4));
        self.next_request = id + 4;
    }

    /// Says where a stream of the peer belongs, and counts it against the credit of its session.
    ///
    /// A stream over the limit ends its session (draft-16, 5.6.2) and is rejected.
    pub fn accept_stream(&mut self, session: SessionId, dir: Dir) -> Route {
        let route = self.route(session);
        if route == Route::Deliver
            && let Some((session, out)) = self.session_mut(session)
            && let Some(flow) = session.flow.clone()
        {
            if let Err(violation) = flow.accept(dir).open() {
                session.violate(out, violation);
                return Route::Reject(ErrorCode::WT_SESSION_GONE);
            }
            // Earlier streams may have ended without an announcement being worth it then.
            if flow.accept(dir).is_short() {
                session.want_credit(out);
            }
        }
        route
    }

    /// Takes note of a datagram and says where it belongs.
    ///
    /// `allowed` is how many bidirectional streams QUIC has let the client open until now, or more.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation::DatagramBeyondLimit`] for a request that cannot have been made (RFC 9297, 2.1).
    pub fn handle_datagram(
        &mut self,
        session: SessionId,
        allowed: u64,
    ) -> Result<Route, ProtocolViolation> {
        /// More than any caller keeps datagrams for.
        const MAX_REMEMBERED: usize = 256;
        let is_server = self.config.side == Side::Server;
        if is_server && session.stream_id().index() >= allowed {
            return Err(ProtocolViolation::DatagramBeyondLimit);
        }
        let route = self.route(session);
        let has_session = self.session(session).is_some();
        if route == Route::Early && !has_session && self.with_datagrams.len() < MAX_REMEMBERED {
            self.with_datagrams.insert(session.get());
        }
        Ok(route)
    }

    /// Says where a stream or a datagram belongs.
    #[must_use]
    pub fn route(&self, session: SessionId) -> Route {
        let id = session.get();
        match self.requests.get(&session.stream_id()) {
            Some(request) => match request.session().map(|s| s.state) {
                Some(state) if state.is_open() => Route::Deliver,
                Some(SessionState::Connecting) => Route::Early,
                None if request.may_become_session() => Route::Early,
                _ => Route::Reject(ErrorCode::WT_SESSION_GONE),
            },
            // A server may see streams before their CONNECT. What was decided before and is not in the
            // table is over, or never was a session.
            None if self.config.side == Side::Server
                && (id >= self.next_request || self.undecided.contains(&id)) =>
            {
                Route::Early
            }
            None => Route::Reject(ErrorCode::WT_SESSION_GONE),
        }
    }

    /// Ends a session whose peer sent more bytes than it may.
    ///
    /// The caller counts bytes with [`Flow`] and brings the violation here.
    pub fn handle_violation(&mut self, id: SessionId, violation: ProtocolViolation) {
        if let Some((session, out)) = self.session_mut(id)
            && session.state.is_open()
        {
            session.violate(out, violation);
        }
    }

    /// Announces the credit of a session that is due, and tells the peer what we wait for.
    ///
    /// Call it when [`Flow`] says so and what was written to the CONNECT stream before has left:
    /// then at most one announcement of each kind waits, however slowly the peer reads.
    pub fn refresh_credit(&mut self, id: SessionId) {
        if let Some((session, out)) = self.session_mut(id) {
            session.refresh_credit(out);
        }
    }

    // ---- for all parts of the connection

    fn new_session(&self, id: SessionId, dialect: Dialect, path: Option<String>) -> Session {
        let raw = self.peer.as_ref().is_some_and(|p| p.quirks.raw_capsules);
        Session::new(
            id,
            dialect,
            path.unwrap_or_default(),
            self.flow_for(dialect),
            raw,
        )
    }

    /// Returns whether flow control is on for sessions of `dialect` (draft-16, 5.1).
    fn flow_for(&self, dialect: Dialect) -> Option<Arc<Flow>> {
        let peer = self.peer.as_ref()?;
        if !dialect.has_flow_control() || !self.config.initial.wants_flow_control() {
            return None;
        }
        let theirs = if peer.quirks.one_sided_flow_control {
            peer.limits.zero_is_unlimited()
        } else if peer.limits.wants_flow_control() {
            peer.limits
        } else {
            return None;
        };
        Some(Arc::new(Flow::new(self.config.initial, theirs)))
    }
}

/// Writes a frame of a reserved type to show that unknown frames are skipped.
///
/// Its length and its payload are reserved types themselves: there are peers in use that decide by
/// the type before they read the length, and what they then take for further frames is unknown to
/// them again, instead of being an error.
fn encode_grease_frame(n: u32, out: &mut BytesMut) {
    const FILL: [u8; 0x21] = [0x21; 0x21];
    frame::encode_grease(n, &FILL, out);
}

/// Encodes a message head as a HEADERS frame.
fn encode_head(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut block = BytesMut::new();
    encode(&mut block);
    let mut out = BytesMut::with_capacity(block.len() + 9);
    frame::encode_headers(&block, &mut out);
    out.freeze()
}
