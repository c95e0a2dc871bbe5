//! Two connections joined: any operations of two honest applications, any order of delivery, and, where the input
//! says so, bytes that neither of them sent.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use http::StatusCode;
use wt_proto::{
    Dir, ErrorCode, Initiator, SessionEnd, SessionId, SessionState, Side, StreamId,
    connection::{Action, ConnectError, Critical, RawCapsules, Refusal, Target, UniRole},
    stream_header::UniHeader,
};

use super::{
    decode::DIRS,
    endpoint::{Endpoint, config},
    input::Input,
};

/// Rounds after which two ends that are left alone must have come to rest.
const REST: usize = 1000;

/// One direction of a stream: who sends is named by its place.
#[derive(Debug, Default)]
struct Pipe {
    queue: VecDeque<Item>,
    /// The reader wants no more.
    stopped: bool,
    /// The sender said all that it will say.
    ended: bool,
}

#[derive(Debug)]
enum Item {
    Data(Bytes),
    Fin,
    Reset(ErrorCode),
    /// The other direction, seen from its sender: its reader stopped it.
    Stop(ErrorCode),
}

/// What sends to whom: the sending side and the stream.
type Way = (usize, Target);

struct Pair {
    /// The client and the server.
    ends: [Endpoint; 2],
    pipes: BTreeMap<(usize, u64), (Target, Pipe)>,
    /// The critical streams whose type was read.
    known: BTreeSet<(usize, u64)>,
    /// Bytes and streams of sessions that are on their way: the sender, the session, how much.
    bodies: Vec<(usize, SessionId, Load)>,
    next: u64,
    /// Bytes came that neither side sent.
    forged: bool,
    /// The transport reset or stopped a request stream by itself.
    broken: bool,
}

#[derive(Clone, Copy, Debug)]
enum Load {
    Bytes(u64),
    Stream(Dir),
}

/// A number for the stream, so that pipes have an order.
fn key(target: Target) -> u64 {
    match target {
        Target::Critical(Critical::Control) => 1,
        Target::Critical(Critical::QpackEncoder) => 2,
        Target::Critical(Critical::QpackDecoder) => 3,
        Target::Request(id) => 4 + id.get(),
    }
}

/// Any operations.
pub(crate) fn pair(data: &[u8]) {
    let mut input = Input::new(data);
    let raw = input.byte();
    let now = Instant::now();
    let ends = [Side::Client, Side::Server].map(|side| {
        let mut config = config(&mut input, side);
        config.raw_capsules = if raw % 8 == 1 {
            RawCapsules::Always
        } else {
            RawCapsules::Auto
        };
        Endpoint::new(config, now)
    });
    let mut pair = Pair {
        ends,
        pipes: BTreeMap::new(),
        known: BTreeSet::new(),
        bodies: Vec::new(),
        next: 0,
        forged: false,
        broken: false,
    };
    pair.settle(0);
    while !input.is_empty() && pair.alive() {
        pair.step(&mut input);
    }
    if !pair.forged {
        assert!(pair.alive(), "honest ends accuse each other: {pair:?}");
        pair.finish();
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(
                self.ends
                    .iter()
                    .map(|end| (end.side, end.dead, &end.told, &end.refusals)),
            )
            .finish()
    }
}

impl Pair {
    fn alive(&self) -> bool {
        self.ends.iter().all(|end| end.dead.is_none())
    }

    /// Checks both ends and puts what they send on its way.
    fn settle(&mut self, input: usize) {
        for from in 0..2 {
            self.ends[from].check(input);
            for transmit in std::mem::take(&mut self.ends[from].out) {
                self.carry(from, transmit.target, transmit.action);
            }
        }
        if !self.forged {
            self.check_honesty();
        }
    }

    fn pipe(&mut self, (from, target): Way) -> &mut Pipe {
        let entry = self.pipes.entry((from, key(target)));
        &mut entry.or_insert_with(|| (target, Pipe::default())).1
    }

    fn carry(&mut self, from: usize, target: Target, action: Action) {
        let item = match action {
            Action::Write(bytes) => Item::Data(bytes),
            Action::Finish => Item::Fin,
            Action::Reset(code) => Item::Reset(code),
            Action::Stop(code) => return self.stop_reading(from, target, code),
        };
        let pipe = self.pipe((from, target));
        if pipe.stopped {
            return;
        }
        if matches!(item, Item::Reset(_)) {
            // A reset takes the place of what was not delivered, of an end too, but not of an earlier reset.
            let replaced = |item: &Item| matches!(item, Item::Data(_) | Item::Fin);
            pipe.ended &= !pipe.queue.iter().any(replaced);
            pipe.queue.retain(|item| !replaced(item));
        }
        if !pipe.ended {
            pipe.ended = !matches!(item, Item::Data(_));
            pipe.queue.push_back(item);
        }
    }

