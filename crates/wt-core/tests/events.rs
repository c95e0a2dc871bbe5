//! Emitters and their listeners.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use common::within;
use futures_util::{FutureExt, StreamExt};
use wt_core::events::{CAPACITY, Emitter, Lagged, WaitError};

#[tokio::test]
async fn every_listener_gets_every_event_in_order_until_the_emitter_is_gone() {
    let emitter = Emitter::new();
    let listeners = [emitter.subscribe(), emitter.subscribe()];
    let clone = emitter.clone();
    for n in 0..100 {
        clone.emit(n);
    }
    drop((emitter, clone));
    for listener in listeners {
        let got: Vec<_> = within(listener.map(Result::unwrap).collect()).await;
        assert_eq!(got, (0..100).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_waits_is_woken_and_who_left_is_not_counted() {
    let emitter = Emitter::new();
    assert!(!emitter.has_listeners());
    let mut first = emitter.subscribe();
    let mut second = emitter.subscribe();
    assert_eq!(emitter.listener_count(), 2);
    let waits = tokio::spawn(async move { (first.recv().await, first) });
    tokio::task::yield_now().await;
    emitter.emit("a");
    let (got, first) = within(waits).await.unwrap();
    assert_eq!(got, Some(Ok("a")));
    // A wait that is given up loses nothing.
    assert!(second.recv().now_or_never().is_some());
    assert!(second.recv().now_or_never().is_none());
    emitter.emit("b");
    assert_eq!(within(second.recv()).await, Some(Ok("b")));
    drop((first, second));
    assert_eq!(
        (emitter.listener_count(), emitter.has_listeners()),
        (0, false)
    );
}

#[tokio::test]
async fn an_event_that_nobody_gets_is_not_made() {
    let emitter = Emitter::<u8>::new();
    let made = Cell::new(0);
    let emit = || {
        emitter.emit_with(|| {
            made.set(made.get() + 1);
            1
        });
    };
    emit();
    let events = emitter.subscribe();
    emit();
    drop(events);
    emit();
    assert_eq!((made.get(), emitter.stats().emitted), (1, 1));
    emitter.close();
    let _late = emitter.subscribe();
    emit();
    assert_eq!(made.get(), 1);
}

#[tokio::test]
async fn a_slow_listener_loses_the_oldest_and_is_told_while_the_others_go_on() {
    let emitter = Emitter::with_capacity(4);
    let mut slow = emitter.subscribe();
    let mut quick = emitter.subscribe();
    for n in 0..10 {
        emitter.emit(n);
        assert_eq!(within(quick.recv()).await, Some(Ok(n)));
    }
    assert_eq!(within(slow.next()).await, Some(Err(Lagged(6))));
    for n in 6..10 {
        assert_eq!(within(slow.next()).await, Some(Ok(n)));
    }
    emitter.emit(10);
    assert_eq!(within(slow.next()).await, Some(Ok(10)));
}

#[tokio::test]
async fn the_default_capacity_is_enough_for_so_many_and_no_more() {
    let emitter = Emitter::new();
    assert_eq!(emitter.stats().capacity, CAPACITY);
    let mut paused = emitter.subscribe();
    for n in 0..CAPACITY {
        emitter.emit(n);
    }
    for n in 0..CAPACITY {
        assert_eq!(within(paused.next()).await, Some(Ok(n)));
    }
    for n in 0..=CAPACITY {
        emitter.emit(n);
    }
    assert_eq!(within(paused.next()).await, Some(Err(Lagged(1))));
}

#[tokio::test]
async fn a_handler_is_a_task_and_its_panic_its_own() {
    let emitter = Emitter::<u32>::new();
    let sum = Arc::new(AtomicUsize::new(0));
    let mut bad = emitter.subscribe();
    let bad = tokio::spawn(async move {
        let _ = bad.recv().await;
        panic!("a handler fails");
    });
    let (events, total) = (emitter.subscribe(), sum.clone());
    let good = tokio::spawn(events.for_each(move |event| {
        let total = total.clone();
        async move {
            tokio::task::yield_now().await;
            total.fetch_add(event.unwrap() as usize, SeqCst);
        }
    }));
    emitter.emit(1);
    assert!(within(bad).await.unwrap_err().is_panic());
    emitter.emit(2);
    emitter.close();
    within(good).await.unwrap();
    assert_eq!(sum.load(SeqCst), 3);
}

#[tokio::test]
async fn waiting_finds_the_first_that_is_wanted() {
    let emitter = Emitter::new();
    // It listens from here on, not from its first poll.
    let even = emitter.wait_for(None, |n: &u32| n.is_multiple_of(2));
    let large = emitter.wait_for(Duration::from_secs(60), |n| *n > 5);
    for n in [1, 3, 4, 6] {
        emitter.emit(n);
    }
    assert_eq!(within(even).await, Ok(4));
    assert_eq!(within(large).await, Ok(6));
    assert!(!emitter.has_listeners());
}

#[tokio::test]
async fn waiting_ends_with_time_emitter_or_a_gap() {
    let emitter = Emitter::<u32>::with_capacity(2);
    let limit = Duration::from_millis(10);
    let error = emitter.wait_for(limit, |_| true).await.unwrap_err();
    assert_eq!(error, WaitError::TimedOut(limit));
    assert!(error.is_timeout());
    let lagged = emitter.wait_for(None, |n| *n == 0);
    for n in 0..3 {
        emitter.emit(n);
    }
    assert_eq!(lagged.await, Err(WaitError::Lagged(Lagged(1))));
    let never = emitter.wait_for(None, |_| false);
    emitter.emit(1);
    emitter.close();
    assert_eq!(never.await, Err(WaitError::Closed));
    assert_eq!(
        emitter.wait_for(None, |_| true).await,
        Err(WaitError::Closed)
    );
}

#[test]
fn history_keeps_the_newest_whether_anybody_listens_or_not() {
    let emitter = Emitter::new().with_history(1000);
    for n in 0..1500 {
        emitter.emit(n);
    }
    let stats = emitter.stats();
    assert_eq!((stats.history, stats.emitted), (1000, 1500));
    let newest = emitter.history(3);
    let told: Vec<_> = newest.iter().map(|r| (r.sequence, r.event)).collect();
    assert_eq!(told, [(1497, 1497), (1498, 1498), (1499, 1499)]);
    assert!(newest[0].at <= newest[2].at);
    let hundreds: Vec<_> = emitter.history_of(2, |n| n % 100 == 0);
    assert_eq!([hundreds[0].event, hundreds[1].event], [1300, 1400]);
    assert_eq!(emitter.history(0), []);
    assert_eq!(emitter.history(usize::MAX).len(), 1000);
    emitter.clear_history();
    assert_eq!(emitter.history(10), []);
    let emitter = emitter.with_history(0);
    emitter.emit(1);
    assert_eq!(emitter.stats().history, 0);
}
