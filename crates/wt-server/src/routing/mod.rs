//! Routing: which handler answers which path.

mod endpoint;
mod error;
mod pattern;
mod route;
mod table;

use std::fmt;

use tower_layer::Layer;
use tower_service::Service;

use self::endpoint::Endpoint;
pub use self::{error::RouteError, route::Route, table::Routes};
use crate::{
    handler::Handler,
    message::{BoxError, Request},
    response::IntoResponse,
};

/// Says which handler answers which path.
///
/// Paths are written as in axum: `/chat`, `/chat/{room}`, `/files/{*path}`. `S` is the state that its
/// handlers still want; [`Self::with_state`] gives it.
///
/// ```
/// use wt_server::{Router, Session, extract::Path};
///
/// async fn lobby(_: Session) {}
/// async fn chat(_: Session, Path(room): Path<String>) {}
/// async fn old(_: Session, Path(version): Path<u32>) {}
///
/// let rooms: Router = Router::new().route("/", lobby).route("/{room}", chat);
/// let router = Router::new().nest("/chat", rooms).pattern(r"/v(?<version>\d+)/.*", old);
/// assert!(router.check().is_ok());
/// ```
///
/// What is wrong with a path or a pattern is kept and reported when the router is built, so that
/// calls can be chained; [`Self::check`] tells earlier.
#[must_use = "a router does nothing until it is given to a ServerApp"]
#[doc(alias = "RequestRouter")]
pub struct Router<S = ()> {
    routes: Vec<(String, Endpoint<S>)>,
    /// By prefix and expression.
    patterns: Vec<(String, String, Endpoint<S>)>,
    /// By prefix.
    fallbacks: Vec<(String, Endpoint<S>)>,
    /// Finds conflicts early.
    paths: matchit::Router<()>,
    error: Option<RouteError>,
}

/// How many routes of each kind a router has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// Paths, with parameters or without.
    pub exact_routes: usize,
    /// Regular expressions.
    pub pattern_routes: usize,
    /// Whether there is a fallback for the whole router.
    pub has_default_handler: bool,
}

fn insert_error(path: &str, error: &matchit::InsertError) -> RouteError {
    match error {
        matchit::InsertError::Conflict { with } => RouteError::Conflict {
            path: path.to_owned(),
            with: with.clone(),
        },
        error => RouteError::Path {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}

impl<S> Router<S> {
    /// Creates a router without routes, which answers everything with 404.
    pub fn new() -> Self {
        Self {
            routes: Vec::new(),
            patterns: Vec::new(),
            fallbacks: Vec::new(),
            paths: matchit::Router::new(),
            error: None,
        }
    }

    /// Says what is wrong with the routes so far.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn check(&self) -> Result<(), RouteError> {
        self.error.clone().map_or(Ok(()), Err)
    }

    /// Returns the paths in the order in which they were added; patterns are not among them.
    #[doc(alias = "get_all_routes")]
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|(path, _)| &path[..])
    }

    /// Returns whether there is a route that is written like this.
    #[doc(alias = "get_route_handler")]
    pub fn contains(&self, path: &str) -> bool {
        self.paths().any(|known| known == path)
    }

    /// Takes out the route that is written like this; `false` when there is none.
    #[doc(alias = "remove_route")]
    pub fn remove(&mut self, path: &str) -> bool {
        let before = self.routes.len();
        self.routes.retain(|(known, _)| known != path);
        self.paths = matchit::Router::new();
        for (path, _) in &self.routes {
            // They went in before, in this order.
            let _ = self.paths.insert(path, ());
        }
        self.routes.len() < before
    }

    /// Returns how many routes of each kind there are.
    #[doc(alias = "get_route_stats")]
    pub fn stats(&self) -> RouteStats {
        RouteStats {
            exact_routes: self.routes.len(),
            pattern_routes: self.patterns.len(),
            has_default_handler: self.fallbacks.iter().any(|(prefix, _)| prefix.is_empty()),
        }
    }

    fn fail(&mut self, error: RouteError) {
        self.error.get_or_insert(error);
    }

    fn add_route(&mut self, path: String, endpoint: Endpoint<S>) {
        if !path.starts_with('/') {
            let reason = "a path begins with a slash".to_owned();
            return self.fail(RouteError::Path { path, reason });
        }
        match self.paths.insert(&path, ()) {
            Ok(()) => self.routes.push((path, endpoint)),
            Err(error) => self.fail(insert_error(&path, &error)),
        }
    }

    fn add_pattern(&mut self, prefix: String, pattern: String, endpoint: Endpoint<S>) {
        match pattern::compile(&prefix, &pattern) {
            Ok(_) => self.patterns.push((prefix, pattern, endpoint)),
            Err(error) => self.fail(error),
        }
    }

    fn add_fallback(&mut self, prefix: String, endpoint: Endpoint<S>) {
        if self.fallbacks.iter().any(|(known, _)| *known == prefix) {
            self.fail(RouteError::Fallback { prefix });
        } else {
            self.fallbacks.push((prefix, endpoint));
        }
    }

    /// Adds all of another router below `prefix`, which may be empty.
    fn absorb(&mut self, prefix: &str, other: Self) {
        if let Some(error) = other.error {
            self.fail(error);
        }
        for (path, endpoint) in other.routes {
            let path = match &path[..] {
                "/" if !prefix.is_empty() => prefix.to_owned(),
                path => format!("{prefix}{path}"),
            };
            self.add_route(path, endpoint);
        }
        for (inner, pattern, endpoint) in other.patterns {
            self.add_pattern(format!("{prefix}{inner}"), pattern, endpoint);
        }
        for (inner, endpoint) in other.fallbacks {
            self.add_fallback(format!("{prefix}{inner}"), endpoint);
        }
    }

    /// Adds the routes of another router.
    pub fn merge(mut self, other: Self) -> Self {
        self.absorb("", other);
        self
    }

    /// Adds the routes of another router below a prefix, which may have parameters.
    ///
    /// Handlers see the whole path, and the parameters of the prefix with their own. The other's
    /// fallback answers what stands below the prefix and matches nothing.
    pub fn nest(mut self, prefix: &str, other: Self) -> Self {
        let reason = match prefix {
            "" | "/" => Some("it is empty: use `merge`"),
            _ if !prefix.starts_with('/') => Some("it does not begin with a slash"),
            _ if prefix.ends_with('/') => Some("it ends with a slash"),
            _ if prefix.contains("{*") => Some("it has a parameter that takes everything"),
            _ => None,
        };
        match reason {
            Some(reason) => {
                let prefix = prefix.to_owned();
                self.fail(RouteError::Prefix { prefix, reason });
            }
            None => self.absorb(prefix, other),
        }
        self
    }
}

