//! What looks, remembers and judges.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, Weak},
    time::{Duration, SystemTime},
};

use futures_util::{Stream, StreamExt};
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use wt_core::{
    config::ConfigError,
    events::{Emitter, Events, Lagged},
    observe::{Observe, Snapshot, Value},
};

use crate::{
    alert::{Alert, MonitorEvent},
    config::MonitorConfig,
    health::Health,
    judge::{Judge, Verdict},
    lock::lock,
    report::Report,
    sample::Sample,
    window::{Summary, Trend, Window},
};

/// Watches one thing.
///
/// A cheap handle: clones are the same monitor. It holds what it watches, and a handle that closes something when the
/// last of its clones is dropped does not do so before the monitor is gone. When the last handle of a monitor is
/// dropped, its task ends, and so do the streams of those who listen.
///
/// Samples are taken by themselves between [`Self::start`] and [`Self::stop`], and by [`Self::sample`] at any time.
#[derive(Clone)]
#[doc(alias = "_BaseMonitor")]
pub struct Monitor(Arc<Shared>);

struct Shared {
    observed: Box<dyn Observe>,
    config: MonitorConfig,
    kind: &'static str,
    events: Emitter<MonitorEvent>,
    /// Taken for a whole sample, so that samples and the events that come of them have one order.
    sampling: Mutex<Before>,
    /// Taken for a moment: by readers, and once a sample has been taken.
    seen: Mutex<Seen>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the next sample is compared with.
struct Before {
    at: Instant,
    values: Vec<(&'static str, Value)>,
    next: u64,
}

struct Seen {
    id: String,
    samples: VecDeque<Arc<Sample>>,
    judges: Vec<Judge>,
    alerts: VecDeque<Alert>,
    next_alert: u64,
    health: Health,
}

/// Samples cannot be taken by themselves: there is no tokio runtime here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a monitor starts within a tokio runtime only")]
pub struct NoRuntime;

impl Monitor {
    /// Makes a monitor that has not started.
    ///
    /// It looks once, for the figures that the first sample is compared with.
    ///
    /// # Errors
    ///
    /// When the configuration cannot work.
    pub fn new(
        observed: impl Observe + 'static,
        config: MonitorConfig,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let first = observed.observe();
        Ok(Self::with_first(Box::new(observed), config, first))
    }

    pub(crate) fn with_first(
        observed: Box<dyn Observe>,
        config: MonitorConfig,
        first: Snapshot,
    ) -> Self {
        let mut values: Vec<_> = first.metrics.iter().map(|m| (m.name, m.value)).collect();
        values.truncate(config.series);
        let seen = Seen {
            id: first.id,
            samples: VecDeque::new(),
            judges: config.rules.iter().cloned().map(Judge::new).collect(),
            alerts: VecDeque::new(),
            next_alert: 0,
            health: Health::default(),
        };
        Self(Arc::new(Shared {
            observed,
            config,
            kind: first.kind,
            events: Emitter::new(),
            sampling: Mutex::new(Before {
                at: Instant::now(),
                values,
                next: 0,
            }),
            seen: Mutex::new(seen),
            task: Mutex::default(),
        }))
    }

    /// Returns the configuration.
    #[must_use]
    pub fn config(&self) -> &MonitorConfig {
        &self.0.config
    }

    // ---- taking samples

    /// Takes samples by itself from now on: the first at once, then one at each interval.
    ///
    /// It ends by [`Self::stop`], with the last handle, and behind the sample in which what is watched is over. Does
    /// nothing while samples are being taken.
    ///
    /// # Errors
    ///
    /// [`NoRuntime`].
    #[doc(alias = "__aenter__")]
    pub fn start(&self) -> Result<(), NoRuntime> {
        let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
        let mut task = lock(&self.0.task);
        if !is_running(task.as_ref()) {
            let samples = take_samples(Arc::downgrade(&self.0), self.0.config.interval);
            *task = Some(runtime.spawn(samples));
        }
        Ok(())
    }

    /// Takes no more samples by itself, and waits until none is being taken. What was seen stays.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: once the future was polled, no further sample begins.
    #[doc(alias = "__aexit__")]
    pub async fn stop(&self) {
        let task = lock(&self.0.task).take();
        if let Some(task) = task {
            task.abort();
            // An error says that it was ended, which is what was asked for.
            let _ = task.await;
        }
    }

    /// Returns whether samples are taken by themselves.
    ///
    /// After [`Self::start`], `false` says that what is watched is over, or has panicked when it was asked.
    #[must_use]
    pub fn is_monitoring(&self) -> bool {
        is_running(lock(&self.0.task).as_ref())
    }

