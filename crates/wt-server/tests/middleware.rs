//! Middleware of all kinds, from outside.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{LIMIT, config, ended, eventually, refusal, start, tell, told};
use tokio::{sync::Notify, time::timeout};
use tower::ServiceBuilder;
use wt_server::{
    AppConfig, BoxError, Close, IntoEnding, IntoResponse, Request, Response, Router, ServerApp,
    Session,
    extract::{Extension, Path, State, Subprotocol},
    http::{HeaderMap, HeaderValue, StatusCode},
    middleware::{
        self, Auth, AuthError, Guard, Next, Origins, RateLimit, SessionsPerPeer, Subprotocols,
        guard,
    },
};

async fn waits(session: Session) {
    session.closed().await;
}

#[tokio::test]
async fn authentication_refuses_with_401_or_403_and_hands_on_who_it_is() {
    #[derive(Clone)]
    struct User(String);
    async fn check(headers: HeaderMap) -> Result<User, AuthError> {
        tokio::task::yield_now().await;
        match headers.get("authorization").map(HeaderValue::as_bytes) {
            Some(b"Bearer ann") => Ok(User("ann".to_owned())),
            Some(b"Bearer panic") => panic!("for a test"),
            Some(_) => Err(AuthError::Forbidden),
            None => Err(AuthError::Unauthorized),
        }
    }
    async fn hello(
        session: Session,
        Extension(User(name)): Extension<User>,
    ) -> Result<(), BoxError> {
        tell(&session, name).await
    }
    let challenge = HeaderValue::from_static("Bearer realm=\"x\"");
    let app = ServerApp::new(config())
        .route("/", hello)
        .layer(Auth::new(check).with_challenge(challenge));
    let running = start(app).await;
    let with = |token: &str| running.connect("/").header("authorization", token);

    let (status, headers) = refusal(running.connect("/")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(headers["www-authenticate"], "Bearer realm=\"x\"");
    let (status, _) = refusal(with("Bearer bob")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = refusal(with("Bearer panic")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let session = with("Bearer ann").await.unwrap();
    assert_eq!(told(&session).await, "ann");
}

#[tokio::test]
async fn only_pages_of_known_origins_may_ask() {
    let origins = Origins::new(["https://example.com", "https://*.example.org"]).unwrap();
    let strict = Router::new().route("/", waits).layer(origins.clone());
    let open = Router::new().route("/", waits).layer(origins.or_none());
    let any = Router::new().route("/", waits).layer(Origins::any());
    let app = ServerApp::new(config())
        .nest("/strict", strict)
        .nest("/open", open)
        .nest("/any", any);
    let running = start(app).await;
    for (path, origin, allowed) in [
        ("/strict", Some("https://example.com"), true),
        ("/strict", Some("https://a.b.example.org"), true),
        ("/strict", Some("https://example.org"), false),
        ("/strict", Some("https://example.com.evil.net"), false),
        ("/strict", None, false),
        ("/open", None, true),
        ("/open", Some("https://evil.net"), false),
        ("/any", Some("https://evil.net"), true),
        ("/any", None, false),
    ] {
        let mut connect = running.connect(path);
        if let Some(origin) = origin {
            connect = connect.header("origin", origin);
        }
        if allowed {
            connect.await.unwrap();
        } else {
            let (status, _) = refusal(connect).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} {origin:?}");
        }
    }
}

#[tokio::test]
async fn rates_are_limited_by_address_and_by_key() {
    let hour = Duration::from_secs(3600);
    let by_key = RateLimit::new(1, hour).by_key(|request| {
        let token = request.headers().get("x-token")?.to_str().ok()?;
        Some(token.to_owned())
    });
    let by_address = RateLimit::new(2, hour);
    let app = ServerApp::new(config())
        .merge(
            Router::new()
                .route("/address", waits)
                .layer(by_address.clone()),
        )
        .merge(Router::new().route("/key", waits).layer(by_key.clone()));
    let running = start(app).await;

    running.session("/address").await;
    running.session("/address").await;
    let (status, headers) = refusal(running.connect("/address")).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    // One in half an hour; a part of it has passed.
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert_eq!(by_address.known_keys(), 1);

    for token in ["a", "b"] {
        let connect = || running.connect("/key").header("x-token", token);
        connect().await.unwrap();
        let (status, _) = refusal(connect()).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(by_key.known_keys(), 2);
    running.session("/key").await;
}

#[tokio::test]
async fn sessions_of_one_address_are_limited() {
    let limit = SessionsPerPeer::new(2);
    let app = ServerApp::new(config())
        .route("/", waits)
        .route("/refuses", wt_server::decide(async || StatusCode::GONE))
        .layer(limit);
    let running = start(app).await;
    // What is refused inside takes no place.
    for _ in 0..3 {
        assert_eq!(running.status("/refuses").await, StatusCode::GONE);
    }
    let first = running.session("/").await;
    let _second = running.session("/").await;
    let status = running.status("/").await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    first.close(0, "");
    eventually(|| running.app.stats().sessions_active == 1).await;
    running.session("/").await;
}

#[tokio::test]
async fn the_first_subprotocol_of_the_client_that_the_server_speaks_is_chosen() {
    async fn say(session: Session, Subprotocol(one): Subprotocol) -> Result<(), BoxError> {
        tell(&session, format!("{one:?}")).await
    }
    let spoken = Subprotocols::new(["a", "b"]);
    let app = ServerApp::new(config())
        .merge(Router::new().route("/maybe", say).layer(spoken.clone()))
        .merge(Router::new().route("/must", say).layer(spoken.required()));
    let running = start(app).await;
    let session = running.connect("/maybe").protocols(["x", "b", "a"]);
    let session = session.await.unwrap();
    assert_eq!(session.protocol(), Some("b"));
    assert_eq!(told(&session).await, "Some(\"b\")");
    assert_eq!(running.ask("/maybe").await, "None");
    let (status, _) = refusal(running.connect("/must").protocols(["x"])).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn functions_pass_alter_refuse_and_wrap_in_their_order() {
    type Trace = Arc<Mutex<Vec<&'static str>>>;
    async fn outer(State(trace): State<Trace>, request: Request, next: Next) -> Response {
        trace.lock().unwrap().push("outer");
        let answer = next.run(request).await;
        trace.lock().unwrap().push("outer answers");
        answer.map(|outcome| {
            outcome.wrap(move |_, serving| async move {
                let ending = serving.await;
                trace.lock().unwrap().push("over");
                ending
            })
        })
    }
    async fn inner(
        State(trace): State<Trace>,
        mut request: Request,
        next: Next,
    ) -> Result<Response, StatusCode> {
        trace.lock().unwrap().push("inner");
        if request.headers().contains_key("x-bad") {
            return Err(StatusCode::PAYMENT_REQUIRED);
        }
        request.extensions_mut().insert("altered");
        let mut answer = next.run(request).await;
        let value = HeaderValue::from_static("inner");
        answer.headers_mut().insert("x-by", value);
        Ok(answer)
    }
    async fn handler(
        session: Session,
        Extension(text): Extension<&'static str>,
    ) -> Result<Close, BoxError> {
        tell(&session, text).await?;
        Ok(Close::new(4, ""))
    }
    let trace = Trace::default();
    let app = ServerApp::new(config())
        .route("/", handler)
        .layer(middleware::from_fn_with_state(trace.clone(), inner))
        .layer(middleware::from_fn_with_state(trace.clone(), outer));
    let running = start(app).await;

    let session = running.session("/").await;
    assert_eq!(session.response_headers()["x-by"], "inner");
    assert_eq!(told(&session).await, "altered");
    assert_eq!(ended(&session).await, (4, String::new()));
    let expected = ["outer", "inner", "outer answers", "over"];
    assert_eq!(*trace.lock().unwrap(), expected);

    let (status, _) = refusal(running.connect("/").header("x-bad", "")).await;
    assert_eq!(status, StatusCode::PAYMENT_REQUIRED);
}

#[tokio::test]
async fn middleware_can_end_sessions_early() {
    async fn brief(request: Request, next: Next) -> Response {
        next.run(request).await.map(|outcome| {
            outcome.wrap(|_, serving| async {
                let late = |_| Close::new(4008, "time is up").into_ending();
                let limit = Duration::from_millis(10);
                timeout(limit, serving).await.unwrap_or_else(late)
            })
        })
    }
    let app = ServerApp::new(config())
        .route("/", waits)
        .layer(middleware::from_fn(brief));
    let running = start(app).await;
    let session = running.session("/").await;
    assert_eq!(ended(&session).await, (4008, "time is up".to_owned()));
}

#[tokio::test]
async fn guards_are_middleware() {
    #[derive(Clone)]
    struct Even;
    impl Guard for Even {
        async fn check(&self, request: &mut Request) -> Result<(), Response> {
            let odd = request.uri().path().len() % 2 == 1;
            request.extensions_mut().insert(odd);
            if odd {
                return Err(StatusCode::CONFLICT.into_response());
            }
            Ok(())
        }
    }
    async fn seen(session: Session, Extension(odd): Extension<bool>) -> Result<(), BoxError> {
        tell(&session, odd.to_string()).await
    }
    let app = ServerApp::new(config()).fallback(seen).layer(guard(Even));
    let running = start(app).await;
    assert_eq!(running.ask("/a").await, "false");
    assert_eq!(running.status("/ab").await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn layers_of_tower_fit() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let slow = wt_server::decide(move || async move {
        opened.notified().await;
        StatusCode::NO_CONTENT
    });
    let layers = ServiceBuilder::new()
        .map_request(|mut request: Request| {
            *request.uri_mut() = request
                .uri()
                .to_string()
                .replace("/old", "/new")
                .parse()
                .unwrap();
            request
        })
        .map_response(|mut answer: Response| {
            let value = HeaderValue::from_static("yes");
            answer.headers_mut().insert("x-mapped", value);
            answer
        })
        .concurrency_limit(8);
    let app = ServerApp::new(config())
        .route(
            "/new/{x}",
            async |session: Session, Path(x): Path<String>| tell(&session, x).await,
        )
        .merge(
            Router::new()
                .route("/slow", slow)
                .layer(tower::timeout::TimeoutLayer::new(Duration::from_millis(10))),
        )
        .layer(layers);
    let running = start(app).await;
    let session = running.session("/old/7").await;
    assert_eq!(session.response_headers()["x-mapped"], "yes");
    assert_eq!(told(&session).await, "7");
    // A layer that fails refuses.
    let status = running.status("/slow").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    drop(gate);
}

#[tokio::test]
async fn services_of_tower_are_routes() {
    let inner = Router::new()
        .route("/inner", async |session: Session| {
            tell(&session, "inner").await
        })
        .build()
        .unwrap();
    let teapot = tower::service_fn(async |_: Request| Ok::<_, BoxError>(StatusCode::IM_A_TEAPOT));
    let fails = tower::service_fn(async |_: Request| Err::<Response, BoxError>("no luck".into()));
    let app = ServerApp::new(config()).merge(
        Router::new()
            .route_service("/teapot", teapot)
            .route_service("/fails", fails)
            .fallback_service(inner),
    );
    let running = start(app).await;
    assert_eq!(running.status("/teapot").await, StatusCode::IM_A_TEAPOT);
    let status = running.status("/fails").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(running.ask("/inner").await, "inner");
    assert_eq!(running.status("/other").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn slow_middleware_keeps_only_its_own_request_waiting() {
    let gate = Arc::new(Notify::new());
    async fn slow(State(gate): State<Arc<Notify>>, request: Request, next: Next) -> Response {
        gate.notified().await;
        next.run(request).await
    }
    let layer = middleware::from_fn_with_state(gate.clone(), slow);
    let app = ServerApp::new(config())
        .merge(Router::new().route("/slow", waits).layer(layer))
        .route("/", waits);
    let running = start(app).await;
    // All on one connection.
    running.connect("/").pooling(true).await.unwrap();
    let waiting = tokio::spawn(running.connect("/slow").pooling(true).into_future());
    eventually(|| running.app.stats().requests == 2).await;
    running.connect("/").pooling(true).await.unwrap();
    assert!(!waiting.is_finished());
    gate.notify_one();
    timeout(LIMIT, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(running.app.server().stats().connections_accepted, 1);
}

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_is_refused() {
    async fn never(_: Request, _: Next) -> Response {
        std::future::pending().await
    }
    let app = ServerApp::new(config())
        .configure(AppConfig::new().with_answer_timeout(Duration::from_millis(10)))
        .route("/", waits)
        .layer(middleware::from_fn(never));
    let running = start(app).await;
    let status = running.status("/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn what_goes_wrong_is_logged_with_peer_and_path_and_not_told_to_the_client() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("wt_server=info")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // All of it runs on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    async fn fails(_: Session) -> Result<(), BoxError> {
        Err("secret details".into())
    }
    let quiet = AppConfig::new().with_access_log(false);
    let app = ServerApp::new(config())
        .configure(quiet)
        .route("/{x}", fails);
    let running = start(app).await;
    let (code, reason) = ended(&running.session("/a?b").await).await;
    assert_eq!(
        (code, reason.contains("secret")),
        (Close::INTERNAL_ERROR, false)
    );
    eventually(|| !log.lines().is_empty()).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for words in ["ERROR", "peer=127.0.0.1:", "path=/a}", "secret details"] {
        assert!(lines[0].contains(words), "{}", lines[0]);
    }
}

#[tokio::test]
async fn sessions_are_logged_with_duration_and_close_code() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("wt_server::access=info")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // All of it runs on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    async fn panics(_: Session) {
        panic!("for a test");
    }
    let routes = Router::new()
        .route("/close", async |_: Session| Close::new(42, ""))
        .route("/waits", waits)
        .route("/panics", panics);
    let app = ServerApp::new(config()).merge(routes.clone());
    let running = start(app).await;

    running
        .status("/no where?secret=1".replace(' ', "%0A").as_str())
        .await;
    ended(&running.session("/close?secret=1").await).await;
    running.session("/waits").await.close(7, "");
    ended(&running.session("/panics").await).await;
    eventually(|| log.lines().len() == 4).await;
    let mut lines = log.lines();
    lines.sort_by_key(|line| line.split("path=").nth(1).unwrap().to_owned());
    for (line, (words, more)) in lines.iter().zip([
        ("closed", "path=\"/close\" status=200 took="),
        ("refused", "path=\"/no%0Awhere\" status=404 took="),
        ("closed", "path=\"/panics\" status=200 took="),
        ("closed", "path=\"/waits\" status=200 took="),
    ]) {
        assert!(line.contains(words) && line.contains(more), "{line}");
        assert!(
            line.contains("peer=127.0.0.1:") && !line.contains("secret"),
            "{line}"
        );
    }
    assert!(lines[0].ends_with("code=42 by=\"server\""), "{}", lines[0]);
    assert!(lines[3].ends_with("code=7 by=\"client\""), "{}", lines[3]);

    // And it can be switched off.
    let quiet = AppConfig::new().with_access_log(false);
    let app = ServerApp::new(config()).configure(quiet).merge(routes);
    let running = start(app).await;
    ended(&running.session("/close").await).await;
    eventually(|| running.app.stats().sessions_active == 0).await;
    assert_eq!(log.lines().len(), 4);
}