    /// The end `reader` gives up reading a stream; the other learns of it in time.
    fn stop_reading(&mut self, reader: usize, target: Target, code: ErrorCode) {
        let other = self.pipe((1 - reader, target));
        if std::mem::replace(&mut other.stopped, true) {
            return;
        }
        other.queue.retain(|item| matches!(item, Item::Stop(_)));
        let was_ended = other.ended;
        if let Target::Request(id) = target {
            self.ends[reader].conn.handle_request_abandoned(id);
            if !was_ended {
                self.pipe((reader, target))
                    .queue
                    .push_back(Item::Stop(code));
            }
        }
    }

    /// Delivers the next item of the `n`th pipe that has one; at most `max` bytes of it.
    fn deliver(&mut self, n: usize, max: usize) -> bool {
        let ready: Vec<_> = self
            .pipes
            .iter()
            .filter(|(_, (_, pipe))| !pipe.queue.is_empty())
            .map(|((from, _), (target, _))| (*from, *target))
            .collect();
        let Some(&(from, target)) = ready.get(n % ready.len().max(1)) else {
            return false;
        };
        self.deliver_one((from, target), max)
    }

    /// Delivers the next item of a pipe; `false` when its reader wants none of it now.
    fn deliver_one(&mut self, way: Way, max: usize) -> bool {
        let (from, target) = way;
        let to = 1 - from;
        let front = self.pipe(way).queue.front();
        let stop = matches!(front, Some(Item::Stop(_)));
        if let Target::Request(id) = target
            && !stop
        {
            let end = &mut self.ends[to];
            if end.side == Side::Server && self.known.insert((from, key(target))) {
                end.opened(id);
            }
            if !end.conn.wants_request_data(id) {
                return self.deliver_stop(way);
            }
        }
        let Some(item) = self.pipe(way).queue.pop_front() else {
            return false;
        };
        let mut size = 0;
        match item {
            Item::Data(mut bytes) => {
                let piece = bytes.split_to(bytes.len().min(max.max(1)));
                if !bytes.is_empty() {
                    self.pipe(way).queue.push_front(Item::Data(bytes));
                }
                size = piece.len();
                self.data(way, piece);
            }
            Item::Fin => self.fin(way),
            Item::Reset(code) => match target {
                Target::Request(id) => self.ends[to].conn.handle_request_reset(id, code),
                Target::Critical(_) => self.fin(way),
            },
            Item::Stop(code) => {
                // It is for who sends on the other direction, unless that has ended.
                if let Target::Request(id) = target
                    && !self.pipe((to, target)).ended
                {
                    self.ends[to].conn.handle_request_stopped(id, code);
                }
            }
        }
        self.settle(size);
        true
    }

    /// Delivers a STOP_SENDING that stands behind data that is not wanted now.
    fn deliver_stop(&mut self, way: Way) -> bool {
        let pipe = self.pipe(way);
        let stop = pipe
            .queue
            .iter()
            .position(|item| matches!(item, Item::Stop(_)));
        let Some(stop) = stop.and_then(|at| pipe.queue.remove(at)) else {
            return false;
        };
        pipe.queue.push_front(stop);
        self.deliver_one(way, 0)
    }

    fn data(&mut self, (from, target): Way, bytes: Bytes) {
        let end = &mut self.ends[1 - from];
        match target {
            Target::Request(id) => {
                let result = end.conn.handle_request_data(id, bytes);
                end.answer(result);
            }
            Target::Critical(which) => {
                let mut rest = &bytes[..];
                if self.known.insert((from, key(target))) {
                    // The types are one byte long unless they are forged.
                    let Some(Some(header)) = end.answer(UniHeader::decode(&mut rest)) else {
                        return;
                    };
                    let role = end.conn.handle_uni(header);
                    if end.answer(role) != Some(UniRole::Critical(which)) {
                        return;
                    }
                }
                let bytes = bytes.slice(bytes.len() - rest.len()..);
                let result = end.conn.handle_critical_data(which, bytes);
                end.answer(result);
            }
        }
    }

