//! Which handler answers which path.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{config, start, tell};
use wt_server::{
    BoxError, RouteError, Router, ServerApp, Session,
    extract::{MatchedPath, Path, Uri},
    http::StatusCode,
};

/// Tells which route matched, and the whole path.
async fn matched(session: Session, route: Option<MatchedPath>, uri: Uri) -> Result<(), BoxError> {
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    tell(&session, format!("{route} {}", uri.path())).await
}

/// Tells the parameters in their order.
async fn params(session: Session, Path(all): Path<Vec<String>>) -> Result<(), BoxError> {
    tell(&session, all.join(",")).await
}

#[tokio::test]
async fn exact_routes_come_before_patterns_and_the_fallback() {
    let app = ServerApp::new(config())
        .route("/a", matched)
        .route("/a/{x}", matched)
        .route("/a/b", matched)
        .route("/files/{*rest}", matched)
        .pattern("/a/?c*|/p/.*", matched)
        .pattern("/p/.", matched)
        .fallback(matched);
    let running = start(app).await;
    for (path, expected) in [
        ("/a", "/a /a"),
        ("/a?x=1", "/a /a"),
        ("/a/b", "/a/b /a/b"),
        ("/a/c", "/a/{x} /a/c"),
        ("/a/", "/a/?c*|/p/.* /a/"),
        ("/files/x/y.z", "/files/{*rest} /files/x/y.z"),
        ("/p/q", "/a/?c*|/p/.* /p/q"),
        ("/x/p/q", "- /x/p/q"),
        ("/", "- /"),
    ] {
        assert_eq!(running.ask(path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_are_refused_with_404() {
    let running = start(ServerApp::new(config()).route("/a", matched)).await;
    for path in ["/", "/b", "/a/", "/A", "/%61"] {
        assert_eq!(running.status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(running.ask("/a").await, "/a /a");
}

#[tokio::test]
async fn groups_of_patterns_are_parameters() {
    async fn named(
        session: Session,
        Path((version, name, more)): Path<(u32, String, Option<String>)>,
    ) -> Result<(), BoxError> {
        tell(&session, format!("{version} {name} {more:?}")).await
    }
    let app = ServerApp::new(config())
        .pattern(r"/v(\d+)/(?<name>[^/]+)(?:/(.*))?", named)
        .pattern("/w/(.)/(.)", params);
    let running = start(app).await;
    assert_eq!(running.ask("/v2/gr%C3%BC%C3%9Fe").await, "2 grüße None");
    assert_eq!(running.ask("/v2/x/y").await, "2 x Some(\"y\")");
    assert_eq!(running.ask("/w/1/2?q").await, "1,2");
    assert_eq!(running.status("/w/1/23").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn routers_nest_with_their_parameters_patterns_and_fallbacks() {
    let inner = Router::new()
        .route("/", params)
        .route("/seats/{seat}", params)
        .pattern("/(x+)", params)
        .fallback(params);
    let app = ServerApp::new(config())
        .nest("/rooms/{room}", inner)
        .merge(Router::new().route("/other", matched))
        .fallback(matched);
    let running = start(app).await;
    for (path, expected) in [
        ("/rooms/7", "7"),
        ("/rooms/7/seats/12", "7,12"),
        ("/rooms/7/xxx", "7,xxx"),
        ("/rooms/7/none/such", "7"),
        ("/other", "/other /other"),
        ("/rooms", "- /rooms"),
    ] {
        assert_eq!(running.ask(path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn mistakes_in_routes_are_reported_at_the_start() {
    let cases: [(Router, &str); 8] = [
        (Router::new().route("a", matched), "begins with a slash"),
        (Router::new().route("/{a", matched), "/{a"),
        (
            Router::new().route("/{a}", matched).route("/{b}", matched),
            "in the way of \"/{a}\"",
        ),
        (
            Router::new().route("/a", matched).route("/a", matched),
            "each path needs one handler",
        ),
        (Router::new().pattern("/(", matched), "pattern \"/(\""),
        (Router::new().nest("/", Router::new()), "use `merge`"),
        (
            Router::new().nest("/a/", Router::new()),
            "ends with a slash",
        ),
        (
            Router::new().fallback(matched).fallback(matched),
            "two fallbacks",
        ),
    ];
    for (router, words) in cases {
        let error = router.check().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        let app = ServerApp::new(config()).merge(router).start().await;
        let at_start = app.unwrap_err().to_string();
        assert_eq!(at_start, error.to_string());
    }
}

#[test]
fn routers_tell_what_they_route() {
    let mut router: Router = Router::new()
        .route("/a", matched)
        .route("/b/{x}", matched)
        .pattern("/c.*", matched);
    assert_eq!(router.paths().collect::<Vec<_>>(), ["/a", "/b/{x}"]);
    assert!(router.contains("/a") && !router.contains("/b/7"));
    let stats = router.stats();
    assert_eq!((stats.exact_routes, stats.pattern_routes), (2, 1));
    assert!(!stats.has_default_handler);

    assert!(router.remove("/a"));
    assert!(!router.remove("/a"));
    assert!(!router.contains("/a"));
    // Its place is free, that of the other is not.
    let router = router.route("/a", matched).fallback(matched);
    assert!(router.check().is_ok() && router.stats().has_default_handler);
    let error = router.route("/b/{y}", matched).check().unwrap_err();
    assert!(matches!(error, RouteError::Conflict { .. }), "{error}");
}
