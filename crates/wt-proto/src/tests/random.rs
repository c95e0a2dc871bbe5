//! Random operations on any network: what must always hold, holds.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::{Conditions, Packet, Pair, net::Rng, pair::Setup};
use crate::{
    Dialect, Dir, ErrorCode, SessionId, SessionState, Side, StreamId,
    connection::{Critical, Event},
};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// What an application knows of the sessions of its end.
#[derive(Debug, Default)]
struct Model {
    /// Events that were looked at.
    seen: usize,
    alive: HashSet<SessionId>,
    /// Failed, closed or given up.
    over: HashSet<SessionId>,
    gone: HashSet<SessionId>,
    states: HashMap<SessionId, SessionState>,
}

impl Model {
    /// Looks at the events that came since the last time.
    fn look(&mut self, events: &[Event]) {
        for event in events.iter().skip(self.seen) {
            match event {
                Event::Requested { id, .. } => assert!(self.alive.insert(*id), "{id} again"),
                Event::Established { id, .. }
                | Event::Draining { id }
                | Event::CreditRaised { id }
                | Event::CreditDue { id } => {
                    assert!(
                        self.alive.contains(id),
                        "{event:?} for a session that is over"
                    );
                }
                Event::Failed { id, .. } | Event::Closed { id, .. } => {
                    assert!(self.alive.remove(id), "{event:?} twice");
                    self.over.insert(*id);
                }
                Event::Gone { id } => {
                    assert!(self.over.contains(id), "gone and not over");
                    assert!(self.gone.insert(*id), "gone twice");
                }
                _ => {}
            }
        }
        self.seen = events.len();
    }
}

struct World {
    pair: Pair,
    rng: Rng,
    models: [Model; 2],
    /// Whether an end may break rules: then sessions end for that reason.
    hostile: bool,
    streams: Vec<(Side, StreamId)>,
    finished: Vec<(Side, StreamId, usize)>,
    written: HashMap<(Side, StreamId), usize>,
}

impl World {
    fn new(seed: u64, hostile: bool) -> Self {
        let mut rng = Rng::new(seed);
        let conditions = Conditions {
            latency: Duration::from_millis(rng.below(30)),
            loss: rng.below(25),
            reorder: Duration::from_millis(rng.below(40)),
            seed,
        };
        let dialect = Dialect::ALL[rng.below(4) as usize];
        let mut setup = Setup::new().dialect(dialect).on(conditions);
        if rng.chance(60) {
            setup = setup.limits(50 + rng.below(300), 2 + rng.below(5));
        }
        setup.server.max_sessions = 1 + rng.below(4);
        let mut pair = setup.ready();
        pair.server.answer = None;
        Self {
            pair,
            rng,
            models: Default::default(),
            hostile,
            streams: Vec::new(),
            finished: Vec::new(),
            written: HashMap::new(),
        }
    }

    fn side(&mut self) -> Side {
        SIDES[self.rng.below(2) as usize]
    }

    /// Picks a session that an end knows, in any state.
    fn session(&mut self, side: Side) -> Option<SessionId> {
        let mut ids: Vec<_> = self.models[side as usize].alive.iter().copied().collect();
        ids.sort();
        (!ids.is_empty()).then(|| ids[self.rng.below(ids.len() as u64) as usize])
    }

    fn stream(&mut self) -> Option<(Side, StreamId)> {
        let n = self.streams.len() as u64;
        (n > 0).then(|| self.streams[self.rng.below(n) as usize])
    }

    fn act(&mut self) {
        let side = self.side();
        match self.rng.below(if self.hostile { 16 } else { 14 }) {
            0 | 1 => {
                let request =
                    |end: &mut super::Endpoint, net: &mut _| end.connect(net, HeaderMap::new());
                if let Ok(id) = self.pair.at(Side::Client, request) {
                    self.models[Side::Client as usize].alive.insert(id);
                }
            }
            2 | 3 => self.answer(),
            4 => self.open(side),
            5 | 6 => self.write(),
            7 => {
                if let Some((side, id)) = self.stream() {
                    self.streams.retain(|s| *s != (side, id));
                    let sent = self.written.get(&(side, id)).copied().unwrap_or(0);
                    self.finished.push((side, id, sent));
                    self.pair.at(side, |end, net| end.finish(net, id));
                }
            }
            8 => {
                if let Some((side, id)) = self.stream() {
                    self.streams.retain(|s| *s != (side, id));
                    let code = ErrorCode::from_application(1);
                    self.pair.at(side, |end, net| end.reset(net, id, code));
                }
            }
            9 => {
                if let Some(id) = self.session(side) {
                    self.pair
                        .at(side, |end, net| end.send_datagram(net, id, b"datagram"));
                }
            }
            10 if self.rng.chance(40) => self.close(side),
            11 if self.rng.chance(30) => {
                if let Some(id) = self.session(side) {
                    self.pair.at(side, |end, _| end.conn.drain(id));
                }
            }
            12 if self.rng.chance(3) => self.pair.at(side, |end, _| end.conn.goaway()),
            13 => {
                let time = Duration::from_millis(self.rng.below(200));
                self.pair.pass(time);
            }
            14 | 15 if self.rng.chance(30) => self.break_something(side),
            _ => {
                for _ in 0..self.rng.below(6) {
                    self.pair.step();
                }
            }
        }
    }

