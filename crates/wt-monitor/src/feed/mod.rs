//! What a monitor sees, sent to those who watch from elsewhere: a page, a terminal.
//!
//! A [`Feed`] is served on a WebTransport session, mostly on a route of a server application, where middleware decides
//! who may see it. The server opens one unidirectional stream and writes [`Line`]s of JSON to it: what is watched, the
//! history, and then each new sample. Whoever reads slowly gets fewer of them: nothing queues up.
//!
//! ```no_run
//! use wt_core::Session;
//! use wt_monitor::feed::{Feed, FeedConfig};
//!
//! # struct App;
//! # impl App { fn route<F, Fut>(self, _: &str, _: F) -> Self where F: Fn(Session) -> Fut { self } }
//! # fn app() -> App { App }
//! let feed = Feed::new(FeedConfig::default());
//! let watched = feed.clone();
//! let app = app().route("/monitor", move |session: Session| {
//!     let feed = watched.clone();
//!     async move { feed.serve(session).await }
//! });
//! // Once the application runs, and there is a monitor: `feed.attach(&monitor)`.
//! ```

mod line;
mod token;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use tokio::{sync::Semaphore, time::timeout};
use wt_core::{
    ConnectionError, SendStream, Session, SessionError, WriteError,
    observe::{Histogram, Value},
};

pub use self::{
    line::{AlertLine, HealthLine, Hello, Line, Reading, RoundTrips},
    token::{Token, TokenError},
};
use crate::{Alert, Monitor, Sample, lock::lock};

/// Limits of a [`Feed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedConfig {
    /// Watchers at a time; the session of a further one is closed with [`Feed::FULL`]. Default: 16.
    pub max_watchers: usize,
    /// The most samples of the past that a watcher gets at first. Default: 120.
    pub history: usize,
    /// The newest alerts that come with each sample, at most. Default: 50.
    pub alerts: usize,
    /// How long a watcher may take to read what it was sent; then its session is closed with [`Feed::STALLED`], so that
    /// it keeps no place. Default: 60 s.
    pub patience: Duration,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            max_watchers: 16,
            history: 120,
            alerts: 50,
            patience: Duration::from_secs(60),
        }
    }
}

impl FeedConfig {
    /// Sets how many watchers there may be at a time.
    #[must_use]
    pub const fn with_max_watchers(mut self, max: usize) -> Self {
        self.max_watchers = max;
        self
    }

    /// Sets how many samples of the past a watcher gets at most.
    #[must_use]
    pub const fn with_history(mut self, samples: usize) -> Self {
        self.history = samples;
        self
    }

    /// Sets how many alerts come with each sample at most.
    #[must_use]
    pub const fn with_alerts(mut self, alerts: usize) -> Self {
        self.alerts = alerts;
        self
    }

    /// Sets how long a watcher may take to read what it was sent.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Why a watcher gets nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// There are as many watchers as there may be.
    #[error("{0} watchers are here already, and no more may be")]
    Full(usize),
    /// It did not read what it was sent.
    #[error("the watcher has read nothing for {0:?}")]
    Stalled(Duration),
    /// The session is over, for another reason than that the watcher closed it.
    #[error("the session of the watcher is over")]
    Session(#[source] SessionError),
    /// The stream cannot be written to.
    #[error("the stream of the feed is broken")]
    Write(#[source] WriteError),
}

/// Sends what a [`Monitor`] sees to those who watch.
///
/// A cheap handle: clones are the same feed. It can be made before the monitor is, which often needs a server that runs:
/// watchers who come before [`Self::attach`] wait.
#[derive(Clone, Debug)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: FeedConfig,
    places: Semaphore,
    monitor: Mutex<Option<Monitor>>,
    attached: tokio::sync::Notify,
}

impl Feed {
    /// The code with which the session of a watcher too many is closed.
    pub const FULL: u32 = 1;
    /// The code with which the session of a watcher is closed that does not read.
    pub const STALLED: u32 = 2;

    /// Makes a feed without a monitor.
    #[must_use]
    pub fn new(config: FeedConfig) -> Self {
        Self(Arc::new(Shared {
            places: Semaphore::new(config.max_watchers.min(Semaphore::MAX_PERMITS)),
            config,
            monitor: Mutex::default(),
            attached: tokio::sync::Notify::new(),
        }))
    }

    /// Sends what this monitor sees from now on to watchers that come, and to those who wait.
    ///
    /// The feed holds the monitor until it is dropped or has another one, and watchers hold theirs: who watched the one
    /// before goes on to do so.
    pub fn attach(&self, monitor: &Monitor) {
        *lock(&self.0.monitor) = Some(monitor.clone());
        self.0.attached.notify_waiters();
    }

    /// Lets go of the monitor: watchers that come wait for another one.
    pub fn detach(&self) {
        *lock(&self.0.monitor) = None;
    }

    /// Returns how many watchers there are.
    #[must_use]
    pub fn watchers(&self) -> usize {
        let places = self.0.config.max_watchers.min(Semaphore::MAX_PERMITS);
        places.saturating_sub(self.0.places.available_permits())
    }

