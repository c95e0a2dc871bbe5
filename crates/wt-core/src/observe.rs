//! What a monitor needs to know of the things it watches.
//!
//! Whatever has figures implements [`Observe`]: endpoints, connections and sessions do, the layers above do for their
//! clients, servers and transports. A monitor takes a [`Snapshot`] now and then, compares it with the one before and
//! applies its rules. So monitors need no layer but this one, and whoever can be watched need not know the monitor.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_core::Stream;

/// Something that can be watched.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use wt_core::observe::{Observe, Snapshot, State};
///
/// struct Cache {
///     since: Instant,
///     hits: u64,
///     entries: usize,
/// }
///
/// impl Observe for Cache {
///     fn observe(&self) -> Snapshot {
///         Snapshot::new("cache", "of-pages", State::Active)
///             .with_uptime(self.since.elapsed())
///             .with_counter("hits", self.hits)
///             .with_gauge("entries", self.entries as f64)
///     }
/// }
///
/// let cache = Cache { since: Instant::now(), hits: 3, entries: 2 };
/// let snapshot = cache.observe();
/// assert_eq!(snapshot.counter("hits"), Some(3));
/// assert_eq!(snapshot.get("entries"), Some(2.0));
/// ```
pub trait Observe: Send + Sync {
    /// Returns its state and its figures at this moment.
    ///
    /// Called every few seconds: it should be quick, and it does not wait.
    fn observe(&self) -> Snapshot;
}

impl<T: Observe + ?Sized> Observe for &T {
    fn observe(&self) -> Snapshot {
        (**self).observe()
    }
}

impl<T: Observe + ?Sized> Observe for Arc<T> {
    fn observe(&self) -> Snapshot {
        (**self).observe()
    }
}

impl<T: Observe + ?Sized> Observe for Box<T> {
    fn observe(&self) -> Snapshot {
        (**self).observe()
    }
}

/// Makes something that can be watched out of a function.
pub fn from_fn<F: Fn() -> Snapshot + Send + Sync>(observe: F) -> impl Observe {
    struct FromFn<F>(F);

    impl<F: Fn() -> Snapshot + Send + Sync> Observe for FromFn<F> {
        fn observe(&self) -> Snapshot {
            (self.0)()
        }
    }

    FromFn(observe)
}

/// Looks at `observed` now and at each `interval`, until it is over; the snapshot that says so is the last item.
///
/// Nothing happens while nobody takes the next item.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use futures_util::StreamExt;
/// use wt_core::{Session, observe};
///
/// async fn watch(session: Session) {
///     let mut snapshots = observe::every(session, Duration::from_secs(60));
///     while let Some(snapshot) = snapshots.next().await {
///         println!("{snapshot}");
///     }
/// }
/// ```
#[doc(alias = "monitor_health")]
pub fn every(
    observed: impl Observe,
    interval: Duration,
) -> impl Stream<Item = Snapshot> + Send + Unpin {
    Box::pin(futures_util::stream::unfold(
        (Some(observed), Duration::ZERO),
        move |(observed, wait)| async move {
            let observed = observed?;
            tokio::time::sleep(wait).await;
            let snapshot = observed.observe();
            let next = (!snapshot.state.is_over()).then_some(observed);
            Some((snapshot, (next, interval)))
        },
    ))
}

/// How something that is watched stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not in use yet, or not any more; may be used.
    #[default]
    Idle,
    /// About to be of use.
    Starting,
    /// In use.
    Active,
    /// In use for what it carries, and takes nothing new.
    Draining,
    /// About to end.
    Closing,
    /// Over, in order.
    Closed,
    /// Over, by an error.
    Failed,
}

impl State {
    /// Returns the name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }

    /// Returns whether it does what it is for, or could at once.
    #[must_use]
    pub const fn is_serving(self) -> bool {
        matches!(self, Self::Idle | Self::Active | Self::Draining)
    }

    /// Returns whether it is over.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Counts since the beginning and never goes down: a rate is the difference of two, over the time between.
    Counter(u64),
    /// A figure of this moment, which goes up and down.
    Gauge(f64),
}

impl Value {
    /// Returns the figure, whichever it is.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Counter(count) => count as f64,
            Self::Gauge(figure) => figure,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(count) => fmt::Display::fmt(count, f),
            Self::Gauge(figure) => fmt::Display::fmt(figure, f),
        }
    }
}

/// A figure and its name.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// In snake case, with the unit at its end where it is not a number of things: `rtt_seconds`, `sent_bytes`.
    pub name: &'static str,
    /// The figure.
    pub value: Value,
}

