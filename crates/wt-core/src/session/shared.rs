//! The part of a session that its handles, its streams and the driver share.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{
            AtomicBool, AtomicI32, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use slab::Slab;
use tokio::sync::{Notify, futures::OwnedNotified};
use wt_proto::{
    Dialect, Dir, ErrorCode, Initiator, ProtocolViolation, SessionId, flow::Flow,
    head::RequestHead, priority, stream_header,
};

use crate::{
    connection::{ConnRef, Inner},
    error::{ConnectError, SessionError},
    events::Event,
    lock::lock,
    session::SendDatagramError,
    stats::{Counters, count},
    stream::{Slot, WriteError},
};

/// All streams of a session that have a handle, or will get one.
#[derive(Debug, Default)]
struct Registry {
    slots: Slab<Arc<Slot>>,
    /// The session is over: no stream may join.
    ended: bool,
}

/// What the request and the response said.
#[derive(Debug)]
pub(crate) struct Heads {
    pub(crate) request: RequestHead,
    pub(crate) dialect: Dialect,
    /// Missing while a client waits for it.
    answer: OnceLock<Answer>,
}

/// What the response said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) protocol: Option<String>,
}

impl Heads {
    /// Makes the heads of a session that waits for its answer.
    pub(crate) const fn asked(request: RequestHead, dialect: Dialect) -> Self {
        Self {
            request,
            dialect,
            answer: OnceLock::new(),
        }
    }

    /// Makes the heads of a session that was answered.
    pub(crate) fn answered(request: RequestHead, dialect: Dialect, answer: Answer) -> Self {
        Self {
            request,
            dialect,
            answer: answer.into(),
        }
    }

    /// Returns the answer; `None` while a client waits for it.
    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.get()
    }
}

/// The priorities that the streams of a session have in QUIC.
///
/// Each urgency has a range of its own, so that streams of a session of greater urgency go before all streams of others,
/// whatever priorities applications give them (draft-16, 3.4).
#[derive(Debug)]
pub(crate) struct Priorities {
    middle: AtomicI32,
}

impl Priorities {
    /// Half of a range.
    const REACH: i32 = 1 << 27;

    /// What the server says of the urgency counts more than what the client said (RFC 9218, 8).
    fn middle_of(heads: &Heads) -> i32 {
        let answer = heads.answer();
        let said = answer.and_then(|answer| priority::urgency(&answer.headers));
        let urgency = said.or_else(|| priority::urgency(&heads.request.headers));
        let above = priority::DEFAULT_URGENCY.cast_signed()
            - urgency.unwrap_or(priority::DEFAULT_URGENCY).cast_signed();
        i32::from(above) * 2 * Self::REACH
    }

    fn new(heads: &Heads) -> Self {
        Self {
            middle: Self::middle_of(heads).into(),
        }
    }

    /// Takes note of the answer, for streams opened from now on.
    fn answered(&self, heads: &Heads) {
        self.middle.store(Self::middle_of(heads), Relaxed);
    }

    /// Returns whether the streams have another priority in QUIC than in their session.
    fn differ(&self) -> bool {
        self.middle.load(Relaxed) != 0
    }

    /// Returns the priority in QUIC of a stream with this priority in its session.
    pub(crate) fn in_quic(&self, priority: i32) -> i32 {
        self.middle.load(Relaxed) + priority.clamp(-Self::REACH, Self::REACH - 1)
    }

    /// Returns the priority in its session of a stream with this priority in QUIC.
    pub(crate) fn in_session(&self, priority: i32) -> i32 {
        priority - self.middle.load(Relaxed)
    }
}

/// Streams of one direction that wait to be accepted.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    queue: Mutex<VecDeque<Arc<Slot>>>,
    arrived: Notify,
}

impl Incoming {
    fn push(&self, stream: Arc<Slot>) {
        lock(&self.queue).push_back(stream);
        self.arrived.notify_one();
    }
}

