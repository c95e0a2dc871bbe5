//! The way out: straight to QUIC, or through the lanes.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{runtime, sync::Notify, task::AbortHandle, time};
use wt_core::{SendDatagramError, Session, SessionError};

use super::{
    ahead::{Ahead, Rate},
    lanes::{Lanes, Waiting},
};
use crate::{
    DatagramConfig, DropPolicy, DropReason, Payload, Priority, QueueStats, SendError, SendOptions,
    counters::{Batch, Counters},
    lock::lock,
};

/// How many datagrams the pump hands over before it lets others have the queue.
const BATCH: usize = 128;

/// The sending side of a transport.
#[derive(Debug)]
pub(super) struct Outgoing {
    session: Session,
    counters: Arc<Counters>,
    runtime: runtime::Handle,
    limit: usize,
    policy: DropPolicy,
    /// Priorities or times to live have been asked for: QUIC gets no more than it can send soon.
    lanes_used: AtomicBool,
    /// Datagrams that must leave before a new one goes straight to QUIC.
    waiting: AtomicUsize,
    ended: AtomicBool,
    state: Mutex<State>,
    ahead: Arc<Ahead>,
    pump: Arc<Notify>,
    /// Told when a place in the queue is free.
    room: Notify,
    /// Told when the queue is empty.
    empty: Notify,
    /// Told when the queue is ended.
    closing: Notify,
    /// Nanoseconds; 0 for none.
    max_age: AtomicU64,
    /// The largest datagram when somebody looked last.
    max_size: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    lanes: Lanes,
    /// The pump waits for QUIC with a datagram in its hands.
    carrying: bool,
    /// Bytes that QUIC got since the last ticket.
    untold: usize,
    /// How fast QUIC takes them.
    rate: Rate,
    end: Option<SendError>,
    pump: Option<AbortHandle>,
}

fn nanos(age: Option<Duration>) -> u64 {
    age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

/// When a datagram was sent and until when it is of use, where that matters.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    now: Option<Instant>,
    expires: Option<Instant>,
}

/// What the pump found.
enum Found {
    /// Nothing to do until somebody says so.
    Nothing,
    /// There is more.
    More,
    /// QUIC has no room for this one.
    Full(Waiting),
    /// The session is over.
    End,
}

/// Where a datagram went that was not refused.
enum Put {
    /// To QUIC, or into the queue.
    Taken,
    /// Nowhere: the queue is full, and its policy is to wait.
    Full,
}

