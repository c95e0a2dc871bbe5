//! The stream of one listener.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use super::WaitError;

/// The events of an [`Emitter`](super::Emitter), for one listener.
///
/// A stream without end as long as the emitter lives. Items are events or, where the listener was too slow and lost
/// some, a [`Lagged`] that says how many; the stream goes on behind it. Dropping it stops listening.
#[must_use = "events that nobody takes are lost"]
pub struct Events<E> {
    state: State<E>,
    listeners: Arc<AtomicUsize>,
}

type Waiting<E> = Pin<Box<dyn Future<Output = (Result<E, RecvError>, Receiver<E>)> + Send>>;

enum State<E> {
    Idle(Receiver<E>),
    Waiting(Waiting<E>),
    Over,
}

/// A listener was too slow: this many events were dropped, the oldest it had not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were lost: the listener was too slow")]
pub struct Lagged(pub u64);

impl<E: Clone + Send + 'static> Events<E> {
    pub(super) fn new(receiver: Receiver<E>, listeners: Arc<AtomicUsize>) -> Self {
        listeners.fetch_add(1, SeqCst);
        Self {
            state: State::Idle(receiver),
            listeners,
        }
    }

    /// Waits for the next event; `None` when the emitter is gone or closed.
    ///
    /// What the stream gives, for those who have no use for `StreamExt`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no event is lost.
    pub async fn recv(&mut self) -> Option<Result<E, Lagged>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Waits for the next event for which `wanted` is true, at most for `limit`; `None` waits as long as it takes. The
    /// events before it are skipped.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; events that were skipped are gone.
    ///
    /// # Errors
    ///
    /// [`WaitError`] when time runs out, when the emitter ends, or when so many events came at once that the one that
    /// is waited for may have been among those that were lost.
    pub async fn wait_for(
        &mut self,
        limit: impl Into<Option<Duration>>,
        wanted: impl FnMut(&E) -> bool + Send,
    ) -> Result<E, WaitError> {
        let limit = limit.into();
        let find = self.find(wanted);
        match limit {
            None => find.await,
            Some(limit) => tokio::time::timeout(limit, find)
                .await
                .unwrap_or(Err(WaitError::TimedOut(limit))),
        }
    }

    async fn find(&mut self, mut wanted: impl FnMut(&E) -> bool + Send) -> Result<E, WaitError> {
        while let Some(event) = self.recv().await {
            let event = event?;
            if wanted(&event) {
                return Ok(event);
            }
        }
        Err(WaitError::Closed)
    }
}

async fn wait<E: Clone>(mut receiver: Receiver<E>) -> (Result<E, RecvError>, Receiver<E>) {
    (receiver.recv().await, receiver)
}

impl<E: Clone + Send + 'static> Stream for Events<E> {
    type Item = Result<E, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(mut receiver) => {
                    let item = match receiver.try_recv() {
                        Ok(event) => Ok(event),
                        Err(TryRecvError::Lagged(lost)) => Err(Lagged(lost)),
                        Err(TryRecvError::Closed) => return Poll::Ready(None),
                        Err(TryRecvError::Empty) => {
                            this.state = State::Waiting(Box::pin(wait(receiver)));
                            continue;
                        }
                    };
                    this.state = State::Idle(receiver);
                    return Poll::Ready(Some(item));
                }
                State::Waiting(mut waiting) => {
                    let Poll::Ready((result, receiver)) = waiting.as_mut().poll(cx) else {
                        this.state = State::Waiting(waiting);
                        return Poll::Pending;
                    };
                    let item = match result {
                        Ok(event) => Ok(event),
                        Err(RecvError::Lagged(lost)) => Err(Lagged(lost)),
                        Err(RecvError::Closed) => return Poll::Ready(None),
                    };
                    this.state = State::Idle(receiver);
                    return Poll::Ready(Some(item));
                }
            }
        }
    }
}

impl<E> Drop for Events<E> {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, SeqCst);
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
