//! What waits to be written to the broker, in order.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A line, and the payload that follows it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    /// Its share of the buffer, given back when it was written.
    _room: Option<OwnedSemaphorePermit>,
}

/// A queue that is bounded in bytes, so that writers may be dropped at any time and never leave half a
/// message on the stream.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: u32,
    room: Arc<Semaphore>,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Outgoing>,
    closed: bool,
}

/// The queue was closed.
#[derive(Debug)]
pub(super) struct Closed;

/// What each item takes besides its bytes.
const OVERHEAD: usize = 64;

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
        let capacity = capacity.clamp(1, u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self {
            capacity,
            room: Arc::new(Semaphore::new(capacity as usize)),
            state: Mutex::default(),
            work: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for so many bytes; what is larger than the whole waits for all of it.
    pub(super) async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Closed> {
        let want = u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX);
        let want = want.min(self.capacity);
        let room = self.room.clone().acquire_many_owned(want).await;
        room.map_err(|_| Closed)
    }

    /// Adds a message or a line; without `room` only what ends a subscription, so that there are
    /// never more of these than there were subscriptions.
    pub(super) fn push(&self, head: Bytes, body: Bytes, room: Option<OwnedSemaphorePermit>) {
        let mut state = self.state();
        if !state.closed {
            state.items.push_back(Outgoing {
                head,
                body,
                _room: room,
            });
        }
        drop(state);
        self.work.notify_one();
    }

    /// Takes nothing any more; what is in it can still be taken out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.room.close();
        self.work.notify_one();
    }

    /// Waits for the next to write; `None` when it was closed and is empty.
    pub(super) async fn next(&self) -> Option<Outgoing> {
        loop {
            let work = pin!(self.work.notified());
            {
                let mut state = self.state();
                if let Some(item) = state.items.pop_front() {
                    return Some(item);
                }
                if state.closed {
                    return None;
                }
            }
            work.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_bounded_and_come_out_in_order() {
        let queue = Queue::new(200);
        let first = queue.reserve(100).await.unwrap();
        queue.push("first".into(), Bytes::new(), Some(first));
        let mut second = Box::pin(queue.reserve(100));
        let waiting = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())
        });
        assert!(waiting.await);
        assert_eq!(queue.next().await.unwrap().head, "first");
        let second = second.await.unwrap();
        queue.push("second".into(), Bytes::new(), Some(second));
        queue.push("third".into(), Bytes::new(), None);
        queue.close();
        queue.push("late".into(), Bytes::new(), None);
        assert_eq!(queue.next().await.unwrap().head, "second");
        assert_eq!(queue.next().await.unwrap().head, "third");
        assert!(queue.next().await.is_none());
        assert!(queue.reserve(1).await.is_err());
    }

    #[tokio::test]
    async fn what_is_larger_than_the_whole_has_it_for_itself() {
        let queue = Queue::new(10);
        let all = queue.reserve(1 << 20).await.unwrap();
        assert_eq!(all.num_permits(), 10);
    }
}
