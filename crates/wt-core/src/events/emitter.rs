//! Where events come from.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, SystemTime},
};

use tokio::sync::broadcast;

use super::{CAPACITY, Events, MAX_CAPACITY, WaitError};
use crate::lock::lock;

/// Hands events of type `E` to all who listen.
///
/// A cheap handle: clones speak of the same listeners. When the last clone is dropped, or after [`Self::close`], the
/// streams of the listeners end behind the last event. Without listeners and history an event costs one look at an
/// atomic number, and without listeners an emitter holds no ring.
///
/// Handlers are tasks here: one that loops over [`Self::subscribe`] may be slow, wait or panic without harm to who
/// emits or to the others.
///
/// # Examples
///
/// ```
/// use futures_util::StreamExt;
/// use wt_core::events::Emitter;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let emitter = Emitter::new();
/// let mut events = emitter.subscribe();
/// emitter.emit("opened");
/// emitter.emit("closed");
/// drop(emitter);
/// assert_eq!(events.next().await, Some(Ok("opened")));
/// assert_eq!(events.next().await, Some(Ok("closed")));
/// assert_eq!(events.next().await, None);
/// # }
/// ```
#[doc(alias = "EventEmitter")]
pub struct Emitter<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    /// Held by each listener, next to the ring, so that emitting looks at a number and takes no lock.
    listeners: Arc<AtomicUsize>,
    capacity: usize,
    /// Events that the history holds at most; 0 for none.
    history: AtomicUsize,
    closed: AtomicBool,
    state: Mutex<State<E>>,
}

struct State<E> {
    /// Made for the first listener.
    ring: Option<broadcast::Sender<E>>,
    history: VecDeque<Recorded<E>>,
    sequence: u64,
}

/// An event that the history kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded<E> {
    /// Counts the events of the emitter that were handed out or kept, from 0 on.
    #[doc(alias = "event_id")]
    pub sequence: u64,
    /// When it was emitted.
    #[doc(alias = "timestamp")]
    pub at: SystemTime,
    /// The event.
    pub event: E,
}

/// Figures of an emitter at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmitterStats {
    /// Listeners now.
    #[doc(alias = "total_handlers")]
    pub listeners: usize,
    /// Events that were handed out or kept. Those that nobody could have seen are not counted.
    pub emitted: u64,
    /// Events in the history.
    pub history: usize,
    /// How many events a listener may be behind.
    pub capacity: usize,
}

