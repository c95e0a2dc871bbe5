//! One connection against a peer that sends anything.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use wt_proto::{
    Dir, ErrorCode, ProtocolViolation, SessionId, Side, StreamId,
    connection::{Connection, Critical, RawCapsules, Route, UniRole},
    settings::{Setting, Settings},
    stream_header::UniHeader,
};

use super::{
    decode::DIRS,
    endpoint::{Endpoint, config},
    input::Input,
};

const CRITICAL: [Critical; 3] = [
    Critical::Control,
    Critical::QpackEncoder,
    Critical::QpackDecoder,
];

/// Any bytes on any stream, in any order.
pub(crate) fn peer(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.byte();
    let side = if bits & 1 == 0 {
        Side::Server
    } else {
        Side::Client
    };
    let mut config = config(&mut input, side);
    config.raw_capsules = match bits >> 1 & 0b11 {
        0 | 1 => RawCapsules::Never,
        2 => RawCapsules::Auto,
        _ => RawCapsules::Always,
    };
    let mut peer = Peer {
        endpoint: Endpoint::new(config, Instant::now()),
        open: Vec::new(),
        next: 0,
        input: 0,
    };
    if bits & 0b1000 != 0 {
        peer.settings();
        peer.endpoint.check(64);
    }
    while !input.is_empty() && peer.endpoint.dead.is_none() {
        peer.input = 0;
        peer.step(&mut input);
        peer.endpoint.check(peer.input);
    }
}

struct Peer {
    endpoint: Endpoint,
    /// The peer's critical streams that are open.
    open: Vec<Critical>,
    /// The number of the next request stream.
    next: u64,
    /// Bytes that were sent in this step.
    input: usize,
}

impl Peer {
    fn conn(&mut self) -> &mut Connection {
        &mut self.endpoint.conn
    }

