//! A bounded queue between the task that fills it and those that wait for something in it.

use std::{collections::VecDeque, pin::pin, sync::Mutex};

use tokio::sync::Notify;

use crate::lock::lock;

/// What arrived and was not taken.
#[derive(Debug)]
pub(crate) struct Inbox<T, E> {
    state: Mutex<State<T, E>>,
    limit: usize,
    arrived: Notify,
    /// Told when something was taken.
    pub(crate) taken: Notify,
}

#[derive(Debug)]
struct State<T, E> {
    queue: VecDeque<T>,
    end: Option<E>,
}

impl<T, E: Clone> Inbox<T, E> {
    pub(crate) fn new(limit: usize) -> Self {
        let queue = VecDeque::new();
        Self {
            state: Mutex::new(State { queue, end: None }),
            limit,
            arrived: Notify::new(),
            taken: Notify::new(),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.state).queue.len()
    }

    /// Adds an item; gives it back when there is no room.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = lock(&self.state);
        if state.queue.len() >= self.limit {
            return Err(item);
        }
        // Who takes one wakes the next as long as there are more: one is woken for all that come together.
        let first = state.queue.is_empty();
        state.queue.push_back(item);
        drop(state);
        if first {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Removes the items that `keep` refuses; returns them.
    pub(crate) fn weed(&self, mut keep: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut state = lock(&self.state);
        let queue = std::mem::take(&mut state.queue);
        let (kept, gone) = queue
            .into_iter()
            .partition::<VecDeque<_>, _>(|item| keep(item));
        state.queue = kept;
        gone.into()
    }

    /// Takes the next item; the end comes after the last one.
    pub(crate) fn pop(&self) -> Result<Option<T>, E> {
        let mut state = lock(&self.state);
        match (state.queue.pop_front(), &state.end) {
            (None, Some(end)) => Err(end.clone()),
            (item, _) => {
                let more = !state.queue.is_empty();
                drop(state);
                if item.is_some() {
                    self.taken.notify_one();
                }
                if more {
                    self.arrived.notify_one();
                }
                Ok(item)
            }
        }
    }

    /// Waits for the next item.
    ///
    /// Cancel safe: if the future is dropped, no item is lost.
    pub(crate) async fn next(&self) -> Result<T, E> {
        if let Some(item) = self.pop()? {
            return Ok(item);
        }
        loop {
            let mut arrived = pin!(self.arrived.notified());
            arrived.as_mut().enable();
            // What came before that line wakes nobody.
            if let Some(item) = self.pop()? {
                return Ok(item);
            }
            arrived.await;
        }
    }

    /// Says that nothing more comes. The first word counts.
    pub(crate) fn end(&self, end: E) {
        lock(&self.state).end.get_or_insert(end);
        self.arrived.notify_waiters();
    }
}
