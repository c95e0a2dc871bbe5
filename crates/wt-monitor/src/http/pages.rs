//! Which pages there are, and who may see them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::Pin,
    sync::Arc,
};

use wt_core::{
    bytes::Bytes,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
};

use super::HttpError;

type Page = Box<dyn Fn(&Request<()>) -> Response<Bytes> + Send + Sync>;
type Verdict = Pin<Box<dyn Future<Output = Access> + Send>>;
type Guard = Box<dyn Fn(HeaderMap) -> Verdict + Send + Sync>;

/// What a guard says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Let it through.
    Allow,
    /// Answer 401 and say in WWW-Authenticate how to come back, such as `Basic realm="metrics"`.
    Challenge(HeaderValue),
    /// Answer 403.
    Deny,
}

/// The pages of an [`HttpListener`](super::HttpListener).
///
/// What is wrong with a page is kept until the listener is bound, so that calls can be chained.
#[derive(Default)]
pub struct Pages {
    pages: HashMap<String, Page>,
    guard: Option<Guard>,
    wrong: Option<HttpError>,
}

impl Pages {
    /// Makes none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a page of that type, whose body `body` makes anew for each request.
    ///
    /// `path` is matched exactly, without the query. `body` is called on the runtime: it should be quick, and must not
    /// block.
    #[must_use]
    pub fn page<B: Into<Bytes>>(
        self,
        path: impl Into<String>,
        content_type: &'static str,
        body: impl Fn() -> B + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        let Ok(content_type) = HeaderValue::from_str(content_type) else {
            return self.wrong(path, "its type is not the value of a header field");
        };
        self.route(path, move |_| {
            let mut response = Response::new(body().into());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, content_type.clone());
            response
        })
    }

    /// Adds a path whose whole answer `answer` makes, for what looks at the query or wants a status of its own.
    ///
    /// The rules of [`Self::page`] hold here too. Only GET and HEAD come here.
    #[must_use]
    pub fn route(
        mut self,
        path: impl Into<String>,
        answer: impl Fn(&Request<()>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let path = path.into();
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return self.wrong(
                path,
                "it must begin with `/` and have neither query nor fragment",
            );
        }
        match self.pages.entry(path) {
            Entry::Vacant(entry) => {
                entry.insert(Box::new(answer));
            }
            Entry::Occupied(entry) => {
                let path = entry.key().clone();
                return self.wrong(path, "there is one already");
            }
        }
        self
    }

    /// Asks `guard` about each request, whatever its path, before anything else: it sees the header fields.
    ///
    /// Without a guard all requests are let through. With several, the last one counts.
    #[must_use]
    pub fn guard<F>(mut self, guard: impl Fn(HeaderMap) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Access> + Send + 'static,
    {
        self.guard = Some(Box::new(move |headers| Box::pin(guard(headers))));
        self
    }

    fn wrong(mut self, path: String, reason: &'static str) -> Self {
        self.wrong.get_or_insert(HttpError::Page { path, reason });
        self
    }

    /// Returns the pages to be shared by all requests, unless something is wrong with one.
    pub(super) fn check(mut self) -> Result<Arc<Self>, HttpError> {
        match self.wrong.take() {
            Some(error) => Err(error),
            None => Ok(Arc::new(self)),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: &Request<()>) -> Response<Bytes> {
        let mut response = self.decide(request).await;
        let headers = response.headers_mut();
        // Each answer is of this moment.
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        response
    }

    async fn decide(&self, request: &Request<()>) -> Response<Bytes> {
        if let Some(guard) = &self.guard {
            match guard(request.headers().clone()).await {
                Access::Allow => {}
                Access::Deny => return plain(StatusCode::FORBIDDEN),
                Access::Challenge(how) => {
                    let mut response = plain(StatusCode::UNAUTHORIZED);
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
                    return response;
                }
            }
        }
        let Some(page) = self.pages.get(request.uri().path()) else {
            return plain(StatusCode::NOT_FOUND);
        };
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        page(request)
    }
}

/// Answers with a status and its name.
fn plain(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{status}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("paths", &self.pages.keys())
            .field("guarded", &self.guard.is_some())
            .finish_non_exhaustive()
    }
}