impl<E: Clone + Send + 'static> Emitter<E> {
    /// Makes an emitter whose listeners may be [`CAPACITY`] events behind, without history.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// Makes an emitter whose listeners may be `capacity` events behind: at least 1, at most [`MAX_CAPACITY`], rounded
    /// up to a power of two.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let shared = Shared {
            listeners: Arc::default(),
            capacity: capacity.clamp(1, MAX_CAPACITY).next_power_of_two(),
            history: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                ring: None,
                history: VecDeque::new(),
                sequence: 0,
            }),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Keeps the newest `events` events, at most [`MAX_CAPACITY`], for [`Self::history`]; 0 keeps none.
    ///
    /// With a history each event is cloned into it, whether anybody listens or not.
    #[must_use]
    pub fn with_history(self, events: usize) -> Self {
        self.shared.history.store(events.min(MAX_CAPACITY), SeqCst);
        self.trim();
        self
    }

    fn trim(&self) {
        let most = self.shared.history.load(SeqCst);
        let mut state = lock(&self.shared.state);
        while state.history.len() > most {
            state.history.pop_front();
        }
    }

    /// Hands `event` to all who listen. Never waits.
    ///
    /// Costs next to nothing when nobody does; where making the event costs something, see [`Self::emit_with`].
    pub fn emit(&self, event: E) {
        self.emit_with(|| event);
    }

    /// Like [`Self::emit`], with an event that is made only if somebody gets it.
    #[inline]
    pub fn emit_with(&self, event: impl FnOnce() -> E) {
        let most = self.shared.history.load(Relaxed);
        if (self.has_listeners() || most > 0) && !self.is_closed() {
            self.send(event(), most);
        }
    }

    fn send(&self, event: E, most: usize) {
        // History and ring in one order.
        let mut state = lock(&self.shared.state);
        let sequence = state.sequence;
        state.sequence += 1;
        if most > 0 {
            if state.history.len() >= most {
                state.history.pop_front();
            }
            state.history.push_back(Recorded {
                sequence,
                at: SystemTime::now(),
                event: event.clone(),
            });
        }
        if let Some(ring) = &state.ring {
            // An error says that the last listener has just left.
            let _ = ring.send(event);
        }
    }

    /// Listens: the stream has all events from now on.
    ///
    /// One that is dropped stops listening, one that is not polled is paused: up to the capacity nothing is lost. The
    /// stream of an emitter that is [closed](Self::close) is at its end.
    #[doc(alias = "on")]
    #[doc(alias = "on_any")]
    #[doc(alias = "once")]
    #[doc(alias = "pause")]
    pub fn subscribe(&self) -> Events<E> {
        let mut state = lock(&self.shared.state);
        let ring = state
            .ring
            .get_or_insert_with(|| broadcast::Sender::new(self.shared.capacity));
        let events = Events::new(ring.subscribe(), self.shared.listeners.clone());
        if self.is_closed() {
            state.ring = None;
        }
        events
    }

    /// Waits for the first event from now on (not from the first poll on) for which `wanted` is true, at most for
    /// `limit`; `None` waits as long as it takes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; events that came meanwhile are gone.
    ///
    /// # Errors
    ///
    /// [`WaitError`] when time runs out, when the emitter ends, or when so many events came at once that the one that
    /// is waited for may have been among those that were lost.
    pub fn wait_for(
        &self,
        limit: impl Into<Option<Duration>>,
        wanted: impl FnMut(&E) -> bool + Send,
    ) -> impl Future<Output = Result<E, WaitError>> + Send {
        let mut events = self.subscribe();
        let limit = limit.into();
        async move { events.wait_for(limit, wanted).await }
    }

    /// Returns whether anybody listens.
    #[must_use]
    pub fn has_listeners(&self) -> bool {
        self.shared.listeners.load(SeqCst) > 0
    }

    /// Returns how many listen.
    #[must_use]
    pub fn listener_count(&self) -> usize {
        self.shared.listeners.load(SeqCst)
    }

    /// Returns the newest `limit` events of the history, the oldest of them first.
    #[doc(alias = "get_event_history")]
    #[must_use]
    pub fn history(&self, limit: usize) -> Vec<Recorded<E>> {
        self.history_of(limit, |_| true)
    }

    /// Returns the newest `limit` events of the history for which `wanted` is true, the oldest of them first.
    #[must_use]
    pub fn history_of(&self, limit: usize, mut wanted: impl FnMut(&E) -> bool) -> Vec<Recorded<E>> {
        let kept: Vec<_> = {
            let state = lock(&self.shared.state);
            // `wanted` is foreign code, which may call the emitter.
            state.history.iter().cloned().collect()
        };
        let newest = kept.into_iter().rev();
        let mut found: Vec<_> = newest
            .filter(|recorded| wanted(&recorded.event))
            .take(limit)
            .collect();
        found.reverse();
        found
    }

    /// Forgets the history.
    pub fn clear_history(&self) {
        lock(&self.shared.state).history.clear();
    }

    /// Returns figures of the emitter.
    #[doc(alias = "get_stats")]
    #[must_use]
    pub fn stats(&self) -> EmitterStats {
        let state = lock(&self.shared.state);
        EmitterStats {
            listeners: self.listener_count(),
            emitted: state.sequence,
            history: state.history.len(),
            capacity: self.shared.capacity,
        }
    }

    /// Ends the streams of all listeners behind the last event; what is emitted afterwards is dropped. The history
    /// stays.
    #[doc(alias = "remove_all_listeners")]
    pub fn close(&self) {
        self.shared.closed.store(true, SeqCst);
        let ring = lock(&self.shared.state).ring.take();
        drop(ring);
    }

    /// Returns whether the emitter was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(SeqCst)
    }
}

impl<E: Clone + Send + 'static> Default for Emitter<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for Emitter<E> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<E> fmt::Debug for Emitter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("listeners", &self.shared.listeners.load(Relaxed))
            .field("capacity", &self.shared.capacity)
            .field("history", &self.shared.history.load(Relaxed))
            .field("closed", &self.shared.closed.load(Relaxed))
            .finish_non_exhaustive()
    }
}
