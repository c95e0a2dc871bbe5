//! Bounded queues of messages, and what happens to those who do not keep up.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{Message, SubscriptionEnd};

/// What happens to a message for which a full queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest messages in the queue make room: the subscriber sees the latest.
    #[default]
    DropOldest,
    /// The message is dropped, as PyWebTransport does.
    DropNewest,
    /// The subscription ends: no message is ever missing in what the subscriber sees.
    End,
}

/// How much a queue holds, and what happens beyond it.
///
/// A queue is full when either bound is reached. Whoever brings the next message then waits for
/// up to [`Self::patience`], so that nothing is lost while the subscriber reads; a subscriber that
/// did not take half a queue in that time has stalled, and from then on, until half its queue is
/// free again, nobody waits for it: [`Self::overflow`] says what happens to its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueConfig {
    /// The most messages, at least 1. Default: 256.
    #[doc(alias = "max_queue_size")]
    #[doc(alias = "DEFAULT_PUBSUB_SUBSCRIPTION_QUEUE_SIZE")]
    pub capacity: usize,
    /// The most bytes: payloads, topics and 128 for each message. One message is taken whatever its
    /// size. Default: 4 MiB.
    pub bytes: usize,
    /// What happens when it is full and its subscriber has stalled. Default: the oldest are dropped.
    pub overflow: Overflow,
    /// How long others wait for a subscriber whose queue is full. Default: 250 ms; zero for not at
    /// all, [`Duration::MAX`] for as long as it takes.
    pub patience: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 256,
            bytes: 4 << 20,
            overflow: Overflow::DropOldest,
            patience: Duration::from_millis(250),
        }
    }
}

