//! A task of quinn, and whether it calls itself.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

use super::{
    Task,
    calls::{Calls, Polled},
    hold,
};

/// A task whose calls of itself come to whoever polls it, who sees to them.
pub(super) struct Watched {
    task: Task,
    call: Arc<Call>,
    /// Wakes `call`.
    waker: Waker,
}

impl Watched {
    pub(super) fn new(task: Task) -> Self {
        let call = Arc::<Call>::default();
        let waker = call.clone().into();
        Self { task, call, waker }
    }

    /// Polls it, then the connection that it has called, and has this task woken when it is called.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Polled {
        let Self { task, call, waker } = self;
        call.outer.register(cx.waker());
        call.calls.begin();
        let polled = hold(|| task.as_mut().poll(&mut Context::from_waker(waker)));
        let called = call.calls.end();
        match polled {
            Poll::Ready(()) => Polled::Over,
            Poll::Pending if called => Polled::Called,
            Poll::Pending => Polled::Waits,
        }
    }
}

/// Wakes the task while it waits, and is kept while it is polled.
#[derive(Debug, Default)]
struct Call {
    calls: Calls,
    /// Who polls the task.
    outer: AtomicWaker,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.calls.call() {
            self.outer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn what_calls_itself_is_told_from_what_waits() {
        let mut polls = 0;
        let mut task = Watched::new(Box::pin(poll_fn(move |cx| {
            polls += 1;
            match polls {
                1 => cx.waker().wake_by_ref(),
                2 => {}
                _ => return Poll::Ready(()),
            }
            Poll::Pending
        })));
        let cx = Context::from_waker(Waker::noop());
        let polled = [(); 3].map(|()| task.poll(&cx));
        assert_eq!(polled, [Polled::Called, Polled::Waits, Polled::Over]);
    }

    #[tokio::test]
    async fn what_waits_is_woken_from_elsewhere() {
        let (calls, called) = mpsc::channel::<Waker>();
        let caller = thread::spawn(move || {
            for waker in called {
                thread::sleep(Duration::from_millis(1));
                waker.wake();
            }
        });
        let mut polls = 0;
        let mut task = Watched::new(Box::pin(poll_fn(move |cx| {
            polls += 1;
            if polls == 20 {
                return Poll::Ready(());
            }
            calls.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })));
        poll_fn(|cx| match task.poll(cx) {
            Polled::Over => Poll::Ready(()),
            Polled::Waits => Poll::Pending,
            Polled::Called => unreachable!("it does not call itself"),
        })
        .await;
        drop(task);
        caller.join().unwrap();
    }
}
