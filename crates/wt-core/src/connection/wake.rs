//! Which of the driver's streams can go on, and who is woken for them.
//!
//! Each stream that the driver reads has a waker of its own, which puts the stream's key on a list
//! and has a round done: by a task that waits for what it may bring, or by the driver. So a round
//! looks only at streams with something to do, however many there are.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use wt_proto::{StreamId, connection::Critical};

use super::lookout::Lookout;
use crate::lock::lock;

/// A stream that the driver reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A critical stream of the peer.
    Peer(Critical),
    /// A critical stream of ours.
    Own(Critical),
    /// A request stream.
    Request(StreamId),
    /// A stream whose header has not arrived whole.
    Parked(StreamId),
}

/// The list of streams that can go on, and who is to look at them.
///
/// That is a task of the application that waits for what a round may bring, a volunteer, if there is one, and the task
/// of the driver otherwise. What arrives for a task that waits so reaches it without a detour.
#[derive(Debug)]
pub(super) struct Ready {
    keys: Mutex<Vec<Arc<Nudge>>>,
    /// Somebody was woken for a round that nobody has begun.
    due: AtomicBool,
    driver: AtomicWaker,
    volunteer: Mutex<Seat>,
    lookout: Arc<Lookout>,
    /// There is going to be a look whether volunteers have done what they were woken for.
    watched: AtomicBool,
}

/// The place of the volunteer, one at a time.
#[derive(Debug, Default)]
struct Seat {
    taken: Option<(Ticket, Waker)>,
    /// Who was woken last.
    woken: Option<Ticket>,
    /// How many tickets there were.
    tickets: u64,
}

/// Tells volunteers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ready {
    pub(super) fn new(lookout: Arc<Lookout>) -> Arc<Self> {
        Arc::new(Self {
            keys: Mutex::default(),
            due: AtomicBool::new(false),
            driver: AtomicWaker::new(),
            volunteer: Mutex::default(),
            lookout,
            watched: AtomicBool::new(false),
        })
    }

    /// Has the driver's task woken from now on.
    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    /// Has this task woken instead, once. Who comes last gets the place: the tasks that are busiest come most often.
    ///
    /// A volunteer has to [leave](Self::leave) when it waits no longer.
    pub(super) fn volunteer(&self, task: &Waker, ticket: &mut Option<Ticket>) {
        let mut seat = lock(&self.volunteer);
        let ticket = *ticket.get_or_insert_with(|| {
            seat.tickets += 1;
            Ticket(seat.tickets)
        });
        let is_seated =
            |(holder, waker): &(Ticket, Waker)| *holder == ticket && waker.will_wake(task);
        if !seat.taken.as_ref().is_some_and(is_seated) {
            let before = seat.taken.replace((ticket, task.clone()));
            drop(seat);
            // With a task may go what it held, and it may have held such a place.
            drop(before);
        }
    }

    /// Takes note that a volunteer waits no longer: what it was woken for and has not done is the driver's.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut seat = lock(&self.volunteer);
        let is_seated = seat
            .taken
            .as_ref()
            .is_some_and(|(holder, _)| *holder == ticket);
        let left = if is_seated { seat.taken.take() } else { None };
        let was_woken = seat.woken == Some(ticket);
        drop(seat);
        drop(left);
        if was_woken && self.is_due() {
            self.driver.wake();
        }
    }

    /// Has a round done by somebody.
    pub(super) fn wake(self: &Arc<Self>) {
        if self.due.swap(true, SeqCst) {
            return;
        }
        let volunteer = {
            let mut seat = lock(&self.volunteer);
            let taken = seat.taken.take();
            seat.woken = taken.as_ref().map(|(ticket, _)| *ticket);
            taken
        };
        let Some((_, volunteer)) = volunteer else {
            self.driver.wake();
            return;
        };
        if !self.watched.swap(true, SeqCst) {
            self.lookout.add(self);
        }
        volunteer.wake();
    }

    /// Has a round done by the driver.
    pub(super) fn wake_driver(&self) {
        self.due.store(true, SeqCst);
        self.driver.wake();
    }

    /// Takes note that there is something to do, for a caller that does it.
    pub(super) fn mark(&self) {
        self.due.store(true, SeqCst);
    }

    /// Takes note that a round begins.
    pub(super) fn begin(&self) {
        self.due.store(false, SeqCst);
    }

    /// Returns whether there is something to do for a round.
    pub(super) fn is_due(&self) -> bool {
        self.due.load(SeqCst)
    }

    /// Has the driver do what a volunteer was woken for and has not done.
    pub(super) fn look(&self) {
        self.watched.store(false, SeqCst);
        if self.is_due() {
            self.driver.wake();
        }
    }

    /// Takes the streams that can go on.
    pub(super) fn take(&self, into: &mut Vec<Key>) {
        for nudge in lock(&self.keys).drain(..) {
            nudge.queued.store(false, SeqCst);
            into.push(nudge.key);
        }
    }

    /// Makes the waker of a stream.
    pub(super) fn waker(self: &Arc<Self>, key: Key) -> Waker {
        Arc::new(Nudge {
            key,
            queued: AtomicBool::new(false),
            ready: self.clone(),
        })
        .into()
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}