    /// Takes a sample now, judges it, and tells those who listen.
    pub fn sample(&self) -> Arc<Sample> {
        self.0.sample()
    }

    // ---- what was seen

    /// Returns the newest sample; `None` before the first one.
    #[doc(alias = "get_current_metrics")]
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Sample>> {
        lock(&self.0.seen).samples.back().cloned()
    }

    /// Returns the newest `limit` samples, the oldest of them first; for 0, none.
    #[doc(alias = "get_metrics_history")]
    #[doc(alias = "get_samples")]
    #[must_use]
    pub fn history(&self, limit: usize) -> Vec<Arc<Sample>> {
        newest(&lock(&self.0.seen).samples, limit)
    }

    /// Returns the newest `limit` alerts, the oldest of them first; for 0, none. Those that are active are among them
    /// unless newer ones have pushed them out.
    #[doc(alias = "get_alerts")]
    #[must_use]
    pub fn alerts(&self, limit: usize) -> Vec<Alert> {
        newest(&lock(&self.0.seen).alerts, limit)
    }

    /// Returns the alerts that are active, in the order of the rules.
    #[must_use]
    pub fn active(&self) -> Vec<Alert> {
        lock(&self.0.seen).active()
    }

    /// Returns how what is watched does, by the newest sample.
    #[doc(alias = "get_health_status")]
    #[must_use]
    pub fn health(&self) -> Health {
        lock(&self.0.seen).health.clone()
    }

    /// Returns one figure over the window; `None` where there are no values of it.
    #[must_use]
    pub fn summary(&self, figure: &str) -> Option<Summary> {
        self.0.window().summary(figure)
    }

    /// Returns the increase of a counter per second over the window.
    #[must_use]
    pub fn rate(&self, counter: &str) -> Option<f64> {
        self.0.window().rate(counter)
    }

    /// Returns what `measure` comes to over the window.
    #[must_use]
    pub fn measure(&self, measure: &crate::Measure) -> Option<f64> {
        self.0.window().measure(measure)
    }

    /// Returns which way `measure` goes from sample to sample: the newer half of the window beside the older one.
    /// Stable while there are fewer samples than the window holds.
    #[must_use]
    pub fn trend(&self, measure: &crate::Measure) -> Trend {
        self.0.window().trend(measure)
    }

    /// Returns all that is known now, for pages, exporters and logs.
    #[doc(alias = "get_metrics_summary")]
    #[must_use]
    pub fn report(&self) -> Report {
        let monitoring = self.is_monitoring();
        let seen = lock(&self.0.seen);
        let window = Recent::of(&seen.samples, self.0.config.window);
        let report = Report {
            kind: self.0.kind,
            id: seen.id.clone(),
            at: SystemTime::now(),
            monitoring,
            health: seen.health.clone(),
            sample: seen.samples.back().cloned(),
            window: Vec::new(),
            active: seen.active(),
            alerts: seen.alerts.iter().cloned().collect(),
        };
        drop(seen);
        Report {
            window: window.summaries(),
            ..report
        }
    }

    /// Forgets samples and alerts; the health is unknown up to the next sample. Alerts that are active stay so, and the
    /// next sample is compared with the last one all the same.
    pub fn clear_history(&self) {
        let mut seen = lock(&self.0.seen);
        seen.samples.clear();
        seen.alerts.clear();
        seen.health = Health::default();
    }

    // ---- listening

    /// Listens to samples, alerts and changes of the health from now on, up to the end of the monitor.
    ///
    /// A listener that is more than [`CAPACITY`](wt_core::events::CAPACITY) events behind loses the oldest, and is told
    /// how many.
    pub fn subscribe(&self) -> Events<MonitorEvent> {
        self.0.events.subscribe()
    }

