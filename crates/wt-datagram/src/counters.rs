//! What is counted, and told to those who listen.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use wt_core::events::Emitter;

use crate::{DatagramEvent, DatagramStats, DropReason, Drops};

#[derive(Debug, Default)]
struct DropCounters([AtomicU64; 6]);

impl DropCounters {
    fn count(&self, reason: DropReason, number: usize) {
        self.0[reason as usize].fetch_add(number as u64, Relaxed);
    }

    fn get(&self) -> Drops {
        let of = |reason: DropReason| self.0[reason as usize].load(Relaxed);
        Drops {
            expired: of(DropReason::Expired),
            evicted: of(DropReason::Evicted),
            refused: of(DropReason::Refused),
            too_large: of(DropReason::TooLarge),
            cleared: of(DropReason::Cleared),
            ended: of(DropReason::Ended),
        }
    }
}

/// Tells the recorder of metrics, if there is one; `docs/metrics.md` has the names.
#[cfg(feature = "metrics")]
fn publish(direction: &'static str, reason: DropReason, count: usize) {
    let labels = [("direction", direction), ("reason", reason.name())];
    metrics::counter!("wt_datagrams_dropped_total", &labels).increment(count as u64);
}

#[cfg(not(feature = "metrics"))]
const fn publish(_: &str, _: DropReason, _: usize) {}

/// Counts datagrams that went one way.
#[derive(Debug, Default)]
struct Passed {
    count: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds, together and at most.
    waited: AtomicU64,
    longest: AtomicU64,
}

impl Passed {
    /// Returns the number of the datagram.
    #[inline]
    fn count(&self, size: usize) -> u64 {
        self.bytes.fetch_add(size as u64, Relaxed);
        self.count.fetch_add(1, Relaxed)
    }

    fn waited(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waited.fetch_add(nanos, Relaxed);
        self.longest.fetch_max(nanos, Relaxed);
    }
}

/// Datagrams that went to QUIC together, counted where nobody else counts.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    count: u64,
    bytes: u64,
    waited: Duration,
    longest: Duration,
    smallest: usize,
    largest: usize,
}

impl Batch {
    pub(crate) fn add(&mut self, size: usize, waited: Duration) {
        self.smallest = match self.count {
            0 => size,
            _ => self.smallest.min(size),
        };
        self.largest = self.largest.max(size);
        self.count += 1;
        self.bytes += size as u64;
        self.waited += waited;
        self.longest = self.longest.max(waited);
    }
}

/// The counters behind [`DatagramStats`], and the events that go with them.
#[derive(Debug)]
pub(crate) struct Counters {
    created: SystemTime,
    sent: Passed,
    queued: AtomicU64,
    failed: AtomicU64,
    send_drops: DropCounters,
    received: Passed,
    receive_drops: DropCounters,
    unreadable: AtomicU64,
    smallest: AtomicU64,
    largest: AtomicU64,
    /// Nobody listens, mostly.
    pub(crate) events: Emitter<DatagramEvent>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            sent: Passed::default(),
            queued: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            send_drops: DropCounters::default(),
            received: Passed::default(),
            receive_drops: DropCounters::default(),
            unreadable: AtomicU64::new(0),
            smallest: AtomicU64::new(u64::MAX),
            largest: AtomicU64::new(0),
            events: Emitter::new(),
        }
    }
}

impl Counters {
    /// Keeps the sizes; they change rarely, so that mostly nothing is written.
    #[inline]
    fn size(&self, size: usize) {
        let size = size as u64;
        if size < self.smallest.load(Relaxed) {
            self.smallest.fetch_min(size, Relaxed);
        }
        if size > self.largest.load(Relaxed) {
            self.largest.fetch_max(size, Relaxed);
        }
    }

    /// Counts a datagram that went to QUIC, after it `waited` in the queue if it did.
    #[inline]
    pub(crate) fn sent(&self, size: usize, waited: Option<Duration>) {
        self.size(size);
        if let Some(waited) = waited {
            self.queued.fetch_add(1, Relaxed);
            self.sent.waited(waited);
        }
        let sequence = self.sent.count(size);
        self.events.emit_with(|| DatagramEvent::Sent {
            sequence,
            size,
            waited: waited.unwrap_or_default(),
        });
    }

    /// Counts datagrams that went to QUIC out of the queue.
    pub(crate) fn sent_batch(&self, batch: &Batch) {
        if batch.count == 0 {
            return;
        }
        self.size(batch.smallest);
        self.size(batch.largest);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // As with a single one, before they are counted as sent.
        self.queued.fetch_add(batch.count, Relaxed);
        self.sent.waited.fetch_add(nanos(batch.waited), Relaxed);
        self.sent.longest.fetch_max(nanos(batch.longest), Relaxed);
        self.sent.bytes.fetch_add(batch.bytes, Relaxed);
        self.sent.count.fetch_add(batch.count, Relaxed);
    }

    /// Counts a datagram that the application took; it `waited` in the buffer where there is one.
    #[inline]
    pub(crate) fn received(&self, sequence: u64, size: usize, waited: Option<Duration>) {
        self.size(size);
        if let Some(waited) = waited {
            self.received.waited(waited);
        }
        self.received.count(size);
        self.events.emit_with(|| DatagramEvent::Received {
            sequence,
            size,
            age: waited.unwrap_or_default(),
        });
    }

    /// Counts datagrams that were not sent.
    pub(crate) fn send_dropped(&self, reason: DropReason, count: usize) {
        if count > 0 {
            self.send_drops.count(reason, count);
            publish("send", reason, count);
            self.events
                .emit_with(|| DatagramEvent::SendDropped { reason, count });
        }
    }

    /// Counts received datagrams that the application does not get.
    pub(crate) fn receive_dropped(&self, reason: DropReason, count: usize) {
        if count > 0 {
            self.receive_drops.count(reason, count);
            publish("receive", reason, count);
            self.events
                .emit_with(|| DatagramEvent::ReceiveDropped { reason, count });
        }
    }

    /// Counts a datagram that QUIC did not take.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Counts a datagram that was not what the application expected.
    pub(crate) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Relaxed);
    }

    pub(crate) fn sent_count(&self) -> u64 {
        self.sent.count.load(Relaxed)
    }

    pub(crate) fn received_count(&self) -> u64 {
        self.received.count.load(Relaxed)
    }

    pub(crate) fn stats(&self) -> DatagramStats {
        let nanos = |counter: &AtomicU64| Duration::from_nanos(counter.load(Relaxed));
        let smallest = self.smallest.load(Relaxed);
        // A datagram is counted as queued before it is counted as sent.
        let datagrams_sent = self.sent_count();
        DatagramStats {
            created_at: self.created,
            datagrams_sent,
            datagrams_sent_at_once: datagrams_sent.saturating_sub(self.queued.load(Relaxed)),
            bytes_sent: self.sent.bytes.load(Relaxed),
            send_failures: self.failed.load(Relaxed),
            send_drops: self.send_drops.get(),
            datagrams_received: self.received_count(),
            bytes_received: self.received.bytes.load(Relaxed),
            receive_drops: self.receive_drops.get(),
            receive_errors: self.unreadable.load(Relaxed),
            total_send_time: nanos(&self.sent.waited),
            max_send_time: nanos(&self.sent.longest),
            total_receive_time: nanos(&self.received.waited),
            max_receive_time: nanos(&self.received.longest),
            min_datagram_size: (smallest < u64::MAX).then_some(smallest),
            max_datagram_size: self.largest.load(Relaxed),
        }
    }
}
