//! A connection together with what must hold of it after every operation.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, StatusCode};
use wt_proto::{
    Dialect, DialectSet, Dir, InitialLimits, ProtocolViolation, Scope, SessionEnd, SessionId,
    SessionState, Side, StreamId,
    connection::{
        Action, BiRole, Config, ConnectError, Connection, Event, Refusal, Target, Transmit,
    },
    head::{RequestHead, UpgradeToken},
    stream_header::BiHeader,
    subprotocol,
};

use super::{decode::DIRS, input::Input};

/// What the application was told of a session.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// A server refused it: nothing more is told.
    pub(crate) rejected: bool,
    /// Established, as a client was told or as a server decided.
    pub(crate) open: bool,
    pub(crate) draining: bool,
    pub(crate) failed: Option<ConnectError>,
    pub(crate) end: Option<SessionEnd>,
    pub(crate) gone: bool,
}

/// A connection and all that is known of it from outside.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) conn: Connection,
    pub(crate) side: Side,
    pub(crate) now: Instant,
    /// Every session that was heard of, in order.
    pub(crate) told: BTreeMap<SessionId, Told>,
    /// Instructions that have not been carried out.
    pub(crate) out: Vec<Transmit>,
    /// Our halves of streams that were finished or reset.
    ended: HashSet<StreamId>,
    reset: HashSet<StreamId>,
    /// The peer's halves that were stopped.
    stopped: HashSet<StreamId>,
    /// Those of which nobody told the connection yet that they are.
    pub(crate) abandoned: Vec<StreamId>,
    requests: usize,
    pub(crate) refusals: Vec<Refusal>,
    /// Sessions whose credit is to be announced.
    due: Vec<SessionId>,
    /// The connection was to be closed with this.
    pub(crate) dead: Option<ProtocolViolation>,
}

/// Takes a configuration out of the input.
pub(crate) fn config(input: &mut Input<'_>, side: Side) -> Config {
    let mut config = Config::new(side);
    let bits = input.byte();
    config.dialects = match bits & 0b111 {
        0 | 1 => DialectSet::ALL,
        2 => DialectSet::only(Dialect::Draft02),
        3 => DialectSet::only(Dialect::Draft07),
        4 => DialectSet::only(Dialect::Draft13),
        _ => DialectSet::only(Dialect::Draft15),
    };
    config.grease = (bits & 0b1000 != 0).then_some(u32::from(bits));
    config.max_sessions = u64::from(bits >> 4) + 1;
    config.head_timeout = Duration::from_secs(10);
    let limits = input.byte();
    config.initial = InitialLimits {
        max_data: [0, 1, 100, 65_536][usize::from(limits & 0b11)],
        max_streams_bidi: [0, 1, 20, 1000][usize::from(limits >> 2 & 0b11)],
        max_streams_uni: [0, 1, 20, 1000][usize::from(limits >> 4 & 0b11)],
    };
    config
}