impl<S: Clone + Send + Sync + 'static> Router<S> {
    /// Has a handler answer a path, which may have parameters.
    #[doc(alias = "add_route")]
    pub fn route<H, T>(mut self, path: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add_route(path.into(), Endpoint::handler(handler));
        self
    }

    /// Has a service answer a path, which may have parameters.
    pub fn route_service<T>(mut self, path: impl Into<String>, service: T) -> Self
    where
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
    {
        self.add_route(path.into(), Endpoint::route(Route::new(service)));
        self
    }

    /// Has a handler answer all paths that a regular expression matches as a whole.
    ///
    /// Its groups are the path's parameters, by name or by number. The syntax is that of the crate
    /// `regex_lite`: `\d` and the like mean ASCII. Matching takes linear time.
    #[doc(alias = "pattern_route", alias = "add_pattern_route")]
    pub fn pattern<H, T>(mut self, pattern: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add_pattern(String::new(), pattern.into(), Endpoint::handler(handler));
        self
    }

    /// Has a handler answer what nothing else matches; without one that is status 404.
    #[doc(alias = "set_default_handler")]
    pub fn fallback<H, T>(mut self, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add_fallback(String::new(), Endpoint::handler(handler));
        self
    }

    /// Has a service answer what nothing else matches.
    pub fn fallback_service<T>(mut self, service: T) -> Self
    where
        T: Service<Request> + Clone + Send + Sync + 'static,
        T::Response: IntoResponse,
        T::Error: Into<BoxError>,
        T::Future: Send,
    {
        self.add_fallback(String::new(), Endpoint::route(Route::new(service)));
        self
    }

    /// Wraps all routes that were added so far in a layer of middleware.
    ///
    /// A layer that is added later sees the request earlier. Of several in one
    /// `tower::ServiceBuilder` the first sees it first. See [`crate::middleware`].
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse,
        <L::Service as Service<Request>>::Error: Into<BoxError>,
        <L::Service as Service<Request>>::Future: Send,
    {
        self.map(|endpoint| endpoint.layer(layer.clone()))
    }

    /// Gives the handlers their state.
    pub fn with_state<S2: 'static>(self, state: S) -> Router<S2> {
        self.map(|endpoint| Endpoint::route(endpoint.with_state(&state)))
    }

    fn map<S2>(self, mut f: impl FnMut(Endpoint<S>) -> Endpoint<S2>) -> Router<S2> {
        let routes = self.routes.into_iter();
        let patterns = self.patterns.into_iter();
        let fallbacks = self.fallbacks.into_iter();
        Router {
            routes: routes.map(|(path, end)| (path, f(end))).collect(),
            patterns: patterns
                .map(|(prefix, pattern, end)| (prefix, pattern, f(end)))
                .collect(),
            fallbacks: fallbacks.map(|(prefix, end)| (prefix, f(end))).collect(),
            paths: self.paths,
            error: self.error,
        }
    }
}

impl Router {
    /// Builds the table of routes.
    ///
    /// # Errors
    ///
    /// The first mistake in a path or a pattern.
    pub fn build(self) -> Result<Routes, RouteError> {
        Routes::new(self)
    }
}

impl<S> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self {
            routes: self.routes.clone(),
            patterns: self.patterns.clone(),
            fallbacks: self.fallbacks.clone(),
            paths: self.paths.clone(),
            error: self.error.clone(),
        }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<&str> = self.paths().collect();
        let patterns: Vec<&str> = self.patterns.iter().map(|(_, p, _)| &p[..]).collect();
        f.debug_struct("Router")
            .field("paths", &paths)
            .field("patterns", &patterns)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
