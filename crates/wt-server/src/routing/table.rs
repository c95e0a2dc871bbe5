//! A router that is ready to route.

use std::{convert::Infallible, fmt, sync::Arc, task::Poll};

use futures_util::future::BoxFuture;
use regex_lite::Regex;
use tower_service::Service;
use wt_core::http::StatusCode;

use super::{Route, RouteError, Router, pattern};
use crate::{
    extract::{MatchedPath, PathParams},
    message::{Request, Response, refuse},
};

/// A router that is ready to answer requests, as a [`tower_service::Service`].
///
/// Exact routes and those with parameters come first, the more literal one before the others; then
/// patterns in the order in which they were added; then the fallback of the longest prefix; then
/// status 404. Only the path counts, as the client sent it, without the query. A cheap clone.
#[derive(Clone)]
pub struct Routes(Arc<Table>);

struct Table {
    routes: Vec<(MatchedPath, Route)>,
    paths: matchit::Router<usize>,
    patterns: Vec<(Regex, MatchedPath, Route)>,
    fallbacks: Vec<(Regex, Route)>,
    fallback: Option<Route>,
}

impl Routes {
    pub(super) fn new(router: Router) -> Result<Self, RouteError> {
        if let Some(error) = router.error {
            return Err(error);
        }
        let mut table = Table {
            routes: Vec::new(),
            paths: matchit::Router::new(),
            patterns: Vec::new(),
            fallbacks: Vec::new(),
            fallback: None,
        };
        for (path, endpoint) in router.routes {
            // What cannot be inserted was found when it was added.
            table
                .paths
                .insert(&path, table.routes.len())
                .map_err(|error| super::insert_error(&path, &error))?;
            let matched = MatchedPath(path.into());
            table.routes.push((matched, endpoint.with_state(&())));
        }
        for (prefix, pattern, endpoint) in router.patterns {
            let regex = pattern::compile(&prefix, &pattern)?;
            let matched = MatchedPath((prefix + &pattern).into());
            table
                .patterns
                .push((regex, matched, endpoint.with_state(&())));
        }
        let mut fallbacks = router.fallbacks;
        fallbacks.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        for (prefix, endpoint) in fallbacks {
            let route = endpoint.with_state(&());
            if prefix.is_empty() {
                table.fallback = Some(route);
            } else {
                table.fallbacks.push((pattern::below(&prefix)?, route));
            }
        }
        Ok(Self(Arc::new(table)))
    }

    fn answer(&self, mut request: Request) -> BoxFuture<'static, Response> {
        match self.0.find(&mut request) {
            #[cfg(feature = "metrics")]
            Some(route) => {
                let name = crate::metrics::route(&request);
                let answer = route.answer(request);
                Box::pin(async move { crate::metrics::measure(name, answer.await) })
            }
            #[cfg(not(feature = "metrics"))]
            Some(route) => route.answer(request),
            None => Box::pin(async { refuse(StatusCode::NOT_FOUND) }),
        }
    }
}

impl Table {
    /// Finds the route and notes in the request how it was found.
    fn find(&self, request: &mut Request) -> Option<&Route> {
        let path = request.uri().path();
        let (params, matched, route) = if let Ok(found) = self.paths.at(path) {
            let (matched, route) = self.routes.get(*found.value)?;
            let params = found.params.iter();
            let params = params.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
            (params.collect(), Some(matched), route)
        } else if let Some((params, matched, route)) = self.patterns.iter().find_map(|entry| {
            let (regex, matched, route) = entry;
            Some((pattern::groups(regex, path)?, matched, route))
        }) {
            (params, Some(matched), route)
        } else if let Some((params, route)) = self
            .fallbacks
            .iter()
            .find_map(|(regex, route)| Some((pattern::groups(regex, path)?, route)))
        {
            (params, None, route)
        } else {
            (Vec::new(), None, self.fallback.as_ref()?)
        };
        let extensions = request.extensions_mut();
        extensions.insert(PathParams(params.into()));
        if let Some(matched) = matched {
            extensions.insert(matched.clone());
        }
        Some(route)
    }
}

impl Service<Request> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes")
            .field("routes", &self.0.routes.len())
            .field("patterns", &self.0.patterns.len())
            .finish_non_exhaustive()
    }
}
