//! The one task of a connection: reads stream headers, request streams and critical streams, and
//! carries out what the protocol says.
//!
//! It does so in rounds. A task of the application that waits for what a round may bring does the round itself, see
//! [`Ready`](super::wake::Ready); this task has the rest.
//!
//! `headers` finds out what new streams are, `requests` and `critical` look after the streams of HTTP/3, and `ending` after
//! time-outs and the end.

mod critical;
mod ending;
mod headers;
mod requests;

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream::FuturesUnordered};
use tokio::time::Sleep;
use wt_proto::{ProtocolViolation, SessionId, Side, StreamId, connection::Target};

use self::{critical::CriticalStreams, ending::Leaving};
use super::{
    inner::{Chore, Inner},
    io::{Io, Parked},
    wake::{Key, Part, Ready},
};
use crate::{
    error::ConnectionError,
    gate::Place,
    lock::{lock, try_lock},
};

/// Streams or chunks of one kind that are taken before the others get their turn.
const BATCH: usize = 64;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 8;

type Step<T = ()> = Result<T, ConnectionError>;

/// Begins to drive a connection, which goes on in a task of its own.
///
/// The first round is done at once: SETTINGS are with QUIC before its task sends the end of the handshake, and those of
/// the peer, where they have come with it, are known to the caller.
pub(crate) fn drive(inner: &Arc<Inner>, place: Option<Place>) {
    let driver = Arc::new(Mutex::new(Driver::new(inner.clone())));
    inner.set_driver(Arc::downgrade(&driver));
    // Before anything wakes QUIC's task, which tokio would have another thread poll meanwhile otherwise.
    tokio::spawn(run(inner.clone(), driver, place));
    // Nothing has been looked at, and QUIC knows of no waker.
    inner.do_now();
}

