//! A connection's task, which others may poll in its place.
//!
//! It is a task of tokio, but where a task [holds](hold) its calls of connections, the one connection that it has called
//! is polled at the end, in that task, unless it is busy. So a packet that the endpoint reads is looked at, and a
//! stream is accepted, without a change of task. tokio offers a task to its other threads when one task calls two, or
//! when four follow each other: from a request to its answer, that woke a thread for nothing each time.
//!
//! A busy connection [steps back](super::step_back) instead. Stepping back is [`yield_now`], which tokio has last a few
//! dozen polls of other tasks at most. A task of the application that blocks its thread meanwhile makes the connection
//! wait as well.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use tokio::{
    runtime::{self, Handle},
    task::yield_now,
};

use super::{
    Task,
    calls::{Calls, Polled},
    socket::take_sent,
    step_back::StepBack,
};

/// A connection's task as tokio has it.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Calls it.
    waker: Waker,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(task: Task) -> Self {
        let shared = Arc::new(Shared {
            calls: Calls::default(),
            tokio: OnceLock::new(),
            round: Mutex::new(Round {
                task: Some(task),
                pace: StepBack::default(),
                panic: None,
            }),
        });
        let waker = shared.clone().into();
        Self { shared, waker }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shared, waker } = &*self;
        // A task of tokio has one waker for as long as it lives.
        shared
            .tokio
            .get_or_init(|| (cx.waker().clone(), Handle::current().id()));
        if !shared.calls.begin() {
            return shared.is_over();
        }
        let mut round = shared.round();
        if !round.pace.begin(Instant::now()) {
            drop(round);
            // What calls it from here on wakes it soon: it may bring more to answer.
            shared.calls.end();
            // Not a wake-up of itself: that would put it behind the tasks that are ready now and before those that they
            // wake, where another thread may take it as well.
            return pin!(yield_now()).poll(cx);
        }
        let polled = round.poll(shared, waker);
        drop(round);
        match polled {
            Polled::Waits => Poll::Pending,
            Polled::Called => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Polled::Over => shared.is_over(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // QUIC's task has wakers of this, which would keep it for ever.
        let task = self.shared.round().task.take();
        drop(task);
    }
}

/// What belongs to whoever polls the task.
struct Round {
    /// `None` when it is over.
    task: Option<Task>,
    pace: StepBack,
    /// What the task panicked with, which is for tokio.
    panic: Option<Box<dyn Any + Send>>,
}

impl Round {
    /// Polls the task, for a caller that has [begun](Calls::begin), and ends that.
    fn poll(&mut self, shared: &Shared, waker: &Waker) -> Polled {
        let Some(task) = &mut self.task else {
            shared.calls.finish();
            return Polled::Over;
        };
        let mut cx = Context::from_waker(waker);
        take_sent();
        // It may be the endpoint that polls, which has other connections to look after.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut cx)));
        if matches!(polled, Ok(Poll::Pending)) {
            let called = shared.calls.end();
            self.pace.end(Instant::now(), take_sent(), called);
            return if called {
                Polled::Called
            } else {
                Polled::Waits
            };
        }
        self.panic = polled.err();
        self.task = None;
        shared.calls.finish();
        Polled::Over
    }
}

/// What calls of a connection's task reach.
struct Shared {
    calls: Calls,
    /// Wakes tokio's task, and where that runs.
    tokio: OnceLock<(Waker, runtime::Id)>,
    /// Locked by who has [begun](Calls::begin) to poll, and at the end: nobody waits for long.
    round: Mutex<Round>,
}

