//! An endpoint's task, which reads the socket for all connections.
//!
//! It reads for 50 µs at a time, as quinn has it, and calls itself again when there may be more. quinn
//! reckons how many packets that is by how long a few of them took, the first ones of a connection
//! among them: a server often reads one packet at a time, for thousands of packets. Each call puts the
//! task behind all others and wakes another thread to look after it. So it goes on here instead, for as
//! long as it was meant to read.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{Task, calls::Polled, watched::Watched};

/// How long it goes on before others get their turn: what quinn means to read for.
const TURN: Duration = Duration::from_micros(50);

/// A task that goes on at once when it has called itself.
pub(super) struct GoOn(Watched);

impl fmt::Debug for GoOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GoOn").finish_non_exhaustive()
    }
}

impl GoOn {
    pub(super) fn new(task: Task) -> Self {
        Self(Watched::new(task))
    }
}

impl Future for GoOn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut start = None;
        loop {
            match self.0.poll(cx) {
                Polled::Over => return Poll::Ready(()),
                Polled::Waits => return Poll::Pending,
                Polled::Called => {}
            }
            if start.get_or_insert_with(Instant::now).elapsed() > TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;

    /// Runs a task that calls itself until it has been polled so often, each time for so long, beside another one, and
    /// returns after how many polls of it the other one had its turn.
    async fn polls_before_another(polls: u32, time: Duration) -> u32 {
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        let task = GoOn::new(Box::pin(poll_fn(move |cx| {
            let mut count = counted.lock().unwrap();
            *count += 1;
            thread::sleep(time);
            if *count == polls {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
        let task = tokio::spawn(task);
        let other = tokio::spawn(async move { *count.lock().unwrap() });
        task.await.unwrap();
        other.await.unwrap()
    }

    #[tokio::test]
    async fn who_calls_himself_goes_on_at_once() {
        assert_eq!(polls_before_another(3, Duration::ZERO).await, 3);
    }

    #[tokio::test]
    async fn others_get_their_turn_after_a_while() {
        assert_eq!(polls_before_another(5, TURN * 2).await, 2);
    }
}
