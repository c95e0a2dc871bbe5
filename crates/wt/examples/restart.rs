//! A server is replaced by another one while a client sends to it, and nothing is lost.
//!
//! Both servers are in this program, so that it can be run by itself; in earnest they are two
//! processes that are started with the same path, address and certificate.
//!
//! ```console
//! $ cargo run -p wt --example restart
//! ```

use std::{
    collections::BTreeMap,
    error::Error,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use wt::{
    Client, ClientConfig, Identity, ServerApp, ServerConfig, ServerVerification, Session,
    client::{ReconnectingClient, RetryPolicy},
    server::{AppConfig, AppError, BoxError, RunningApp, Shutdown},
};

/// What both servers write to: which of them has noted down which message.
type Record = Arc<Mutex<BTreeMap<String, &'static str>>>;

/// How long sessions may go on after another server has come.
const GRACE: Duration = Duration::from_secs(10);

/// Notes messages down, each of which is a stream, and acknowledges them afterwards.
async fn take_notes(
    session: Session,
    record: Record,
    server: &'static str,
) -> Result<(), BoxError> {
    while let Ok(mut stream) = session.accept_bi().await {
        let message = String::from_utf8(stream.recv.read_to_end(1024).await?.to_vec())?;
        {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.insert(message, server);
        }
        stream.send.write_all(server.as_bytes()).await?;
        stream.send.finish()?;
    }
    Ok(())
}

/// Starts a server, which takes the port over where there is one already.
async fn start(
    config: ServerConfig,
    control: &Path,
    record: &Record,
    name: &'static str,
) -> Result<RunningApp, AppError> {
    let record = record.clone();
    let shutdown = Shutdown::new(GRACE).with_close(4001, "restarting");
    let config_of_app = AppConfig::new().with_shutdown(shutdown);
    ServerApp::new(config)
        .configure(config_of_app)
        .takeover(control)
        .route("/", move |session| {
            take_notes(session, record.clone(), name)
        })
        .start()
        .await
}

/// Runs a server until another one has its port, then lets its sessions finish.
async fn run(app: RunningApp) -> Result<(), AppError> {
    // `ServerApp::serve` does this by itself.
    app.handed_over().await;
    app.shut_down().await
}

/// Sends one message and waits until it is acknowledged.
async fn tell(session: &Session, message: &str) -> Result<String, BoxError> {
    let mut stream = session.open_bi().await?;
    stream.send.write_all(message.as_bytes()).await?;
    stream.send.finish()?;
    let answer = stream.recv.read_to_end(64).await?;
    Ok(String::from_utf8(answer.to_vec())?)
}

/// Sends a message until it is acknowledged, on as many sessions as it takes.
async fn deliver(link: &ReconnectingClient, message: &str) -> Result<String, Box<dyn Error>> {
    loop {
        let session = link.session().await?;
        match tell(&session, message).await {
            Ok(server) => return Ok(server),
            // Whether it was noted down nobody knows: it is sent again.
            Err(error) => println!("{message} was not acknowledged: {error}"),
        }
    }
}

/// Gives up each session as soon as it is asked to finish, so that the next one is with the new server.
async fn move_on(link: ReconnectingClient) {
    while let Ok(session) = link.session().await {
        if session.draining().await.is_ok() {
            session.close(0, "moving on");
        }
        session.closed().await;
    }
}

fn control() -> PathBuf {
    std::env::temp_dir().join(format!("wt-example-{}", std::process::id()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if cfg!(not(unix)) {
        println!("A port can be taken over on systems with Unix sockets only.");
        return Ok(());
    }
    let (control, record) = (control(), Record::default());
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let config = ServerConfig::new(identity).with_bind((Ipv4Addr::LOCALHOST, 0).into());

    let old = start(config.clone(), &control, &record, "the old server").await?;
    let url = format!("https://{}/", old.local_addr()?);
    let old = tokio::spawn(run(old));

    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let policy = RetryPolicy::new().with_delay(Duration::from_millis(20), Duration::from_secs(1));
    let link = client.connect(url).reconnecting(policy)?;
    let moving = tokio::spawn(move_on(link.clone()));
    let mut new = None;
    for number in 1..=20 {
        if number == 6 {
            new = Some(start(config.clone(), &control, &record, "the new server").await?);
        }
        let message = format!("message {number}");
        let server = deliver(&link, &message).await?;
        println!("{message} was acknowledged by {server}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    old.await??;
    println!("The old server has ended.");

    link.close().await;
    moving.await?;
    let noted = record
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    assert_eq!(noted.len(), 20, "every message is there");
    assert_eq!(noted["message 1"], "the old server");
    assert_eq!(noted["message 20"], "the new server");
    if let Some(new) = new {
        new.shut_down().await?;
    }
    println!("Nothing was lost.");
    Ok(())
}