impl Shared {
    /// Ready when the task is over.
    fn is_over(&self) -> Poll<()> {
        if !self.calls.is_over() {
            return Poll::Pending;
        }
        let panic = self.round().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        Poll::Ready(())
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has tokio poll it. It does so by itself the first time.
    fn wake_tokio(&self) {
        if let Some((waker, _)) = self.tokio.get() {
            waker.wake_by_ref();
        }
    }

    /// Polls the task here and now if it is calm, and has tokio do so otherwise.
    fn poll_here(self: Arc<Self>) {
        if !self.runs_here() {
            return self.wake_tokio();
        }
        if !self.calls.begin() {
            return;
        }
        let mut round = self.round();
        if !round.pace.begin_if_calm(Instant::now()) {
            drop(round);
            self.calls.end();
            return self.wake_tokio();
        }
        let waker = self.clone().into();
        let polled = round.poll(&self, &waker);
        drop(round);
        if polled != Polled::Waits {
            self.wake_tokio();
        }
    }

    /// Whether this thread belongs to the runtime of tokio's task, whose timers the task needs.
    fn runs_here(&self) -> bool {
        let Some((_, runtime)) = self.tokio.get() else {
            return false;
        };
        Handle::try_current().is_ok_and(|here| here.id() == *runtime)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.calls.call() && !keep(self) {
            self.wake_tokio();
        }
    }
}

/// What is kept of the calls in a task that holds them.
enum Held {
    Nothing,
    One(Arc<Shared>),
    /// There was more than one, and tokio has them: they are polled side by side.
    Several,
}

thread_local! {
    /// `None` while the thread holds nothing.
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
}

/// Keeps a call if this thread holds them and it is the only one.
fn keep(call: &Arc<Shared>) -> bool {
    let (kept, other) = HELD.with_borrow_mut(|held| match held {
        None | Some(Held::Several) => (false, None),
        Some(Held::One(kept)) if Arc::ptr_eq(kept, call) => (true, None),
        Some(held) => match std::mem::replace(held, Held::Several) {
            Held::One(other) => (false, Some(other)),
            _ => {
                *held = Held::One(call.clone());
                (true, None)
            }
        },
    });
    if let Some(other) = other {
        other.wake_tokio();
    }
    kept
}

/// Does something, and polls the connection that was called by it in this thread, if it was one.
///
/// No lock may be held that a poll of a connection takes.
pub(crate) fn hold<T>(something: impl FnOnce() -> T) -> T {
    let _end = End {
        outer: HELD.replace(Some(Held::Nothing)),
    };
    something()
}

/// The end of [`hold`], also by a panic.
struct End {
    outer: Option<Held>,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(Held::One(call)) = HELD.replace(self.outer.take()) {
            call.poll_here();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, thread, time::Duration};

    use tokio::{sync::mpsc, task::JoinHandle};

    use super::*;

    /// A connection that waits to be called, and who polled it.
    struct Waiting {
        call: Waker,
        polls: mpsc::UnboundedReceiver<Option<tokio::task::Id>>,
        task: JoinHandle<()>,
    }

    impl Waiting {
        /// Makes one that has been polled once.
        async fn new() -> Self {
            let (say, mut polls) = mpsc::unbounded_channel();
            let (give, mut wakers) = mpsc::unbounded_channel();
            let connection = Connection::new(Box::pin(poll_fn(move |cx| {
                // Taken the first time.
                let _ = give.send(cx.waker().clone());
                say.send(tokio::task::try_id()).unwrap();
                Poll::Pending
            })));
            let shared = connection.shared.clone();
            let task = tokio::spawn(connection);
            let call = wakers.recv().await.unwrap();
            polls.recv().await.unwrap();
            be_calm(&shared);
            Self { call, polls, task }
        }

        /// Returns whether it has been polled in the current task.
        fn was_polled_here(&mut self) -> bool {
            let here = tokio::task::id();
            self.polls.try_recv() == Ok(Some(here))
        }

        /// Returns whether tokio polls it.
        async fn is_polled_by_tokio(&mut self) -> bool {
            self.polls.recv().await == Some(Some(self.task.id()))
        }
    }

    /// Has a connection have sent something in a short poll a while ago, however busy the machine is.
    fn be_calm(shared: &Shared) {
        let (mut pace, now) = (StepBack::default(), Instant::now());
        assert!(pace.begin(now));
        pace.end(now, 100, false);
        shared.round().pace = pace;
        thread::sleep(Duration::from_millis(1));
    }

    /// Runs something in a task of tokio.
    async fn in_a_task<F: Future<Output: Send> + Send + 'static>(f: F) -> F::Output {
        tokio::spawn(f).await.unwrap()
    }

