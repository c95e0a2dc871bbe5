//! Two endpoints and the network between them.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::{Conditions, Endpoint, Net, Packet};
use crate::{
    Dialect, DialectSet, Dir, ErrorCode, InitialLimits, SessionEnd, SessionId, SessionState, Side,
    StreamId,
    connection::{Config, ConnectError, Event, Refusal},
    early::EarlyLimits,
};

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) client: Endpoint,
    pub(crate) server: Endpoint,
    pub(crate) net: Net,
}

/// How a pair is set up, if not as usual.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) client: Config,
    pub(crate) server: Config,
    pub(crate) early: EarlyLimits,
    pub(crate) conditions: Conditions,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            client: Config::new(Side::Client),
            server: Config::new(Side::Server),
            early: EarlyLimits::default(),
            conditions: Conditions::IDEAL,
        }
    }

    pub(crate) fn on(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    pub(crate) fn dialect(mut self, dialect: Dialect) -> Self {
        self.client.dialects = DialectSet::only(dialect);
        self
    }

    /// Sets what both ends grant.
    pub(crate) fn limits(mut self, data: u64, streams: u64) -> Self {
        let limits = InitialLimits {
            max_data: data,
            max_streams_bidi: streams,
            max_streams_uni: streams,
        };
        self.client.initial = limits;
        self.server.initial = limits;
        self
    }

    /// Starts both ends; nothing has arrived yet.
    pub(crate) fn start(self) -> Pair {
        let net = Net::new(self.conditions);
        let mut pair = Pair {
            client: Endpoint::new(self.client, self.early, &net),
            server: Endpoint::new(self.server, self.early, &net),
            net,
        };
        pair.client.pump(&mut pair.net);
        pair.server.pump(&mut pair.net);
        pair
    }

    /// Starts both ends and lets them learn each other's SETTINGS.
    pub(crate) fn ready(self) -> Pair {
        let mut pair = self.start();
        pair.drive();
        assert!(pair.client.conn.peer_settings().is_some());
        assert!(pair.server.conn.peer_settings().is_some());
        pair
    }
}

impl Pair {
    pub(crate) fn new() -> Self {
        Setup::new().ready()
    }

    pub(crate) fn end(&mut self, side: Side) -> &mut Endpoint {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Does something at one end.
    pub(crate) fn at<T>(
        &mut self,
        side: Side,
        act: impl FnOnce(&mut Endpoint, &mut Net) -> T,
    ) -> T {
        let (end, net) = match side {
            Side::Client => (&mut self.client, &mut self.net),
            Side::Server => (&mut self.server, &mut self.net),
        };
        let out = act(end, net);
        end.pump(net);
        out
    }

    /// Goes to the next arrival, if there is one.
    pub(crate) fn step(&mut self) -> bool {
        let Some(at) = self.net.next_arrival() else {
            return false;
        };
        self.net.now = self.net.now.max(at);
        while let Some((to, packet)) = self.net.arrived() {
            self.at(to, |end, net| end.receive(net, packet));
        }
        true
    }

    /// Goes on until nothing is under way. Deadlines are not waited for.
    pub(crate) fn drive(&mut self) {
        let mut steps = 0;
        while self.step() {
            steps += 1;
            assert!(steps < 100_000, "the ends never come to rest");
        }
    }

    /// Lets time pass, with all that arrives and all that becomes due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.net.now + time;
        while let Some(at) = self.net.next_arrival().filter(|at| *at <= end) {
            self.net.now = at;
            self.step();
        }
        self.net.now = end;
        for side in [Side::Client, Side::Server] {
            self.at(side, Endpoint::handle_timeout);
        }
        self.drive();
    }

    /// Sends bytes on a stream as one end, whatever its connection says.
    pub(crate) fn send(&mut self, from: Side, id: StreamId, bytes: &[u8]) {
        let packet = Packet::Data(id, Bytes::copy_from_slice(bytes));
        self.net.send(!from, packet);
    }

    pub(crate) fn send_fin(&mut self, from: Side, id: StreamId) {
        self.net.send(!from, Packet::Fin(id));
    }

    /// Sends bytes on a new stream.
    pub(crate) fn send_on_new(&mut self, from: Side, dir: Dir, bytes: &[u8]) -> StreamId {
        let end = self.end(from);
        let id = end.open(dir);
        end.ignore(id);
        self.send(from, id, bytes);
        id
    }

    /// Asks for a session without waiting for the answer.
    pub(crate) fn request(&mut self) -> SessionId {
        self.at(Side::Client, |end, net| end.connect(net, HeaderMap::new()))
            .unwrap()
    }

    /// Establishes a session.
    pub(crate) fn connect(&mut self) -> SessionId {
        let id = self.request();
        self.drive();
        assert_eq!(self.states(id), [SessionState::Established; 2].map(Some));
        id
    }

    /// Returns the state of a session at the client and at the server.
    pub(crate) fn states(&self, id: SessionId) -> [Option<SessionState>; 2] {
        [&self.client, &self.server].map(|end| end.conn.session_state(id))
    }

    pub(crate) fn assert_alive(&self) {
        for end in [&self.client, &self.server] {
            assert_eq!((end.violation, end.closed), (None, None), "{}", end.side);
        }
    }

    /// Sends a little both ways on a session, to see that it works.
    pub(crate) fn assert_works(&mut self, id: SessionId) {
        for side in [Side::Client, Side::Server] {
            let stream = self.at(side, |end, net| {
                let stream = end.open_stream(net, id, Dir::Bi).expect("credit");
                assert_eq!(end.write(net, stream, b"ping"), 4);
                end.finish(net, stream);
                stream
            });
            self.drive();
            let received = &self.end(!side).streams[&stream];
            assert_eq!((&received.body[..], received.fin), (&b"ping"[..], true));
            self.at(!side, |end, net| end.finish(net, stream));
            self.drive();
        }
        self.assert_alive();
    }
}

impl Endpoint {
    /// Returns how a session ended, which is told at most once.
    pub(crate) fn ending(&self, id: SessionId) -> Option<SessionEnd> {
        let mut ends = self.events.iter().filter_map(|event| match event {
            Event::Closed { id: closed, end } if *closed == id => Some(end.clone()),
            _ => None,
        });
        let end = ends.next();
        assert!(ends.next().is_none(), "closed twice");
        end
    }

    /// Returns why a request for a session failed, which is told at most once.
    pub(crate) fn failure(&self, id: SessionId) -> Option<ConnectError> {
        let mut errors = self.events.iter().filter_map(|event| match event {
            Event::Failed {
                id: failed, error, ..
            } if *failed == id => Some(error.clone()),
            _ => None,
        });
        let error = errors.next();
        assert!(errors.next().is_none(), "failed twice");
        error
    }

    pub(crate) fn refusals(&self) -> Vec<Refusal> {
        let events = self.events.iter();
        events
            .filter_map(|event| match event {
                Event::Refused { refusal, .. } => Some(*refusal),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn count(&self, pick: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| pick(event)).count()
    }

    /// Returns the code with which a stream of a session was reset towards this end.
    pub(crate) fn reset_code(&self, id: StreamId) -> Option<ErrorCode> {
        self.streams.get(&id)?.reset
    }
}
