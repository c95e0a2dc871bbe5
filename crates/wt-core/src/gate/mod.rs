//! Who may connect to a server, and ask for sessions: limits per address and in total.
//!
//! Decided before the handshake, from the client's first packet. Its address may be forged: clients that have not shown
//! that they receive what is sent there get no more than half of what any limit leaves, and have to show it beyond that
//! (QUIC Retry). So nobody can use up what belongs to an address that is not theirs.

mod bucket;
mod peer_key;
mod table;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

pub use self::peer_key::PeerKey;
use self::table::{Stage, Table};
use crate::{
    config::{Limits, Retry},
    lock::lock,
    refusal::RefusalCause,
};

/// The limits of a server and what its clients hold of them.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Arc<Limits>,
    table: Mutex<Table>,
    retries: AtomicU64,
}

/// Why a client does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It has to show its address first.
    Retry,
    /// It is refused for this.
    Away(RefusalCause),
}

/// Figures of a gate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GateStats {
    pub(crate) handshakes: usize,
    pub(crate) addresses: usize,
    pub(crate) retries: u64,
}

impl Gate {
    pub(crate) fn new(limits: Arc<Limits>) -> Self {
        Self {
            limits,
            table: Mutex::default(),
            retries: AtomicU64::new(0),
        }
    }

    /// Lets a client in, or says why not.
    pub(crate) fn enter(self: &Arc<Self>, peer: SocketAddr, shown: bool) -> Result<Place, Turned> {
        let key = PeerKey::new(peer.ip());
        let (limits, now) = (&*self.limits, Instant::now());
        let mut table = lock(&self.table);
        let stage = if shown || limits.retry == Retry::Never {
            Stage::Shown
        } else {
            Stage::Claimed
        };
        let refused = table.refuses_connection(key, limits, now);
        // Nothing that an address is answerable for is held against somebody who may have forged it.
        let forgeable =
            stage == Stage::Claimed && refused != Some(RefusalCause::TooManyConnections);
        if forgeable && (limits.retry == Retry::Always || table.is_pressed(key, limits, now)) {
            return Err(Turned::Retry);
        }
        if let Some(cause) = refused {
            return Err(Turned::Away(cause));
        }
        table.connect(key, stage, limits, now);
        drop(table);
        let holding = Holding { stage, sessions: 0 };
        Ok(Place(Arc::new(Member {
            gate: self.clone(),
            key,
            holding: Mutex::new(Some(holding)),
        })))
    }

    /// Takes note that a client has to show its address.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(&self) -> GateStats {
        let table = lock(&self.table);
        GateStats {
            handshakes: table.total().handshakes(),
            addresses: table.addresses(),
            retries: self.retries.load(Relaxed),
        }
    }
}

/// The place of a connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Member>);

impl Place {
    pub(crate) fn member(&self) -> Arc<Member> {
        self.0.clone()
    }

    /// Takes note that its client has to show its address.
    pub(crate) fn retried(&self) {
        self.0.gate.retried();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a connection holds, for those who speak for it; it holds nothing any more once its place is gone.
#[derive(Debug)]
pub(crate) struct Member {
    gate: Arc<Gate>,
    key: PeerKey,
    holding: Mutex<Option<Holding>>,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    stage: Stage,
    sessions: usize,
}

/// How a request is refused.
#[derive(Debug)]
pub(crate) struct NoSession {
    pub(crate) cause: RefusalCause,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Member {
    /// Takes note that the handshake is over: the client is where it says.
    pub(crate) fn established(&self) {
        let mut holding = lock(&self.holding);
        if let Some(holding) = &mut *holding {
            let (from, to) = (holding.stage, Stage::Established);
            holding.stage = to;
            let limits = &self.gate.limits;
            lock(&self.gate.table).advance(self.key, from, Some(to), limits, Instant::now());
        }
    }

    /// Counts a session, or says why there may be none.
    pub(crate) fn open_session(&self) -> Result<(), NoSession> {
        let limits = &*self.gate.limits;
        let mut holding = lock(&self.holding);
        let Some(holding) = holding.as_mut().filter(|_| limits.limit_sessions()) else {
            return Ok(());
        };
        let now = Instant::now();
        let mut table = lock(&self.gate.table);
        match table.refuses_session(self.key, limits, now) {
            None => {
                table.open_session(self.key, limits, now);
                holding.sessions += 1;
                Ok(())
            }
            Some((cause, wait)) => Err(NoSession::new(cause, wait)),
        }
    }

    /// Takes note of how many sessions are left.
    pub(crate) fn sessions_left(&self, left: impl FnOnce() -> u64) {
        let limits = &*self.gate.limits;
        if !limits.limit_sessions() {
            return;
        }
        let mut holding = lock(&self.holding);
        let Some(holding) = holding.as_mut().filter(|holding| holding.sessions > 0) else {
            return;
        };
        let left = usize::try_from(left()).unwrap_or(usize::MAX);
        let gone = holding.sessions.saturating_sub(left);
        if gone > 0 {
            holding.sessions -= gone;
            lock(&self.gate.table).close_sessions(self.key, gone, limits, Instant::now());
        }
    }

    fn leave(&self) {
        let Some(Holding { stage, sessions }) = lock(&self.holding).take() else {
            return;
        };
        let (limits, now) = (&*self.gate.limits, Instant::now());
        let mut table = lock(&self.gate.table);
        table.close_sessions(self.key, sessions, limits, now);
        table.advance(self.key, stage, None, limits, now);
    }
}

impl NoSession {
    /// Says it with 503 where the server is full, else with 429; with Retry-After where time alone helps.
    fn new(cause: RefusalCause, wait: Option<Duration>) -> Self {
        let status = match cause {
            RefusalCause::Sessions => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut headers = HeaderMap::new();
        if let Some(wait) = wait {
            // Whole seconds, rounded up: after them there is room.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        Self {
            cause,
            status,
            headers,
        }
    }
}