    fn answer(&mut self) {
        let waiting: Vec<_> = {
            let server = &self.pair.server.conn;
            let mut ids: Vec<_> = self.models[Side::Server as usize]
                .alive
                .iter()
                .copied()
                .collect();
            ids.sort();
            ids.retain(|id| server.session_state(*id) == Some(SessionState::Connecting));
            ids
        };
        let Some(id) = waiting.first().copied() else {
            return;
        };
        let status = if self.rng.chance(75) {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        self.pair.at(Side::Server, |end, net| {
            end.respond(net, id, status, HeaderMap::new())
        });
        if !status.is_success() {
            let model = &mut self.models[Side::Server as usize];
            model.alive.remove(&id);
            model.over.insert(id);
        }
    }

    fn open(&mut self, side: Side) {
        let Some(id) = self.session(side) else {
            return;
        };
        let dir = if self.rng.chance(50) {
            Dir::Bi
        } else {
            Dir::Uni
        };
        // A server opens streams when it has accepted, a client as soon as it has asked.
        let state = self.pair.end(side).conn.session_state(id);
        if side == Side::Server && !state.is_some_and(SessionState::is_open) {
            return;
        }
        if let Some(stream) = self.pair.at(side, |end, net| end.open_stream(net, id, dir)) {
            self.streams.push((side, stream));
        }
    }

    fn write(&mut self) {
        let Some((side, id)) = self.stream() else {
            return;
        };
        if !self.pair.end(side).halves.contains_key(&id) {
            // Its session is over.
            self.streams.retain(|s| *s != (side, id));
            return;
        }
        let bytes = vec![1; self.rng.below(200) as usize];
        let sent = self.pair.at(side, |end, net| end.write(net, id, &bytes));
        *self.written.entry((side, id)).or_default() += sent;
    }

    fn close(&mut self, side: Side) {
        let Some(id) = self.session(side) else {
            return;
        };
        let connecting =
            self.pair.end(side).conn.session_state(id) == Some(SessionState::Connecting);
        if connecting {
            let model = &mut self.models[side as usize];
            model.alive.remove(&id);
            model.over.insert(id);
        }
        self.pair.at(side, |end, _| end.conn.close(id, 5, "random"));
    }

    /// Sends what the connection of an end would not send.
    fn break_something(&mut self, side: Side) {
        let len = self.rng.below(12) as usize;
        let bytes: Vec<u8> = (0..len)
            .map(|_| match self.rng.below(3) {
                0 => self.rng.below(256) as u8,
                1 => self.rng.below(10) as u8,
                _ => [0x40, 0x41, 0x54, 0x68, 0x43, 0x99, 0x0b, 0x4d, 0x3d]
                    [self.rng.below(9) as usize],
            })
            .collect();
        let id = match self.session(side) {
            Some(id) if self.rng.chance(70) => id.stream_id(),
            _ => StreamId::new(4 * self.rng.below(4)).unwrap(),
        };
        match self.rng.below(7) {
            0 | 1 => self.pair.send(side, id, &bytes),
            2 => self.pair.send_fin(side, id),
            3 => {
                let code = if self.rng.chance(50) {
                    ErrorCode::WT_SESSION_GONE
                } else {
                    ErrorCode::H3_NO_ERROR
                };
                let packet = if self.rng.chance(50) {
                    Packet::Reset(id, code)
                } else {
                    Packet::Stop(id, code)
                };
                self.pair.net.send(!side, packet);
            }
            4 => {
                let dir = if self.rng.chance(50) {
                    Dir::Bi
                } else {
                    Dir::Uni
                };
                self.pair.send_on_new(side, dir, &bytes);
            }
            5 => self
                .pair
                .net
                .send(!side, Packet::Datagram(Bytes::from(bytes))),
            _ => {
                let control = self.pair.end(side).critical(Critical::Control);
                if self.rng.chance(20) {
                    self.pair.send(side, control, &bytes);
                }
            }
        }
    }

    fn check(&mut self) {
        for side in SIDES {
            let end = self.pair.end(side);
            if !end.is_alive() {
                // The connection is closed: nobody asks it any more.
                continue;
            }
            let (events, conn) = (std::mem::take(&mut end.events), &end.conn);
            let model = &mut self.models[side as usize];
            model.look(&events);
            assert_eq!(
                conn.session_count() as usize,
                model.alive.len(),
                "{side}: {model:?}"
            );
            for id in model.alive.iter().chain(&model.over) {
                let Some(state) = conn.session_state(*id) else {
                    assert!(!model.alive.contains(id), "{id} is lost");
                    continue;
                };
                assert_eq!(
                    model.over.contains(id),
                    state.is_over(),
                    "{side} {id} {state}"
                );
                let before = model.states.insert(*id, state).unwrap_or(state);
                assert!(
                    rank(before) <= rank(state),
                    "{side} {id}: {before}, then {state}"
                );
            }
            self.pair.end(side).events = events;
        }
        self.check_credit();
    }

    fn check_credit(&self) {
        for id in &self.models[Side::Client as usize].alive {
            let flows = [&self.pair.client, &self.pair.server].map(|end| end.conn.flow(*id));
            let [Some(client), Some(server)] = flows else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                assert!(from.send_data.used() <= from.send_data.limit());
                assert!(to.recv_data.consumed() <= to.recv_data.arrived());
                for dir in [Dir::Bi, Dir::Uni] {
                    assert!(from.open(dir).used() <= from.open(dir).limit());
                }
                if !self.hostile {
                    assert!(from.send_data.limit() <= to.recv_data.limit());
                    assert!(to.recv_data.arrived() <= from.send_data.used());
                    for dir in [Dir::Bi, Dir::Uni] {
                        assert!(from.open(dir).limit() <= to.accept(dir).limit());
                        assert!(to.accept(dir).opened() <= from.open(dir).used());
                        assert!(to.accept(dir).ended() <= to.accept(dir).opened());
                    }
                }
            }
        }
    }