    /// Sends what a good peer begins with.
    fn settings(&mut self) {
        let settings = Settings::new()
            .with(Setting::SETTINGS_ENABLE_CONNECT_PROTOCOL, 1_u8)
            .with(Setting::SETTINGS_H3_DATAGRAM, 1_u8)
            .with(Setting::SETTINGS_WT_ENABLED, 1_u8)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_DATA, 1000_u16)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_BIDI, 10_u8)
            .with(Setting::SETTINGS_WT_INITIAL_MAX_STREAMS_UNI, 10_u8);
        let mut bytes = BytesMut::new();
        settings.encode_frame(None, &mut bytes);
        self.uni(&[0]);
        self.critical(Critical::Control, bytes.freeze());
    }

    /// Opens a unidirectional stream.
    fn uni(&mut self, header: &[u8]) {
        let mut rest = header;
        let Some(Some(header)) = self.endpoint.answer(UniHeader::decode(&mut rest)) else {
            return;
        };
        let role = self.conn().handle_uni(header);
        match self.endpoint.answer(role) {
            Some(UniRole::Critical(which)) => {
                assert!(!self.open.contains(&which), "a second one was let in");
                self.open.push(which);
                self.critical(which, Bytes::copy_from_slice(rest));
            }
            Some(UniRole::WebTransport(session)) => self.stream(session, Dir::Uni),
            _ => {}
        }
    }

    fn critical(&mut self, which: Critical, bytes: Bytes) {
        self.input += bytes.len();
        if self.open.contains(&which) {
            let result = self.conn().handle_critical_data(which, bytes);
            self.endpoint.answer(result);
        }
    }

    fn stream(&mut self, session: SessionId, dir: Dir) {
        let before = self.conn().route(session);
        let route = self.conn().accept_stream(session, dir);
        // A stream is delivered where datagrams are, unless it is one too many.
        assert!(route == before || matches!((before, route), (Route::Deliver, Route::Reject(_))));
        self.input += 8;
    }

    /// A request stream: most of the time one that was opened.
    fn request(&self, input: &mut Input<'_>) -> StreamId {
        let index = (input.below(8) as u64).min(self.next);
        StreamId::from_parts(Side::Client, Dir::Bi, index).expect("a small number")
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let server = self.endpoint.side == Side::Server;
        match input.below(20) {
            0 => {
                let header = input.piece();
                self.uni(header);
            }
            1 | 2 => {
                let which = CRITICAL[input.below(3)];
                let bytes = input.bytes();
                self.critical(which, bytes);
            }
            3 | 4 => {
                let id = StreamId::from_parts(Side::Client, Dir::Bi, self.next);
                let id = id.expect("a small number");
                self.next += 1;
                if server {
                    self.endpoint.opened(id);
                    let bytes = input.bytes();
                    self.data(id, bytes);
                } else {
                    let offer: &[&str] = if input.bit() { &["a", "b"] } else { &[] };
                    self.endpoint.connect(id, offer);
                }
            }
            5..=8 => {
                let id = self.request(input);
                let bytes = input.bytes();
                self.data(id, bytes);
            }
            9 => {
                let id = self.request(input);
                let result = self.conn().handle_request_fin(id);
                self.endpoint.answer(result);
                // It is remembered only while its answer is owed.
                let remembered = self.conn().has_request(id);
                let owed = !self.conn().wants_request_data(id);
                assert!(!remembered || owed || self.endpoint.dead.is_some());
            }
            10 => {
                let id = self.request(input);
                let code = ErrorCode::new(input.number()).expect("a small number");
                self.conn().handle_request_reset(id, code);
                assert!(!self.conn().has_request(id));
            }
            11 => {
                let id = self.request(input);
                let code = ErrorCode::new(input.number()).expect("a small number");
                self.conn().handle_request_stopped(id, code);
            }
            12 => {
                if let Some(id) = self.endpoint.abandoned.pop() {
                    self.conn().handle_request_abandoned(id);
                    assert!(!self.conn().has_request(id));
                }
            }
            13 => {
                // Time goes by; what is due does not stay due.
                self.endpoint.now += Duration::from_secs(u64::from(input.byte() % 16));
                let now = self.endpoint.now;
                let result = self.conn().handle_timeout(now);
                self.endpoint.answer(result);
                let due = self.conn().deadline();
                assert!(due.is_none_or(|due| due > now) || self.endpoint.dead.is_some());
            }
            14 => {
                let taken = self.conn().handle_transport_parameters(input.bit());
                self.endpoint.answer(taken);
            }
            15 => {
                let quarter = u64::from(input.byte() % 16);
                let session = SessionId::from_quarter(quarter).expect("a small number");
                let dir = DIRS[input.below(2)];
                self.stream(session, dir);
            }
            16 => {
                // A stream that is no request, and some whose first bytes are late.
                self.next += input.below(4) as u64;
                let id = StreamId::from_parts(Side::Client, Dir::Bi, self.next);
                self.conn().handle_bidi_opened(id.expect("a small number"));
                self.next += 1;
                let which = CRITICAL[input.below(3)];
                let violation = self.conn().handle_critical_end(which);
                assert_eq!(violation, ProtocolViolation::CriticalStreamClosed);
            }
            17 => {
                let quarter = u64::from(input.byte() % 16);
                let session = SessionId::from_quarter(quarter).expect("a small number");
                let allowed = self.next + u64::from(input.byte() % 16);
                let route = self.conn().handle_datagram(session, allowed);
                let beyond = server && quarter >= allowed;
                assert_eq!(route.is_err(), beyond);
                self.endpoint.answer(route);
            }
            _ => self.application(input),
        }
    }

    fn data(&mut self, id: StreamId, bytes: Bytes) {
        self.input += bytes.len();
        let result = self.conn().handle_request_data(id, bytes);
        self.endpoint.answer(result);
    }

    fn application(&mut self, input: &mut Input<'_>) {
        let op = input.below(8);
        let n = input.below(16);
        let picked = self.endpoint.pick(n);
        let session = picked.unwrap_or(SessionId::new(0).expect("0 is a session"));
        // Capsules that waited are answered now.
        self.input += 4096;
        match op {
            0..=2 if self.endpoint.side == Side::Server => self.endpoint.accept(session, None),
            3 if self.endpoint.side == Side::Server => {
                self.endpoint.reject(session, StatusCode::FORBIDDEN);
            }
            4 => {
                let reason = input.text();
                self.conn().close(session, u32::from(input.byte()), &reason);
            }
            5 => self.conn().drain(session),
            6 => self.conn().goaway(),
            7 => self
                .conn()
                .handle_violation(session, ProtocolViolation::DataLimitExceeded),
            _ => self.endpoint.use_credit(session, input),
        }
    }
}
