//! The way in: straight from QUIC, or through a buffer that knows when each datagram arrived.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime, sync::Notify, task::AbortHandle};
use wt_core::Session;

use crate::{
    Datagram, DatagramConfig, DropPolicy, DropReason, QueueStats, ReceiveError, counters::Counters,
    inbox::Inbox, lock::lock,
};

/// A datagram that was received.
pub(super) enum Taken {
    /// Just now, from QUIC; with its number.
    Fresh(Bytes, u64),
    /// From the buffer.
    Buffered(Datagram),
}

/// The receiving side of a transport.
#[derive(Debug)]
pub(super) struct Incoming {
    session: Session,
    counters: Arc<Counters>,
    runtime: runtime::Handle,
    policy: DropPolicy,
    inbox: Inbox<Datagram, ReceiveError>,
    arrived: AtomicU64,
    closed: AtomicBool,
    /// Receivers have to go to the buffer.
    buffered: AtomicBool,
    /// Told when one of the two changes.
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    max_age: Option<Duration>,
    reader: Option<AbortHandle>,
}

impl Incoming {
    pub(super) fn new(
        session: Session,
        counters: Arc<Counters>,
        runtime: runtime::Handle,
        config: &DatagramConfig,
    ) -> Arc<Self> {
        let incoming = Arc::new(Self {
            session,
            counters,
            runtime,
            policy: config.incoming_policy,
            inbox: Inbox::new(config.incoming_queue),
            arrived: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            buffered: AtomicBool::new(false),
            changed: Notify::new(),
            state: Mutex::new(State {
                max_age: config.incoming_max_age,
                reader: None,
            }),
        });
        if config.buffer_incoming || config.incoming_max_age.is_some() {
            incoming.buffer();
        }
        incoming
    }

    pub(super) fn queue(&self) -> QueueStats {
        let size = self.inbox.len();
        QueueStats {
            size,
            max_size: self.inbox.limit(),
            lanes: [size, 0, 0],
        }
    }

