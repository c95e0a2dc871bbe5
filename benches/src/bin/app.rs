//! What `ServerApp` and `Client` cost beside bare endpoints of `wt-core`.
//!
//! Server and client are processes of their own, and the two kinds take turns. It prints what came of three
//! bars:
//!
//! - finding one of 1000 routes, middleware and extractors together take under 2 % of the CPU time of
//!   setting up a session;
//! - sessions are set up at 0.95 or more of the rate of bare endpoints;
//! - 2000 sessions at once, with a rate limiter and an access log, fail nowhere, and each takes at most 1.1
//!   times the server's memory of one at a bare endpoint.
//!
//! ```console
//! $ cargo run --release -p wt-benches --bin app
//! ```

#[path = "../process.rs"]
mod process;

/// What `process` takes from the comparison.
mod stack {
    pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> =
        std::result::Result<T, E>;
}

use std::{
    collections::HashMap,
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use tokio::{task::JoinSet, time::sleep};
use wt::{
    CertificateHash, Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification,
    Session,
    core::{Connection, Endpoint},
    http::HeaderMap,
    server::{
        AppConfig, Request, Response, Route, Router,
        extract::{Path, Query, State},
        middleware::{AccessLog, Next, RateLimit, from_fn},
    },
};

use crate::{process::Usage, stack::Result};

/// What the application layer costs beside the core.
#[derive(Debug, Parser)]
struct Args {
    /// Sessions set up in a round.
    #[arg(long, default_value_t = 400)]
    sessions: usize,
    /// Sessions open at once.
    #[arg(long, default_value_t = 2000)]
    idle: usize,
    /// Rounds of each kind.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Shows only that it works: no bars.
    #[arg(long)]
    smoke: bool,
    /// Runs a server.
    #[arg(long, hide = true)]
    serve: Option<Kind>,
    /// Runs a client.
    #[arg(long, hide = true)]
    dial: Option<Kind>,
    #[arg(long, hide = true)]
    address: Option<String>,
    /// Holds the sessions and measures memory.
    #[arg(long, hide = true)]
    hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Endpoints of the core.
    Bare,
    /// An application and a client.
    App,
}

const ROUTES: usize = 1000;
/// One in the middle.
const PATH: &str = "/route500/lobby/chat?name=ann";

const MAX_COST: f64 = 0.02;
const MIN_RATE: f64 = 0.95;
const MAX_MEMORY: f64 = 1.1;

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match (args.serve, args.dial) {
        (Some(kind), _) => runtime.block_on(serve(kind))?,
        (None, Some(kind)) => runtime.block_on(dial(args, kind))?,
        (None, None) => return compare(args, runtime.block_on(decide(args))?),
    }
    // Nobody has to be told that this process ends.
    std::process::exit(0);
}

// ---- the servers

/// The application that is measured.
fn app(config: ServerConfig) -> ServerApp<Arc<str>> {
    let settings = AppConfig::default();
    let mut app = ServerApp::with_state(config, "state".into()).configure(settings);
    for number in 0..ROUTES {
        app = app.route(route(number), held);
    }
    app.layer(limit()).layer(from_fn(pass))
}

fn route(number: usize) -> String {
    format!("/route{number}/{{room}}/chat")
}

/// Never reached.
fn limit() -> RateLimit {
    RateLimit::new(1_000_000, Duration::from_secs(1))
}

/// Looks at the request as middleware of an application does.
async fn pass(request: Request, next: Next) -> Response {
    let _token = request.headers().get("authorization").cloned();
    next.run(request).await
}

async fn held(
    session: Session,
    Path(_room): Path<String>,
    Query(_query): Query<HashMap<String, String>>,
    State(_state): State<Arc<str>>,
) {
    session.closed().await;
}

