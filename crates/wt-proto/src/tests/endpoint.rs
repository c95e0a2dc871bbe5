//! One end: what a caller of [`Connection`] has to do, and no more.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use super::{Net, Packet};
use crate::{
    Dir, ErrorCode, ProtocolViolation, SessionId, SessionState, Side, StreamId,
    connection::{Action, CannotConnect, Config, Connection, Critical, Event, Target},
    datagram,
    early::{Early, EarlyLimits},
    head::{RequestHead, UpgradeToken},
    stream_header,
};

/// What a receiving half is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Unknown,
    Critical(Critical),
    Request,
    Session(SessionId),
    Discard,
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) role: Role,
    /// Arrived and not taken yet.
    pub(super) buf: BytesMut,
    pub(super) fin: bool,
}

/// The application's view of a stream of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) body: Vec<u8>,
    pub(crate) fin: bool,
    pub(crate) reset: Option<ErrorCode>,
    pub(crate) stopped: Option<ErrorCode>,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) side: Side,
    pub(crate) conn: Connection,
    pub(crate) early: Early<StreamId>,
    pub(crate) events: Vec<Event>,
    /// The violation for which this end closed the connection.
    pub(crate) violation: Option<ProtocolViolation>,
    /// The code with which the peer closed it.
    pub(crate) closed: Option<ErrorCode>,
    /// A server that answers by itself: the status and the fields of every answer.
    pub(crate) answer: Option<(StatusCode, HeaderMap)>,
    /// Whether the application reads the bodies of streams.
    pub(crate) reading: bool,
    pub(crate) streams: HashMap<StreamId, Received>,
    pub(crate) accepted: Vec<(SessionId, StreamId)>,
    pub(crate) datagrams: Vec<(SessionId, Bytes)>,
    /// What was reset or stopped by this end.
    pub(crate) rejected: Vec<(StreamId, ErrorCode)>,
    pub(super) incoming: HashMap<StreamId, Incoming>,
    /// Streams that belong to sessions, and their open halves here: sending, receiving.
    pub(super) halves: HashMap<StreamId, (SessionId, bool, bool)>,
    pub(super) critical: HashMap<Critical, StreamId>,
    pub(super) stopped: HashSet<StreamId>,
    pub(super) next: [u64; 2],
}

