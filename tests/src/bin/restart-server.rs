//! A server that notes down what it is told before it acknowledges it, and can be replaced by another
//! process without losing anything.
//!
//! Each bidirectional stream of a session carries one message: what it says is appended to the record,
//! with the process's id, and then answered with that id.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use wt::{
    Identity, ServerApp, ServerConfig, Session,
    server::{AppConfig, BoxError, Shutdown, extract::State},
};
use wt_tests::{interop::init_log, restart::MAX_MESSAGE};

#[derive(Parser)]
struct Args {
    /// Address and UDP port to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Its private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// The file that messages are noted down in.
    #[arg(long)]
    record: PathBuf,
    /// The control socket.
    #[arg(long)]
    control: PathBuf,
    /// Seconds to finish in.
    #[arg(long)]
    grace: u64,
}

async fn serve(session: Session, State(record): State<Arc<File>>) -> Result<(), BoxError> {
    while let Ok(mut stream) = session.accept_bi().await {
        let message = stream.recv.read_to_end(MAX_MESSAGE).await?;
        let words = message.split(|byte| *byte == b'\n').next();
        let words = std::str::from_utf8(words.unwrap_or_default())?;
        // One write to a file that is appended to: lines of several processes do not mix.
        let line = format!("{words} {}\n", std::process::id());
        (&*record).write_all(line.as_bytes())?;
        let answer = std::process::id().to_string();
        stream.send.write_all(answer.as_bytes()).await?;
        stream.send.finish()?;
    }
    Ok(())
}

async fn run(args: Args) -> Result<(), BoxError> {
    let record = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&args.record)?;
    let identity = Identity::from_pem_files(&args.cert, &args.key)?;
    let grace = Duration::from_secs(args.grace);
    let shutdown = Shutdown::new(grace).with_close(4001, "restarting");
    let app = ServerApp::with_state(
        ServerConfig::new(identity).with_bind(args.listen),
        Arc::new(record),
    )
    .configure(AppConfig::new().with_shutdown(shutdown))
    .takeover(args.control)
    .route("/", serve);
    let mut terminate = terminated()?;
    let running = app.start().await?;
    println!("{}", running.local_addr()?.port());
    tokio::select! {
        () = terminate.wait() => {}
        () = running.handed_over() => {}
    }
    running.shut_down().await?;
    Ok(())
}

#[cfg(unix)]
struct Terminate(tokio::signal::unix::Signal);

#[cfg(unix)]
impl Terminate {
    async fn wait(&mut self) {
        self.0.recv().await;
    }
}

#[cfg(unix)]
fn terminated() -> std::io::Result<Terminate> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate()).map(Terminate)
}

#[cfg(not(unix))]
struct Terminate;

#[cfg(not(unix))]
impl Terminate {
    async fn wait(&mut self) {
        std::future::pending().await
    }
}

#[cfg(not(unix))]
fn terminated() -> std::io::Result<Terminate> {
    Ok(Terminate)
}

#[tokio::main]
async fn main() -> ExitCode {
    init_log();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
