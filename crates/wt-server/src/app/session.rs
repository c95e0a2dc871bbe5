//! One request, from its arrival to the end of its session.

use std::{
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use futures_util::FutureExt;
use wt_core::{Accept, Session, SessionRequest, http::StatusCode};

use super::serving::Shared;
use crate::{
    handler::Ending,
    message::{Response, describe, refuse, start},
};

/// Answers a request and, when it is accepted, serves its session to the end.
pub(super) async fn serve(shared: &Shared, request: SessionRequest) {
    let Some(response) = decide(shared, &request).await else {
        // The client is gone.
        return;
    };
    let (head, outcome) = response.into_parts();
    if !head.status.is_success() {
        if let Err(error) = request.reject_with(head.status, head.headers) {
            tracing::error!(%error, "a refusal cannot be sent as it is; the client gets 500");
        }
        return;
    }
    let (protocol, run) = outcome.into_parts();
    let mut answer = Accept::new().status(head.status).headers(head.headers);
    answer.protocol = protocol;
    let session = match request.accept_with(answer).await {
        Ok(session) => session,
        Err(wt_core::AnswerError::Session(error)) => {
            tracing::debug!(%error, "the client left before it was answered");
            return;
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be sent as it is; the client gets 500");
            return;
        }
    };
    shared.counters.accepted.fetch_add(1, Relaxed);
    let _active = Active::enter(&shared.counters.active);
    // Also a function that panics before it gives its future is caught.
    let serving = session.clone();
    let serving = AssertUnwindSafe(async move { start(run, serving).await });
    let ending = serving.catch_unwind().await;
    let ending = ending.unwrap_or_else(|payload| Ending::panicked(&*payload));
    end(shared, &session, &ending);
}

/// Asks the application; `None` when the client went away meanwhile.
async fn decide(shared: &Shared, request: &SessionRequest) -> Option<Response> {
    let described = match describe(request) {
        Ok(described) => described,
        Err(error) => {
            tracing::debug!(%error, "refused, since its target is no URI");
            return Some(refuse(StatusCode::BAD_REQUEST));
        }
    };
    let connection = request.connection();
    let answer = AssertUnwindSafe(async { shared.route.answer(described).await }).catch_unwind();
    tokio::select! {
        biased;
        _ = connection.closed() => None,
        answer = tokio::time::timeout(shared.answer_timeout, answer) => Some(match answer {
            Ok(Ok(response)) => response,
            Ok(Err(payload)) => {
                let ending = Ending::panicked(&*payload);
                shared.counters.panicked.fetch_add(1, Relaxed);
                tracing::error!(?ending, "refused, since middleware panicked");
                refuse(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(_) => {
                tracing::warn!("refused, since no answer came in time");
                refuse(StatusCode::SERVICE_UNAVAILABLE)
            }
        }),
    }
}

/// Ends a session as its handler wants, and says what went wrong.
fn end(shared: &Shared, session: &Session, ending: &Ending) {
    let over = session.close_reason().is_some();
    match ending {
        Ending::Returned(_) => {}
        // Most handlers learn of the end of their session by an error, and return it.
        Ending::Failed(error) if over => {
            tracing::debug!(%error, "a handler ended with its session");
        }
        Ending::Failed(error) => {
            shared.counters.failed.fetch_add(1, Relaxed);
            tracing::error!(%error, "a handler failed");
        }
        Ending::Panicked(message) => {
            shared.counters.panicked.fetch_add(1, Relaxed);
            tracing::error!(message, "a handler panicked");
        }
    }
    if !over {
        let close = ending.close();
        session.close(close.code, &close.reason);
    }
}

/// Counts one more for as long as it lives.
struct Active<'a>(&'a AtomicU64);

impl<'a> Active<'a> {
    fn enter(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