/// A session, as its handles, its streams and the driver know it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: SessionId,
    pub(crate) heads: Heads,
    pub(crate) created: Instant,
    conn: Arc<Inner>,
    /// What keeps the connection alive as long as the session lives.
    held: Mutex<Option<Arc<ConnRef>>>,
    pub(crate) flow: Option<Arc<Flow>>,
    priorities: Priorities,
    registry: Mutex<Registry>,
    bidi: Incoming,
    uni: Incoming,
    /// Bytes of streams that were taken from QUIC and that nobody has read.
    kept: AtomicU64,
    /// Tasks that wait for credit to send or to open.
    credit: Arc<Notify>,
    /// The driver has been told that credit is to be announced.
    credit_told: AtomicBool,
    /// When credit was announced last.
    renewed: Mutex<Option<Instant>>,
    datagrams: Mutex<VecDeque<Bytes>>,
    /// How many there are, for a look without the lock.
    datagrams_kept: AtomicUsize,
    datagram_arrived: Notify,
    /// What stands in front of each datagram.
    datagram_header: stream_header::Header,
    outgoing_datagrams: Mutex<Arena>,
    reads_datagrams: AtomicBool,
    /// A layer above has claimed the datagrams.
    pub(super) datagrams_claimed: AtomicBool,
    end: OnceLock<SessionError>,
    ended_at: OnceLock<Instant>,
    /// The session was answered, or is over.
    changed: Notify,
    draining: AtomicBool,
    drain: Notify,
    pub(crate) counters: Counters,
    /// The limits that the peer has announced, as far as it was told.
    pub(crate) known_limits: KnownLimits,
}

/// Where outgoing datagrams are put together, and counted, since it is locked anyway.
#[derive(Debug, Default)]
struct Arena {
    buffer: BytesMut,
    sent: u64,
}

/// The limits of the peer that [`Event`](crate::events::Event) told last.
#[derive(Debug, Default)]
pub(crate) struct KnownLimits {
    pub(crate) data: AtomicU64,
    pub(crate) bidi: AtomicU64,
    pub(crate) uni: AtomicU64,
}

impl KnownLimits {
    fn new(flow: Option<&Flow>) -> Self {
        flow.map_or_else(Self::default, |flow| Self {
            data: flow.send_data.limit().into(),
            bidi: flow.open(Dir::Bi).limit().into(),
            uni: flow.open(Dir::Uni).limit().into(),
        })
    }
}

