//! The runtime under quinn, which keeps its packets full.
//!
//! quinn's connection task is woken by nearly every write of the application and runs at once, so
//! that small writes leave in a packet each. A task that is polled again and again within
//! microseconds therefore steps back before it goes on, until its thread has nothing else to run:
//! what is written meanwhile leaves with it. A connection that is polled now and then, such as one
//! that answers single requests, never waits.
//!
//! Stepping back is [`yield_now`], which tokio has last a few dozen polls of other tasks at most. A
//! task of the application that blocks its thread meanwhile makes the connection wait as well.

use std::{
    fmt,
    future::Future,
    io,
    net::UdpSocket,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::task::yield_now;

/// Polls that follow each other within this time are one streak: less than a round trip takes, so that requests one by
/// one are none.
const GAP: Duration = Duration::from_micros(15);

/// How many polls of a streak go through before the next ones step back.
const STREAK: u32 = 3;

/// Tokio as quinn has it, with connection tasks that step back.
#[derive(Debug, Default)]
pub(crate) struct Batching {
    /// The endpoint's own task, the first one, has been spawned.
    endpoint: AtomicBool,
}

impl Runtime for Batching {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        if self.endpoint.swap(true, Relaxed) {
            tokio::spawn(StepBack::new(task));
        } else {
            // It reads the socket for all connections: nobody gains when it waits.
            tokio::spawn(task);
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// A task that steps back once when it is polled in quick succession.
struct StepBack {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When the last poll ended.
    last: Option<Instant>,
    streak: u32,
    stepped_back: bool,
}

impl fmt::Debug for StepBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepBack")
            .field("streak", &self.streak)
            .finish_non_exhaustive()
    }
}

impl StepBack {
    fn new(task: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Self {
            task,
            last: None,
            streak: 0,
            stepped_back: false,
        }
    }

    /// Says whether this poll should step back, given the time that passed since the last one.
    fn steps_back(&mut self, since_last: Option<Duration>) -> bool {
        if std::mem::take(&mut self.stepped_back) {
            return false;
        }
        if since_last.is_none_or(|gap| gap > GAP) {
            self.streak = 0;
            return false;
        }
        self.streak = self.streak.saturating_add(1);
        self.stepped_back = self.streak >= STREAK;
        self.stepped_back
    }
}

impl Future for StepBack {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let since_last = self.last.map(|last| now.saturating_duration_since(last));
        if self.steps_back(since_last) {
            // Not a wake-up of itself: that would put it behind the tasks that are ready now and before those that they
            // wake, where another thread may take it as well.
            return pin!(yield_now()).poll(cx);
        }
        let polled = self.task.as_mut().poll(cx);
        self.last = Some(Instant::now());
        polled
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

    #[test]
    fn single_polls_never_step_back() {
        let mut task = task();
        for _ in 0..100 {
            assert!(!task.steps_back(Some(Duration::from_micros(50))));
        }
    }

    #[test]
    fn a_streak_steps_back_every_other_time() {
        let mut task = task();
        let quick = Some(Duration::from_micros(1));
        let polls: Vec<bool> = (0..8).map(|_| task.steps_back(quick)).collect();
        assert_eq!(polls, [false, false, true, false, true, false, true, false]);
    }

    #[test]
    fn a_pause_ends_the_streak() {
        let mut task = task();
        let quick = Some(Duration::from_micros(1));
        for _ in 0..3 {
            task.steps_back(quick);
        }
        assert!(!task.steps_back(quick));
        assert!(!task.steps_back(Some(Duration::from_millis(1))));
        assert!(!task.steps_back(quick));
    }
}
