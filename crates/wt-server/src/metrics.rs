//! How long handlers run, through the facade of the crate `metrics`.

use std::{sync::Arc, time::Instant};

use metrics::{SharedString, histogram};

use crate::{
    extract::MatchedPath,
    handler::Ending,
    message::{Request, Response},
};

/// The metric; `docs/metrics.md` has all of them.
const DURATION: &str = "wt_handler_duration_seconds";

/// What stands for the route where nothing matched and the fallback answers.
const FALLBACK: &str = "fallback";

/// Measures how long a handler runs and records it as `wt_handler_duration_seconds`, with the route and the outcome.
///
/// An application does it by itself for each session. This is for those that take requests from a
/// [`Server`](crate::Server) by hand. Dropped without [`Self::end`] or [`Self::fail`], the outcome is `panicked` while
/// the thread panics and `dropped` otherwise.
#[derive(Debug)]
#[must_use = "a timer that is dropped at once measures nothing"]
pub struct HandlerTimer {
    route: Arc<str>,
    start: Instant,
    outcome: Option<&'static str>,
}

impl HandlerTimer {
    /// Starts to measure. `route` is the route as it was written, never the path that the client asked for: each route
    /// becomes series of metrics of its own.
    pub fn start(route: impl Into<Arc<str>>) -> Self {
        Self {
            route: route.into(),
            start: Instant::now(),
            outcome: None,
        }
    }

    /// Records that the handler returned.
    pub fn end(mut self) {
        self.outcome = Some("returned");
    }

    /// Records that the handler failed.
    pub fn fail(mut self) {
        self.outcome = Some("failed");
    }
}

impl Drop for HandlerTimer {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(if std::thread::panicking() {
            "panicked"
        } else {
            "dropped"
        });
        let route = SharedString::from_shared(self.route.clone());
        histogram!(DURATION, "route" => route, "outcome" => outcome)
            .record(self.start.elapsed().as_secs_f64());
    }
}

/// Returns the route that was found for a request.
pub(crate) fn route(request: &Request) -> Arc<str> {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or_else(|| FALLBACK.into(), |matched| matched.0.clone())
}

/// Measures what runs when this answer accepts a session.
pub(crate) fn measure(route: Arc<str>, answer: Response) -> Response {
    if !answer.status().is_success() {
        return answer;
    }
    answer.map(|outcome| {
        outcome.wrap(move |session, serving| async move {
            let timer = HandlerTimer::start(route);
            let ending = serving.await;
            match &ending {
                // Most handlers learn of the end of their session by an error, and return it.
                Ending::Failed(_) if session.close_reason().is_none() => timer.fail(),
                _ => timer.end(),
            }
            ending
        })
    })
}
