//! What handlers get, and how their sessions end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use common::{config, ended, eventually, refusal, start, tell, told};
use serde::Deserialize;
use wt_server::{
    AppConfig, BoxError, Close, IntoResponse, Outcome, Request, Response, ServerApp, Session,
    SessionError, accept, decide,
    extract::{
        Dialect, Extension, FromRef, FromRequest, FromSession, HeaderMap, OfferedProtocols, Origin,
        Path, Peer, PeerAddr, PeerCertificates, Query, State, Subprotocol, Uri,
    },
    http::StatusCode,
};

#[derive(Clone, Debug, Default)]
struct App {
    visits: Arc<AtomicUsize>,
    name: &'static str,
}

struct Name(&'static str);

impl FromRef<App> for Name {
    fn from_ref(app: &App) -> Self {
        Self(app.name)
    }
}

#[derive(Debug, Deserialize)]
struct Seat {
    room: String,
    number: u16,
}

#[derive(Debug, Deserialize)]
struct Wish {
    color: Option<String>,
    #[serde(default)]
    count: u32,
}

#[tokio::test]
async fn arguments_come_from_path_query_state_and_peer() {
    #[allow(
        clippy::too_many_arguments,
        reason = "that they are possible is the point"
    )]
    async fn all(
        Path(Seat { room, number }): Path<Seat>,
        session: Session,
        Query(wish): Query<Wish>,
        State(app): State<App>,
        State(Name(name)): State<Name>,
        PeerAddr(peer): PeerAddr,
        headers: HeaderMap,
        Subprotocol(protocol): Subprotocol,
    ) -> Result<(), BoxError> {
        let visits = app.visits.fetch_add(1, SeqCst);
        assert_eq!(peer, session.remote_address());
        let agent = headers["x-test"].to_str()?;
        let (color, count) = (wish.color, wish.count);
        let text =
            format!("{room} {number} {color:?} {count} {visits} {name} {agent} {protocol:?}");
        tell(&session, text).await
    }
    async fn rest(
        session: Session,
        OfferedProtocols(offer): OfferedProtocols,
        origin: Option<Origin>,
        uri: Uri,
        dialect: Dialect,
        peer: Peer,
        PeerCertificates(certificates): PeerCertificates,
    ) -> Result<(), BoxError> {
        assert_eq!(dialect, session.dialect());
        assert_eq!(peer.session_id(), session.id());
        let origin = origin.map(|origin| origin.0);
        let certificates = certificates.len();
        tell(
            &session,
            format!("{offer:?} {origin:?} {uri} {certificates}"),
        )
        .await
    }
    let state = App {
        name: "hall",
        ..App::default()
    };
    let app = ServerApp::with_state(config(), state.clone())
        .route("/rooms/{room}/{number}", all)
        .route("/rest", rest);
    let running = start(app).await;
    let connect = running.connect("/rooms/a%20b/7?color=r%26b&count=3");
    let session = connect.header("x-test", "t").await.unwrap();
    let expected = "a b 7 Some(\"r&b\") 3 0 hall t None";
    assert_eq!(told(&session).await, expected);
    assert_eq!(state.visits.load(SeqCst), 1);

    let connect = running.connect("/rest?x").protocols(["p", "q"]);
    let session = connect.header("origin", "https://x.net").await.unwrap();
    let port = running.app.local_addr().unwrap().port();
    let uri = format!("https://127.0.0.1:{port}/rest?x");
    let expected = format!("[\"p\", \"q\"] Some(\"https://x.net\") {uri} 0");
    assert_eq!(told(&session).await, expected);
}

#[tokio::test]
async fn path_values_take_all_their_forms() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Side {
        Left,
        Right,
    }
    #[derive(Debug, Deserialize)]
    struct Wrapped(u8);

    async fn forms(
        session: Session,
        Path((side, flag, letter, ratio)): Path<(Side, bool, char, f64)>,
    ) -> Result<(), BoxError> {
        tell(&session, format!("{side:?} {flag} {letter} {ratio}")).await
    }
    async fn one(session: Session, Path(Wrapped(one)): Path<Wrapped>) -> Result<(), BoxError> {
        tell(&session, format!("{one}")).await
    }
    async fn two(session: Session, Path(one): Path<u8>) -> Result<(), BoxError> {
        tell(&session, format!("{one:?}")).await
    }
    let app = ServerApp::new(config())
        .route("/f/{side}/{flag}/{letter}/{ratio}", forms)
        .route("/one/{x}", one)
        .route("/two/{x}/{y}", two);
    let running = start(app).await;
    assert_eq!(
        running.ask("/f/left/true/%C3%BC/1.5").await,
        "Left true ü 1.5"
    );
    assert_eq!(running.ask("/f/right/false/x/-2").await, "Right false x -2");
    assert_eq!(running.ask("/one/200").await, "200");
    let bad = StatusCode::BAD_REQUEST;
    for path in ["/one/256", "/one/%FF", "/f/up/true/x/1", "/f/left/1/x/1"] {
        assert_eq!(running.status(path).await, bad, "{path}");
    }
    // That two do not fit into one is the handler's fault.
    let fault = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(running.status("/two/1/2").await, fault);
}