async fn serve(kind: Kind) -> Result<()> {
    // The log is written, and thrown away.
    tracing_subscriber::fmt().with_writer(io::sink).init();
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let hash = identity.certificate_hash().to_hex();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let usage = process::answer()?;
    let ready = |quic: SocketAddr| writeln!(io::stdout(), "{quic} {usage} {hash}");
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    match kind {
        Kind::Bare => {
            let endpoint = Endpoint::server(&config)?;
            ready(endpoint.local_addr()?)?;
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(async move {
                    if let Ok(connection) = Box::pin(incoming.accept()).await {
                        serve_bare(connection).await;
                    }
                });
            }
        }
        Kind::App => {
            let running = app(config).start().await?;
            ready(running.local_addr()?)?;
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

async fn serve_bare(connection: Connection) {
    while let Ok(request) = connection.accept_session().await {
        tokio::spawn(async move {
            if let Ok(session) = Box::pin(request.accept()).await {
                session.closed().await;
            }
        });
    }
}

// ---- the clients

#[derive(Clone)]
enum Dialer {
    Bare(Endpoint, SocketAddr),
    App(Client, String),
}

impl Dialer {
    async fn connect(&self) -> Result<Session> {
        match self {
            Self::Bare(endpoint, address) => {
                let connection = endpoint.connect(*address, "127.0.0.1").await?;
                let (host, none) = (address.to_string(), HeaderMap::new());
                Ok(connection.open_session(&host, PATH, none, &[]).await?)
            }
            Self::App(client, url) => Ok(client.connect(url).await?),
        }
    }

    /// Makes sessions, so many at a time.
    async fn sessions(&self, count: usize, flight: usize) -> Result<Vec<Session>> {
        let mut tasks = JoinSet::new();
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            if tasks.len() >= flight {
                sessions.extend(tasks.join_next().await.transpose()?.transpose()?);
            }
            let dialer = self.clone();
            tasks.spawn(async move { dialer.connect().await });
        }
        while let Some(session) = tasks.join_next().await {
            sessions.push(session??);
        }
        Ok(sessions)
    }
}

async fn dial(args: &Args, kind: Kind) -> Result<()> {
    let words = args.address.as_deref().unwrap_or_default();
    let [address, usage, hash] = words.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(format!("not the address of a server: {words:?}").into());
    };
    let usage = usage.parse()?;
    let hash: CertificateHash = hash.parse()?;
    let verification = ServerVerification::Hashes(vec![hash]);
    let config = ClientConfig::new()
        .with_bind(([127, 0, 0, 1], 0).into())
        .with_verification(verification);
    let dialer = match kind {
        Kind::Bare => Dialer::Bare(Endpoint::client(&config)?, address.parse()?),
        Kind::App => Dialer::App(Client::new(config)?, format!("https://{address}{PATH}")),
    };
    let figures = match args.hold {
        true => hold(&dialer, usage, args.idle).await?,
        false => set_up(&dialer, usage, args.sessions).await?,
    };
    writeln!(io::stdout(), "{} {}", figures.0, figures.1)?;
    Ok(())
}

/// Sessions a second, one by one, and the CPU time of both ends for each in µs.
async fn set_up(dialer: &Dialer, usage: SocketAddr, count: usize) -> Result<(f64, f64)> {
    let warm = dialer.sessions(count / 10 + 1, 1).await?;
    let cpu = || {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Usage::of(usage)?.cpu + Usage::here().cpu)
    };
    let (before, start) = (cpu()?, Instant::now());
    let sessions = dialer.sessions(count, 1).await?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let cpu = (cpu()? - before).as_secs_f64() * 1e6 / count as f64;
    all_open(warm.iter().chain(&sessions))?;
    Ok((rate, cpu))
}

/// The server's memory for each session in KiB, and how many there are.
async fn hold(dialer: &Dialer, usage: SocketAddr, count: usize) -> Result<(f64, f64)> {
    // What the first ones take, later ones share.
    let first = dialer.sessions(count / 4, 8).await?;
    sleep(Duration::from_secs(1)).await;
    let before = Usage::of(usage)?.resident;
    let sessions = dialer.sessions(count - first.len(), 8).await?;
    sleep(Duration::from_secs(1)).await;
    let after = Usage::of(usage)?.resident;
    all_open(first.iter().chain(&sessions))?;
    let kib = after.saturating_sub(before) as f64 / 1024.0;
    Ok((
        kib / sessions.len() as f64,
        (first.len() + sessions.len()) as f64,
    ))
}

fn all_open<'a>(sessions: impl Iterator<Item = &'a Session>) -> Result<()> {
    for session in sessions {
        if let Some(end) = session.close_reason() {
            return Err(format!("a session ended: {end}").into());
        }
    }
    Ok(())
}

// ---- finding the handler