    /// Sends lines on a session until it is over or is to finish, or the monitor has ended; then the stream is finished.
    ///
    /// # Errors
    ///
    /// [`FeedError`]. That the watcher leaves is none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the stream is reset; the session stays open.
    pub async fn serve(&self, session: Session) -> Result<(), FeedError> {
        let Ok(_place) = self.0.places.try_acquire() else {
            session.close(Self::FULL, "there are as many watchers as there may be");
            return Err(FeedError::Full(self.0.config.max_watchers));
        };
        let result = tokio::select! {
            result = self.send(&session) => result,
            // Watchers do not hold up a server that is about to stop.
            asked = session.draining() => asked.map_err(FeedError::Session),
        };
        match result {
            Err(FeedError::Stalled(_)) => {
                session.close(Self::STALLED, "nothing was read for too long");
                result
            }
            Err(FeedError::Session(end)) if has_left(&end) => Ok(()),
            // Writing fails first where the session is over.
            Err(FeedError::Write(WriteError::Session(end))) if has_left(&end) => Ok(()),
            Err(FeedError::Write(WriteError::Stopped(_))) => Ok(()),
            result => result,
        }
    }

    async fn monitor(&self) -> Monitor {
        loop {
            let attached = self.0.attached.notified();
            if let Some(monitor) = lock(&self.0.monitor).clone() {
                return monitor;
            }
            attached.await;
        }
    }

    async fn send(&self, session: &Session) -> Result<(), FeedError> {
        let monitor = self.monitor().await;
        let FeedConfig {
            history, alerts, ..
        } = self.0.config;
        // Before the history is asked for: nothing falls between both.
        let mut events = monitor.subscribe();
        let past = monitor.history(history);
        let mut stream = session.open_uni().await.map_err(FeedError::Session)?;
        let report = monitor.report();
        let hello = Line::Hello(Hello {
            kind: report.kind.to_owned(),
            id: report.id,
            interval_ms: millis(monitor.config().interval),
            history: past.len(),
        });
        self.write(&mut stream, &hello).await?;
        let mut told = None;
        for (index, sample) in past.iter().enumerate() {
            let reading = match index + 1 == past.len() {
                true => newest(&monitor, sample, alerts),
                false => reading(sample),
            };
            self.write(&mut stream, &Line::Reading(Box::new(reading)))
                .await?;
            told = Some(sample.sequence);
        }
        drop(past);
        // An event says no more than that there may be something new, so that what was missed is skipped.
        while events.next().await.is_some() {
            let Some(sample) = monitor.latest() else {
                continue;
            };
            if told.is_none_or(|told| sample.sequence > told) {
                told = Some(sample.sequence);
                let line = Line::Reading(Box::new(newest(&monitor, &sample, alerts)));
                self.write(&mut stream, &line).await?;
            }
        }
        // It fails when nobody is there any more.
        let _ = stream.finish();
        let _ = timeout(self.0.config.patience, stream.closed()).await;
        Ok(())
    }

    async fn write(&self, stream: &mut SendStream, line: &Line) -> Result<(), FeedError> {
        let bytes = match line.to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "a line of a feed cannot be written");
                return Ok(());
            }
        };
        let patience = self.0.config.patience;
        match timeout(patience, stream.write_all(&bytes)).await {
            Ok(written) => written.map_err(FeedError::Write),
            Err(_) => Err(FeedError::Stalled(patience)),
        }
    }
}

/// Whether the watcher ended the session, or its connection ended in order.
fn has_left(end: &SessionError) -> bool {
    match end {
        SessionError::Connection(error) => {
            error.is_graceful() || matches!(error, ConnectionError::TimedOut)
        }
        end => end.is_closed_by_peer() || end.is_closed_locally(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn since_1970(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A sample of the past.
fn reading(sample: &Sample) -> Reading {
    let mut reading = Reading {
        sequence: sample.sequence,
        at_ms: since_1970(sample.at),
        state: sample.state.name().to_owned(),
        uptime_seconds: sample.uptime.as_secs_f64(),
        ..Reading::default()
    };
    for figure in &sample.figures {
        let name = || figure.name.to_owned();
        match figure.value {
            Value::Counter(count) => {
                reading.counters.insert(name(), count);
            }
            // JSON has no others.
            value if value.as_f64().is_finite() => {
                reading.gauges.insert(name(), value.as_f64());
            }
            _ => {}
        }
        if let Some(rate) = figure.rate.filter(|rate| rate.is_finite()) {
            reading.rates.insert(name(), rate);
        }
    }
    reading
}

/// The newest sample, with all that goes with it.
fn newest(monitor: &Monitor, sample: &Sample, alerts: usize) -> Reading {
    let health = monitor.health();
    let mut histograms = sample.histograms.iter();
    Reading {
        rtt: histograms
            .find(|one| one.name == "rtt_seconds")
            .map(round_trips),
        health: Some(HealthLine {
            status: health.status.name().to_owned(),
            reason: health.reasons.join("; "),
        }),
        alerts: monitor.alerts(alerts).iter().map(alert).collect(),
        ..reading(sample)
    }
}

fn round_trips(histogram: &Histogram) -> RoundTrips {
    // To three digits, as the bounds are meant.
    let millis = |seconds: &f64| (seconds * 1e6).round() / 1e3;
    RoundTrips {
        bounds_ms: histogram.bounds.iter().map(millis).collect(),
        counts: histogram.counts.clone(),
    }
}

fn alert(alert: &Alert) -> AlertLine {
    AlertLine {
        at_ms: since_1970(alert.since),
        severity: alert.severity.name().to_owned(),
        message: alert.message.clone(),
        cleared: !alert.is_active(),
    }
}