impl Shared {
    pub(crate) fn new(
        id: SessionId,
        conn: Arc<Inner>,
        flow: Option<Arc<Flow>>,
        heads: Heads,
    ) -> Self {
        let priorities = Priorities::new(&heads);
        Self {
            id,
            heads,
            priorities,
            created: Instant::now(),
            conn,
            held: Mutex::default(),
            known_limits: KnownLimits::new(flow.as_deref()),
            flow,
            registry: Mutex::default(),
            bidi: Incoming::default(),
            uni: Incoming::default(),
            kept: AtomicU64::new(0),
            credit: Arc::default(),
            credit_told: AtomicBool::new(false),
            renewed: Mutex::default(),
            datagrams: Mutex::default(),
            datagrams_kept: AtomicUsize::new(0),
            datagram_arrived: Notify::new(),
            datagram_header: wt_proto::datagram::header(id),
            outgoing_datagrams: Mutex::default(),
            reads_datagrams: AtomicBool::new(false),
            datagrams_claimed: AtomicBool::new(false),
            end: OnceLock::new(),
            ended_at: OnceLock::new(),
            changed: Notify::new(),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn conn(&self) -> &Arc<Inner> {
        &self.conn
    }

    /// Keeps the connection alive until the session ends.
    pub(crate) fn hold(&self, conn: Arc<ConnRef>) {
        let mut held = lock(&self.held);
        if self.end().is_none() {
            *held = Some(conn);
        }
    }

    /// Returns what keeps the connection alive; `None` once the session is over.
    pub(crate) fn held(&self) -> Option<Arc<ConnRef>> {
        lock(&self.held).clone()
    }

    // ---- the answer

    /// Takes the server's answer.
    pub(crate) fn establish(&self, answer: Answer) {
        let _ = self.heads.answer.set(answer);
        self.priorities.answered(&self.heads);
        self.changed.notify_waiters();
    }

    /// Waits for the server's answer.
    pub(crate) async fn established(&self) -> Result<(), ConnectError> {
        loop {
            let changed = self.changed.notified();
            if self.heads.answer().is_some() {
                return Ok(());
            }
            if let Some(end) = self.end() {
                return Err(end.clone().into());
            }
            changed.await;
        }
    }

    // ---- the end

    /// Returns how the session ended, once it has.
    pub(crate) fn end(&self) -> Option<&SessionError> {
        self.end.get()
    }

    /// Returns how the session ended, given that QUIC says that the connection is lost.
    ///
    /// Why the connection ended may be known better than QUIC tells, and before the driver acted.
    pub(crate) fn lost(&self, error: quinn::ConnectionError) -> SessionError {
        match self.end() {
            Some(end) => end.clone(),
            None => SessionError::Connection(self.conn.end().unwrap_or_else(|| error.into())),
        }
    }

    /// Returns how the session ended, or that this endpoint did it.
    pub(crate) fn end_or_local(&self) -> SessionError {
        let local = || SessionError::Closed {
            by: Initiator::Local,
            code: 0,
            reason: String::new(),
        };
        self.end().cloned().unwrap_or_else(local)
    }

    /// Waits for the end of the session.
    pub(crate) async fn ended(&self) -> SessionError {
        loop {
            let changed = self.changed.notified();
            if let Some(end) = self.end() {
                return end.clone();
            }
            changed.await;
        }
    }

    /// Returns how the session ended; what QUIC reported may be known before the driver acted on it.
    pub(crate) async fn end_or_lost(&self) -> SessionError {
        match self.end() {
            Some(end) => end.clone(),
            None => SessionError::Connection(self.conn.closed().await),
        }
    }

    /// Ends the session for all its handles and resets all its streams (draft-16, 6).
    pub(crate) fn terminate(&self, error: SessionError) {
        if self.end.set(error).is_err() {
            return;
        }
        let _ = self.ended_at.set(Instant::now());
        let slots = {
            let mut registry = lock(&self.registry);
            registry.ended = true;
            std::mem::take(&mut registry.slots)
        };
        for (_, slot) in slots {
            slot.abort(ErrorCode::WT_SESSION_GONE);
        }
        for incoming in [&self.bidi, &self.uni] {
            for slot in std::mem::take(&mut *lock(&incoming.queue)) {
                self.conn.remote_stream_ended(slot.dir);
            }
            incoming.arrived.notify_waiters();
        }
        if self.reads_datagrams.swap(false, SeqCst) {
            self.conn.datagram_reader_left();
        }
        self.changed.notify_waiters();
        self.drain.notify_waiters();
        self.datagram_arrived.notify_waiters();
        self.credit.notify_waiters();
        // Handles that are still around do not keep the connection.
        let held = lock(&self.held).take();
        drop(held);
    }

    // ---- drain

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, SeqCst);
        self.drain.notify_waiters();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    pub(crate) async fn draining(&self) -> Result<(), SessionError> {
        loop {
            let drain = self.drain.notified();
            if self.is_draining() {
                return Ok(());
            }
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            drain.await;
        }
    }

    // ---- streams

    /// Takes a stream into the session; gives it back reset when the session is over.
    pub(crate) fn register(&self, slot: Slot) -> Result<Arc<Slot>, SessionError> {
        if self.priorities.differ() {
            slot.set_priority(self.priorities.in_quic(0));
        }
        let slot = Arc::new(slot);
        {
            let mut registry = lock(&self.registry);
            if !registry.ended {
                let key = registry.slots.insert(slot.clone());
                slot.key.store(key, Relaxed);
                return Ok(slot);
            }
        }
        slot.abort(ErrorCode::WT_SESSION_GONE);
        Err(self.end_or_local())
    }

    pub(crate) const fn priorities(&self) -> &Priorities {
        &self.priorities
    }

    /// Takes a stream of the peer and offers it to the application.
    pub(crate) fn push_stream(&self, slot: Slot, first: Bytes) {
        count(&self.counters.streams_accepted);
        let dir = slot.dir;
        self.keep(first.len());
        slot.push_first(first);
        match self.register(slot) {
            Ok(slot) => {
                self.tell_opened(&slot);
                self.incoming(dir).push(slot);
            }
            Err(_) => self.conn.remote_stream_ended(dir),
        }
    }

    /// Counts and tells a stream that joined the session.
    pub(crate) fn tell_opened(&self, slot: &Slot) {
        if slot.dir == Dir::Bi {
            count(&self.counters.streams_bidi);
        }
        self.conn.tell(|| Event::StreamOpened {
            connection: self.conn.id(),
            session: self.id,
            stream: slot.id,
            by: slot.opened_by(),
        });
    }

    fn incoming(&self, dir: Dir) -> &Incoming {
        match dir {
            Dir::Bi => &self.bidi,
            Dir::Uni => &self.uni,
        }
    }

    pub(crate) async fn accept(&self, dir: Dir) -> Result<Arc<Slot>, SessionError> {
        let incoming = self.incoming(dir);
        loop {
            let mut arrived = pin!(incoming.arrived.notified());
            // Before the look at the queue: others may be between look and wait as well, and each
            // stream wakes only one of those that wait.
            arrived.as_mut().enable();
            if let Some(stream) = lock(&incoming.queue).pop_front() {
                return Ok(stream);
            }
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            arrived.await;
        }
    }

    pub(crate) fn forget_stream(&self, slot: &Slot) {
        let mut registry = lock(&self.registry);
        if !registry.ended {
            registry.slots.try_remove(slot.key.load(Relaxed));
        }
        drop(registry);
        self.conn.tell(|| Event::StreamClosed {
            connection: self.conn.id(),
            session: self.id,
            stream: slot.id,
        });
    }

    /// Returns the streams that have a handle, or will get one.
    pub(crate) fn streams(&self) -> Vec<Arc<Slot>> {
        let registry = lock(&self.registry);
        registry
            .slots
            .iter()
            .map(|(_, slot)| slot.clone())
            .collect()
    }

    /// Returns how many bytes were taken from QUIC and wait for a reader.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Relaxed)
    }