/// How often a figure was in which range, of many things at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// As of a [`Metric`]: `rtt_seconds`.
    pub name: &'static str,
    /// The largest figure of each range, ascending; one more range has what is above the last.
    pub bounds: &'static [f64],
    /// How many were in each range: one more than there are bounds.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Ranges for times from 50 µs to 10 s, in seconds, each about twice as wide as the one before.
    pub const SECONDS: &'static [f64] = &[
        0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
        1.0, 2.0, 5.0, 10.0,
    ];

    /// Makes an empty one.
    #[must_use]
    pub fn new(name: &'static str, bounds: &'static [f64]) -> Self {
        Self {
            name,
            bounds,
            counts: vec![0; bounds.len() + 1],
        }
    }

    /// Counts a figure.
    ///
    /// ```
    /// use wt_core::observe::Histogram;
    ///
    /// let mut times = Histogram::new("rtt_seconds", &[0.001, 0.01]);
    /// for seconds in [0.0005, 0.001, 0.002, 7.0] {
    ///     times.record(seconds);
    /// }
    /// assert_eq!(times.counts, [2, 1, 1]);
    /// assert_eq!(times.total(), 4);
    /// ```
    pub fn record(&mut self, figure: f64) {
        let range = self.bounds.partition_point(|bound| *bound < figure);
        if let Some(count) = self.counts.get_mut(range) {
            *count += 1;
        }
    }

    /// Returns how many figures were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Something at one moment, as a monitor sees it.
///
/// `Display` says in one line what it is, how it stands and what is wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// What it is, such as `endpoint`, `connection`, `session`.
    pub kind: &'static str,
    /// Which one it is.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// When this was so.
    #[doc(alias = "timestamp")]
    pub at: SystemTime,
    /// How long it has existed.
    pub uptime: Duration,
    /// Its figures, each name once.
    pub metrics: Vec<Metric>,
    /// How figures of its parts are distributed.
    pub histograms: Vec<Histogram>,
    /// What looks wrong by its own standards, in words.
    pub issues: Vec<String>,
}

impl Snapshot {
    /// Makes a snapshot of now without figures.
    #[must_use]
    pub fn new(kind: &'static str, id: impl Into<String>, state: State) -> Self {
        Self {
            kind,
            id: id.into(),
            state,
            at: SystemTime::now(),
            uptime: Duration::ZERO,
            metrics: Vec::new(),
            histograms: Vec::new(),
            issues: Vec::new(),
        }
    }

    /// Sets how long it has existed.
    #[must_use]
    pub const fn with_uptime(mut self, uptime: Duration) -> Self {
        self.uptime = uptime;
        self
    }

    /// Adds a counter.
    #[must_use]
    pub fn with_counter(self, name: &'static str, count: u64) -> Self {
        self.with(name, Value::Counter(count))
    }

    /// Adds a gauge.
    #[must_use]
    pub fn with_gauge(self, name: &'static str, figure: f64) -> Self {
        self.with(name, Value::Gauge(figure))
    }

    /// Adds a duration as a gauge in seconds; its name should end with `_seconds`.
    #[must_use]
    pub fn with_seconds(self, name: &'static str, time: Duration) -> Self {
        self.with_gauge(name, time.as_secs_f64())
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.metrics.push(Metric { name, value });
        self
    }

    /// Adds how figures of its parts are distributed.
    #[must_use]
    pub fn with_histogram(mut self, histogram: Histogram) -> Self {
        self.histograms.push(histogram);
        self
    }

    /// Adds what looks wrong.
    #[must_use]
    pub fn with_issues(mut self, issues: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let words = issues.into_iter().map(|issue| issue.to_string());
        self.issues.extend(words);
        self
    }

    /// Returns the figure of that name, whichever it is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.value(name).map(Value::as_f64)
    }

    /// Returns the counter of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Counter(count) => Some(count),
            Value::Gauge(_) => None,
        }
    }

    fn value(&self, name: &str) -> Option<Value> {
        let metric = self.metrics.iter().find(|metric| metric.name == name)?;
        Some(metric.value)
    }

    /// Returns names and values of all figures, for logs and export.
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let figures = self.metrics.iter();
        figures.map(|metric| (metric.name, metric.value.to_string()))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            id,
            state,
            uptime,
            ..
        } = self;
        let uptime = uptime.as_secs_f64();
        write!(f, "{kind} {id}: {state}, up {uptime:.1} s")?;
        self.issues
            .iter()
            .try_for_each(|issue| write!(f, "; {issue}"))
    }
}
