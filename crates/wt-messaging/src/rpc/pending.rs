//! Calls that wait for their answers.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};
use uuid::Uuid;

use super::{
    CallError,
    shared::{Answer, Shared},
};

/// How long a call may take, and what its error says.
#[derive(Clone, Copy)]
pub(super) struct Limit<'a> {
    pub(super) what: &'a str,
    pub(super) after: Option<Duration>,
}

impl Limit<'_> {
    /// Returns when the time is over that begins now; `None` if it never is.
    pub(super) fn deadline(self) -> Option<Instant> {
        Instant::now().checked_add(self.after?)
    }

    pub(super) fn error(self) -> CallError {
        CallError::TimedOut {
            method: self.what.to_owned(),
            after: self.after.unwrap_or_default(),
        }
    }

    /// Waits for `work`, but not longer than that.
    pub(super) async fn keep<T>(
        self,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        match self.after {
            None => work.await,
            Some(after) => tokio::time::timeout(after, work)
                .await
                .unwrap_or_else(|_| Err(self.error())),
        }
    }
}

/// Nobody answered in time.
#[derive(Debug)]
pub(super) struct OutOfTime;

/// The calls that wait.
///
/// They have one [`Clock`]: one for each would cost as much as the call's way through the stream.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By ids that this end has made up, so that no peer can have them collide.
    calls: FxHashMap<Uuid, Waiter>,
    /// No call is out of time before that.
    due: Option<Instant>,
    /// The task with the clock, which is set to `due`.
    clock: Option<Waker>,
}

/// Where the answer to a call goes. To be used without the lock, since somebody is woken.
pub(super) type Answering = oneshot::Sender<Result<Answer, OutOfTime>>;

#[derive(Debug)]
struct Waiter {
    answer: Answering,
    deadline: Option<Instant>,
}

impl Pending {
    /// Has an answer come to here, or the news that the time is over. The task with the clock is to be woken if it is
    /// returned.
    pub(super) fn expect(
        &mut self,
        id: Uuid,
        deadline: Option<Instant>,
    ) -> (oneshot::Receiver<Result<Answer, OutOfTime>>, Option<Waker>) {
        let (answer, receiver) = oneshot::channel();
        let mut clock = None;
        if let Some(deadline) = deadline
            && self.due.is_none_or(|due| deadline < due)
        {
            self.due = Some(deadline);
            clock = self.clock.take();
        }
        self.calls.insert(id, Waiter { answer, deadline });
        (receiver, clock)
    }

    /// Takes a call back; `false` when it waits no more.
    pub(super) fn forget(&mut self, id: &Uuid) -> bool {
        self.calls.remove(id).is_some()
    }

    /// Takes the call that waits for this answer.
    pub(super) fn take(&mut self, id: &Uuid) -> Option<Answering> {
        self.calls.remove(id).map(|waiter| waiter.answer)
    }

    /// Returns when to look for calls that are [out of time](Self::expire), and has this task woken when that changes.
    pub(super) fn due(&mut self, task: &Waker) -> Option<Instant> {
        match &mut self.clock {
            Some(known) => known.clone_from(task),
            None => self.clock = Some(task.clone()),
        }
        self.due
    }

    /// Takes the calls that are out of time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Uuid, Answering)> {
        let is_over = |_: &Uuid, waiter: &mut Waiter| waiter.deadline.is_some_and(|at| at <= now);
        let over = self.calls.extract_if(is_over);
        let over = over.map(|(id, waiter)| (id, waiter.answer)).collect();
        self.due = self.calls.values().filter_map(|w| w.deadline).min();
        over
    }
}

/// The timer for calls that are out of time.
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    due: Option<Instant>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(sleep(Duration::ZERO)),
            due: None,
        }
    }

    /// Ends the calls that are out of time, and has this task woken for the next.
    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        loop {
            let due = shared.due(cx.waker());
            if self.due != due {
                self.due = due;
                if let Some(at) = due {
                    self.timer.as_mut().reset(at);
                }
            }
            if due.is_none() || self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            shared.expire();
        }
    }

    /// Ends calls when they are out of time, without end.
    pub(super) async fn run(&mut self, shared: &Shared) -> Infallible {
        poll_fn(|cx| {
            self.poll(shared, cx);
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_clock_is_woken_for_a_time_that_is_over_earlier() {
        let now = Instant::now();
        let after = |seconds| Some(now + Duration::from_secs(seconds));
        let mut pending = Pending::default();
        let expect = |pending: &mut Pending, deadline| {
            assert_eq!(pending.due(Waker::noop()), pending.due);
            pending
                .expect(super::super::call::new_id(), deadline)
                .1
                .is_some()
        };
        assert!(!expect(&mut pending, None));
        for (seconds, woken) in [(20, true), (20, false), (30, false), (10, true)] {
            assert_eq!(expect(&mut pending, after(seconds)), woken, "{seconds}");
        }
        for (seconds, over, due) in [(9, 0, 10), (10, 1, 20), (25, 2, 30)] {
            let expired = pending.expire(now + Duration::from_secs(seconds));
            assert_eq!(expired.len(), over, "{seconds}");
            assert_eq!(pending.due(Waker::noop()), after(due));
        }
        assert_eq!(pending.expire(now + Duration::from_secs(30)).len(), 1);
        // The one without a limit is left.
        assert_eq!((pending.due(Waker::noop()), pending.calls.len()), (None, 1));
    }
}