    #[tokio::test]
    async fn who_steps_back_lets_all_others_go_first() {
        let (done, mut order) = mpsc::unbounded_channel();
        let say = |word: &'static str| {
            let done = done.clone();
            move || done.send(word).unwrap()
        };
        let [first, second, third, last] = ["first", "second", "third", "last"].map(say);
        let connection = Connection::new(Box::pin(async move { last() }));
        // What is as soon after the second send in a row steps back.
        let soon = Instant::now() + Duration::from_secs(1);
        {
            let pace = &mut connection.shared.round().pace;
            for _ in 0..2 {
                assert!(pace.begin(soon));
                pace.end(soon, 100, false);
            }
        }
        tokio::spawn(connection);
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

    #[tokio::test]
    async fn a_call_that_is_held_is_polled_at_the_end() {
        in_a_task(async {
            let mut one = Waiting::new().await;
            hold(|| {
                one.call.wake_by_ref();
                one.call.wake_by_ref();
                assert!(!one.was_polled_here());
            });
            assert!(one.was_polled_here());
            assert!(one.polls.try_recv().is_err(), "once");
            one.call.wake_by_ref();
            assert!(!one.was_polled_here(), "nothing is held");
            assert!(one.is_polled_by_tokio().await);
        })
        .await;
    }

    #[tokio::test]
    async fn several_calls_are_for_tokio() {
        in_a_task(async {
            let mut all = [Waiting::new().await, Waiting::new().await];
            hold(|| all.iter().for_each(|one| one.call.wake_by_ref()));
            for one in &mut all {
                assert!(one.is_polled_by_tokio().await);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_thread_without_the_runtime_calls_is_for_tokio() {
        in_a_task(async {
            let mut one = Waiting::new().await;
            let call = one.call.clone();
            thread::spawn(move || hold(|| call.wake())).join().unwrap();
            assert!(one.is_polled_by_tokio().await);
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_called_while_it_is_polled_is_polled_again() {
        let mut polls = 0;
        let task = Connection::new(Box::pin(poll_fn(move |cx| {
            polls += 1;
            if polls == 20 {
                return Poll::Ready(());
            }
            let call = cx.waker().clone();
            if polls % 2 == 0 {
                thread::spawn(move || call.wake()).join().unwrap();
            } else {
                hold(|| call.wake());
            }
            Poll::Pending
        })));
        tokio::spawn(task).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_call_from_elsewhere_is_lost() {
        let (calls, called) = std::sync::mpsc::channel::<Waker>();
        let caller = thread::spawn(move || {
            for (n, call) in called.into_iter().enumerate() {
                if n % 3 == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
                call.wake();
            }
        });
        let mut polls = 0;
        let task = Connection::new(Box::pin(poll_fn(move |cx| {
            polls += 1;
            if polls == 1000 {
                return Poll::Ready(());
            }
            calls.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })));
        tokio::spawn(task).await.unwrap();
        caller.join().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_for_the_task_of_the_connection() {
        in_a_task(async {
            let (give, mut wakers) = mpsc::unbounded_channel();
            let mut polls = 0;
            let connection = Connection::new(Box::pin(poll_fn(move |cx| {
                polls += 1;
                assert_eq!(polls, 1, "polled again");
                give.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })));
            let shared = connection.shared.clone();
            let task = tokio::spawn(connection);
            let call = wakers.recv().await.unwrap();
            be_calm(&shared);
            hold(|| call.wake());
            assert!(shared.calls.is_over());
            assert!(task.await.unwrap_err().is_panic());
        })
        .await;
    }

    #[tokio::test]
    async fn a_task_that_goes_away_takes_what_it_polled_with_it() {
        let one = Waiting::new().await;
        one.task.abort();
        assert!(one.task.await.unwrap_err().is_cancelled());
        let mut polls = one.polls;
        assert_eq!(
            polls.recv().await,
            None,
            "the task is gone, and its end of the channel"
        );
        hold(|| one.call.wake());
    }
}