    /// Returns how long the session has lived, or did.
    pub(crate) fn uptime(&self) -> Duration {
        let end = self.ended_at.get().copied();
        end.unwrap_or_else(Instant::now)
            .duration_since(self.created)
    }

    /// Returns how many datagrams wait to be taken.
    pub(crate) fn datagram_backlog(&self) -> usize {
        lock(&self.datagrams).len()
    }

    /// Returns how many streams wait to be accepted.
    pub(crate) fn streams_waiting(&self) -> usize {
        lock(&self.bidi.queue).len() + lock(&self.uni.queue).len()
    }

    pub(crate) fn active_streams(&self) -> usize {
        lock(&self.registry).slots.len()
    }

    /// Takes note that the application is done with one half of a stream.
    pub(crate) fn half_ended(&self, slot: &Slot) {
        if !slot.remote {
            return;
        }
        self.conn.remote_half_ended(slot.dir);
        if self
            .flow
            .as_ref()
            .is_some_and(|f| f.accept(slot.dir).end_half())
        {
            self.credit_due();
        }
    }

    // ---- credit

    /// Counts bytes that are kept for a reader.
    pub(crate) fn keep(&self, bytes: usize) {
        self.kept.fetch_add(bytes as u64, Relaxed);
    }

    /// Takes note that kept bytes were read or given up.
    pub(crate) fn keep_less(&self, bytes: usize) {
        self.kept.fetch_sub(bytes as u64, Relaxed);
    }

    /// Returns whether as much is kept as the session may have unread.
    ///
    /// A peer that keeps to its limit gets here only by credit for streams that were reset, of which
    /// nobody knows how much they carried. What else it sends waits in QUIC, within QUIC's windows.
    pub(crate) fn keeps_enough(&self) -> bool {
        let window = self.flow.as_ref().map_or(0, |f| f.recv_data.window());
        self.kept.load(Relaxed) > window
    }

