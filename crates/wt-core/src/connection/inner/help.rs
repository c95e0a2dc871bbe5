//! Tasks of the application that do the driver's work when it is theirs that is waited for.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, Weak},
    task::{Context, Poll, Waker},
};

use super::{
    super::{driver::Driver, wake::Ticket},
    Inner,
};
use crate::{lock::try_lock, runtime::hold};

/// How often a helper looks whether there is more to do before it leaves that to the driver.
const TRIES: usize = 4;

impl Inner {
    pub(in crate::connection) fn set_driver(&self, driver: Weak<Mutex<Driver>>) {
        let _ = self.driver.set(driver);
    }

    /// Does what the caller has left for the driver, at once, unless somebody else is at it.
    ///
    /// QUIC's task sends it, mostly when the caller's waits, together with what that writes until then.
    pub(in crate::connection) fn do_now(&self) {
        self.ready.mark_all();
        self.do_rounds(false);
    }

    /// Does what is due for the driver, and has QUIC send what comes of it, unless somebody is at it: who is does it all
    /// before he leaves.
    pub(crate) fn help(&self) {
        self.do_rounds(true);
    }

    fn do_rounds(&self, send: bool) {
        for _ in 0..TRIES {
            if !self.ready.is_due() {
                return;
            }
            let Some(driver) = self.driver.get().and_then(Weak::upgrade) else {
                return;
            };
            let rounds = || Some(try_lock(&driver)?.rounds());
            // The lock goes before what the round wakes is polled.
            let polled = if send { hold(rounds) } else { rounds() };
            let Some(polled) = polled else {
                return;
            };
            if polled.is_ready() {
                // How the connection ended is for its task.
                return self.ready.wake_driver();
            }
        }
        if self.ready.is_due() {
            self.ready.wake_driver();
        }
    }

    /// Makes a place for a task that waits for what a round of the driver may bring.
    pub(crate) const fn volunteer(&self) -> Volunteer<'_> {
        Volunteer {
            inner: self,
            ticket: None,
        }
    }
}

/// A task that waits for what a round of the driver may bring, and does the round itself: so it has what arrives for it
/// without a change of task.
#[derive(Debug)]
pub(crate) struct Volunteer<'a> {
    inner: &'a Inner,
    ticket: Option<Ticket>,
}

impl Volunteer<'_> {
    /// Waits, and does meanwhile what is due.
    pub(crate) async fn wait(&mut self, until: impl Future<Output = ()>) {
        let mut until = pin!(until);
        poll_fn(|cx| {
            self.inner.ready.volunteer(cx.waker(), &mut self.ticket);
            // A task that wakes itself is polled once more for nothing, and another thread is woken to do so: what the
            // round brings is looked for below.
            let mut unheard = Context::from_waker(Waker::noop());
            if until.as_mut().poll(&mut unheard).is_ready() {
                return Poll::Ready(());
            }
            self.inner.help();
            until.as_mut().poll(cx)
        })
        .await;
    }
}

impl Drop for Volunteer<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.inner.ready.leave(ticket);
        }
    }
}
