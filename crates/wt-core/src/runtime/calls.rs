//! Calls of a task while it is polled.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

/// What a poll of a task gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// It is over.
    Over,
    /// It waits to be called.
    Waits,
    /// It was called while it was polled, mostly by itself, and wants to be polled again.
    Called,
}

/// Whether somebody polls a task, who sees to the calls that come meanwhile.
#[derive(Debug, Default)]
pub(super) struct Calls(AtomicU8);

impl Calls {
    /// Nobody polls the task.
    const WAITS: u8 = 0;
    /// Somebody does.
    const POLLED: u8 = 1;
    /// Somebody does, and it was called meanwhile.
    const CALLED: u8 = 2;
    const OVER: u8 = 3;

    /// Begins to poll the task, unless somebody is at it, for whom this is a call, or it is over.
    pub(super) fn begin(&self) -> bool {
        self.change(|state| match state {
            Self::WAITS => Some(Self::POLLED),
            Self::POLLED => Some(Self::CALLED),
            _ => None,
        }) == Self::WAITS
    }

    /// Ends what was [begun](Self::begin), and says whether the task was called meanwhile.
    pub(super) fn end(&self) -> bool {
        self.0.swap(Self::WAITS, SeqCst) == Self::CALLED
    }

    /// Ends what was begun for good: the task is over.
    pub(super) fn finish(&self) {
        self.0.store(Self::OVER, SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(SeqCst) == Self::OVER
    }

    /// Calls the task; `true` when nobody polls it, so that the caller has to have it polled.
    pub(super) fn call(&self) -> bool {
        self.change(|state| (state == Self::POLLED).then_some(Self::CALLED)) == Self::WAITS
    }

    /// Changes the state, and returns what it was.
    fn change(&self, to: impl FnMut(u8) -> Option<u8>) -> u8 {
        match self.0.fetch_update(SeqCst, SeqCst, to) {
            Ok(before) | Err(before) => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_polls_sees_to_the_calls_that_come_meanwhile() {
        let calls = Calls::default();
        assert!(calls.call(), "nobody polls");
        assert!(calls.begin());
        assert!(!calls.end(), "nobody has called");
        for call in [Calls::call, Calls::begin] {
            assert!(calls.begin());
            assert!(!call(&calls));
            assert!(!calls.call(), "once more");
            assert!(calls.end());
        }
    }

    #[test]
    fn what_is_over_is_neither_called_nor_polled() {
        let calls = Calls::default();
        assert!(calls.begin());
        calls.finish();
        assert!(calls.is_over() && !calls.call() && !calls.begin());
    }
}
