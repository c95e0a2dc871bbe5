//! Calls that wait for their answers on a stream.

use std::{collections::HashMap, time::Duration};

use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use super::{CallError, shared::Answer};

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
/// The driver has one timer for all of them: one for each would cost as much as the call's way through the stream.
#[derive(Debug, Default)]
pub(super) struct Pending {
    calls: HashMap<Uuid, Waiter>,
    /// No call is out of time before that.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Answer, OutOfTime>>,
    deadline: Option<Instant>,
}

impl Pending {
    /// Has an answer come to here, or the news that the time is over.
    pub(super) fn expect(
        &mut self,
        id: Uuid,
        deadline: Option<Instant>,
    ) -> oneshot::Receiver<Result<Answer, OutOfTime>> {
        let (answer, receiver) = oneshot::channel();
        if let Some(deadline) = deadline {
            self.due = Some(self.due.map_or(deadline, |due| due.min(deadline)));
        }
        self.calls.insert(id, Waiter { answer, deadline });
        receiver
    }

    /// Takes a call back; `false` when it waits no more.
    pub(super) fn forget(&mut self, id: &Uuid) -> bool {
        self.calls.remove(id).is_some()
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    /// Brings an answer to its call; gives it back when there is none.
    pub(super) fn answered(&mut self, id: &Uuid, answer: Answer) -> Result<(), Answer> {
        match self.calls.remove(id) {
            None => Err(answer),
            Some(waiter) => {
                // The call may have been given up this moment.
                let _ = waiter.answer.send(Ok(answer));
                Ok(())
            }
        }
    }

    /// Returns when to look for calls that are [out of time](Self::expire).
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Ends the calls that are out of time.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_over = |_: &Uuid, waiter: &mut Waiter| waiter.deadline.is_some_and(|at| at <= now);
        for (_, waiter) in self.calls.extract_if(is_over) {
            let _ = waiter.answer.send(Err(OutOfTime));
        }
        self.due = self
            .calls
            .values()
            .filter_map(|waiter| waiter.deadline)
            .min();
    }
}