/// Runs a connection until it ends; it has its place among those of a server until then.
async fn run(inner: Arc<Inner>, driver: Arc<Mutex<Driver>>, _place: Option<Place>) {
    let error = poll_fn(|cx| {
        inner.ready.register(cx.waker());
        // Whoever is at it does what is due before it leaves.
        let Some(mut driver) = try_lock(&driver) else {
            return Poll::Pending;
        };
        let polled = driver.rounds();
        drop(driver);
        if polled.is_pending() && inner.ready.is_due() {
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await;
    lock(&driver).last_words();
    inner.finish(&error);
}

/// New things of one kind from QUIC, one after the other.
struct Arriving<T> {
    part: Part,
    /// Has this part of a round done.
    waker: Waker,
    /// Takes one that is there.
    now: fn(&quinn::Connection) -> Option<Arrival<T>>,
    /// Waits for one.
    items: Pin<Box<dyn Stream<Item = Arrival<T>> + Send>>,
}

/// What QUIC gives, until the connection is lost.
type Arrival<T> = Result<T, quinn::ConnectionError>;

impl<T: 'static> Arriving<T> {
    fn new<F>(
        inner: &Inner,
        part: Part,
        now: fn(&quinn::Connection) -> Option<Arrival<T>>,
        next: fn(quinn::Connection) -> F,
    ) -> Self
    where
        F: Future<Output = (Arrival<T>, quinn::Connection)> + Send + 'static,
    {
        let each = move |quic| next(quic).map(Some);
        Self {
            part,
            waker: inner.ready.waker_for(part),
            now,
            items: Box::pin(futures_util::stream::unfold(inner.quic().clone(), each)),
        }
    }

    /// Returns the next item that is there.
    fn next(&mut self, quic: &quinn::Connection) -> Option<Arrival<T>> {
        // Where several have arrived, nothing has to be kept until the next one does.
        if let Some(item) = (self.now)(quic) {
            return Some(item);
        }
        let mut cx = Context::from_waker(&self.waker);
        match self.items.poll_next_unpin(&mut cx) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The runtime went away before the connection: nobody must wait for it forever.
        if self.inner.end().is_none() {
            self.inner.finish(&ConnectionError::LocallyClosed);
        }
    }
}

/// What the driver knows. Whoever does a round has it to himself.
pub(super) struct Driver {
    inner: Arc<Inner>,
    side: Side,
    /// Has another round done.
    waker: Waker,
    bidi: Arriving<(quinn::SendStream, quinn::RecvStream)>,
    uni: Arriving<quinn::RecvStream>,
    datagrams: Arriving<Bytes>,
    /// How the connection ended.
    over: Option<ConnectionError>,
    critical: CriticalStreams,
    /// Request streams, boxed, since a map makes room for several at once and most connections have one.
    requests: HashMap<StreamId, Box<Io>>,
    parked: HashMap<StreamId, Parked>,
    /// When the headers have to be whole of which a part has arrived.
    headers_due: BTreeSet<(Instant, StreamId)>,
    /// Made when there is one.
    chores: Option<FuturesUnordered<Chore>>,
    /// Sessions whose credit waits for earlier output on their CONNECT stream.
    held_credit: Vec<SessionId>,
    ready: Vec<Key>,
    timer: Pin<Box<Sleep>>,
    due: Option<Instant>,
    /// When to stop waiting for the peer, once no handle is left.
    closing_until: Option<Instant>,
    /// GOAWAY is on its way, and the connection is closed after it.
    leaving: Option<Leaving>,
}

impl Driver {
    fn new(inner: Arc<Inner>) -> Self {
        let side = if inner.quic().side() == quinn::Side::Client {
            Side::Client
        } else {
            Side::Server
        };
        Self {
            waker: inner.ready.clone().into(),
            bidi: Arriving::new(
                &inner,
                Part::BIDI,
                |quic| quic.accept_bi().now_or_never(),
                |quic| async move { (quic.accept_bi().await, quic) },
            ),
            uni: Arriving::new(
                &inner,
                Part::UNI,
                |quic| quic.accept_uni().now_or_never(),
                |quic| async move { (quic.accept_uni().await, quic) },
            ),
            datagrams: Arriving::new(
                &inner,
                Part::DATAGRAMS,
                |quic| quic.read_datagram().now_or_never(),
                |quic| async move { (quic.read_datagram().await, quic) },
            ),
            over: None,
            critical: CriticalStreams::new(&inner),
            inner,
            side,
            requests: HashMap::new(),
            parked: HashMap::new(),
            headers_due: BTreeSet::new(),
            chores: None,
            held_credit: Vec::new(),
            ready: Vec::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            due: None,
            closing_until: None,
            leaving: None,
        }
    }

    fn lost(&self, error: quinn::ConnectionError) -> ConnectionError {
        // Who closed it for a violation has said so already.
        self.inner.end().unwrap_or_else(|| error.into())
    }

    fn check<T>(&self, result: Result<T, ProtocolViolation>) -> Step<T> {
        result.map_err(|violation| self.inner.violated(violation))
    }

    /// Runs `f` on the protocol and has its events carried out.
    fn proto<T>(
        &self,
        f: impl FnOnce(&mut wt_proto::connection::Connection) -> Result<T, ProtocolViolation>,
    ) -> Step<T> {
        let mut state = lock(&self.inner.state);
        let result = f(&mut state.proto);
        self.inner.pump(&mut state);
        drop(state);
        self.check(result)
    }

    /// Takes a request stream.
    fn look_after(&mut self, id: StreamId, io: Io) {
        io.nudge();
        self.requests.insert(id, Box::new(io));
    }

    // ---- datagrams

    fn datagram(&self, bytes: Bytes) -> Step {
        let (id, payload) = self.check(wt_proto::datagram::decode(bytes))?;
        self.check(self.inner.place_datagram(id, payload))
    }

    // ---- the rounds

    /// Does rounds until there is nothing to do; ready when the connection is over.
    ///
    /// Who calls it has to see to what is due afterwards.
    pub(super) fn rounds(&mut self) -> Poll<ConnectionError> {
        if self.over.is_none() {
            self.over = self.try_rounds().err();
            self.inner.ready.end();
        }
        self.over.clone().map_or(Poll::Pending, Poll::Ready)
    }

    fn try_rounds(&mut self) -> Step {
        let inner = self.inner.clone();
        let ready: &Ready = &inner.ready;
        for _ in 0..ROUNDS {
            let due = ready.begin();
            // What is known first: the answer to a request goes before the streams that follow it,
            // which would be early otherwise.
            if due.has(Part::UPKEEP) && self.upkeep()? {
                ready.mark(Part::UPKEEP);
            }
            // Unidirectional streams before the others: the peer's SETTINGS are among them.
            if due.has(Part::UNI) {
                self.each(
                    |driver| &mut driver.uni,
                    |driver, recv| driver.new_stream(None, recv),
                )?;
            }
            if due.has(Part::BIDI) {
                self.each(
                    |driver| &mut driver.bidi,
                    |driver, (send, recv)| driver.new_stream(Some(send), recv),
                )?;
            }
            // Sessions that read datagrams take them from QUIC themselves.
            if due.has(Part::DATAGRAMS) && !inner.has_datagram_reader() {
                self.each(
                    |driver| &mut driver.datagrams,
                    |driver, bytes| driver.datagram(bytes),
                )?;
            }
            if !ready.is_due() {
                break;
            }
        }
        Ok(())
    }

    /// Takes what has arrived of one kind, up to the size of a batch.
    fn each<T: 'static>(
        &mut self,
        arriving: fn(&mut Self) -> &mut Arriving<T>,
        take: fn(&mut Self, T) -> Step,
    ) -> Step {
        let inner = self.inner.clone();
        for _ in 0..BATCH {
            let Some(item) = arriving(self).next(inner.quic()) else {
                return Ok(());
            };
            let item = item.map_err(|error| self.lost(error))?;
            take(self, item)?;
        }
        let part = arriving(self).part;
        self.inner.ready.mark(part);
        Ok(())
    }

    /// Does one round of everything but what arrives; `true` when another may find work.
    fn upkeep(&mut self) -> Step<bool> {
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        let mut progress = self.poll_opening(cx)?;
        self.announce_credit();
        // Who waits for an answer that is distributed now goes on when it has been written.
        let answering = std::mem::take(&mut lock(&self.inner.state).answering);
        progress |= self.distribute();
        progress |= self.poll_ready()?;
        drop(answering);
        for chore in self.inner.take_chores() {
            self.chores.get_or_insert_default().push(chore);
        }
        if let Some(chores) = &mut self.chores {
            while let Poll::Ready(Some(())) = chores.poll_next_unpin(cx) {}
            self.chores.take_if(|chores| chores.is_empty());
        }
        // Before the timer, which is set to what this finds.
        progress |= self.poll_end();
        if let Poll::Ready(result) = self.poll_timer(cx) {
            result?;
            progress = true;
        }
        Ok(progress)
    }

    /// Looks at the streams that can go on.
    fn poll_ready(&mut self) -> Step<bool> {
        let mut ready = std::mem::take(&mut self.ready);
        self.inner.ready.take(&mut ready);
        let progress = !ready.is_empty();
        for key in ready.drain(..) {
            match key {
                Key::Critical => self.poll_critical()?,
                Key::Request(id) => self.poll_request(id)?,
                Key::Parked(id) => self.poll_parked(id)?,
            }
        }
        self.ready = ready;
        Ok(progress)
    }

    /// Announces credit of sessions whose CONNECT stream has taken all that went before.
    fn announce_credit(&mut self) {
        let mut due = std::mem::take(&mut self.held_credit);
        due.append(&mut self.inner.take_due());
        if due.is_empty() {
            return;
        }
        let mut state = lock(&self.inner.state);
        for id in due {
            match self.requests.get(&id.stream_id()) {
                Some(io) if !io.is_flushed() => self.held_credit.push(id),
                _ => self.inner.announce_credit(&mut state, id),
            }
        }
    }

    /// Hands what the protocol wants sent to the streams.
    fn distribute(&mut self) -> bool {
        let inner = self.inner.clone();
        let mut state = lock(&inner.state);
        for (id, io) in std::mem::take(&mut state.opened) {
            self.look_after(id, io);
        }
        let mut progress = false;
        while let Some(transmit) = state.proto.poll_transmit() {
            progress = true;
            match transmit.target {
                Target::Critical(which) => self.critical.push(which, transmit.action),
                Target::Request(id) => {
                    if let Some(io) = self.requests.get_mut(&id) {
                        io.push(transmit.action);
                    }
                }
            }
        }
        progress
    }
}