#[tokio::test]
async fn what_cannot_be_extracted_is_refused_before_the_session() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    async fn strict(_: Session, Query(_): Query<Seat>) {
        RAN.fetch_add(1, SeqCst);
    }
    async fn page(_: Session, _: Origin) {
        RAN.fetch_add(1, SeqCst);
    }
    async fn user(_: Session, _: Extension<App>) {
        RAN.fetch_add(1, SeqCst);
    }
    async fn either(
        session: Session,
        query: Result<Query<Seat>, wt_server::extract::Rejection>,
    ) -> Result<(), BoxError> {
        let status = query.unwrap_err().status();
        tell(&session, status.as_str()).await
    }
    let app = ServerApp::new(config())
        .route("/strict", strict)
        .route("/page", page)
        .route("/user", user)
        .route("/either", either);
    let running = start(app).await;
    let status = running.status("/strict?room=a").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(running.status("/page").await, StatusCode::FORBIDDEN);
    let status = running.status("/user").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(running.ask("/either").await, "400");
    assert_eq!(RAN.load(SeqCst), 0);
    assert_eq!(running.app.stats().sessions_accepted, 1);
}

#[tokio::test]
async fn extractors_can_be_ones_own() {
    struct Token(String);
    impl<S: Sync> FromRequest<S> for Token {
        type Rejection = (StatusCode, HeaderMap);
        async fn from_request(request: &mut Request, _: &S) -> Result<Self, Self::Rejection> {
            let token = request.headers().get("x-token").ok_or_else(|| {
                let fields = [("x-why".parse().unwrap(), "no token".parse().unwrap())];
                (StatusCode::UNAUTHORIZED, HeaderMap::from_iter(fields))
            })?;
            Ok(Self(token.to_str().unwrap().to_owned()))
        }
    }
    struct Greeting(Vec<u8>);
    impl FromSession for Greeting {
        type Rejection = BoxError;
        async fn from_session(session: &Session) -> Result<Self, BoxError> {
            let greeting = session.recv_datagram().await?;
            if greeting.is_empty() {
                return Err(Close::new(7, "say something").into());
            }
            Ok(Self(greeting.to_vec()))
        }
    }
    async fn serve(
        Greeting(greeting): Greeting,
        Token(token): Token,
        session: Session,
    ) -> Result<(), BoxError> {
        tell(&session, format!("{token} {greeting:?}")).await
    }
    let running = start(ServerApp::new(config()).route("/", serve)).await;
    let (status, headers) = refusal(running.connect("/")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(headers["x-why"], "no token");

    let session = running.connect("/").header("x-token", "t").await.unwrap();
    session.send_datagram([1, 2]).unwrap();
    assert_eq!(told(&session).await, "t [1, 2]");
    let session = running.connect("/").header("x-token", "t").await.unwrap();
    session.send_datagram([]).unwrap();
    assert_eq!(ended(&session).await, (7, "say something".to_owned()));
}

#[tokio::test]
async fn the_result_of_a_handler_decides_how_the_session_ends() {
    #[derive(Debug, thiserror::Error)]
    #[error("secret details")]
    struct Trouble;

    async fn nothing(_: Session) {}
    async fn without_arguments() -> Close {
        Close::new(5, "")
    }
    async fn ok(_: Session) -> Result<Close, Infallible> {
        Ok(Close::new(6, "six"))
    }
    async fn leaves(_: Session) -> Result<(), BoxError> {
        Err(Close::new(u32::MAX, "left"))?;
        Ok(())
    }
    async fn fails(_: Session) -> Result<(), Trouble> {
        Err(Trouble)
    }
    async fn panics(_: Session) {
        panic!("for a test");
    }
    let app = ServerApp::new(config())
        .route("/nothing", nothing)
        .route("/without_arguments", without_arguments)
        .route("/ok", ok)
        .route("/leaves", leaves)
        .route("/fails", fails)
        .route("/panics", panics);
    let running = start(app).await;
    // They all share one connection, so that what ends one session must not end another.
    let bystander = running.connect("/nothing").pooling(true);
    drop(bystander.await.unwrap());
    for (path, code, reason) in [
        ("/nothing", 0, ""),
        ("/without_arguments", 5, ""),
        ("/ok", 6, "six"),
        ("/leaves", u32::MAX, "left"),
        ("/fails", Close::INTERNAL_ERROR, "internal server error"),
        ("/panics", Close::INTERNAL_ERROR, "internal server error"),
    ] {
        let session = running.session(path).await;
        assert_eq!(ended(&session).await, (code, reason.to_owned()), "{path}");
    }
    eventually(|| running.app.stats().sessions_active == 0).await;
    let stats = running.app.stats();
    assert_eq!((stats.handlers_failed, stats.handlers_panicked), (1, 1));
    assert_eq!((stats.requests, stats.sessions_accepted), (7, 7));
}

#[tokio::test]
async fn a_panic_ends_one_session_and_not_its_neighbour_on_the_connection() {
    async fn waits(session: Session) -> Result<(), SessionError> {
        session.recv_datagram().await?;
        panic!("for a test");
    }
    let running = start(ServerApp::new(config()).route("/", waits)).await;
    let first = running.connect("/").pooling(true).await.unwrap();
    let second = running.connect("/").pooling(true).await.unwrap();
    assert_eq!(running.app.server().stats().connections_accepted, 1);
    first.send_datagram([0]).unwrap();
    assert_eq!(ended(&first).await.0, Close::INTERNAL_ERROR);
    assert!(second.close_reason().is_none());
    second.close(3, "");
    eventually(|| running.app.stats().sessions_active == 0).await;
    // That the second one's handler returned the end of its session is no failure.
    let stats = running.app.stats();
    assert_eq!((stats.handlers_failed, stats.handlers_panicked), (0, 1));
}

#[tokio::test]
async fn decisions_choose_status_header_fields_and_subprotocol() {
    async fn choose(
        Path(what): Path<String>,
        OfferedProtocols(offer): OfferedProtocols,
    ) -> Response {
        match &what[..] {
            "accept" => {
                let mut response = accept(async |session: Session| {
                    tell(&session, session.protocol().unwrap_or("none")).await
                });
                *response.status_mut() = StatusCode::CREATED;
                response.headers_mut().insert("x-a", "b".parse().unwrap());
                response.map(|outcome| outcome.with_protocol(offer[0].clone()))
            }
            "foreign" => Response::new(Outcome::default().with_protocol("never offered")),
            "empty" => StatusCode::OK.into_response(),
            "teapot" => StatusCode::IM_A_TEAPOT.into_response(),
            "early" => StatusCode::CONTINUE.into_response(),
            _ => panic!("for a test"),
        }
    }
    let running = start(ServerApp::new(config()).route("/{what}", decide(choose))).await;
    let session = running.connect("/accept").protocols(["p"]).await.unwrap();
    assert_eq!(session.status(), StatusCode::CREATED);
    assert_eq!(session.response_headers()["x-a"], "b");
    assert_eq!(told(&session).await, "p");
    let session = running.session("/empty").await;
    assert_eq!(ended(&session).await, (0, String::new()));
    let fault = StatusCode::INTERNAL_SERVER_ERROR;
    for (path, status) in [
        ("/teapot", StatusCode::IM_A_TEAPOT),
        ("/foreign", fault),
        ("/early", fault),
        ("/panic", fault),
    ] {
        assert_eq!(running.status(path).await, status, "{path}");
    }
    assert_eq!(running.app.stats().handlers_panicked, 1);
}

#[tokio::test]
async fn sessions_beyond_the_limit_are_refused_and_room_comes_back() {
    async fn waits(session: Session) {
        session.closed().await;
    }
    let limited = AppConfig::new().with_max_sessions(2);
    let running = start(
        ServerApp::new(config())
            .configure(limited)
            .route("/", waits),
    )
    .await;
    let first = running.session("/").await;
    let second = running.session("/").await;
    let status = running.status("/").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(second.close_reason().is_none());
    first.close(0, "");
    eventually(|| running.app.stats().sessions_active == 1).await;
    // The place is free a moment after the handler is through.
    let mut again = running.connect("/").await;
    while again.is_err() {
        again = running.connect("/").await;
    }
}
