//! Requests at which handlers are at work.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;

use super::{
    error::{RpcError, RpcErrorCode},
    message::RawRequest,
    methods::{Method, Running},
    shared::{Answer, Shared},
};

/// A handler that took no longer runs where its request was read; another one has a task.
const QUICK: Duration = Duration::from_micros(50);

/// A request that is being served: becomes the answer, with errors in the words of PyWebTransport.
///
/// It may begin in one task and go on in another.
pub(super) struct Serving {
    shared: Arc<Shared>,
    name: String,
    method: Option<Arc<Method>>,
    notification: bool,
    /// The parameters, until the handler begins.
    params: Option<Bytes>,
    running: Option<Running>,
}

impl Serving {
    pub(super) fn new(shared: &Arc<Shared>, request: RawRequest) -> Self {
        let RawRequest { id, method, params } = request;
        Self {
            shared: shared.clone(),
            method: shared.methods.get(&method).cloned(),
            name: method,
            notification: id.is_none(),
            params: Some(params),
            running: None,
        }
    }

    /// Returns whether the handler is expected to be done at once.
    pub(super) fn is_quick(&self) -> bool {
        self.method.as_ref().is_none_or(|method| method.is_quick())
    }

    /// Has the handler begin here, and returns the answer if there is one at once.
    pub(super) fn begin(&mut self) -> Option<Answer> {
        self.now_or_never()
    }
}

impl Future for Serving {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = &mut *self;
        let Some(method) = &this.method else {
            let words = format!("Method '{}' not found.", this.name);
            let error = RpcError::new(RpcErrorCode::METHOD_NOT_FOUND, words);
            return Poll::Ready(this.answer(Err(error)));
        };
        let (shared, notification, running) = (&this.shared, this.notification, &mut this.running);
        let params = this.params.take();
        let begun = params.is_some().then(Instant::now);
        let work = AssertUnwindSafe(|| {
            if let Some(params) = params {
                *running = Some(method.call(shared, notification, params)?);
            }
            running
                .as_mut()
                .map_or(Poll::Pending, |running| running.as_mut().poll(cx))
        });
        let polled = catch_unwind(work).unwrap_or_else(|_| {
            tracing::error!(method = this.name, "a handler panicked");
            let error = RpcError::new(RpcErrorCode::INTERNAL_ERROR, "the handler panicked");
            Poll::Ready(Err(error))
        });
        if let Some(begun) = begun {
            let quick = polled.is_ready() && begun.elapsed() < QUICK;
            method.set_quick(quick);
            this.shared.set_quick(quick);
        }
        let outcome = ready!(polled).map_err(|mut error| {
            if error.code == RpcErrorCode::INTERNAL_ERROR {
                error.message = format!("Error executing '{}': {}", this.name, error.message);
            }
            error
        });
        Poll::Ready(this.answer(outcome))
    }
}

impl Serving {
    fn answer(&self, outcome: Answer) -> Answer {
        let outcome = outcome.map_err(|error| self.shared.sign(error));
        if self.notification
            && let Err(error) = &outcome
        {
            tracing::debug!(method = self.name, %error, "a notification failed");
        }
        outcome
    }
}