impl QueueConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::capacity`].
    #[must_use]
    pub fn with_capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// Sets [`Self::bytes`].
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`Self::overflow`].
    #[must_use]
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Sets [`Self::patience`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Figures of one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages that were put into it.
    pub received: u64,
    /// Messages that were dropped because it was full, by either policy.
    pub dropped: u64,
    /// Messages in it now.
    pub waiting: usize,
    /// What they take, in bytes.
    pub bytes: usize,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in the queue; so many others made room for it.
    Kept { dropped: u64 },
    /// It was dropped.
    Dropped,
    /// It ended the subscription.
    EndedIt,
    /// The subscription was over before.
    Over,
}

/// A queue with one reader.
#[derive(Debug)]
pub(crate) struct Queue {
    id: u64,
    config: QueueConfig,
    state: Mutex<State>,
    /// Half of it is free again, or it is over.
    room: Notify,
    /// It is over.
    over: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Message>,
    bytes: usize,
    /// Since when its reader owes half a queue.
    full_since: Option<Instant>,
    stalled: bool,
    end: Option<SubscriptionEnd>,
    reader: Option<Waker>,
    received: u64,
    dropped: u64,
}

impl State {
    fn is_full(&self, config: &QueueConfig, size: usize) -> bool {
        !self.items.is_empty()
            && (self.items.len() >= config.capacity
                || self.bytes.saturating_add(size) > config.bytes)
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.items.pop_front()?;
        self.bytes -= message.size();
        Some(message)
    }
}

static IDS: AtomicU64 = AtomicU64::new(0);

impl Queue {
    pub(crate) fn new(config: QueueConfig) -> Self {
        Self {
            id: IDS.fetch_add(1, Relaxed),
            config,
            state: Mutex::default(),
            room: Notify::new(),
            over: Notify::new(),
        }
    }

    /// A number that no other queue has.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when to wait before a message of this size is pushed; `None` for not at all.
    pub(crate) fn must_wait(&self, size: usize) -> Option<Instant> {
        let mut state = self.state();
        if state.stalled
            || state.end.is_some()
            || self.config.patience.is_zero()
            || !state.is_full(&self.config, size)
        {
            return None;
        }
        let now = Instant::now();
        let since = *state.full_since.get_or_insert(now);
        // Decades are as good as for ever, and no overflow.
        let patience = self.config.patience.min(Duration::from_secs(1 << 30));
        let until = since + patience;
        state.stalled = until <= now;
        (!state.stalled).then_some(until)
    }

    /// Waits until a message of this size can be pushed: there is room, or no use in waiting.
    pub(crate) async fn ready(&self, size: usize) {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let Some(until) = self.must_wait(size) else {
                return;
            };
            let _ = tokio::time::timeout_at(until, room).await;
        }
    }

    pub(crate) fn push(&self, message: Message) -> Pushed {
        let size = message.size();
        let mut state = self.state();
        if state.end.is_some() {
            return Pushed::Over;
        }
        let mut dropped = 0;
        if state.is_full(&self.config, size) {
            match self.config.overflow {
                Overflow::DropOldest => {
                    while state.is_full(&self.config, size) && state.pop().is_some() {
                        dropped += 1;
                    }
                }
                Overflow::DropNewest => {
                    state.dropped += 1;
                    return Pushed::Dropped;
                }
                Overflow::End => {
                    drop(state);
                    self.end(SubscriptionEnd::TooSlow);
                    return Pushed::EndedIt;
                }
            }
        }
        state.dropped += dropped;
        state.received += 1;
        state.bytes += size;
        state.items.push_back(message);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Pushed::Kept { dropped }
    }

    /// Polls for the next message; `None` when the queue is over and empty.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state();
        let Some(message) = state.pop() else {
            if state.end.is_some() {
                return Poll::Ready(None);
            }
            match &mut state.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                reader => *reader = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let owed = state.full_since.is_some();
        let half_free =
            state.items.len() <= self.config.capacity / 2 && state.bytes <= self.config.bytes / 2;
        if owed && half_free {
            state.full_since = None;
            state.stalled = false;
            drop(state);
            self.room.notify_waiters();
        }
        Poll::Ready(Some(message))
    }

    /// Waits for the next message; `None` when the queue is over and empty. Cancel safe.
    pub(crate) async fn next(&self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Ends it; the reader gets what is in it first. Returns whether it was not over before.
    pub(crate) fn end(&self, why: SubscriptionEnd) -> bool {
        let mut state = self.state();
        if state.end.is_some() {
            return false;
        }
        state.end = Some(why);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        self.room.notify_waiters();
        self.over.notify_waiters();
        true
    }

    /// Ends it for a reader that is gone.
    pub(crate) fn abandon(&self) {
        self.end(SubscriptionEnd::Unsubscribed);
        let mut state = self.state();
        state.items = VecDeque::new();
        state.bytes = 0;
    }

    pub(crate) fn end_reason(&self) -> Option<SubscriptionEnd> {
        self.state().end.clone()
    }

    /// Waits until it is over, whatever is still in it.
    pub(crate) async fn ended(&self) -> SubscriptionEnd {
        loop {
            let mut over = pin!(self.over.notified());
            over.as_mut().enable();
            if let Some(end) = self.end_reason() {
                return end;
            }
            over.await;
        }
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let state = self.state();
        QueueStats {
            received: state.received,
            dropped: state.dropped,
            waiting: state.items.len(),
            bytes: state.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::Topic;

    fn message(text: &'static str) -> Message {
        Message::new(Topic::new("t").unwrap(), text)
    }

    fn taken(queue: &Queue) -> Vec<String> {
        let mut cx = Context::from_waker(Waker::noop());
        let next = || match queue.poll_next(&mut cx) {
            Poll::Ready(Some(message)) => Some(message.text().unwrap().to_owned()),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    fn full(overflow: Overflow) -> Queue {
        let queue = Queue::new(QueueConfig::new().with_capacity(2).with_overflow(overflow));
        for text in ["a", "b"] {
            assert_eq!(queue.push(message(text)), Pushed::Kept { dropped: 0 });
        }
        queue
    }

    #[test]
    fn a_full_queue_does_as_its_policy_says() {
        let queue = full(Overflow::DropOldest);
        assert_eq!(queue.push(message("c")), Pushed::Kept { dropped: 1 });
        assert_eq!(queue.stats().dropped, 1);
        assert_eq!(taken(&queue), ["b", "c"]);

        let queue = full(Overflow::DropNewest);
        assert_eq!(queue.push(message("c")), Pushed::Dropped);
        assert_eq!(queue.stats().dropped, 1);
        assert_eq!(taken(&queue), ["a", "b"]);

        let queue = full(Overflow::End);
        assert_eq!(queue.push(message("c")), Pushed::EndedIt);
        assert_eq!(queue.push(message("d")), Pushed::Over);
        assert_eq!(taken(&queue), ["a", "b"]);
        assert_eq!(queue.end_reason(), Some(SubscriptionEnd::TooSlow));
    }

    #[test]
    fn bytes_have_a_bound_too_and_one_message_always_fits() {
        let size = message("large").size();
        let queue = Queue::new(QueueConfig::new().with_bytes(size * 2 - 1));
        queue.push(message("large"));
        assert_eq!(queue.push(message("great")), Pushed::Kept { dropped: 1 });
        assert_eq!(queue.stats().bytes, size);
        let queue = Queue::new(QueueConfig::new().with_bytes(0));
        assert_eq!(queue.push(message("large")), Pushed::Kept { dropped: 0 });
        assert_eq!(taken(&queue), ["large"]);
        assert_eq!(queue.stats().bytes, 0);
    }

    #[test]
    fn what_was_queued_before_the_end_is_read() {
        let queue = full(Overflow::DropOldest);
        assert!(queue.end(SubscriptionEnd::Unsubscribed));
        assert!(!queue.end(SubscriptionEnd::TooSlow));
        assert_eq!(taken(&queue), ["a", "b"]);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(queue.poll_next(&mut cx), Poll::Ready(None));
        assert_eq!(queue.end_reason(), Some(SubscriptionEnd::Unsubscribed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_is_waited_for_once() {
        let queue = full(Overflow::DropOldest);
        let start = Instant::now();
        queue.ready(1).await;
        assert_eq!(start.elapsed(), Duration::from_millis(250));
        queue.push(message("c"));
        queue.ready(1).await;
        assert_eq!(start.elapsed(), Duration::from_millis(250));
        // It reads again, so it is waited for again.
        assert_eq!(taken(&queue), ["b", "c"]);
        queue.push(message("d"));
        queue.push(message("e"));
        queue.ready(1).await;
        assert_eq!(start.elapsed(), Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_loses_nothing() {
        let config = QueueConfig::new().with_capacity(4);
        let queue = Queue::new(config);
        let write = async {
            for _ in 0..100 {
                queue.ready(1).await;
                assert_eq!(queue.push(message("x")), Pushed::Kept { dropped: 0 });
            }
        };
        let read = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                queue.next().await.unwrap();
            }
        };
        tokio::join!(write, read);
        assert_eq!(queue.stats().received, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_told_to_those_who_wait_for_room() {
        let queue = full(Overflow::End);
        let (end, ()) = tokio::join!(queue.ended(), async {
            let start = Instant::now();
            tokio::join!(queue.ready(1), async {
                queue.abandon();
            });
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
        assert_eq!(end, SubscriptionEnd::Unsubscribed);
        assert_eq!(taken(&queue), [""; 0]);
    }
}