    /// Takes from QUIC what has arrived on all streams, so that it counts as long as the limit is
    /// what the peer was told.
    ///
    /// # Errors
    ///
    /// The violation of a peer that went over its limit.
    pub(crate) fn look_ahead(&self) -> Result<(), ProtocolViolation> {
        let registry = lock(&self.registry);
        registry
            .slots
            .iter()
            .try_for_each(|(_, slot)| slot.look_ahead(self))
    }

    /// Asks the driver to announce credit, unless it was asked already.
    pub(crate) fn credit_due(&self) {
        if !self.credit_told.swap(true, SeqCst) {
            self.conn.credit_due(self.id);
        }
    }

    /// Takes note that the driver is about to announce credit.
    pub(crate) fn credit_taken(&self) {
        // A swap sees what those counted who found the flag set.
        self.credit_told.swap(false, SeqCst);
    }

    /// Returns whether the driver was asked to announce credit and has not done so.
    pub(crate) fn is_credit_due(&self) -> bool {
        self.credit_told.load(SeqCst)
    }

    /// Returns whether the last call was at most `time` ago: the peer uses its credit quickly.
    pub(crate) fn renewed_within(&self, time: Duration) -> bool {
        let now = Instant::now();
        let last = lock(&self.renewed).replace(now);
        last.is_some_and(|last| now.duration_since(last) <= time)
    }

    /// Wakes all that wait for credit.
    pub(crate) fn credit_raised(&self) {
        self.credit.notify_waiters();
    }

    /// Takes credit for up to `want` bytes; waits while there is none.
    ///
    /// `waiting` is where the caller waits, between calls.
    pub(crate) fn poll_send_credit(
        &self,
        cx: &mut Context<'_>,
        want: usize,
        waiting: &mut Option<Pin<Box<OwnedNotified>>>,
    ) -> Poll<Result<usize, WriteError>> {
        let Some(flow) = &self.flow else {
            return Poll::Ready(Ok(want));
        };
        let credit = &flow.send_data;
        loop {
            let got = credit.take(want as u64);
            if got > 0 {
                *waiting = None;
                // It is at most `want`, so it fits.
                return Poll::Ready(Ok(usize::try_from(got).unwrap_or(want)));
            }
            if let Some(end) = self.end() {
                return Poll::Ready(Err(WriteError::Session(end.clone())));
            }
            match waiting {
                None => {
                    let raised = waiting.insert(Box::pin(self.credit.clone().notified_owned()));
                    // Look again afterwards: credit may have come in between.
                    raised.as_mut().enable();
                }
                Some(raised) => {
                    if raised.as_mut().poll(cx).is_pending() {
                        credit.set_blocked();
                        self.credit_due();
                        return Poll::Pending;
                    }
                    *waiting = None;
                }
            }
        }
    }

    pub(crate) fn return_send_credit(&self, bytes: usize) {
        if let Some(flow) = &self.flow {
            flow.send_data.give_back(bytes as u64);
            self.credit.notify_waiters();
        }
    }

    /// Takes credit for one stream of `dir`; waits while there is none.
    pub(crate) async fn open_credit(&self, dir: Dir) -> Result<(), SessionError> {
        loop {
            let mut raised = pin!(self.credit.notified());
            raised.as_mut().enable();
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            let Some(flow) = &self.flow else {
                return Ok(());
            };
            let credit = flow.open(dir);
            if credit.take(1) == 1 {
                return Ok(());
            }
            credit.set_blocked();
            self.credit_due();
            raised.await;
        }
    }

    /// Gives back the credit of a stream of which the peer never learned.
    pub(crate) fn unopened(&self, dir: Dir) {
        if let Some(flow) = &self.flow {
            flow.open(dir).give_back(1);
            self.credit.notify_waiters();
        }
    }

    /// Counts bytes of the peer as arrived.
    pub(crate) fn flow_arrived(&self, bytes: usize) -> Result<(), ProtocolViolation> {
        self.flow
            .as_ref()
            .map_or(Ok(()), |flow| flow.recv_data.arrive(bytes as u64))
    }

