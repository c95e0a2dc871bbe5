//! Which of the driver's streams can go on, and who is woken for them.
//!
//! Each stream that the driver reads has a waker of its own, the critical ones one together, which puts the key on a list
//! and has a round done: by a task that waits for what it may bring, or by the driver. So a round
//! looks only at streams with something to do, however many there are.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use wt_proto::StreamId;

use super::lookout::Lookout;
use crate::lock::lock;

/// A stream that the driver reads, or all critical streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The critical streams of both sides.
    Critical,
    /// A request stream.
    Request(StreamId),
    /// A stream whose header has not arrived whole.
    Parked(StreamId),
}

/// What a round looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part(u8);

impl Part {
    /// New unidirectional streams.
    pub(super) const UNI: Self = Self(1);
    /// New bidirectional streams.
    pub(super) const BIDI: Self = Self(2);
    /// Datagrams.
    pub(super) const DATAGRAMS: Self = Self(4);
    /// Everything else.
    pub(super) const UPKEEP: Self = Self(8);

    const NOTHING: Self = Self(0);
    const ALL: Self = Self(15);
    /// No part: a round is being done.
    const AT_WORK: Self = Self(16);

    pub(super) const fn has(self, part: Self) -> bool {
        self.0 & part.0 != 0
    }
}

/// The list of streams that can go on, and who is to look at them.
///
/// That is a task of the application that waits for what a round may bring, a volunteer, if there is one, and the task
/// of the driver otherwise. What arrives for a task that waits so reaches it without a detour.
#[derive(Debug)]
pub(super) struct Ready {
    keys: Mutex<Vec<Arc<Nudge>>>,
    /// The [parts](Part) of a round that nobody has begun, for which somebody was woken, or is at work.
    due: AtomicU8,
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
            due: AtomicU8::new(Part::NOTHING.0),
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
        self.wake_for(Part::ALL);
    }

    /// Has a part of a round done by somebody.
    fn wake_for(self: &Arc<Self>, part: Part) {
        if self.due.fetch_or(part.0, SeqCst) != Part::NOTHING.0 {
            // Somebody is on the way, or at work and looks again before he leaves.
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
        self.mark(Part::ALL);
        self.driver.wake();
    }

    /// Takes note that there is something to do, for a caller that does it all.
    pub(super) fn mark_all(&self) {
        self.mark(Part::ALL);
    }

    /// Takes note that there is something to do, for a caller that does it.
    pub(super) fn mark(&self, part: Part) {
        self.due.fetch_or(part.0, SeqCst);
    }

    /// Takes note that a round begins, and returns what is due. Until its [end](Self::end) nobody is woken for another.
    pub(super) fn begin(&self) -> Part {
        Part(self.due.swap(Part::AT_WORK.0, SeqCst))
    }

    /// Takes note that a round is over. What [is due](Self::is_due) after that, the caller has to see to.
    pub(super) fn end(&self) {
        self.due.fetch_and(!Part::AT_WORK.0, SeqCst);
    }

    /// Returns whether there is something to do for a round.
    pub(super) fn is_due(&self) -> bool {
        Part(self.due.load(SeqCst)).has(Part::ALL)
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

    /// Makes the waker for a part of the rounds.
    pub(super) fn waker_for(self: &Arc<Self>, part: Part) -> Waker {
        Arc::new(Arrival {
            part,
            ready: self.clone(),
        })
        .into()
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

/// The waker for a part of the rounds.
#[derive(Debug)]
struct Arrival {
    part: Part,
    ready: Arc<Ready>,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.wake_for(self.part);
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

    fn round(ready: &Ready) -> Part {
        let due = ready.begin();
        ready.end();
        due
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
        round(&ready);
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
        round(&ready);
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
            round(&ready);
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
            round(&ready);
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

    #[tokio::test]
    async fn who_is_at_work_is_not_woken_and_finds_what_is_due() {
        let (ready, driver) = ready();
        let (_, volunteer) = volunteer(&ready);
        ready.waker_for(Part::BIDI).wake();
        assert_eq!([volunteer.take(), driver.take()], [1, 0]);
        let due = ready.begin();
        assert!(due.has(Part::BIDI) && !due.has(Part::UNI) && !due.has(Part::UPKEEP));
        ready.waker_for(Part::UNI).wake();
        ready.end();
        assert_eq!([volunteer.take(), driver.take()], [0, 0]);
        assert!(ready.is_due());
        assert_eq!(round(&ready), Part::UNI);
        assert!(!ready.is_due());
    }
}
