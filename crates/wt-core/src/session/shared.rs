//! The part of a session that its handles, its streams and the driver share.

mod credit;
mod datagrams;
mod heads;
mod streams;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use slab::Slab;
use tokio::sync::Notify;
use wt_proto::{Dir, ErrorCode, Initiator, SessionId, flow::Flow, stream_header};

use self::heads::Priorities;
pub(crate) use self::heads::{Answer, Heads, no_headers};
use crate::{
    connection::{ConnRef, Inner},
    error::{ConnectError, SessionError},
    lock::lock,
    stats::Counters,
    stream::Slot,
};

/// All streams of a session that have a handle, or will get one.
#[derive(Debug, Default)]
struct Registry {
    slots: Slab<Arc<Slot>>,
    /// The session is over: no stream may join.
    ended: bool,
    /// How many have joined.
    counts: StreamCounts,
}

/// How many streams a session has had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamCounts {
    /// Opened by this endpoint.
    pub(crate) opened: u64,
    /// Opened by the peer.
    pub(crate) accepted: u64,
    /// Bidirectional ones among both.
    pub(crate) bidi: u64,
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

    fn pop(&self) -> Option<Arc<Slot>> {
        lock(&self.queue).pop_front()
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
        let mut volunteer = self.conn.volunteer();
        loop {
            let changed = self.changed.notified();
            if self.heads.answer().is_some() {
                return Ok(());
            }
            if let Some(end) = self.end() {
                return Err(end.clone().into());
            }
            volunteer.wait(changed).await;
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
}
