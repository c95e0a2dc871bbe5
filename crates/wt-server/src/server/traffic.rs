//! What the connections of a server carry, and their round trips.

use std::sync::{Mutex, PoisonError};

use wt_core::{
    Traffic,
    observe::{Histogram, Snapshot},
};

use super::Server;

/// Connections whose round trips make the median and the like; of all of them they are counted by range.
const SAMPLED: usize = 4096;

/// The highest figures that were told so far.
///
/// A connection that is ending is for a moment neither alive nor counted as over. Counters never go down.
#[derive(Debug, Default)]
pub(super) struct Highest(Mutex<Traffic>);

impl Highest {
    fn raise(&self, seen: &Traffic) -> Traffic {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.bytes_sent = told.bytes_sent.max(seen.bytes_sent);
        told.bytes_received = told.bytes_received.max(seen.bytes_received);
        told.packets_sent = told.packets_sent.max(seen.packets_sent);
        told.packets_received = told.packets_received.max(seen.packets_received);
        told.packets_lost = told.packets_lost.max(seen.packets_lost);
        *told
    }
}

impl Server {
    /// Returns what all connections carried so far, those that are over among them.
    ///
    /// It costs one short lock for each connection that is alive.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.look().0
    }

    /// Adds what the connections carried, and the distribution of their round trips.
    pub(super) fn observe_traffic(&self, snapshot: Snapshot) -> Snapshot {
        let (traffic, histogram, mut sample) = self.look();
        sample.sort_unstable_by(f64::total_cmp);
        let rank = |share: f64| {
            let index = (share * sample.len() as f64) as usize;
            sample.get(index.min(sample.len().saturating_sub(1)))
        };
        let mut snapshot = snapshot
            .with_counter("sent_bytes", traffic.bytes_sent)
            .with_counter("received_bytes", traffic.bytes_received)
            .with_counter("sent_packets", traffic.packets_sent)
            .with_counter("received_packets", traffic.packets_received)
            .with_counter("lost_packets", traffic.packets_lost);
        for (name, share) in [
            ("rtt_median_seconds", 0.5),
            ("rtt_p95_seconds", 0.95),
            ("rtt_max_seconds", 1.0),
        ] {
            if let Some(seconds) = rank(share) {
                snapshot = snapshot.with_gauge(name, *seconds);
            }
        }
        snapshot.with_histogram(histogram)
    }

    /// Returns what was carried, the round trips by range, and some of them, in seconds.
    fn look(&self) -> (Traffic, Histogram, Vec<f64>) {
        // What is over comes first: what ends meanwhile is then missing for a moment, and not counted twice.
        let mut traffic = self.endpoint().stats().ended;
        let mut histogram = Histogram::new("rtt_seconds", Histogram::SECONDS);
        let mut sample = Vec::new();
        for connection in self.connections() {
            let stats = connection.stats();
            if connection.close_reason().is_some() {
                continue;
            }
            traffic.add(&stats);
            let rtt = stats.rtt.as_secs_f64();
            histogram.record(rtt);
            if sample.len() < SAMPLED {
                sample.push(rtt);
            }
        }
        (self.0.carried.raise(&traffic), histogram, sample)
    }
}