    /// Counts bytes of the peer as arrived; the session ends when they are too many.
    pub(crate) fn arrived(&self, bytes: usize) -> Result<(), SessionError> {
        self.flow_arrived(bytes)
            .map_err(|violation| self.violated(violation))
    }

    pub(crate) fn violated(&self, violation: ProtocolViolation) -> SessionError {
        self.conn.session_violation(self.id, violation);
        self.end()
            .cloned()
            .unwrap_or(SessionError::Violation(violation))
    }

    /// Counts bytes that the application took; `true` when credit is to be announced.
    pub(crate) fn consumed(&self, bytes: usize) -> bool {
        self.flow
            .as_ref()
            .is_some_and(|flow| flow.recv_data.consume(bytes as u64))
    }

    /// Makes up for a stream of the peer that was reset before its header arrived, and which may
    /// have been one of this session.
    pub(crate) fn forgive_stream(&self, dir: Dir) {
        if let Some(flow) = &self.flow {
            if flow.accept(dir).forgive() {
                self.credit_due();
            }
            self.forgive_received();
        }
    }

    /// Makes up for bytes of a stream that was reset or stopped, of which nobody knows how many.
    pub(crate) fn forgive_received(&self) {
        if let Some(flow) = &self.flow {
            let credit = &flow.recv_data;
            let most = credit.limit().saturating_sub(credit.consumed());
            if credit.forgive(most.min(self.conn.stream_window())) {
                self.credit_due();
            }
        }
    }

    // ---- datagrams

    /// Returns the largest payload of a datagram now.
    pub(crate) fn max_datagram_size(&self) -> Option<usize> {
        let max = self.conn.quic().max_datagram_size()?;
        max.checked_sub(self.datagram_header.as_slice().len())
    }

