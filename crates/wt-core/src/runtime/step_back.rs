//! A connection's task, which leaves time to fill packets.
//!
//! A task that is polled again and again within microseconds steps back before it goes on, until its
//! thread has nothing else to run: what is written meanwhile leaves with it. While others do have
//! something to run, it does so after a pause as well. A connection that is polled now and then, such
//! as one that answers single requests, never waits, and one that calls itself because it has more to
//! send than it sends at a time seldom does: its packets are full.
//!
//! Stepping back is [`yield_now`], which tokio has last a few dozen polls of other tasks at most. A
//! task of the application that blocks its thread meanwhile makes the connection wait as well.

use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use super::{
    Task,
    watched::{Polled, Watched},
};

/// Polls that follow each other within this time are one streak: less than a round trip takes, so that requests one by
/// one are none.
const GAP: Duration = Duration::from_micros(15);

/// How many polls of a streak go through before the next ones step back.
const STREAK: u32 = 3;

/// A step back of this length was worth it: others had something to do meanwhile, while a single request, or its answer,
/// is waited for in vain.
const WORTH: Duration = Duration::from_micros(5);

/// A connection stays busy for so long after that, however long the gaps: until the answers to many requests are
/// written takes longer than [`GAP`], and those that have to wait for a new streak leave in a packet each.
const BUSY: Duration = Duration::from_micros(200);

/// So often in a row a connection that calls itself goes on. Then it steps back, and what acknowledges its packets is
/// read, which a thread with something to run does only after a few dozen polls: QUIC takes the longer for each packet
/// the more small writes are not acknowledged.
const GOES_ON: u32 = 2;

/// A task that steps back once when it is polled in quick succession.
pub(super) struct StepBack {
    task: Watched,
    /// When the last poll ended.
    last: Option<Instant>,
    streak: u32,
    /// Since when it steps back.
    since: Option<Instant>,
    /// Until when gaps of any length belong to the streak.
    busy_until: Option<Instant>,
    /// It has more to send than it sends at a time.
    has_more: bool,
    /// How often it has gone on in a row for that.
    goes_on: u32,
}

impl fmt::Debug for StepBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepBack")
            .field("streak", &self.streak)
            .finish_non_exhaustive()
    }
}

impl StepBack {
    pub(super) fn new(task: Task) -> Self {
        Self {
            task: Watched::new(task),
            last: None,
            streak: 0,
            since: None,
            busy_until: None,
            has_more: false,
            goes_on: 0,
        }
    }

    /// Says whether a poll at this time should step back.
    fn steps_back(&mut self, now: Instant) -> bool {
        if let Some(since) = self.since.take() {
            if now.saturating_duration_since(since) >= WORTH {
                self.busy_until = Some(now + BUSY);
            }
            return false;
        }
        if std::mem::take(&mut self.has_more) && self.goes_on < GOES_ON {
            self.goes_on += 1;
            return false;
        }
        self.goes_on = 0;
        let quick = |last| now.saturating_duration_since(last) <= GAP;
        if !self.last.is_some_and(quick) && self.busy_until.is_none_or(|end| now > end) {
            self.streak = 0;
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak < STREAK {
            return false;
        }
        self.since = Some(now);
        true
    }
}

impl Future for StepBack {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.steps_back(Instant::now()) {
            // What arrives meanwhile is looked at soon: it may bring more to answer.
            self.task.register(cx);
            // Not a wake-up of itself: that would put it behind the tasks that are ready now and before those that they
            // wake, where another thread may take it as well.
            return pin!(yield_now()).poll(cx);
        }
        let polled = self.task.poll(cx);
        self.last = Some(Instant::now());
        match polled {
            Polled::Over => Poll::Ready(()),
            Polled::Waits => Poll::Pending,
            Polled::Called => {
                self.has_more = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> StepBack {
        StepBack::new(Box::pin(std::future::pending()))
    }

    #[tokio::test]
    async fn who_steps_back_lets_all_others_go_first() {
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let say = |word: &'static str| {
            let done = done.clone();
            move || done.send(word).unwrap()
        };
        let [first, second, third, last] = ["first", "second", "third", "last"].map(say);
        let mut task = StepBack::new(Box::pin(async move { last() }));
        task.streak = STREAK;
        task.last = Some(Instant::now() + Duration::from_secs(1));
        tokio::spawn(task);
        tokio::spawn(async move {
            first();
            tokio::spawn(async move {
                second();
                tokio::spawn(async move { third() });
            });
        });
        for word in ["first", "second", "third", "last"] {
            assert_eq!(order.recv().await, Some(word));
        }
    }

    /// Polls a task at these times, in microseconds, and says when it stepped back.
    fn stepped_back(task: &mut StepBack, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let start = *task.last.get_or_insert_with(Instant::now);
        let steps_back = |time: &u64| {
            let now = start + Duration::from_micros(*time);
            let steps_back = task.steps_back(now);
            if !steps_back {
                task.last = Some(now);
            }
            steps_back
        };
        times.into_iter().filter(steps_back).collect()
    }

    #[test]
    fn who_has_more_to_send_goes_on_twice() {
        let mut task = StepBack::new(Box::pin(std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
        task.busy_until = Some(Instant::now() + Duration::from_secs(60));
        task.streak = STREAK - 1;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let steps_back = [(); 9].map(|()| {
            assert!(Pin::new(&mut task).poll(&mut cx).is_pending());
            task.since.is_some()
        });
        let [no, yes] = [false, true];
        assert_eq!(steps_back, [yes, no, no, no, yes, no, no, no, yes]);
    }

    #[test]
    fn single_polls_never_step_back() {
        let polls = (1..100).map(|n| n * 50);
        assert!(stepped_back(&mut task(), polls).is_empty());
    }

    #[test]
    fn a_streak_steps_back_every_other_time() {
        assert_eq!(stepped_back(&mut task(), 1..=8), [3, 5, 7]);
    }

    #[test]
    fn a_pause_ends_the_streak() {
        let polls = [1, 2, 3, 4, 1000, 1001, 1002, 1003];
        assert_eq!(stepped_back(&mut task(), polls), [3, 1003]);
    }

    #[test]
    fn a_pause_ends_no_streak_when_to_step_back_was_worth_it() {
        // From 3 to 13 others ran.
        let polls = [1, 2, 3, 13, 100, 101, 200, 201, 300, 301];
        assert_eq!(stepped_back(&mut task(), polls), [3, 100, 200]);
    }
}