    /// Returns how many datagrams arrived, as far as this side knows.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived.load(SeqCst)
    }

    pub(super) fn max_age(&self) -> Option<Duration> {
        lock(&self.state).max_age
    }

    pub(super) fn set_max_age(self: &Arc<Self>, max_age: Option<Duration>) {
        lock(&self.state).max_age = max_age;
        if max_age.is_some() {
            self.buffer();
        }
    }

    /// Starts to buffer, for good.
    fn buffer(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        if state.reader.is_some() || self.closed.load(SeqCst) {
            return;
        }
        // It is aborted by `close`, which every transport ends with.
        let task = self.runtime.spawn(self.clone().read());
        state.reader = Some(task.abort_handle());
        drop(state);
        self.buffered.store(true, SeqCst);
        self.changed.notify_waiters();
    }

    // ---- the reader

    /// Takes datagrams as they arrive until the session ends.
    async fn read(self: Arc<Self>) {
        /// How many may have one time of arrival.
        const BATCH: usize = 64;
        loop {
            let mut next = match self.session.recv_datagram().await {
                Ok(data) => Some(data),
                Err(end) => return self.inbox.end(end.into()),
            };
            // Those that are there arrived together.
            let arrived = Instant::now();
            for _ in 0..BATCH {
                let Some(data) = next else { break };
                self.keep(self.stamp(data, arrived)).await;
                // An end is told by the next round.
                next = self.session.try_recv_datagram().ok().flatten();
            }
            if let Some(data) = next {
                self.keep(self.stamp(data, arrived)).await;
            }
            tokio::task::coop::consume_budget().await;
        }
    }

    fn stamp(&self, data: Bytes, arrived: Instant) -> Datagram {
        Datagram {
            data,
            sequence: self.arrived.fetch_add(1, SeqCst),
            arrived,
            max_age: None,
        }
    }

    /// Puts a datagram into the buffer, as the policy says.
    async fn keep(&self, mut datagram: Datagram) {
        loop {
            match self.inbox.push(datagram) {
                Ok(()) => return,
                Err(back) => datagram = back,
            }
            if self.weed() > 0 {
                continue;
            }
            match self.policy {
                DropPolicy::Wait => self.inbox.taken.notified().await,
                DropPolicy::Newest => return self.dropped(DropReason::Refused, 1),
                DropPolicy::Oldest | DropPolicy::LowestPriority => {
                    if let Ok(Some(_)) = self.inbox.pop() {
                        self.dropped(DropReason::Evicted, 1);
                    }
                }
            }
        }
    }

    /// Drops what is too old.
    fn weed(&self) -> usize {
        let Some(max) = self.max_age() else {
            return 0;
        };
        let old = self.inbox.weed(|datagram| datagram.age() <= max).len();
        self.dropped(DropReason::Expired, old);
        old
    }

    fn dropped(&self, reason: DropReason, number: usize) {
        self.counters.receive_dropped(reason, number);
    }

    // ---- receiving

    pub(super) async fn receive(&self) -> Result<Taken, ReceiveError> {
        loop {
            if self.closed.load(SeqCst) {
                return Err(ReceiveError::Closed);
            }
            if self.buffered.load(SeqCst) {
                if let Some(taken) = self.young(self.inbox.next().await?) {
                    return Ok(taken);
                }
                continue;
            }
            tokio::select! {
                biased;
                data = self.session.recv_datagram() => return Ok(self.fresh(data?)),
                () = self.changed() => {}
            }
        }
    }

    #[inline]
    pub(super) fn try_receive(&self) -> Result<Option<Taken>, ReceiveError> {
        loop {
            if self.closed.load(SeqCst) {
                return Err(ReceiveError::Closed);
            }
            if !self.buffered.load(SeqCst) {
                let data = self.session.try_recv_datagram()?;
                return Ok(data.map(|data| self.fresh(data)));
            }
            let Some(datagram) = self.inbox.pop()? else {
                return Ok(None);
            };
            if let Some(taken) = self.young(datagram) {
                return Ok(Some(taken));
            }
        }
    }

    /// Waits until receivers have to look anew.
    async fn changed(&self) {
        let mut changed = std::pin::pin!(self.changed.notified());
        changed.as_mut().enable();
        if !self.closed.load(SeqCst) && !self.buffered.load(SeqCst) {
            changed.await;
        }
    }

    #[inline]
    fn fresh(&self, data: Bytes) -> Taken {
        Taken::Fresh(data, self.arrived.fetch_add(1, SeqCst))
    }

    /// Returns a datagram of the buffer unless it is too old.
    fn young(&self, mut datagram: Datagram) -> Option<Taken> {
        datagram.max_age = self.max_age();
        if datagram.is_expired() {
            self.dropped(DropReason::Expired, 1);
            return None;
        }
        Some(Taken::Buffered(datagram))
    }

    // ---- the end

    /// Drops what has been received and not taken.
    pub(super) fn clear(&self) -> usize {
        /// A peer that sends without pause does not hold the caller.
        const MOST: usize = 1 << 16;
        let mut number = self.inbox.weed(|_| false).len();
        if !self.buffered.load(SeqCst) {
            let one = || self.session.try_recv_datagram().ok().flatten();
            number += std::iter::from_fn(one).take(MOST).count();
        }
        self.inbox.taken.notify_one();
        self.dropped(DropReason::Cleared, number);
        number
    }

    pub(super) fn close(&self) {
        if self.closed.swap(true, SeqCst) {
            return;
        }
        if let Some(reader) = lock(&self.state).reader.take() {
            reader.abort();
        }
        self.inbox.end(ReceiveError::Closed);
        let lost = self.inbox.weed(|_| false).len();
        self.dropped(DropReason::Ended, lost);
        self.changed.notify_waiters();
    }
}