/// CPU time in µs of all that happens between a request and its answer: middleware, one of 1000 routes,
/// extractors. One thread does it, so it is the time of that thread.
async fn decide(args: &Args) -> Result<f64> {
    let request = some_request().await?;
    let mut router = Router::new();
    for number in 0..ROUTES {
        router = router.route(route(number), held);
    }
    let routes = router.with_state::<()>("state".into()).build()?;
    let inner = tower_layer::Layer::layer(&limit(), Route::new(routes));
    let inner = tower_layer::Layer::layer(&from_fn(pass), Route::new(inner));
    let mut service = tower_layer::Layer::layer(&AccessLog::new(), Route::new(inner));
    let count = if args.smoke { 100 } else { 20_000 };
    let mut times = Vec::new();
    for _ in 0..args.rounds {
        let requests: Vec<Request> = std::iter::repeat_n(request.clone(), count).collect();
        let start = Usage::here().cpu;
        for request in requests {
            let answer = tower_service::Service::call(&mut service, request).await;
            let answer = answer.map_err(|_| "the application did not answer")?;
            if !answer.status().is_success() {
                return Err(format!("refused: {}", answer.status()).into());
            }
        }
        let taken = Usage::here().cpu - start;
        times.push(taken.as_secs_f64() * 1e6 / count as f64);
    }
    Ok(median(times))
}

/// A request as it comes to middleware.
async fn some_request() -> Result<Request> {
    let seen = Arc::new(Mutex::new(None));
    let keep = seen.clone();
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into());
    let keep = from_fn(move |request: Request, next: Next| {
        if let Ok(mut keep) = keep.lock() {
            *keep = Some(request.clone());
        }
        next.run(request)
    });
    let running = app(config).layer(keep).start().await?;
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let session = client
        .connect(format!("https://{}{PATH}", running.local_addr()?))
        .await?;
    let request = seen.lock().ok().and_then(|mut seen| seen.take());
    session.close(0, "");
    client.close().await;
    running.shut_down().await?;
    request.ok_or_else(|| "no request came".into())
}

// ---- the comparison

/// A process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(args: &[&str]) -> Result<Self> {
        let child = Command::new(env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }
}

/// One run of a kind: its two figures.
fn one(args: &Args, kind: Kind, hold: bool) -> Result<(f64, f64)> {
    let name = match kind {
        Kind::Bare => "bare",
        Kind::App => "app",
    };
    let mut server = Process::start(&["--serve", name])?;
    let stdout = server.0.stdout.take().ok_or("no output")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    let (sessions, idle) = (args.sessions.to_string(), args.idle.to_string());
    let mut more = vec!["--dial", name, "--address", address.trim()];
    more.extend(["--sessions", &sessions, "--idle", &idle]);
    more.extend(hold.then_some("--hold"));
    let mut client = Process::start(&more)?;
    let mut text = String::new();
    let mut stdout = client.0.stdout.take().ok_or("no output")?;
    stdout.read_to_string(&mut text)?;
    let mut fields = text.split_whitespace().map(str::parse::<f64>);
    let mut next = || fields.next().ok_or("a client failed");
    Ok((next()??, next()??))
}

fn compare(args: &Args, decided: f64) -> Result<bool> {
    let mut rates = Vec::new();
    let mut cpus = Vec::new();
    for round in 0..args.rounds {
        // Who is first may have it easier.
        let (bare, app) = if round % 2 == 0 {
            let bare = one(args, Kind::Bare, false)?;
            (bare, one(args, Kind::App, false)?)
        } else {
            let app = one(args, Kind::App, false)?;
            (one(args, Kind::Bare, false)?, app)
        };
        println!(
            "set-up: bare {:.0}/s, {:.0} µs; app {:.0}/s, {:.0} µs",
            bare.0, bare.1, app.0, app.1
        );
        rates.push(app.0 / bare.0);
        cpus.push((bare.1, app.1 / bare.1));
    }
    let rate = median(rates);
    let cpu = median(cpus.iter().map(|(bare, _)| *bare).collect());
    let more = median(cpus.iter().map(|(_, ratio)| *ratio).collect());
    let mut memory = Vec::new();
    for _ in 0..if args.smoke { 1 } else { 3 } {
        let bare = one(args, Kind::Bare, true)?;
        let app = one(args, Kind::App, true)?;
        println!(
            "{} idle sessions: bare {:.2} KiB each, app {:.2} KiB each",
            app.1, bare.0, app.0
        );
        memory.push(app.0 / bare.0);
    }
    let (cost, memory) = (decided / cpu, median(memory));
    println!();
    println!(
        "one of {ROUTES} routes, middleware and extractors: {decided:.2} µs, {:.2} % of a set-up (bar: {} %)",
        cost * 100.0,
        MAX_COST * 100.0
    );
    println!("rate of set-up: {rate:.3} of the bare one (bar: {MIN_RATE}); CPU: {more:.3}");
    println!("memory of an idle session: {memory:.3} of the bare one (bar: {MAX_MEMORY})");
    let reached = cost < MAX_COST && rate >= MIN_RATE && memory <= MAX_MEMORY;
    Ok(args.smoke || reached)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
