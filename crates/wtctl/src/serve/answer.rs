//! Accepting and refusing sessions.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use wt::{Accept, SessionRequest, server::HandlerTimer};

use super::{
    dashboard::{self, Watch},
    headers,
    route::{NoRoute, Route},
    session,
};
use crate::{reach::canonical, stop::Stop};

/// How often sessions were refused here, by cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Refused {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Vec<(String, u64)> {
        let counts = self.lock();
        counts
            .iter()
            .map(|(why, n)| ((*why).to_owned(), *n))
            .collect()
    }

    /// Refuses a session because there will be no time for it.
    pub(super) fn shutting_down(&self, request: SessionRequest) {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        self.refuse(request, status, "shutting down", None);
    }

    fn refuse(
        &self,
        request: SessionRequest,
        status: StatusCode,
        why: &'static str,
        detail: Option<&str>,
    ) {
        let peer = canonical(request.remote_address());
        let path = request.path().to_owned();
        tracing::info!(%peer, path, %status, why, detail, "refused a session");
        *self.lock().entry(why).or_default() += 1;
        if let Err(error) = request.reject(status) {
            tracing::warn!(%error, "could not refuse a session as asked");
        }
    }
}

/// Answers a request and serves its session to the end.
pub(super) async fn answer(
    request: SessionRequest,
    protocols: Arc<[String]>,
    refused: Refused,
    watch: Option<Watch>,
    stop: Stop,
) {
    let peer = canonical(request.remote_address());
    if let Some(watch) = watch.filter(|_| request.path() == dashboard::PATH) {
        if !watch.allows(request.query()) {
            let why = "no token for the dashboard";
            return refused.refuse(request, StatusCode::FORBIDDEN, why, None);
        }
        return watch.serve(request).await;
    }
    let route = match Route::parse(request.path(), request.query()) {
        Ok(Route::Refuse(status)) => {
            return refused.refuse(request, status, "as the path asks", None);
        }
        Ok(route) => route,
        Err(none) => {
            let (why, detail) = match &none {
                NoRoute::UnknownPath => ("unknown path", None),
                NoRoute::BadParameter(detail) => ("bad parameter", Some(&detail[..])),
            };
            return refused.refuse(request, none.status(), why, detail);
        }
    };
    if let Route::Slow(time) = route
        && !wait(time, stop).await
    {
        return refused.shutting_down(request);
    }
    let fields = (route == Route::Headers).then(|| headers::to_json(request.request()));
    let path = request.path().to_owned();
    let accept = accept(&request, &protocols);
    match request.accept_with(accept).await {
        Ok(session) => {
            tracing::info!(%peer, path, protocol = session.protocol(), dialect = %session.dialect(), "session");
            let timer = HandlerTimer::start(route.name());
            session::run(&session, route, fields).await;
            timer.end();
            let end = session.closed().await;
            tracing::info!(%peer, path, %end, "session over");
        }
        Err(error) => tracing::info!(%peer, path, %error, "the client left before the answer"),
    }
}

/// Answers with the first subprotocol of the client's offer that is spoken here.
fn accept(request: &SessionRequest, protocols: &[String]) -> Accept {
    let mut offer = request.protocols().iter();
    match offer.find(|protocol| protocols.contains(protocol)) {
        Some(protocol) => Accept::new().protocol(protocol),
        None => Accept::new(),
    }
}

/// Waits for `time`; `false` when the server stops first.
async fn wait(time: Duration, mut stop: Stop) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stop.asked() => false,
    }
}