    fn fin(&mut self, (from, target): Way) {
        let end = &mut self.ends[1 - from];
        let result = match target {
            Target::Request(id) => end.conn.handle_request_fin(id),
            Target::Critical(which) => Err(end.conn.handle_critical_end(which)),
        };
        end.answer(result);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let at = input.below(2);
        match input.below(16) {
            0 => self.connect(input),
            1 | 2 => {
                let n = input.below(16);
                if let Some(id) = self.ends[1].pick(n) {
                    let protocol = self.offered(id).then_some("a");
                    self.ends[1].accept(id, protocol);
                }
            }
            3 => {
                let n = input.below(16);
                if let Some(id) = self.ends[1].pick(n) {
                    self.ends[1].reject(id, StatusCode::FORBIDDEN);
                }
            }
            4 => {
                let n = input.below(16);
                let reason = input.text();
                let code = u32::from(input.byte());
                if let Some(id) = self.ends[at].pick(n) {
                    self.ends[at].conn.close(id, code, &reason);
                }
            }
            5 => {
                let n = input.below(16);
                if let Some(id) = self.ends[at].pick(n) {
                    self.ends[at].conn.drain(id);
                }
            }
            6 => self.ends[at].conn.goaway(),
            7 => self.send_bodies(at, input),
            8 => {
                let n = input.below(8);
                self.arrive(n);
            }
            9 => {
                for _ in 0..input.below(64) {
                    self.deliver(input.below(8), usize::MAX);
                }
            }
            10 => self.disturb(at, input),
            11 => self.forge(at, input),
            _ => {
                let n = input.below(8);
                let max = usize::from(input.byte());
                self.deliver(n, max);
            }
        }
        self.settle(4096);
    }

    fn connect(&mut self, input: &mut Input<'_>) {
        let id = StreamId::from_parts(Side::Client, Dir::Bi, self.next).expect("a small number");
        let offer: &[&str] = if input.bit() { &["a", "b"] } else { &[] };
        if self.ends[0].connect(id, offer).is_some() {
            self.next += 1;
        }
    }

    /// Whether the client of a session offered subprotocols; any answer will do for a session that it did not ask for.
    fn offered(&self, id: SessionId) -> bool {
        id.quarter().is_multiple_of(2)
    }

    /// An application sends on streams as far as its credit goes.
    fn send_bodies(&mut self, at: usize, input: &mut Input<'_>) {
        let n = input.below(16);
        let want = input.number();
        let Some(id) = self.ends[at].pick(n) else {
            return;
        };
        if !self.ends[at]
            .conn
            .session_state(id)
            .is_some_and(SessionState::is_open)
        {
            return;
        }
        let Some(flow) = self.ends[at].conn.flow(id) else {
            return;
        };
        for dir in DIRS {
            if flow.open(dir).take(1) == 1 {
                self.bodies.push((at, id, Load::Stream(dir)));
            } else {
                // The peer is told below, if it is to know.
                let _ = flow.open(dir).set_blocked();
            }
        }
        let got = flow.send_data.take(want);
        if got < want {
            let _ = flow.send_data.set_blocked();
        }
        self.bodies.push((at, id, Load::Bytes(got)));
        self.ends[at].conn.refresh_credit(id);
    }

    /// Something of a session arrives and is read to its end at once.
    fn arrive(&mut self, n: usize) {
        if self.bodies.is_empty() {
            return;
        }
        let n = n % self.bodies.len();
        let (from, id, load) = self.bodies[n];
        let end = &mut self.ends[1 - from];
        if end.conn.session_state(id) == Some(SessionState::Connecting) {
            // It is early, and waits.
            return;
        }
        self.bodies.swap_remove(n);
        let open = end
            .conn
            .session_state(id)
            .is_some_and(SessionState::is_open);
        match load {
            Load::Stream(dir) => {
                let _ = end.conn.accept_stream(id, dir);
                if let (true, Some(flow)) = (open, end.conn.flow(id)) {
                    for _ in 0..if dir == Dir::Bi { 2 } else { 1 } {
                        let _ = flow.accept(dir).end_half();
                    }
                }
            }
            Load::Bytes(count) => {
                if let (true, Some(flow)) = (open, end.conn.flow(id)) {
                    let arrived = flow.recv_data.arrive(count);
                    assert!(self.forged || arrived.is_ok(), "more than was granted");
                    let _ = flow.recv_data.consume(count);
                }
            }
        }
        end.conn.refresh_credit(id);
        self.settle(64);
    }

    /// The transport resets or stops a request stream, as a lost application does.
    fn disturb(&mut self, at: usize, input: &mut Input<'_>) {
        let n = input.below(16);
        let code = ErrorCode::new(input.number()).expect("a small number");
        let Some(id) = self.ends[at].pick(n) else {
            return;
        };
        self.broken = true;
        let target = Target::Request(id.stream_id());
        // Towards the peer alone: this end goes on as if it did not know.
        self.carry(at, target, Action::Reset(code));
    }

    /// Puts bytes into a stream that its sender did not send.
    fn forge(&mut self, at: usize, input: &mut Input<'_>) {
        let n = input.below(8);
        let bytes = input.bytes();
        let pipes = self.pipes.values_mut();
        let mut pipes: Vec<_> = pipes.filter(|(_, pipe)| !pipe.ended).collect();
        let count = pipes.len().max(1);
        if let Some((_, pipe)) = pipes.get_mut((n + at) % count)
            && !bytes.is_empty()
        {
            self.forged = true;
            pipe.queue.push_back(Item::Data(bytes));
        }
    }

