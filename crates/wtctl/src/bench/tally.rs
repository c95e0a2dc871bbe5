//! What all sessions of a bench count, in memory that does not grow.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Kinds of errors that are told apart; the others count as one.
const KINDS: usize = 16;

/// How many sessions were tried, and how many are open.
#[derive(Clone, Copy, Debug, Default)]
struct Sessions {
    tried: u32,
    open: u32,
}

/// The counters.
#[derive(Debug)]
pub(super) struct Tally {
    sessions: watch::Sender<Sessions>,
    /// When measuring began; what comes before does not count.
    begun: OnceLock<Instant>,
    /// Everything that was answered, measured or not.
    answered: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) latency: Histogram,
    pub(super) set_up: Histogram,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sessions: watch::Sender::default(),
            begun: OnceLock::new(),
            answered: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            latency: Histogram::new(),
            set_up: Histogram::new(),
            errors: Mutex::default(),
        }
    }

    /// Begins to measure.
    pub(super) fn begin(&self) {
        let _ = self.begun.set(Instant::now());
    }

    /// Returns for how long it has been measured.
    pub(super) fn measured(&self) -> Duration {
        self.begun.get().map(Instant::elapsed).unwrap_or_default()
    }

    /// Counts a request that was answered with as many bytes as it had.
    pub(super) fn answer(&self, began: Instant, bytes: usize) {
        self.answered.fetch_add(1, Relaxed);
        if self.begun.get().is_some() {
            self.requests.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes as u64, Relaxed);
            self.latency.add(began.elapsed());
        }
    }

    /// Counts a datagram that did not come back.
    pub(super) fn loss(&self) {
        if self.begun.get().is_some() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Counts a session that is open.
    pub(super) fn session_open(&self, took: Duration) {
        self.set_up.add(took);
        self.sessions.send_modify(|sessions| {
            sessions.tried += 1;
            sessions.open += 1;
        });
    }

    /// Counts a session that did not come to be.
    pub(super) fn session_failed(&self, error: String) {
        self.error(error);
        self.sessions.send_modify(|sessions| sessions.tried += 1);
    }

    /// Counts a session that was open and ended by itself.
    pub(super) fn session_over(&self, error: String) {
        self.error(error);
        self.sessions.send_modify(|sessions| sessions.open -= 1);
    }

    pub(super) fn error(&self, error: String) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if errors.len() < KINDS || errors.contains_key(&error) {
            error
        } else {
            "other errors".to_owned()
        };
        *errors.entry(kind).or_default() += 1;
    }

    /// Waits until so many sessions were tried.
    pub(super) async fn ready(&self, count: u32) {
        let mut sessions = self.sessions.subscribe();
        // The sender lives as long as this.
        let _ = sessions.wait_for(|sessions| sessions.tried >= count).await;
    }

    pub(super) fn open(&self) -> u32 {
        self.sessions.borrow().open
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    pub(super) fn errors(&self) -> u64 {
        self.error_kinds().values().sum()
    }

    pub(super) fn error_kinds(&self) -> BTreeMap<String, u64> {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn first_error(&self) -> Option<String> {
        self.error_kinds().into_keys().next()
    }
}

/// Times in buckets that are at most 1/32 wide of what they hold, from a nanosecond to hours.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
    longest: AtomicU64,
}

impl Histogram {
    /// Bits of a time that tell buckets apart.
    const BITS: u32 = 5;
    /// Times beyond some hours share the last bucket.
    const BUCKETS: usize = 40 << Self::BITS;

    fn new() -> Self {
        Self {
            buckets: (0..Self::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            longest: AtomicU64::new(0),
        }
    }

    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(nanos)].fetch_add(1, Relaxed);
        self.longest.fetch_max(nanos, Relaxed);
    }

    /// Numbers the buckets: one each for small values, then 32 for each power of two.
    fn bucket(nanos: u64) -> usize {
        let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(Self::BITS + 1);
        let bucket = ((shift as usize) << Self::BITS) + (nanos >> shift) as usize;
        bucket.min(Self::BUCKETS - 1)
    }

    /// Returns the middle of a bucket, in nanoseconds.
    fn middle(bucket: usize) -> f64 {
        let shift = (bucket >> Self::BITS).saturating_sub(1);
        let mantissa = bucket - (shift << Self::BITS);
        (mantissa as f64 + 0.5) * 2_f64.powi(shift as i32)
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Returns the time in milliseconds below which `percent` of all are; `None` when there is none.
    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let count = self.count();
        let rank = ((percent / 100.0 * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|bucket| {
            seen += bucket.load(Relaxed);
            count > 0 && seen >= rank
        })?;
        let longest = self.longest.load(Relaxed) as f64;
        Some(Self::middle(bucket).min(longest) / 1e6)
    }

    /// Returns the longest time in milliseconds; `None` when there is none.
    pub(super) fn max(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.longest.load(Relaxed) as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for exponent in 0..44 {
            for part in 0..64_u64 {
                let nanos = (1 << exponent) + (part << exponent) / 64;
                let bucket = Histogram::bucket(nanos);
                assert!(bucket >= last, "{nanos}");
                last = bucket;
                let middle = Histogram::middle(bucket);
                let off = (middle - nanos as f64).abs();
                assert!(off <= (nanos as f64 / 32.0).max(0.5), "{nanos}: {middle}");
            }
        }
        assert_eq!(Histogram::bucket(u64::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_close() {
        let histogram = Histogram::new();
        assert_eq!((histogram.percentile(50.0), histogram.max()), (None, None));
        for ms in 1..=1000 {
            histogram.add(Duration::from_millis(ms));
        }
        for (percent, ms) in [(0.0, 1.0), (50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = histogram.percentile(percent).unwrap();
            assert!((found - ms).abs() <= ms / 32.0, "{percent}: {found}");
        }
        assert_eq!(histogram.max(), Some(1000.0));
    }

    #[test]
    fn what_comes_before_the_measurement_does_not_count() {
        let tally = Tally::new();
        tally.answer(Instant::now(), 10);
        tally.loss();
        assert_eq!(tally.measured(), Duration::ZERO);
        tally.begin();
        tally.answer(Instant::now(), 10);
        assert_eq!((tally.answered(), tally.requests.load(Relaxed)), (2, 1));
        assert_eq!(
            (tally.bytes.load(Relaxed), tally.lost.load(Relaxed)),
            (10, 0)
        );
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let tally = Tally::new();
        for number in 0..100 {
            tally.error(format!("error {number}"));
            tally.error("error 0".to_owned());
        }
        assert_eq!(tally.error_kinds().len(), KINDS + 1);
        assert_eq!(tally.errors(), 200);
        assert_eq!(tally.error_kinds()["error 0"], 101);
    }
}
