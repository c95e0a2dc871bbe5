//! A server with a dashboard: a page for those who look after it, behind a token.
//!
//! ```console
//! $ cargo run -p wt --features dashboard --example dashboard
//! the page: http://localhost:40389/?token=5f1c
//! without the token: 403 Forbidden
//! app 127.0.0.1:57242: healthy
//! sessions: 2
//! sessions: 2
//! ```
//!
//! With `--stay` it goes on, so that you can open the page.

use std::time::Duration;

use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerMonitor, ServerVerification,
    Session,
    http::StatusCode,
    monitor::{
        MonitorConfig,
        dashboard::Dashboard,
        feed::{Feed, FeedConfig, Line, Token},
        http::{HttpConfig, HttpListener, Pages},
    },
    server::{
        BoxError, IntoResponse, Request, Router, RunningApp,
        middleware::{self, Next},
    },
};

/// Where the feed is.
const MONITOR: &str = "/monitor";

/// A server with a dashboard. Everything ends when this is dropped.
pub(crate) struct Watched {
    pub(crate) app: RunningApp,
    pub(crate) page: String,
    _listener: HttpListener,
    _monitor: ServerMonitor,
}

/// Pages cannot set header fields, so the token is in the query.
fn guarded(feed: Feed, token: Token) -> Router {
    let check = move |request: Request, next: Next| {
        let token = token.clone();
        async move {
            match token.is_in(request.uri().query()) {
                true => next.run(request).await,
                false => StatusCode::FORBIDDEN.into_response(),
            }
        }
    };
    Router::new()
        .route(MONITOR, move |session: Session| {
            let feed = feed.clone();
            async move { feed.serve(session).await }
        })
        .layer(middleware::from_fn(check))
}

/// Serves `routes`, the feed and the page.
pub(crate) async fn start(routes: Router, token: Token) -> Result<Watched, BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let feed = Feed::new(FeedConfig::default());
    let app = ServerApp::new(config)
        .merge(routes)
        .merge(guarded(feed.clone(), token.clone()))
        .start()
        .await?;

    // The rules are those for servers; more can be added.
    let rules = MonitorConfig::server().with_interval(Duration::from_secs(1));
    let monitor = ServerMonitor::with_config(app.watch(), rules)?;
    monitor.start()?;
    feed.attach(&monitor);

    let url = format!("https://{}{MONITOR}", app.local_addr()?);
    let page = Dashboard::new(url)
        .with_certificate(hash)
        .with_token(token.clone());
    let pages = page.serve_at(Pages::new(), "/");
    let address = ([127, 0, 0, 1], 0).into();
    let listener = HttpListener::bind(address, pages, HttpConfig::default()).await?;
    let port = listener.local_addr().port();
    Ok(Watched {
        app,
        page: format!("http://localhost:{port}/?{}", token.to_query()),
        _listener: listener,
        _monitor: monitor,
    })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let token: Token = "5f1c".parse()?;
    let routes = Router::new().route("/", async |session: Session| {
        session.closed().await;
    });
    let watched = start(routes, token.clone()).await?;
    println!("the page: {}", watched.page);
    if std::env::args().any(|arg| arg == "--stay") {
        std::future::pending::<()>().await;
    }

    // What the page does, by hand.
    let hash = watched.app.server().config().identity.certificate_hash();
    let trust = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let url = format!("https://{}{MONITOR}", watched.app.local_addr()?);
    if let Err(error) = client.connect(&url).await {
        let status = error.status().ok_or("no answer")?;
        println!("without the token: {status}");
    }
    let _visitor = client
        .connect(format!("https://{}/", watched.app.local_addr()?))
        .await?;
    let session = client
        .connect(format!("{url}?{}", token.to_query()))
        .await?;
    let mut stream = session.accept_uni().await?;
    let mut name = String::new();
    let mut shown = 0;
    while shown < 2 {
        let line = stream.read_until(b"\n", Line::LONGEST).await?;
        match Line::parse(&line)? {
            Line::Hello(hello) => name = format!("{} {}", hello.kind, hello.id),
            // Those from before the visitor came are left out here.
            Line::Reading(now) if now.gauges.get("sessions") == Some(&2.0) => {
                if let Some(health) = now.health.filter(|_| shown == 0) {
                    println!("{name}: {}", health.status);
                }
                println!("sessions: {}", now.gauges["sessions"]);
                shown += 1;
            }
            _ => {}
        }
    }
    session.close(0, "");
    client.close().await;
    Ok(watched.app.shut_down().await?)
}
