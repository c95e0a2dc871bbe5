//! The one task of a connection: reads stream headers, request streams and critical streams, and
//! carries out what the protocol says.

use std::{
    collections::{BTreeSet, HashMap},
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::Sleep;
use wt_proto::{
    Dir, ErrorCode, ProtocolViolation, SessionId, Side, StreamId, VarInt,
    coding::{self, Decode},
    connection::{Action, Critical, Target, UniRole},
    stream_header::{BiHeader, UniHeader},
};

use super::{
    inner::{Chore, Inner, State},
    io::{Io, Parked, Read, reject},
    wake::Key,
};
use crate::{error::ConnectionError, gate::Place, lock::lock, stream::Slot};

/// Streams or chunks of one kind that are taken before the others get their turn.
const BATCH: usize = 64;

/// Rounds before other tasks get their turn.
const ROUNDS: usize = 8;

type Step<T = ()> = Result<T, ConnectionError>;

/// Runs a connection until it ends; it has its place among those of a server until then.
pub(crate) async fn run(inner: Arc<Inner>, _place: Option<Place>) {
    let quic = inner.quic().clone();
    let mut driver = Driver::new(inner);
    let mut accept_bi = pin!(quic.accept_bi());
    let mut accept_uni = pin!(quic.accept_uni());
    let mut datagram = pin!(quic.read_datagram());
    let end: Step = poll_fn(|cx| {
        driver.inner.ready.register(cx.waker());
        for _ in 0..ROUNDS {
            // What is known first: the answer to a request goes before the streams that follow it,
            // which would be early otherwise.
            let mut progress = driver.poll(cx)?;
            // Unidirectional streams before the others: the peer's SETTINGS are among them.
            for _ in 0..BATCH {
                let Poll::Ready(stream) = accept_uni.as_mut().poll(cx) else {
                    break;
                };
                let recv = stream.map_err(|error| driver.lost(error))?;
                accept_uni.set(quic.accept_uni());
                driver.new_stream(None, recv)?;
                progress = true;
            }
            for _ in 0..BATCH {
                let Poll::Ready(stream) = accept_bi.as_mut().poll(cx) else {
                    break;
                };
                let (send, recv) = stream.map_err(|error| driver.lost(error))?;
                accept_bi.set(quic.accept_bi());
                driver.new_stream(Some(send), recv)?;
                progress = true;
            }
            for _ in 0..BATCH {
                // Sessions that read datagrams take them from QUIC themselves.
                if driver.inner.has_datagram_reader() {
                    break;
                }
                let Poll::Ready(bytes) = datagram.as_mut().poll(cx) else {
                    break;
                };
                let bytes = bytes.map_err(|error| driver.lost(error))?;
                datagram.set(quic.read_datagram());
                driver.datagram(bytes)?;
                progress = true;
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    if let Err(error) = end {
        driver.last_words();
        driver.inner.finish(&error);
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

type Opening =
    Pin<Box<dyn Future<Output = Result<[quinn::SendStream; 3], quinn::ConnectionError>> + Send>>;

const CRITICAL: [Critical; 3] = [
    Critical::Control,
    Critical::QpackEncoder,
    Critical::QpackDecoder,
];

struct Driver {
    inner: Arc<Inner>,
    side: Side,
    streams: HashMap<Key, Io>,
    /// Request streams among them.
    requests: usize,
    parked: HashMap<StreamId, Parked>,
    /// When the headers have to be whole of which a part has arrived.
    headers_due: BTreeSet<(Instant, StreamId)>,
    chores: FuturesUnordered<Chore>,
    /// Our three critical streams, while they are being opened.
    opening: Option<Opening>,
    /// What is to be sent on them as soon as they are open.
    waiting: Vec<(Critical, Action)>,
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

/// The last moments of a connection.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// STREAM frames that were sent before GOAWAY. Its stream goes before all others.
    frames: u64,
    /// When to look again.
    look: Instant,
    /// When not to wait any longer.
    until: Instant,
}

impl Leaving {
    const PAUSE: Duration = Duration::from_millis(1);
    /// A path that takes nothing now.
    const LIMIT: Duration = Duration::from_millis(50);
}

impl Driver {
    fn new(inner: Arc<Inner>) -> Self {
        let quic = inner.quic().clone();
        let side = if quic.side() == quinn::Side::Client {
            Side::Client
        } else {
            Side::Server
        };
        let opening = async move {
            // One after the other: some peers insist that the control stream comes first.
            Ok([
                quic.open_uni().await?,
                quic.open_uni().await?,
                quic.open_uni().await?,
            ])
        };
        Self {
            inner,
            side,
            streams: HashMap::new(),
            requests: 0,
            parked: HashMap::new(),
            headers_due: BTreeSet::new(),
            chores: FuturesUnordered::new(),
            opening: Some(Box::pin(opening)),
            waiting: Vec::new(),
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

    // ---- new streams

    /// Looks at the header of a stream once; what is not whole yet waits aside.
    fn new_stream(&mut self, send: Option<quinn::SendStream>, mut recv: quinn::RecvStream) -> Step {
        let Some(id) = StreamId::new(u64::from(recv.id())) else {
            return Ok(());
        };
        self.inner.remote_stream_opened(id.dir());
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let polled = pin!(recv.read_chunk(usize::MAX, true)).poll(&mut cx);
        match polled {
            Poll::Ready(Ok(Some(chunk))) => self.classify(id, send, recv, chunk.bytes),
            Poll::Ready(result) => self.headless(id, send, result.map(|_| ())),
            Poll::Pending => self.park(id, send, recv, &[]),
        }
    }

    /// Ends a stream that ended before its header was whole.
    fn headless(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        result: Result<(), quinn::ReadError>,
    ) -> Step {
        self.inner.remote_stream_ended(id.dir());
        if let Err(quinn::ReadError::ConnectionLost(error)) = result {
            return Err(self.lost(error));
        }
        self.give_up(id);
        // A request that is only an end is incomplete (RFC 9114, 4.1).
        reject(send, None, ErrorCode::H3_REQUEST_INCOMPLETE);
        Ok(())
    }

    /// Takes note that it will not be known what a stream is.
    fn give_up(&self, id: StreamId) {
        let mut state = lock(&self.inner.state);
        if id.dir() == Dir::Bi {
            state.proto.handle_bidi_opened(id);
        }
        // QUIC drops the data of a stream that is reset, the header too: whichever session it
        // belonged to, its peer has spent credit on it.
        self.inner.forgive_stream(&state, id.dir());
    }

    /// Decides by its first bytes what a stream is.
    fn classify(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        first: Bytes,
    ) -> Step {
        let mut rest: &[u8] = &first;
        match id.dir() {
            Dir::Uni => match self.check(UniHeader::decode(&mut rest))? {
                Some(header) => {
                    let body = first.slice(first.len() - rest.len()..);
                    self.uni_stream(header, recv, body)
                }
                None => self.park(id, None, recv, &first),
            },
            Dir::Bi => match self.check(BiHeader::decode(&mut rest))? {
                Some(BiHeader::WebTransport(session)) => {
                    let body = first.slice(first.len() - rest.len()..);
                    let mut state = lock(&self.inner.state);
                    state.proto.handle_bidi_opened(id);
                    self.place(&mut state, session, Slot::new(true, send, Some(recv)), body);
                    Ok(())
                }
                Some(_) => self.request(id, send, recv, first),
                None => self.park(id, send, recv, &first),
            },
        }
    }

    fn place(&self, state: &mut State, session: SessionId, slot: Slot, body: Bytes) {
        self.inner.place_stream(state, session, slot, body);
        self.inner.pump(state);
    }

    fn uni_stream(&mut self, header: UniHeader, recv: quinn::RecvStream, body: Bytes) -> Step {
        let role = lock(&self.inner.state).proto.handle_uni(header);
        match self.check(role)? {
            UniRole::WebTransport(session) => {
                let mut state = lock(&self.inner.state);
                self.place(&mut state, session, Slot::new(true, None, Some(recv)), body);
                Ok(())
            }
            UniRole::Critical(which) => {
                self.inner.remote_stream_ended(Dir::Uni);
                self.insert(Key::Peer(which), None, Some(recv));
                if body.is_empty() {
                    Ok(())
                } else {
                    self.critical_data(which, body)
                }
            }
            UniRole::Discard(code) => {
                self.inner.remote_stream_ended(Dir::Uni);
                reject(None, Some(recv), code);
                Ok(())
            }
        }
    }

    fn insert(
        &mut self,
        key: Key,
        send: Option<quinn::SendStream>,
        recv: Option<quinn::RecvStream>,
    ) {
        if let Some(send) = &send {
            // SETTINGS, answers and credit go before any data, whatever its priority.
            let _ = send.set_priority(i32::MAX);
        }
        let io = Io::new(self.inner.ready.waker(key), send, recv);
        io.nudge();
        self.requests += usize::from(matches!(key, Key::Request(_)));
        self.streams.insert(key, io);
    }

    /// Keeps a stream until its header has arrived.
    ///
    /// A stream of which nothing arrived exists because a later one does. Peers may leave it like
    /// that for as long as they want, as Chromium does with its QPACK encoder stream, so it counts
    /// against no limit but that of QUIC. Nor does a unidirectional stream before its type is known,
    /// which may be one that the connection cannot do without (RFC 9114, 6.2).
    fn park(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        first: &[u8],
    ) -> Step {
        let begun = match id.dir() {
            Dir::Uni => VarInt::decode(&mut &*first).is_ok(),
            Dir::Bi => !first.is_empty(),
        };
        let limits = self.inner.limits();
        if begun && self.headers_due.len() >= limits.pending_headers {
            self.refuse_headless(id, send, recv);
            return Ok(());
        }
        let waker = self.inner.ready.waker(Key::Parked(id));
        // Have it polled again: QUIC knows of no waker for it yet.
        waker.wake_by_ref();
        let due = begun.then(|| Instant::now() + limits.header_timeout);
        self.headers_due.extend(due.map(|due| (due, id)));
        let bytes = BytesMut::from(first);
        self.parked.insert(
            id,
            Parked {
                send,
                recv,
                bytes,
                due,
                waker,
            },
        );
        Ok(())
    }

    /// Refuses a stream whose header is not whole.
    fn refuse_headless(
        &self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
    ) {
        self.inner.remote_stream_ended(id.dir());
        self.give_up(id);
        reject(send, Some(recv), ErrorCode::WT_BUFFERED_STREAM_REJECTED);
    }

    fn unpark(&mut self, id: StreamId) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        if let Some(due) = parked.due {
            self.headers_due.remove(&(due, id));
        }
        Some(parked)
    }

    fn poll_parked(&mut self, id: StreamId) -> Step {
        let Some(parked) = self.parked.get_mut(&id) else {
            return Ok(());
        };
        let mut cx = Context::from_waker(&parked.waker);
        let polled = pin!(parked.recv.read_chunk(usize::MAX, true)).poll(&mut cx);
        let Poll::Ready(result) = polled else {
            return Ok(());
        };
        let Some(parked) = self.unpark(id) else {
            return Ok(());
        };
        let Parked {
            send,
            recv,
            mut bytes,
            ..
        } = parked;
        match result {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk.bytes);
                self.classify(id, send, recv, bytes.freeze())
            }
            Ok(None) => self.headless(id, send, Ok(())),
            Err(error) => self.headless(id, send, Err(error)),
        }
    }

    // ---- request streams

    fn request(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        first: Bytes,
    ) -> Step {
        if self.side == Side::Client {
            return self.check(Err(ProtocolViolation::UnexpectedServerStream));
        }
        self.insert(Key::Request(id), send, Some(recv));
        self.proto(|proto| {
            proto.handle_request_opened(id, Instant::now());
            proto.handle_request_data(id, first)
        })
    }

    /// Writes, reads and looks after a request stream.
    fn poll_request(&mut self, id: StreamId) -> Step {
        let key = Key::Request(id);
        let Some(mut io) = self.streams.remove(&key) else {
            return Ok(());
        };
        let result = self.serve_request(id, &mut io);
        if io.is_over() {
            self.requests -= 1;
            if self.side == Side::Server {
                self.inner.remote_stream_ended(Dir::Bi);
            }
        } else {
            self.streams.insert(key, io);
        }
        result
    }

    fn serve_request(&self, id: StreamId, io: &mut Io) -> Step {
        if io.flush() {
            self.proto(|proto| {
                proto.handle_request_abandoned(id);
                Ok(())
            })?;
        }
        for round in 0.. {
            if round == BATCH {
                io.nudge();
                break;
            }
            // What follows a request that is not answered yet stays with QUIC. Its end does not: a
            // client may give up.
            let wanted = self.inner.with_proto(|proto| proto.wants_request_data(id));
            let Poll::Ready(read) = io.poll_read(if wanted { usize::MAX } else { 0 }) else {
                break;
            };
            if !wanted && matches!(read, Read::Data(_)) {
                break;
            }
            self.proto(|proto| match read {
                Read::Data(bytes) => proto.handle_request_data(id, bytes),
                Read::Fin => proto.handle_request_fin(id),
                Read::Reset(code) => {
                    proto.handle_request_reset(id, code);
                    Ok(())
                }
                Read::Lost => Ok(()),
            })?;
        }
        if let Some(code) = io.poll_stopped() {
            self.proto(|proto| {
                proto.handle_request_stopped(id, code);
                Ok(())
            })?;
        }
        Ok(())
    }

    // ---- critical streams

    fn critical_data(&self, which: Critical, bytes: Bytes) -> Step {
        // Whoever sent SETTINGS has sent its transport parameters before.
        let datagrams = self.inner.quic().max_datagram_size().is_some();
        self.proto(|proto| {
            proto.handle_transport_parameters(datagrams)?;
            proto.handle_critical_data(which, bytes)
        })
    }

    fn poll_critical(&mut self, which: Critical) -> Step {
        let Some(io) = self.streams.get_mut(&Key::Peer(which)) else {
            return Ok(());
        };
        match io.poll_read(usize::MAX) {
            Poll::Pending | Poll::Ready(Read::Lost) => Ok(()),
            Poll::Ready(Read::Data(bytes)) => {
                io.nudge();
                self.critical_data(which, bytes)
            }
            Poll::Ready(Read::Fin | Read::Reset(_)) => {
                self.proto(|proto| Err(proto.handle_critical_end(which)))
            }
        }
    }

    fn poll_own(&mut self, which: Critical) -> Step {
        let Some(io) = self.streams.get_mut(&Key::Own(which)) else {
            return Ok(());
        };
        io.flush();
        match io.poll_stopped() {
            Some(_) => self.check(Err(ProtocolViolation::CriticalStreamClosed)),
            None => Ok(()),
        }
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Step<bool> {
        let Some(opening) = &mut self.opening else {
            return Ok(false);
        };
        let Poll::Ready(result) = opening.as_mut().poll(cx) else {
            return Ok(false);
        };
        self.opening = None;
        for (which, send) in CRITICAL
            .into_iter()
            .zip(result.map_err(|error| self.lost(error))?)
        {
            self.insert(Key::Own(which), Some(send), None);
        }
        for (which, action) in std::mem::take(&mut self.waiting) {
            self.own(which, action);
        }
        Ok(true)
    }

    fn own(&mut self, which: Critical, action: Action) {
        match self.streams.get_mut(&Key::Own(which)) {
            Some(io) => io.push(action),
            None => self.waiting.push((which, action)),
        }
    }

    // ---- datagrams

    fn datagram(&self, bytes: Bytes) -> Step {
        let (id, payload) = self.check(wt_proto::datagram::decode(bytes))?;
        self.check(self.inner.place_datagram(id, payload))
    }

    // ---- the rounds

    /// Does one round of everything but new streams; `true` when another may find work.
    fn poll(&mut self, cx: &mut Context<'_>) -> Step<bool> {
        let mut progress = self.poll_opening(cx)?;
        self.announce_credit();
        // Who waits for an answer that is distributed now goes on when it has been written.
        let answering = std::mem::take(&mut lock(&self.inner.state).answering);
        progress |= self.distribute();
        progress |= self.poll_ready()?;
        drop(answering);
        for chore in self.inner.take_chores() {
            self.chores.push(chore);
        }
        while let Poll::Ready(Some(())) = self.chores.poll_next_unpin(cx) {}
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
                Key::Peer(which) => self.poll_critical(which)?,
                Key::Own(which) => self.poll_own(which)?,
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
            match self.streams.get(&Key::Request(id.stream_id())) {
                Some(io) if !io.is_flushed() => self.held_credit.push(id),
                _ => self.inner.announce_credit(&mut state, id),
            }
        }
    }

    /// Hands what the protocol wants sent to the streams.
    fn distribute(&mut self) -> bool {
        let inner = self.inner.clone();
        let mut state = lock(&inner.state);
        for (id, send, recv) in std::mem::take(&mut state.opened) {
            self.insert(Key::Request(id), Some(send), Some(recv));
        }
        let mut progress = false;
        while let Some(transmit) = state.proto.poll_transmit() {
            progress = true;
            match transmit.target {
                Target::Critical(which) => self.own(which, transmit.action),
                Target::Request(id) => {
                    if let Some(io) = self.streams.get_mut(&Key::Request(id)) {
                        io.push(transmit.action);
                    }
                }
            }
        }
        progress
    }

    // ---- time and the end

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let due = self.deadline();
        if due != self.due {
            self.due = due;
            if let Some(due) = due {
                self.timer.as_mut().reset(due.into());
            }
        }
        if self.due.is_none() {
            return Poll::Pending;
        }
        ready!(self.timer.poll_unpin(cx));
        self.due = None;
        Poll::Ready(self.handle_timeout(Instant::now()))
    }

    fn deadline(&self) -> Option<Instant> {
        let parked = self.headers_due.first().map(|(due, _)| *due);
        let mut state = lock(&self.inner.state);
        while let Some((_, id)) = state.closing.front()
            && !self.streams.contains_key(&Key::Request(*id))
        {
            state.closing.pop_front();
        }
        let all = [
            state.proto.deadline(),
            state.early.deadline(),
            parked,
            self.linger_until(&state),
            state.closing.front().map(|(due, _)| *due),
            state.audit.map(|audit| audit.due),
            self.closing_until.filter(|_| self.leaving.is_none()),
            self.leaving.map(|leaving| leaving.look),
        ];
        all.into_iter().flatten().min()
    }

    /// Returns until when a server keeps the connection without a session.
    fn linger_until(&self, state: &State) -> Option<Instant> {
        if self.side == Side::Client {
            return None;
        }
        if let Some(since) = state.unused_since {
            return Some(since + self.inner.limits().unused_timeout);
        }
        let since = state.idle_since?;
        let limits = self.inner.limits();
        // The peer has to learn how its last session ended.
        let words = if self.requests > 0 {
            limits.close_timeout
        } else {
            Duration::ZERO
        };
        Some(since + limits.linger.max(words))
    }

    fn handle_timeout(&mut self, now: Instant) -> Step {
        while let Some((due, id)) = self.headers_due.first().copied()
            && due <= now
            && let Some(parked) = self.unpark(id)
        {
            self.refuse_headless(id, parked.send, parked.recv);
        }
        let inner = self.inner.clone();
        let mut state = lock(&inner.state);
        self.inner.expire_early(&mut state, now);
        self.inner.audit(&mut state, now);
        self.expire_closing(&mut state, now);
        let over = self.lingered(&mut state, now);
        drop(state);
        if over {
            self.leave(now);
        }
        self.poll_leaving(now);
        self.proto(|proto| proto.handle_timeout(now))
    }

    /// Tears down the streams of ended sessions that the peer does not end.
    fn expire_closing(&mut self, state: &mut State, now: Instant) {
        while let Some((due, id)) = state.closing.front().copied()
            && due <= now
        {
            state.closing.pop_front();
            if let Some(io) = self.streams.get_mut(&Key::Request(id)) {
                io.push(Action::Reset(ErrorCode::WT_SESSION_GONE));
                io.push(Action::Stop(ErrorCode::WT_SESSION_GONE));
            }
        }
    }

    /// Returns whether a server has carried no session for long enough: browsers leave without a
    /// word.
    fn lingered(&self, state: &mut State, now: Instant) -> bool {
        if self.linger_until(state).is_none_or(|until| until > now) {
            return false;
        }
        state.idle_since = None;
        state.unused_since = None;
        state.proto.session_count() == 0
    }

    /// Closes the connection when nobody holds it and the peer knows how its sessions ended.
    fn poll_end(&mut self) -> bool {
        if !self.inner.is_released() {
            return false;
        }
        let now = Instant::now();
        let limit = self.inner.limits().close_timeout;
        let until = *self.closing_until.get_or_insert_with(|| now + limit);
        let over = (self.requests == 0 || now >= until) && self.leaving.is_none();
        if over {
            self.leave(now);
        }
        over
    }

    /// Says GOAWAY, after which the connection is closed (RFC 9114, 3.3).
    fn leave(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving {
            frames: self.inner.quic().stats().frame_tx.stream,
            look: now + Leaving::PAUSE,
            until: now + Leaving::LIMIT,
        });
        self.inner.goaway();
    }

    /// Closes the connection when GOAWAY has been sent.
    fn poll_leaving(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let sent = self.inner.quic().stats().frame_tx.stream > leaving.frames;
        if sent || leaving.until <= now {
            self.close();
        } else if leaving.look <= now {
            leaving.look = now + Leaving::PAUSE;
        }
    }

    /// Reads what is left on the request streams of a connection that is over: how a session ended
    /// may have arrived together with the end of the connection.
    fn last_words(&mut self) {
        if self.inner.end().is_some() {
            // It was closed here for a violation.
            return;
        }
        let requests: Vec<_> = self.streams.keys().copied().collect();
        for key in requests {
            if let Key::Request(id) = key {
                // A violation does not matter any more.
                let _ = self.poll_request(id);
            }
        }
    }

    fn close(&self) {
        let code = parting_code(RandomState::new().hash_one(()));
        self.inner.quic().close(crate::stream::quic_code(code), b"");
    }
}

/// Returns the code with which a connection ends in order.
///
/// Once in a while a reserved one, so that peers learn to take what they do not know for no error
/// (RFC 9114, 8.1).
fn parting_code(random: u64) -> ErrorCode {
    if random.is_multiple_of(32) {
        coding::grease((random >> 32) as u32).into()
    } else {
        ErrorCode::H3_NO_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_connections_end_with_a_reserved_code() {
        assert_eq!(parting_code(1), ErrorCode::H3_NO_ERROR);
        for random in [0, 32, 64 << 32, u64::MAX - 31] {
            let code = parting_code(random);
            assert!(coding::is_grease(code.get()), "{code}");
        }
        let reserved = (0..3200).filter(|n| coding::is_grease(parting_code(*n).get()));
        assert_eq!(reserved.count(), 100);
    }
}