impl Endpoint {
    pub(crate) fn new(config: Config, early: EarlyLimits, net: &Net) -> Self {
        let side = config.side;
        Self {
            side,
            conn: Connection::new(config, net.now),
            early: Early::new(early),
            events: Vec::new(),
            violation: None,
            closed: None,
            answer: (side == Side::Server).then(|| (StatusCode::OK, HeaderMap::new())),
            reading: true,
            streams: HashMap::new(),
            accepted: Vec::new(),
            datagrams: Vec::new(),
            rejected: Vec::new(),
            incoming: HashMap::new(),
            halves: HashMap::new(),
            critical: HashMap::new(),
            stopped: HashSet::new(),
            next: [0; 2],
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.violation.is_none() && self.closed.is_none()
    }

    /// Opens a QUIC stream.
    pub(crate) fn open(&mut self, dir: Dir) -> StreamId {
        let next = &mut self.next[usize::from(dir == Dir::Uni)];
        let id = StreamId::from_parts(self.side, dir, *next).unwrap();
        *next += 1;
        id
    }

    /// Takes no notice of what the peer answers on a stream.
    pub(crate) fn ignore(&mut self, id: StreamId) {
        self.incoming(id).role = Role::Discard;
    }

    /// Returns the stream on which this end sends a critical stream.
    pub(crate) fn critical(&self, which: Critical) -> StreamId {
        self.critical[&which]
    }

    // ---- the application

    pub(crate) fn connect(
        &mut self,
        net: &mut Net,
        headers: HeaderMap,
    ) -> Result<SessionId, CannotConnect> {
        let head =
            RequestHead::webtransport("example.com", "/", UpgradeToken::WebTransport, headers);
        self.conn.can_connect()?;
        let id = self.open(Dir::Bi);
        let session = self.conn.connect(id, head)?;
        self.pump(net);
        Ok(session)
    }

    /// Opens a stream of a session, if there is credit.
    pub(crate) fn open_stream(
        &mut self,
        net: &mut Net,
        session: SessionId,
        dir: Dir,
    ) -> Option<StreamId> {
        if let Some(flow) = self.conn.flow(session)
            && flow.open(dir).take(1) == 0
        {
            if flow.open(dir).set_blocked() {
                self.conn.refresh_credit(session);
            }
            self.pump(net);
            return None;
        }
        let id = self.open(dir);
        let header = match dir {
            Dir::Bi => stream_header::encode_bi(session),
            Dir::Uni => stream_header::encode_uni(session),
        };
        self.halves.insert(id, (session, true, dir == Dir::Bi));
        if dir == Dir::Bi {
            let role = Role::Session(session);
            let buf = BytesMut::new();
            self.incoming.insert(
                id,
                Incoming {
                    role,
                    buf,
                    fin: false,
                },
            );
            self.streams.entry(id).or_default();
        }
        let header = Bytes::copy_from_slice(header.as_slice());
        net.send(!self.side, Packet::Data(id, header));
        Some(id)
    }

    /// Writes to a stream as much as there is credit for.
    pub(crate) fn write(&mut self, net: &mut Net, id: StreamId, bytes: &[u8]) -> usize {
        let (session, ..) = self.halves[&id];
        let mut len = bytes.len();
        if let Some(flow) = self.conn.flow(session) {
            len = flow.send_data.take(len as u64) as usize;
            if len < bytes.len() {
                if flow.send_data.set_blocked() {
                    self.conn.refresh_credit(session);
                }
                self.pump(net);
            }
        }
        if len > 0 {
            let bytes = Bytes::copy_from_slice(&bytes[..len]);
            net.send(!self.side, Packet::Data(id, bytes));
        }
        len
    }

    pub(crate) fn finish(&mut self, net: &mut Net, id: StreamId) {
        net.send(!self.side, Packet::Fin(id));
        self.end_half(net, id, true);
    }

    pub(crate) fn reset(&mut self, net: &mut Net, id: StreamId, code: ErrorCode) {
        net.send(!self.side, Packet::Reset(id, code));
        self.end_half(net, id, true);
    }

    pub(crate) fn send_datagram(&mut self, net: &mut Net, session: SessionId, payload: &[u8]) {
        let bytes = [datagram::header(session).as_slice(), payload].concat();
        net.send(!self.side, Packet::Datagram(bytes.into()));
    }

    // ---- the transport

    pub(super) fn end_half(&mut self, net: &mut Net, id: StreamId, sending: bool) {
        let Some((session, send, recv)) = self.halves.get_mut(&id) else {
            return;
        };
        let open = if sending { send } else { recv };
        if !std::mem::replace(open, false) {
            return;
        }
        let session = *session;
        if id.initiator() != self.side
            && let Some(flow) = self.conn.flow(session)
            && flow.accept(id.dir()).end_half()
        {
            self.conn.refresh_credit(session);
            self.pump(net);
        }
    }

    /// Resets and stops what is open of the streams of a session (draft-16, 6).
    fn end_streams(&mut self, net: &mut Net, session: SessionId) {
        let of_session = self.halves.iter().filter(|(_, half)| half.0 == session);
        let ids: Vec<_> = of_session.map(|(id, half)| (*id, half.1, half.2)).collect();
        for (id, send, recv) in ids {
            self.turn_away(net, id, send, recv, ErrorCode::WT_SESSION_GONE);
            self.halves.remove(&id);
        }
        let (streams, _) = self.early.take(session);
        for id in streams {
            self.turn_away(
                net,
                id,
                id.dir() == Dir::Bi,
                true,
                ErrorCode::WT_SESSION_GONE,
            );
        }
    }

    pub(super) fn turn_away(
        &mut self,
        net: &mut Net,
        id: StreamId,
        send: bool,
        recv: bool,
        code: ErrorCode,
    ) {
        if send {
            net.send(!self.side, Packet::Reset(id, code));
        }
        if recv {
            net.send(!self.side, Packet::Stop(id, code));
            self.stopped.insert(id);
        }
        self.rejected.push((id, code));
    }

    pub(super) fn fail(&mut self, net: &mut Net, result: Result<(), ProtocolViolation>) {
        if let Err(violation) = result
            && self.violation.is_none()
        {
            self.violation = Some(violation);
            net.send(!self.side, Packet::Close(violation.code()));
        }
    }

    pub(crate) fn handle_timeout(&mut self, net: &mut Net) {
        if !self.is_alive() {
            return;
        }
        let result = self.conn.handle_timeout(net.now);
        self.fail(net, result);
        for id in self.early.expire(net.now) {
            let code = ErrorCode::WT_BUFFERED_STREAM_REJECTED;
            self.turn_away(net, id, id.dir() == Dir::Bi, true, code);
        }
        self.pump(net);
    }

    /// Does what the connection asks for until there is nothing left.
    pub(crate) fn pump(&mut self, net: &mut Net) {
        loop {
            let mut idle = true;
            while let Some(transmit) = self.conn.poll_transmit() {
                idle = false;
                self.transmit(net, transmit.target, transmit.action);
            }
            while let Some(event) = self.conn.poll_event() {
                idle = false;
                self.handle_event(net, &event);
                self.events.push(event);
            }
            let requests = self.incoming.iter();
            let waiting: Vec<_> = requests
                .filter(|(_, i)| i.role == Role::Request && (i.fin || !i.buf.is_empty()))
                .map(|(id, _)| *id)
                .filter(|id| self.conn.wants_request_data(*id) && !self.stopped.contains(id))
                .collect();
            for id in waiting {
                idle = false;
                let result = self.process_request(id);
                self.fail(net, result);
            }
            if idle || !self.is_alive() {
                return;
            }
        }
    }

    fn transmit(&mut self, net: &mut Net, target: Target, action: Action) {
        let id = match target {
            Target::Critical(which) => match self.critical.get(&which) {
                Some(id) => *id,
                None => {
                    let id = self.open(Dir::Uni);
                    self.critical.insert(which, id);
                    id
                }
            },
            Target::Request(id) => {
                if id.initiator() == self.side {
                    self.incoming(id).role = Role::Request;
                }
                id
            }
        };
        let packet = match action {
            Action::Write(bytes) => Packet::Data(id, bytes),
            Action::Finish => Packet::Fin(id),
            Action::Reset(code) => Packet::Reset(id, code),
            Action::Stop(code) => {
                self.stopped.insert(id);
                self.conn.handle_request_abandoned(id);
                Packet::Stop(id, code)
            }
        };
        net.send(!self.side, packet);
    }

    fn handle_event(&mut self, net: &mut Net, event: &Event) {
        match *event {
            Event::Requested { id, .. } => {
                if let Some((status, headers)) = self.answer.clone() {
                    self.respond(net, id, status, headers);
                }
            }
            Event::Established { id, .. } => self.begin(net, id),
            Event::Datagram { id, ref payload } => self.datagrams.push((id, payload.clone())),
            Event::CreditDue { id } => self.conn.refresh_credit(id),
            Event::Failed { id, .. } | Event::Closed { id, .. } => self.end_streams(net, id),
            _ => {}
        }
    }

    /// Answers a request.
    pub(crate) fn respond(
        &mut self,
        net: &mut Net,
        id: SessionId,
        status: StatusCode,
        headers: HeaderMap,
    ) {
        if status.is_success() {
            let result = self.conn.accept(id, status, headers).map(|_| ());
            self.fail(net, result);
            self.begin(net, id);
        } else {
            self.conn.reject(id, status, headers);
            self.end_streams(net, id);
        }
    }

    /// Takes in what came before its session.
    fn begin(&mut self, net: &mut Net, session: SessionId) {
        if self
            .conn
            .session_state(session)
            .is_none_or(SessionState::is_over)
        {
            return;
        }
        let (streams, datagrams) = self.early.take(session);
        self.datagrams
            .extend(datagrams.into_iter().map(|d| (session, d)));
        for id in streams {
            self.place(net, id, session);
            let result = self.process(net, id);
            self.fail(net, result);
        }
    }
}
