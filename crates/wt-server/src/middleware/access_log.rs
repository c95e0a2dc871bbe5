//! A line in the log for each session.

use std::{mem, net::SocketAddr, task::Poll, time::Instant};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;
use wt_core::{Initiator, Session, SessionError};

use crate::{
    handler::Ending,
    message::{Request, Response},
};

/// Logs each session by `tracing`, at level INFO with the target `wt_server::access`.
///
/// A refusal is logged when it is made, with its status; a session when it is over, with its
/// duration in seconds, its close code and who closed it. The query is not logged: it may carry
/// secrets. [`AppConfig::access_log`](crate::AppConfig::access_log) adds it to an application.
#[derive(Clone, Copy, Debug, Default)]
#[doc(alias = "create_logging_middleware")]
pub struct AccessLog(());

impl AccessLog {
    /// Creates one.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl<I> Layer<I> for AccessLog {
    type Service = AccessLogService<I>;

    fn layer(&self, inner: I) -> Self::Service {
        AccessLogService(inner)
    }
}

/// A service whose sessions are logged; see [`AccessLog`].
#[derive(Clone, Debug)]
pub struct AccessLogService<I>(I);

impl<I> Service<Request> for AccessLogService<I>
where
    I: Service<Request, Response = Response> + Clone + Send + 'static,
    I::Future: Send,
{
    type Response = Response;
    type Error = I::Error;
    type Future = BoxFuture<'static, Result<Response, I::Error>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), I::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let path = request.uri().path().escape_debug().to_string();
        let peer = request.body().remote_address();
        let start = Instant::now();
        let fresh = self.0.clone();
        let answer = mem::replace(&mut self.0, fresh).call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = answer.status().as_u16();
            if !answer.status().is_success() {
                let took = start.elapsed().as_secs_f64();
                tracing::info!(target: "wt_server::access", %peer, path, status, took, "refused");
                return Ok(answer);
            }
            Ok(answer.map(|outcome| {
                outcome.wrap(move |session, serving| async move {
                    let mut entry = Entry {
                        path,
                        peer,
                        status,
                        start,
                        session,
                        ending: None,
                    };
                    let ending = serving.await;
                    entry.ending = Some(ending.clone());
                    ending
                })
            }))
        })
    }
}

/// Written when it is dropped, so also for a handler that panics or is dropped itself.
struct Entry {
    path: String,
    peer: SocketAddr,
    status: u16,
    start: Instant,
    session: Session,
    ending: Option<Ending>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Self {
            path, peer, status, ..
        } = self;
        let took = self.start.elapsed().as_secs_f64();
        // When the peer was not first, the session is closed as the handler says right after this.
        let (code, by) = match (self.session.close_reason(), &self.ending) {
            (Some(end), _) => (end.code(), by(&end)),
            (None, Some(ending)) => (Some(ending.close().code), "server"),
            (None, None) => (None, "server"),
        };
        tracing::info!(target: "wt_server::access", %peer, path, status, took, code, by, "closed");
    }
}

fn by(end: &SessionError) -> &'static str {
    match end {
        SessionError::Closed { by, .. } if *by == Initiator::Local => "server",
        SessionError::Closed { .. } | SessionError::Aborted(_) => "client",
        SessionError::Violation(_) => "violation",
        _ => "connection",
    }
}
