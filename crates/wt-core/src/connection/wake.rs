//! Which of the driver's streams can go on.
//!
//! Each stream that the driver reads has a waker of its own, which puts the stream's key on a list
//! and wakes the driver. So the driver looks only at streams with something to do, however many
//! there are.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use wt_proto::{StreamId, connection::Critical};

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

/// The list of streams that can go on, and the driver to wake.
#[derive(Debug, Default)]
pub(super) struct Ready {
    keys: Mutex<Vec<Arc<Nudge>>>,
    driver: AtomicWaker,
}

impl Ready {
    /// Has `waker` woken from now on.
    pub(super) fn register(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        self.driver.wake();
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