    /// Puts the session's prefix before a payload, unless the session is over.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Result<Bytes, SendDatagramError> {
        self.still_open()?;
        Ok(self.frame_datagram(&mut lock(&self.outgoing_datagrams), payload))
    }

    fn still_open(&self) -> Result<(), SendDatagramError> {
        match self.end() {
            None => Ok(()),
            Some(end) => Err(SendDatagramError::Session(end.clone())),
        }
    }

    /// Counts a datagram that QUIC took.
    pub(crate) fn datagram_sent(&self) {
        lock(&self.outgoing_datagrams).sent += 1;
    }

    /// Returns how many datagrams QUIC took.
    pub(crate) fn datagrams_sent(&self) -> u64 {
        lock(&self.outgoing_datagrams).sent
    }

    pub(crate) fn datagram_error(
        &self,
        error: quinn::SendDatagramError,
        size: usize,
    ) -> SendDatagramError {
        use quinn::SendDatagramError as Q;
        match error {
            Q::TooLarge => SendDatagramError::TooLarge {
                size,
                max: self.max_datagram_size().unwrap_or(0),
            },
            Q::ConnectionLost(error) => SendDatagramError::Session(self.lost(error)),
            Q::UnsupportedByPeer | Q::Disabled => SendDatagramError::Unsupported,
        }
    }

    /// Sends a datagram if QUIC has room for it.
    pub(crate) fn try_send_datagram(&self, payload: &[u8]) -> Result<bool, SendDatagramError> {
        self.still_open()?;
        let datagram = {
            let mut arena = lock(&self.outgoing_datagrams);
            // It mostly goes.
            arena.sent += 1;
            self.frame_datagram(&mut arena, payload)
        };
        let sent = self.conn.quic().send_datagram_wait(datagram);
        let refused = match sent.now_or_never() {
            Some(Ok(())) => return Ok(true),
            Some(Err(error)) => Err(self.datagram_error(error, payload.len())),
            None => Ok(false),
        };
        lock(&self.outgoing_datagrams).sent -= 1;
        refused
    }

    /// Keeps a datagram for the application; the oldest goes when there are too many.
    pub(crate) fn push_datagram(&self, datagram: Bytes) {
        count(&self.counters.datagrams_received);
        let mut queue = lock(&self.datagrams);
        // Who takes one wakes the next as long as there are more: a reader is woken once for all that come together.
        let first = queue.is_empty();
        if queue.len() >= self.conn.limits().datagram_queue {
            queue.pop_front();
            count(&self.counters.datagrams_dropped);
        }
        queue.push_back(datagram);
        self.datagrams_kept.store(queue.len(), SeqCst);
        drop(queue);
        if first {
            self.datagram_arrived.notify_one();
        }
    }

    pub(crate) fn pop_datagram(&self) -> Option<Bytes> {
        // Mostly there are none, and nothing to lock.
        if self.datagrams_kept.load(SeqCst) == 0 {
            return None;
        }
        let mut queue = lock(&self.datagrams);
        let datagram = queue.pop_front();
        let left = queue.len();
        self.datagrams_kept.store(left, SeqCst);
        drop(queue);
        if left > 0 {
            self.datagram_arrived.notify_one();
        }
        datagram
    }

    /// Takes a datagram that is there.
    pub(crate) fn try_recv_datagram(&self) -> Result<Option<Bytes>, SessionError> {
        if !self.reads_datagrams.load(SeqCst) && !self.reads_datagrams.swap(true, SeqCst) {
            self.conn.datagram_reader_came();
        }
        loop {
            if let Some(datagram) = self.pop_datagram() {
                return Ok(Some(datagram));
            }
            if let Some(end) = self.end() {
                return Err(end.clone());
            }
            // When several sessions want datagrams, the driver hands them out.
            if !self.conn.reads_datagrams_itself() {
                return Ok(None);
            }
            let Some(datagram) = self.conn.quic().read_datagram().now_or_never() else {
                return Ok(None);
            };
            if let Some(datagram) = self.own_datagram(datagram)? {
                return Ok(Some(datagram));
            }
        }
    }

    /// Takes the payload of what QUIC gave; it may be for another session of the connection.
    fn own_datagram(
        &self,
        datagram: Result<Bytes, quinn::ConnectionError>,
    ) -> Result<Option<Bytes>, SessionError> {
        let mut datagram = datagram.map_err(|error| self.lost(error))?;
        let header = self.datagram_header.as_slice();
        let own = if datagram.starts_with(header) {
            datagram.advance(header.len());
            Some(datagram)
        } else {
            self.conn.route_datagram(datagram, self.id)
        };
        if own.is_some() {
            count(&self.counters.datagrams_received);
        }
        Ok(own)
    }

    pub(crate) async fn recv_datagram(&self) -> Result<Bytes, SessionError> {
        loop {
            if let Some(datagram) = self.try_recv_datagram()? {
                return Ok(datagram);
            }
            let reads = self.conn.reads_datagrams_itself();
            if let Some(datagram) = self.next_datagram(reads).await
                && let Some(datagram) = self.own_datagram(datagram)?
            {
                return Ok(datagram);
            }
        }
    }

    /// Waits for a datagram of the connection, if the session `reads` them itself, or until there
    /// is something else to look at.
    async fn next_datagram(&self, reads: bool) -> Option<Result<Bytes, quinn::ConnectionError>> {
        let mut arrived = pin!(self.datagram_arrived.notified());
        arrived.as_mut().enable();
        // What came before that line wakes nobody.
        let came = !lock(&self.datagrams).is_empty() || self.end().is_some();
        if came || self.conn.reads_datagrams_itself() != reads {
            return None;
        }
        if !reads {
            arrived.await;
            return None;
        }
        tokio::select! {
            biased;
            datagram = self.conn.quic().read_datagram() => Some(datagram),
            () = arrived => None,
        }
    }

    /// Puts the session's prefix before a payload.
    fn frame_datagram(&self, arena: &mut Arena, payload: &[u8]) -> Bytes {
        /// What is reserved at a time, so that most datagrams allocate nothing.
        const ARENA: usize = 16 * 1024;
        let header = self.datagram_header.as_slice();
        let len = header.len() + payload.len();
        let buffer = &mut arena.buffer;
        if buffer.capacity() < len {
            buffer.reserve(len.max(ARENA));
        }
        buffer.extend_from_slice(header);
        buffer.extend_from_slice(payload);
        buffer.split().freeze()
    }
}