    /// Two ends that keep the rules never accuse each other.
    fn check_honesty(&self) {
        for end in &self.ends {
            assert_eq!(end.dead, None, "{self:?}");
            for refusal in &end.refusals {
                let accused = matches!(
                    refusal,
                    Refusal::Violation(_) | Refusal::TooLarge | Refusal::NotWebTransport(_)
                );
                assert!(!accused, "{refusal}");
            }
            for told in end.told.values() {
                let violation = matches!(told.end, Some(SessionEnd::Violation(_)))
                    || matches!(told.failed, Some(ConnectError::Violation(_)));
                assert!(!violation, "{told:?}");
            }
        }
    }

    /// Delivers everything there is.
    fn rest(&mut self) {
        for _ in 0..REST {
            for n in (0..self.bodies.len()).rev() {
                self.arrive(n);
            }
            let ways: Vec<_> = self.pipes.iter().map(|((f, _), (t, _))| (*f, *t)).collect();
            let mut progress = self.ends.iter_mut().any(Endpoint::announce);
            self.settle(0);
            for way in ways {
                while self.deliver_one(way, usize::MAX) {
                    progress = true;
                }
            }
            if !progress {
                return;
            }
        }
        panic!("two ends that are left alone do not come to rest: {self:?}");
    }

    /// Lets both ends come to rest, looks whether they agree, and ends everything.
    fn finish(&mut self) {
        self.rest();
        for at in 0..2 {
            let ids: Vec<_> = self.ends[at].told.keys().copied().collect();
            for id in ids {
                if at == 1 {
                    self.ends[1].reject(id, StatusCode::FORBIDDEN);
                }
                self.ends[at].conn.refresh_credit(id);
            }
        }
        self.settle(4096);
        self.rest();
        self.agree();
        for at in 0..2 {
            for id in self.ends[at].told.keys().copied().collect::<Vec<_>>() {
                self.ends[at].conn.close(id, 0, "");
            }
        }
        self.settle(4096);
        self.rest();
        for end in &self.ends {
            assert_eq!(end.conn.session_count(), 0, "{self:?}");
            assert!(
                !end.conn.has_requests(),
                "{} keeps a request: {self:?} {:?}",
                end.side,
                self.pipes
            );
            assert_eq!(end.conn.deadline(), None, "something is still awaited");
        }
    }

    /// Both ends hold the same view of every session, and nobody waits for credit that nobody uses.
    fn agree(&self) {
        if self.broken {
            return;
        }
        let [client, server] = &self.ends;
        for (id, told) in &client.told {
            let state = |end: &Endpoint| end.conn.session_state(*id);
            let open = state(client).is_some_and(SessionState::is_open);
            assert_eq!(
                open,
                state(server).is_some_and(SessionState::is_open),
                "{id}: {self:?}"
            );
            let other = server.told.get(id);
            if open {
                let other = other.expect("an open session was requested");
                let drained = [told.draining, other.draining];
                assert_eq!(drained[0], drained[1], "{id}: {self:?}");
                for end in &self.ends {
                    self.check_credit(end, *id);
                }
            }
            if let (Some(one), Some(other)) = (&told.end, other.and_then(|o| o.end.as_ref())) {
                assert!(fits(one, other), "{id}: {one:?} and {other:?}");
            }
        }
    }

    fn check_credit(&self, end: &Endpoint, id: SessionId) {
        let Some(flow) = end.conn.flow(id) else {
            return;
        };
        for dir in DIRS {
            let granted = flow.open(dir).limit() > 0;
            assert!(
                !granted || flow.open(dir).available() > 0,
                "{id}: no {dir} streams"
            );
        }
        let granted = flow.send_data.limit() > 0;
        assert!(!granted || flow.send_data.available() > 0, "{id}: no bytes");
    }
}

/// Whether the two ends of a session say the same of its end.
fn fits(one: &SessionEnd, other: &SessionEnd) -> bool {
    use Initiator::{Local, Peer};
    let parts = |end: &SessionEnd| match end {
        SessionEnd::Closed { by, code, reason } => Some((*by, *code, reason.clone())),
        _ => None,
    };
    match (parts(one), parts(other)) {
        (Some((Local, ..)), Some((Local, ..))) => true,
        (Some((Local, code, reason)), Some((Peer, code2, reason2)))
        | (Some((Peer, code, reason)), Some((Local, code2, reason2))) => {
            (code, reason) == (code2, reason2)
        }
        _ => false,
    }
}