/// The waker of one stream.
#[derive(Debug)]
struct Nudge {
    key: Key,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, SeqCst) {
            let ready = self.ready.clone();
            lock(&ready.keys).push(self);
            ready.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use tokio::{runtime::Handle, time::sleep};

    use super::*;

    #[derive(Debug, Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Wakes {
        fn take(&self) -> usize {
            self.0.swap(0, SeqCst)
        }
    }

    fn ready() -> (Arc<Ready>, Arc<Wakes>) {
        let ready = Ready::new(Lookout::new(Handle::current()));
        let driver = Arc::<Wakes>::default();
        ready.register(&driver.clone().into());
        (ready, driver)
    }

    fn volunteer(ready: &Ready) -> (Ticket, Arc<Wakes>) {
        let (mut ticket, wakes) = (None, Arc::<Wakes>::default());
        ready.volunteer(&wakes.clone().into(), &mut ticket);
        (ticket.unwrap(), wakes)
    }

    #[tokio::test]
    async fn without_a_volunteer_the_driver_is_woken_once_for_a_round() {
        let (ready, driver) = ready();
        ready.wake_by_ref();
        ready.wake_by_ref();
        assert_eq!(driver.take(), 1);
        ready.begin();
        ready.register(&driver.clone().into());
        ready.wake_by_ref();
        assert_eq!(driver.take(), 1);
    }

    #[tokio::test]
    async fn the_last_volunteer_is_woken() {
        let (ready, driver) = ready();
        let (_, first) = volunteer(&ready);
        let (_, last) = volunteer(&ready);
        ready.wake_by_ref();
        assert_eq!([first.take(), last.take(), driver.take()], [0, 1, 0]);
        ready.begin();
        let (_, another) = volunteer(&ready);
        ready.wake_by_ref();
        assert_eq!([another.take(), driver.take()], [1, 0]);
    }

    #[tokio::test]
    async fn what_a_volunteer_does_not_do_is_for_the_driver_in_a_while() {
        let (ready, driver) = ready();
        for _ in 0..3 {
            let (_, diligent) = volunteer(&ready);
            ready.wake_by_ref();
            ready.begin();
            while ready.watched.load(SeqCst) {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!([diligent.take(), driver.take()], [1, 0]);
            let (_, idle) = volunteer(&ready);
            ready.wake_by_ref();
            assert_eq!([idle.take(), driver.take()], [1, 0]);
            while driver.take() == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            ready.begin();
            ready.register(&driver.clone().into());
        }
    }

    #[tokio::test]
    async fn who_leaves_with_work_undone_has_the_driver_woken() {
        let (ready, driver) = ready();
        let (ticket, _) = volunteer(&ready);
        ready.wake_by_ref();
        driver.take();
        ready.register(&driver.clone().into());
        ready.leave(ticket);
        assert_eq!(driver.take(), 1);
    }

    #[tokio::test]
    async fn who_leaves_gives_up_no_place_but_its_own() {
        let (ready, driver) = ready();
        let (early, _) = volunteer(&ready);
        let (_, late) = volunteer(&ready);
        ready.leave(early);
        ready.wake_by_ref();
        assert_eq!(late.take(), 1);
        driver.take();
    }
}