impl Endpoint {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let mut endpoint = Self {
            side: config.side,
            conn: Connection::new(config, now),
            now,
            told: BTreeMap::new(),
            out: Vec::new(),
            ended: HashSet::new(),
            reset: HashSet::new(),
            stopped: HashSet::new(),
            abandoned: Vec::new(),
            requests: 0,
            refusals: Vec::new(),
            due: Vec::new(),
            dead: None,
        };
        endpoint.check(0);
        endpoint
    }

    /// Notes what a call answered, and that a violation it answers with is one of the whole connection.
    pub(crate) fn answer<T>(&mut self, result: Result<T, ProtocolViolation>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(violation) => {
                assert_eq!(violation.scope(), Scope::Connection, "{violation}");
                self.dead.get_or_insert(violation);
                None
            }
        }
    }

    /// Drains the connection and checks everything; `input` bytes were handed in since the last time.
    pub(crate) fn check(&mut self, input: usize) {
        let (mut events, mut written) = (0, 0);
        for id in std::mem::take(&mut self.due) {
            self.conn.refresh_credit(id);
        }
        while let Some(event) = self.conn.poll_event() {
            events += 1;
            self.event(event);
        }
        while let Some(transmit) = self.conn.poll_transmit() {
            if let Action::Write(bytes) = &transmit.action {
                assert!(!bytes.is_empty());
                written += bytes.len();
            }
            if let Target::Request(id) = transmit.target {
                self.transmit(id, &transmit.action);
            }
            self.out.push(transmit);
        }
        // What a peer sends makes no more work than in proportion to it and to the requests there are.
        assert!(events <= 16 + input + 2 * self.requests, "{events} events");
        let most = 2048 + 32 * input + 256 * self.requests;
        assert!(written <= most, "{written} bytes for {input}");
        if self.dead.is_none() {
            self.check_sessions();
        }
    }

    fn transmit(&mut self, id: StreamId, action: &Action) {
        match action {
            Action::Write(_) => assert!(!self.ended.contains(&id), "bytes after the end of {id}"),
            Action::Finish => assert!(self.ended.insert(id), "{id} ended twice"),
            Action::Reset(_) => {
                self.ended.insert(id);
                assert!(self.reset.insert(id), "{id} reset twice");
            }
            Action::Stop(_) => {
                assert!(self.stopped.insert(id), "{id} stopped twice");
                self.abandoned.push(id);
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Settings => assert!(self.conn.peer_settings().is_some()),
            Event::GoAway => {}
            Event::Refused { refusal, .. } => {
                assert_eq!(self.side, Side::Server);
                self.refusals.push(refusal);
            }
            Event::Requested { id, .. } => {
                assert_eq!(self.side, Side::Server);
                let before = self.told.insert(id, Told::default());
                assert!(before.is_none(), "{id} requested twice");
            }
            Event::Established { id, .. } => {
                assert_eq!(self.side, Side::Client);
                let told = self.alive(id);
                assert!(!told.open, "{id} established twice");
                told.open = true;
            }
            Event::Failed { id, error, .. } => {
                let told = self.alive(id);
                assert!(!told.open, "{id} failed though it was open");
                told.failed = Some(error);
            }
            Event::Draining { id } => {
                let told = self.alive(id);
                assert!(
                    told.open && !told.draining,
                    "{id} drains twice or too early"
                );
                told.draining = true;
            }
            Event::CreditRaised { id } => assert!(self.alive(id).open),
            Event::CreditDue { id } => {
                assert!(self.alive(id).open);
                self.due.push(id);
            }
            Event::Closed { id, end } => {
                let told = self.alive(id);
                assert!(told.open, "{id} closed though it was never open");
                told.end = Some(end);
            }
            Event::Gone { id } => {
                let told = self.told.entry(id).or_default();
                assert!(!std::mem::replace(&mut told.gone, true), "{id} gone twice");
            }
            _ => {}
        }
    }

    /// The record of a session that events may still name.
    fn alive(&mut self, id: SessionId) -> &mut Told {
        let told = self.told.entry(id).or_default();
        assert!(
            told.end.is_none() && told.failed.is_none() && !told.gone,
            "an event after the end of {id}"
        );
        told
    }

    fn check_sessions(&self) {
        let states = self
            .told
            .keys()
            .filter_map(|id| self.conn.session_state(*id));
        let alive = states.filter(|state| !state.is_over()).count();
        assert_eq!(
            self.conn.session_count(),
            alive as u64,
            "the counter is wrong"
        );
        let open = self.conn.open_sessions().count();
        assert!(open <= alive);
        for (id, told) in &self.told {
            let state = self.conn.session_state(*id);
            assert_eq!(state.is_none(), told.gone || told.rejected);
            let over = state.is_none_or(SessionState::is_over);
            if told.end.is_some() || told.failed.is_some() {
                assert!(over, "{id} ended and goes on");
            } else if told.open {
                assert!(!over, "nobody was told of the end of {id}");
            }
        }
    }

    // ---- what the application does

    /// The `n`th session that was heard of.
    pub(crate) fn pick(&self, n: usize) -> Option<SessionId> {
        let count = self.told.len().max(1);
        self.told.keys().nth(n % count).copied()
    }

    /// Asks for a session on the stream `id`.
    pub(crate) fn connect(&mut self, id: StreamId, protocols: &[&str]) -> Option<SessionId> {
        let mut headers = HeaderMap::new();
        if !protocols.is_empty() {
            let offer = subprotocol::encode_offer(protocols).expect("plain names");
            headers.insert(subprotocol::WT_AVAILABLE_PROTOCOLS, offer);
        }
        headers.insert("user-agent", HeaderValue::from_static("fuzz"));
        let token = UpgradeToken::WebTransport;
        let head = RequestHead::webtransport("localhost:4433", "/path?query", token, headers);
        let possible = self.conn.can_connect();
        match self.conn.connect(id, head) {
            Ok(session) => {
                assert!(possible.is_ok());
                self.requests += 1;
                assert!(self.told.insert(session, Told::default()).is_none());
                Some(session)
            }
            Err(error) => {
                assert_eq!(possible, Err(error));
                None
            }
        }
    }

    /// Takes note that the peer opened a request stream.
    pub(crate) fn opened(&mut self, id: StreamId) {
        self.requests += 1;
        let role = self.conn.handle_bi(id, BiHeader::Request, self.now);
        assert_eq!(self.answer(role), Some(BiRole::Request));
    }

    pub(crate) fn accept(&mut self, id: SessionId, protocol: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(protocol) = protocol {
            let choice = subprotocol::encode_choice(protocol).expect("a plain name");
            headers.insert(subprotocol::WT_PROTOCOL, choice);
        }
        let connecting = self.conn.session_state(id) == Some(SessionState::Connecting);
        let accepted = self.conn.accept(id, StatusCode::OK, headers);
        // A violation may show itself in what waited behind the request, when the session is open already.
        if accepted != Ok(false) {
            assert!(connecting);
            self.told.entry(id).or_default().open = true;
        }
        self.answer(accepted);
    }

    pub(crate) fn reject(&mut self, id: SessionId, status: StatusCode) {
        if self.conn.session_state(id) == Some(SessionState::Connecting) {
            self.told.entry(id).or_default().rejected = true;
        }
        self.conn.reject(id, status, HeaderMap::new());
    }

    /// Does what `check` left for the moment when the CONNECT stream has room.
    pub(crate) fn announce(&mut self) -> bool {
        let due = !self.due.is_empty();
        self.check(0);
        due
    }

    /// Spends and grants credit of a session in some way.
    pub(crate) fn use_credit(&mut self, id: SessionId, input: &mut Input<'_>) {
        let Some(flow) = self.conn.flow(id) else {
            return;
        };
        let amount = input.number();
        for credit in [&flow.send_data, &flow.open_bidi, &flow.open_uni] {
            let available = credit.available();
            let got = credit.take(amount);
            assert_eq!(got, amount.min(available));
            if got < amount {
                // The peer is told below, if it is to know.
                let _ = credit.set_blocked();
            }
            assert!(credit.used() <= credit.limit());
        }
        // A stream must not end that did not begin.
        for dir in DIRS {
            let halves = if dir == Dir::Bi { 2 } else { 1 };
            let credit = flow.accept(dir);
            if credit.ended() < credit.opened() {
                for _ in 0..halves {
                    let _ = credit.end_half();
                }
            }
        }
        let unread = flow.recv_data.arrived() - flow.recv_data.consumed();
        let _ = flow.recv_data.consume(amount.min(unread));
        self.conn.refresh_credit(id);
    }
}