    /// Listens to alerts alone: each comes when it is raised, and with [`cleared`](Alert::cleared) once more when it
    /// clears. A stream, up to the end of the monitor; see [`Self::subscribe`] for those who are slow.
    pub fn subscribe_alerts(
        &self,
    ) -> impl Stream<Item = Result<Alert, Lagged>> + Send + Unpin + use<> {
        Box::pin(self.subscribe().filter_map(async |event| match event {
            Ok(event) => event.alert().cloned().map(Ok),
            Err(lagged) => Some(Err(lagged)),
        }))
    }
}

fn is_running(task: Option<&JoinHandle<()>>) -> bool {
    task.is_some_and(|task| !task.is_finished())
}

fn newest<T: Clone>(all: &VecDeque<T>, limit: usize) -> Vec<T> {
    let skipped = all.len().saturating_sub(limit);
    all.iter().skip(skipped).cloned().collect()
}

async fn take_samples(monitor: Weak<Shared>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(monitor) = monitor.upgrade() else {
            return;
        };
        if monitor.sample().state.is_over() {
            return;
        }
    }
}

impl Shared {
    fn sample(&self) -> Arc<Sample> {
        let mut before = lock(&self.sampling);
        let snapshot = self.observed.observe();
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(before.at);
        let sample = Sample::new(
            before.next,
            snapshot,
            &before.values,
            elapsed,
            self.config.series,
        );
        let sample = Arc::new(sample);
        *before = Before {
            at: now,
            values: sample.values(),
            next: before.next + 1,
        };
        let events = lock(&self.seen).add(&sample, &self.config);
        self.events
            .emit_with(|| MonitorEvent::Sampled(sample.clone()));
        for event in events {
            tell(self.kind, &sample.id, &event);
            self.events.emit(event);
        }
        sample
    }

    fn window(&self) -> Recent {
        Recent::of(&lock(&self.seen).samples, self.config.window)
    }
}

/// Writes what people should see to the log.
fn tell(kind: &str, id: &str, event: &MonitorEvent) {
    match event {
        MonitorEvent::AlertRaised(alert) => tracing::warn!(kind, id, %alert, "alert raised"),
        MonitorEvent::AlertCleared(alert) => tracing::info!(kind, id, %alert, "alert cleared"),
        MonitorEvent::HealthChanged { to, .. } => tracing::debug!(kind, id, health = %to),
        MonitorEvent::Sampled(_) => {}
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Seen {
    fn active(&self) -> Vec<Alert> {
        let judges = self.judges.iter();
        judges.filter_map(|judge| judge.active.clone()).collect()
    }

    /// Remembers and judges a sample, and returns what that has changed.
    fn add(&mut self, sample: &Arc<Sample>, config: &MonitorConfig) -> Vec<MonitorEvent> {
        while self.samples.len() >= config.history {
            self.samples.pop_front();
        }
        self.samples.push_back(sample.clone());
        self.id.clone_from(&sample.id);
        let samples = &*self.samples.make_contiguous();
        let mut events = Vec::new();
        for judge in &mut self.judges {
            let window = Window::new(samples, judge.samples().unwrap_or(config.window));
            match judge.judge(window, sample.at, self.next_alert) {
                None => {}
                Some(Verdict::Raised(alert)) => {
                    self.next_alert += 1;
                    while self.alerts.len() >= config.alerts {
                        self.alerts.pop_front();
                    }
                    self.alerts.push_back(alert.clone());
                    events.push(MonitorEvent::AlertRaised(alert));
                }
                Some(Verdict::Updated(alert)) => replace(&mut self.alerts, alert),
                Some(Verdict::Cleared(alert)) => {
                    replace(&mut self.alerts, alert.clone());
                    events.push(MonitorEvent::AlertCleared(alert));
                }
            }
        }
        let to = Health::of(sample, &self.active());
        let from = std::mem::replace(&mut self.health, to.clone());
        if from.status != to.status {
            events.push(MonitorEvent::HealthChanged { from, to });
        }
        events
    }
}

fn replace(alerts: &mut VecDeque<Alert>, new: Alert) {
    let old = alerts.iter_mut().rev().find(|old| old.id == new.id);
    if let Some(old) = old {
        *old = new;
    }
}

/// The samples of a window, so that the lock is not held while they are measured.
struct Recent {
    samples: Vec<Arc<Sample>>,
    size: usize,
}

impl Recent {
    fn of(samples: &VecDeque<Arc<Sample>>, size: usize) -> Self {
        let samples = newest(samples, size);
        Self { samples, size }
    }

    fn window(&self) -> Window<'_> {
        Window::new(&self.samples, self.size)
    }

    fn summary(&self, figure: &str) -> Option<Summary> {
        self.window().summary(figure)
    }

    fn summaries(&self) -> Vec<Summary> {
        self.window().summaries()
    }

    fn rate(&self, counter: &str) -> Option<f64> {
        self.window().rate(counter)
    }

    fn measure(&self, measure: &crate::Measure) -> Option<f64> {
        self.window().measure(measure)
    }

    fn trend(&self, measure: &crate::Measure) -> Trend {
        self.window().trend(measure).0
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = lock(&self.0.seen);
        f.debug_struct("Monitor")
            .field("kind", &self.0.kind)
            .field("id", &seen.id)
            .field("health", &seen.health.status)
            .field("samples", &seen.samples.len())
            .field("alerts", &seen.alerts.len())
            .finish_non_exhaustive()
    }
}
