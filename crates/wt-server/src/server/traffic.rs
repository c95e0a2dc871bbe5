//! What the connections of a server carry, and their round trips, for who looks at it.

use wt_core::{
    DatagramDrop, EndpointReport,
    observe::{Histogram, Snapshot},
};

use super::Server;

/// Connections whose round trips are looked at, each time others.
const SAMPLED: usize = 4096;

impl Server {
    /// Adds what the connections carried, those that are over among them, and the round trips of some that are alive.
    pub(super) fn observe_traffic(&self, snapshot: Snapshot) -> Snapshot {
        let EndpointReport {
            stats,
            traffic,
            samples,
            ..
        } = self.endpoint().report(SAMPLED);
        let drops = DatagramDrop::ALL.iter();
        let dropped = drops.map(|reason| traffic.datagrams_dropped(*reason)).sum();
        let mut round_trips: Vec<f64> = samples.iter().map(|one| one.rtt.as_secs_f64()).collect();
        round_trips.sort_unstable_by(f64::total_cmp);
        let rank = |share: f64| {
            let index = (share * round_trips.len() as f64) as usize;
            round_trips.get(index.min(round_trips.len().saturating_sub(1)))
        };
        let mut snapshot = snapshot
            .with_counter("sessions_made", stats.sessions_made)
            .with_counter("sessions_ended", stats.sessions_ended)
            .with_counter("datagrams_dropped", dropped)
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
        let mut histogram = Histogram::new("rtt_seconds", Histogram::SECONDS);
        for seconds in round_trips {
            histogram.record(seconds);
        }
        snapshot.with_histogram(histogram)
    }
}
