//! Configures a server by names, watches what happens on it, and asks how everybody does.
//!
//! ```console
//! $ cargo run -p wt --example watching
//! connection_established connection_id=2 remote_address=127.0.0.1:40331
//! session_request connection_id=2 session_id=0 path=/watched
//! ...
//! session 0 established /watched, 1 streams open, up 0.0 s
//! ```
//!
//! Server and client are one program here, joined by loopback.

use std::{error::Error, time::Duration};

use wt::{
    BiStream, Client, ClientConfig, EventKind, Fault, Server, ServerConfig, ServerVerification,
    Session,
    core::{
        diagnostics::{ConnectionThresholds, SessionThresholds},
        manager::{ManagerConfig, SessionManager},
        observe::Observe,
    },
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A configuration for trying out, with two fields by name, and whatever `WT_...` says in the environment.
fn configure() -> Result<ServerConfig> {
    let mut config = ServerConfig::for_development()?;
    config.set("bind", "127.0.0.1:0")?;
    config.set("transport.idle_timeout", "20s")?;
    Ok(config.with_env()?)
}

/// Prints what happens on all connections of a server, until the last of them is over.
async fn print_events(server: &Server) {
    let mut events = server.endpoint().events();
    while let Some(event) = events.recv().await {
        match event {
            Ok(event) => {
                println!("{event}");
                if event.kind() == EventKind::ConnectionClosed {
                    break;
                }
            }
            // Who is too slow is told, and nobody waits for it.
            Err(lagged) => println!("{lagged}"),
        }
    }
}

/// Holds at most 100 sessions, each until it is over.
async fn serve(server: &Server) -> Result {
    let sessions = SessionManager::new(ManagerConfig::sessions().with_limit(100));
    while let Some(request) = server.accept().await {
        let session = request.accept().await?;
        if let Err(full) = sessions.add(session.clone()) {
            session.close(1, &full.to_string());
            continue;
        }
        tokio::spawn(async move {
            while let Ok(stream) = session.accept_bi().await {
                tokio::spawn(echo(stream));
            }
        });
    }
    println!("sessions: {:?}", sessions.stats());
    Ok(())
}

async fn echo(mut stream: BiStream) -> Result {
    tokio::io::copy(&mut stream.recv, &mut stream.send).await?;
    Ok(stream.send.finish()?)
}

/// Says how a session and its connection do, and what looks wrong with them.
fn report(session: &Session) {
    let connection = session.connection().diagnostics();
    println!("{connection}");
    for issue in connection.issues(&ConnectionThresholds::default()) {
        println!("  {issue}");
    }
    let diagnostics = session.diagnostics();
    println!("{diagnostics}");
    for issue in diagnostics.issues(&SessionThresholds::default()) {
        println!("  {issue}");
    }
    // The same as figures with names, which is what monitors take.
    for (name, value) in session.observe().fields() {
        println!("  {name} = {value}");
    }
}

#[tokio::main]
async fn main() -> Result {
    let config = configure()?;
    let hash = config.identity.certificate_hash();
    let server = Server::bind(&config)?;
    let address = server.local_addr()?;

    let talk = async {
        let trust = ServerVerification::Hashes(vec![hash]);
        let client = Client::new(ClientConfig::new().with_verification(trust))?;
        let session = client.connect(format!("https://{address}/watched")).await?;
        let mut stream = session.open_bi().await?;
        stream.send.write_all(b"hello").await?;
        stream.send.finish()?;
        stream.recv.read_to_end(100).await?;
        report(&session);
        drop(stream);
        session.close(0, "done");
        // A session that is over says so by an error, which knows what it is about.
        if let Err(error) = session.open_bi().await {
            println!("{}: {error}", error.category());
        }
        drop(session);
        client.close().await;
        Result::Ok(())
    };
    let watched = async {
        tokio::join!(print_events(&server), async {
            let talked = talk.await;
            server.close(Duration::from_secs(5)).await;
            talked
        })
    };
    let (served, (_, talked)) = tokio::join!(serve(&server), watched);
    served?;
    talked
}