    /// Comes to rest and checks what is left.
    fn settle(&mut self) {
        self.pair.drive();
        self.check();
        let open = self.models[Side::Client as usize].alive.clone();
        for (side, stream, len) in std::mem::take(&mut self.finished) {
            let accepted = &self.pair.end(!side).accepted;
            let session = accepted
                .iter()
                .find(|(_, id)| *id == stream)
                .map(|(s, _)| *s);
            if session.is_some_and(|s| open.contains(&s)) && !self.hostile {
                let received = &self.pair.end(!side).streams[&stream];
                assert_eq!((received.body.len(), received.fin), (len, true));
            }
        }
        for side in SIDES {
            for id in self.models[side as usize].alive.clone() {
                let connecting =
                    self.pair.end(side).conn.session_state(id) == Some(SessionState::Connecting);
                if connecting {
                    self.models[side as usize].alive.remove(&id);
                    self.models[side as usize].over.insert(id);
                }
                self.pair.at(side, |end, _| end.conn.close(id, 0, "settle"));
            }
            self.pair.drive();
            self.check();
        }
        for side in SIDES {
            let end = self.pair.end(side);
            if end.is_alive() {
                assert_eq!(end.conn.session_count(), 0);
                assert!(end.streams.len() < 10_000);
            }
        }
        if !self.hostile {
            self.pair.assert_alive();
            for side in SIDES {
                assert!(!self.pair.end(side).conn.has_requests(), "{side}");
                let model = &self.models[side as usize];
                let rejected_here = model.over.difference(&model.gone).count();
                assert!(side == Side::Server || rejected_here == 0, "{model:?}");
            }
        }
    }
}

fn rank(state: SessionState) -> u8 {
    match state {
        SessionState::Connecting => 0,
        SessionState::Established => 1,
        SessionState::Draining => 2,
        SessionState::Closing => 3,
        SessionState::Closed => 4,
    }
}

fn run(seed: u64, operations: usize, hostile: bool) {
    let mut world = World::new(seed, hostile);
    for _ in 0..operations {
        world.act();
        world.check();
    }
    world.settle();
}

#[test]
fn known_seeds() {
    for seed in 0..60 {
        run(seed, 300, seed % 2 == 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn orderly_ends_never_break_a_rule(seed: u64, operations in 0..200_usize) {
        run(seed, operations, false);
    }

    #[test]
    fn a_hostile_end_breaks_nothing_but_its_own_sessions(seed: u64, operations in 0..200_usize) {
        run(seed, operations, true);
    }
}