impl Outgoing {
    pub(super) fn new(
        session: Session,
        counters: Arc<Counters>,
        runtime: runtime::Handle,
        config: &DatagramConfig,
    ) -> Self {
        let pump = Arc::new(Notify::new());
        Self {
            session,
            counters,
            runtime,
            limit: config.outgoing_queue,
            policy: config.outgoing_policy,
            lanes_used: AtomicBool::new(config.outgoing_max_age.is_some()),
            waiting: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            ahead: Arc::new(Ahead::new(
                config.send_ahead,
                config.send_ahead_time,
                pump.clone(),
            )),
            pump,
            room: Notify::new(),
            empty: Notify::new(),
            closing: Notify::new(),
            max_age: AtomicU64::new(nanos(config.outgoing_max_age)),
            max_size: AtomicUsize::new(0),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn queue(&self) -> QueueStats {
        let lanes = lock(&self.state).lanes.lens();
        QueueStats {
            size: lanes.iter().sum(),
            max_size: self.limit,
            lanes,
        }
    }

    pub(super) fn max_age(&self) -> Option<Duration> {
        let nanos = self.max_age.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    pub(super) fn set_max_age(&self, max_age: Option<Duration>) {
        self.max_age.store(nanos(max_age), Relaxed);
        if max_age.is_some() {
            self.lanes_used.store(true, Relaxed);
        }
    }

    // ---- sending

    /// Looks at the clock if a datagram may not wait as long as it takes.
    fn times(&self, options: SendOptions) -> Result<Times, SendError> {
        let Some(ttl) = options.ttl.into_iter().chain(self.max_age()).min() else {
            return Ok(Times::default());
        };
        if ttl.is_zero() {
            self.dropped(DropReason::Expired, 1);
            return Err(SendError::Expired);
        }
        let now = Instant::now();
        Ok(Times {
            now: Some(now),
            expires: now.checked_add(ttl),
        })
    }

    /// Sends a datagram if it need not wait: no future, no clock, no copy of what is borrowed.
    #[inline]
    pub(super) fn send_now(
        &self,
        data: &[u8],
        options: SendOptions,
    ) -> Option<Result<(), SendError>> {
        if options.is_plain() {
            if self.is_straight() {
                return self.straight(data);
            }
        } else if !self.lanes_used.load(Relaxed) {
            self.lanes_used.store(true, Relaxed);
        }
        if self.waiting.load(SeqCst) > 0 || options.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return None;
        }
        let mut state = lock(&self.state);
        let sent = self.next_in_turn(&mut state, data)?;
        drop(state);
        Some(self.account(sent, data.len(), None))
    }

    /// Gives a datagram to QUIC unless others come first; `None` when it has to wait.
    fn next_in_turn(
        &self,
        state: &mut State,
        data: &[u8],
    ) -> Option<Result<(), SendDatagramError>> {
        let free = state.lanes.is_empty() && !state.carrying && state.end.is_none();
        if free && self.may_go(state) {
            self.hand_over(state, data)
        } else {
            None
        }
    }

    /// Sends or queues a datagram, and waits for room in the queue where that is the policy.
    pub(super) async fn send(
        self: &Arc<Self>,
        data: impl Payload,
        options: SendOptions,
    ) -> Result<(), SendError> {
        if options.is_plain() && self.policy == DropPolicy::Wait && self.is_straight() {
            // Whoever waits anyway can wait for QUIC.
            return self.send_straight(data.as_ref()).await;
        }
        let data = data.into_bytes();
        let times = self.times(options)?;
        let mut waited = false;
        loop {
            // A place that becomes free before this line is found by `put`.
            let room = self.room.notified();
            match self.put(&data, options, times, false)? {
                Put::Taken => {
                    if waited {
                        self.room.notify_one();
                    }
                    return Ok(());
                }
                Put::Full => waited = true,
            }
            match times.expires {
                None => room.await,
                Some(expires) => {
                    let _ = time::timeout_at(expires.into(), room).await;
                    // Room that comes too late is none.
                    if expires <= Instant::now() {
                        self.room.notify_one();
                        self.dropped(DropReason::Expired, 1);
                        return Err(SendError::Expired);
                    }
                }
            }
        }
    }

    /// Hands a datagram to QUIC and waits for room there: no queue, no other task.
    async fn send_straight(&self, data: &[u8]) -> Result<(), SendError> {
        let mut send = pin!(self.session.send_datagram_wait(data));
        // Mostly there is room, and nothing to wait for.
        let sent = match send.as_mut().now_or_never() {
            Some(sent) => sent,
            None => {
                let closing = self.closing.notified();
                if self.ended.load(SeqCst) {
                    return Err(SendError::Closed);
                }
                tokio::select! {
                    biased;
                    sent = send => sent,
                    () = closing => return Err(SendError::Closed),
                }
            }
        };
        self.account(sent, data.len(), None)
    }

    /// Sends or queues a datagram, or fails.
    pub(super) fn try_send(
        self: &Arc<Self>,
        data: impl Payload,
        options: SendOptions,
        quiet: bool,
    ) -> Result<(), SendError> {
        if (options.is_plain() || quiet)
            && self.is_straight()
            && let Some(sent) = self.straight(data.as_ref())
        {
            return sent;
        }
        let data = data.into_bytes();
        let times = self.times(options)?;
        match self.put(&data, options, times, quiet)? {
            Put::Taken => Ok(()),
            Put::Full => {
                self.dropped(DropReason::Refused, 1);
                Err(SendError::QueueFull { limit: self.limit })
            }
        }
    }

    /// Returns whether a datagram that needs no lane may go straight to QUIC.
    #[inline]
    fn is_straight(&self) -> bool {
        let lanes = self.lanes_used.load(Relaxed) || self.waiting.load(SeqCst) > 0;
        !lanes && !self.ended.load(SeqCst)
    }

    /// Hands a datagram to QUIC for which nothing has to be [thought about](Self::is_straight): one call, no lock of
    /// ours. `None` when QUIC has no room.
    fn straight(&self, data: &[u8]) -> Option<Result<(), SendError>> {
        let sent = self.try_session(data)?;
        Some(self.account(sent, data.len(), None))
    }

    /// Gives a datagram to QUIC; `None` when it has no room.
    fn try_session(&self, data: &[u8]) -> Option<Result<(), SendDatagramError>> {
        match self.session.try_send_datagram(data) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Sends a datagram in its turn, or queues it.
    ///
    /// `quiet` datagrams have a priority and do not put the lanes to use.
    fn put(
        self: &Arc<Self>,
        data: &Bytes,
        options: SendOptions,
        times: Times,
        quiet: bool,
    ) -> Result<Put, SendError> {
        if !options.is_plain() && !quiet {
            self.lanes_used.store(true, Relaxed);
        }
        let mut state = lock(&self.state);
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        if let Some(sent) = self.next_in_turn(&mut state, data) {
            return self.account(sent, data.len(), None).map(|()| Put::Taken);
        }
        self.enqueue(&mut state, data, options.priority, times)
    }

    /// Returns whether QUIC may have another datagram as far as the lanes are concerned.
    fn may_go(&self, state: &State) -> bool {
        !self.lanes_used.load(Relaxed) || self.ahead.has_room(state.untold)
    }

    /// Gives a datagram to QUIC; `None` when it has no room.
    fn hand_over(&self, state: &mut State, data: &[u8]) -> Option<Result<(), SendDatagramError>> {
        if !self.lanes_used.load(Relaxed) {
            return self.try_session(data);
        }
        let cost = Ahead::cost(data.len());
        let untold = state.untold + cost;
        if !self.ahead.should_tell(untold) {
            let sent = self.try_session(data)?;
            if sent.is_ok() {
                state.untold = untold;
                state.rate.add(cost);
            }
            return Some(sent);
        }
        let ticket = self.ahead.ticket(untold);
        let send = self.session.send_datagram_with_ticket(data, ticket);
        let sent = send.now_or_never()?;
        if sent.is_ok() {
            state.untold = 0;
            state.rate.add(cost);
        }
        Some(sent)
    }

    /// Counts what QUIC said to a datagram, which `waited` if it was queued.
    fn account(
        &self,
        sent: Result<(), SendDatagramError>,
        size: usize,
        waited: Option<Duration>,
    ) -> Result<(), SendError> {
        match sent {
            Ok(()) => {
                self.counters.sent(size, waited);
                Ok(())
            }
            Err(error) => {
                if let SendDatagramError::TooLarge { max, .. } = error {
                    self.max_size.store(max, Relaxed);
                    self.dropped(DropReason::TooLarge, 1);
                } else {
                    self.counters.failed();
                }
                Err(error.into())
            }
        }
    }

    fn dropped(&self, reason: DropReason, number: usize) {
        self.counters.send_dropped(reason, number);
    }

    fn enqueue(
        self: &Arc<Self>,
        state: &mut State,
        data: &Bytes,
        priority: Priority,
        times: Times,
    ) -> Result<Put, SendError> {
        if let Some(end) = self.session.close_reason() {
            self.counters.failed();
            return Err(end.into());
        }
        let size = data.len();
        // Asked again only when it matters. Where the path has become narrower since, the pump finds out.
        if size > self.max_size.load(Relaxed) || size == 0 {
            let Some(max) = self.session.max_datagram_size() else {
                self.counters.failed();
                return Err(SendError::Unsupported);
            };
            self.max_size.store(max, Relaxed);
            if size > max {
                self.dropped(DropReason::TooLarge, 1);
                return Err(SendError::TooLarge { size, max });
            }
        }
        if state.lanes.len() >= self.limit && !self.make_room(state, priority, Instant::now())? {
            return Ok(Put::Full);
        }
        let since = times.now.unwrap_or_else(Instant::now);
        let first = state.lanes.is_empty();
        state.lanes.push(Waiting {
            data: data.clone(),
            priority,
            since,
            expires: times.expires,
        });
        self.waiting.fetch_add(1, SeqCst);
        if state.pump.is_none() {
            // It is aborted by `close`, which every transport ends with.
            let task = self.runtime.spawn(self.clone().run());
            state.pump = Some(task.abort_handle());
        }
        // While others wait the pump knows, or is told when QUIC has room.
        if first {
            self.pump.notify_one();
        }
        Ok(Put::Taken)
    }

    /// Makes room in a full queue as the policy says; returns whether there is some.
    fn make_room(
        &self,
        state: &mut State,
        priority: Priority,
        now: Instant,
    ) -> Result<bool, SendError> {
        let old = state.lanes.weed(now).len();
        self.left(state, old);
        self.dropped(DropReason::Expired, old);
        if old > 0 {
            return Ok(true);
        }
        let gone = match self.policy {
            DropPolicy::Oldest => state.lanes.pop_oldest(),
            DropPolicy::LowestPriority => state.lanes.pop_lowest(priority),
            DropPolicy::Newest => None,
            DropPolicy::Wait => return Ok(false),
        };
        if gone.is_none() {
            self.dropped(DropReason::Refused, 1);
            return Err(SendError::QueueFull { limit: self.limit });
        }
        self.left(state, 1);
        self.dropped(DropReason::Evicted, 1);
        Ok(true)
    }

    /// Says that datagrams left the queue.
    ///
    /// One who waits for room is woken when half of it is free, and wakes the next: so that they fill it in one go,
    /// and their packets too.
    fn left(&self, state: &State, number: usize) {
        if number > 0 {
            self.waiting.fetch_sub(number, SeqCst);
            if state.lanes.len() <= self.limit / 2 {
                self.room.notify_one();
            }
        }
    }

    // ---- the end

    /// Waits until QUIC has everything that was queued.
    pub(super) async fn flush(&self) -> Result<(), SendError> {
        loop {
            let mut empty = pin!(self.empty.notified());
            empty.as_mut().enable();
            {
                let state = lock(&self.state);
                if let Some(end) = &state.end {
                    return Err(end.clone());
                }
                if state.lanes.is_empty() && !state.carrying {
                    return Ok(());
                }
            }
            empty.await;
        }
    }

    /// Drops what is queued.
    pub(super) fn clear(&self) -> usize {
        let number = {
            let mut state = lock(&self.state);
            let number = state.lanes.clear();
            self.left(&state, number);
            number
        };
        self.dropped(DropReason::Cleared, number);
        self.pump.notify_one();
        number
    }

    /// Ends the queue and wakes everybody who waits for it; the first word counts.
    pub(super) fn end(&self, end: SendError) {
        self.ended.store(true, SeqCst);
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        if let Some(pump) = state.pump.take() {
            pump.abort();
        }
        let lost = state.lanes.clear() + usize::from(state.carrying);
        state.carrying = false;
        self.dropped(DropReason::Ended, lost);
        drop(state);
        self.room.notify_waiters();
        self.empty.notify_waiters();
        self.closing.notify_waiters();
    }

    // ---- the pump

    /// Hands over what waits, as QUIC has room for it. Runs until [`Self::end`].
    async fn run(self: Arc<Self>) {
        let mut ended = pin!(self.session.closed());
        loop {
            match self.advance() {
                Found::Nothing => tokio::select! {
                    biased;
                    end = &mut ended => return self.end(end.into()),
                    () = self.pump.notified() => {}
                },
                Found::More => tokio::task::yield_now().await,
                Found::Full(waiting) => {
                    if let Some(end) = self.carry(waiting).await {
                        return self.end(end.into());
                    }
                }
                Found::End => return,
            }
        }
    }

    /// Hands over what can be handed over at once.
    fn advance(&self) -> Found {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            return Found::End;
        }
        let now = Instant::now();
        let untold = state.untold;
        self.ahead.measured(&mut state.rate, untold, now);
        let mut gone = 0;
        let mut batch = Batch::default();
        let listened = self.counters.events.has_listeners();
        let found = loop {
            if state.lanes.is_empty() {
                self.empty.notify_waiters();
                break Found::Nothing;
            }
            if !self.may_go(&state) {
                break Found::Nothing;
            }
            if gone == BATCH {
                break Found::More;
            }
            let Some(waiting) = state.lanes.pop() else {
                break Found::Nothing;
            };
            if waiting.is_expired(now) {
                self.dropped(DropReason::Expired, 1);
            } else if let Some(sent) = self.hand_over(&mut state, &waiting.data) {
                let waited = now.saturating_duration_since(waiting.since);
                if sent.is_ok() && !listened {
                    batch.add(waiting.data.len(), waited);
                } else {
                    // An error is counted; the end of the session is noticed by `run`.
                    let _ = self.account(sent, waiting.data.len(), Some(waited));
                }
            } else {
                state.carrying = true;
                break Found::Full(waiting);
            }
            gone += 1;
        };
        self.counters.sent_batch(&batch);
        self.left(&state, gone);
        found
    }

    /// Waits for room in QUIC with one datagram, as long as it lives; returns how the session ended if it did.
    async fn carry(&self, waiting: Waiting) -> Option<SessionError> {
        let data = &waiting.data;
        let send = async {
            if self.lanes_used.load(Relaxed) {
                let ticket = self.ahead.ticket(Ahead::cost(data.len()));
                self.session.send_datagram_with_ticket(data, ticket).await
            } else {
                self.session.send_datagram_wait(data).await
            }
        };
        let sent = match waiting.expires {
            None => Some(send.await),
            Some(expires) => time::timeout_at(expires.into(), send).await.ok(),
        };
        let mut state = lock(&self.state);
        if !state.carrying {
            // The queue was ended meanwhile, and this one counted.
            return None;
        }
        state.carrying = false;
        let result = match sent {
            Some(sent) => self.account(sent, data.len(), Some(waiting.since.elapsed())),
            None => {
                self.dropped(DropReason::Expired, 1);
                Ok(())
            }
        };
        self.left(&state, 1);
        match result {
            Err(SendError::Session(end)) => Some(end),
            _ => None,
        }
    }
}
