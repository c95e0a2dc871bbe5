//! Keeps a session to a server that goes away and comes back.
//!
//! ```console
//! $ cargo run -p wt --example reconnect
//! connected, attempt 1
//! round 1: hello
//! lost: the session was closed by the peer with code 0
//! next attempt in 131 ms
//! connected, attempt 2
//! ...
//! ```
//!
//! Server and client are in one process, and the server is restarted between the rounds.

use std::{error::Error, net::Ipv4Addr, time::Duration};

use wt::{
    Client, ClientConfig, Identity, ReconnectEvent, ReconnectingClient, RetryPolicy, Server,
    ServerConfig, ServerVerification, core::events::Events,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let verification = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let mut server = listen(&identity, 0).await?;
    let port = server.local_addr()?.port();

    let client = Client::new(ClientConfig::new().with_verification(verification))?;
    let connect = client.connect(format!("https://127.0.0.1:{port}/"));
    // Pauses of at most 200, 400, 800 and then 1000 ms, drawn at random; never gives up.
    let policy = RetryPolicy::new().with_delay(Duration::from_millis(200), Duration::from_secs(1));
    let (echo, events) = ReconnectingClient::with_events(connect, policy)?;
    let printer = tokio::spawn(print(events));

    for round in 1..=3 {
        // Waits until there is a session that is open.
        let session = echo.session().await?;
        let mut stream = session.open_bi().await?;
        stream.send.write_all(b"hello").await?;
        stream.send.finish()?;
        let answer = stream.recv.read_to_end(1024).await?;
        println!("round {round}: {}", String::from_utf8_lossy(&answer));

        if round == 3 {
            break;
        }
        server.close(Duration::from_millis(100)).await;
        drop(server);
        session.closed().await;
        server = listen(&identity, port).await?;
    }
    // No further sessions; the events end.
    echo.close().await;
    printer.await?;
    let stats = echo.stats();
    println!(
        "{} sessions, {} of them lost",
        stats.established, stats.lost
    );
    client.close().await;
    Ok(())
}

/// Says what happens, until nothing more can.
async fn print(mut events: Events<ReconnectEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            Ok(ReconnectEvent::Established { attempt, .. }) => {
                println!("connected, attempt {attempt}");
            }
            Ok(ReconnectEvent::Lost { error, .. }) => println!("lost: {error}"),
            Ok(ReconnectEvent::Waiting { delay, .. }) => {
                println!("next attempt in {} ms", delay.as_millis());
            }
            Ok(ReconnectEvent::Failed(error)) => println!("gave up: {error}"),
            Ok(_) => {}
            Err(lagged) => println!("{lagged}"),
        }
    }
}

/// Starts an echo server; on a port that was used just before, as soon as it is free.
async fn listen(identity: &Identity, port: u16) -> Result<Server> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let config = ServerConfig::new(identity.clone()).with_bind(address);
    let mut tries = 0;
    let server = loop {
        match Server::bind(&config) {
            Ok(server) => break server,
            Err(error) if tries == 500 => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        tries += 1;
    };
    let accepting = server.clone();
    tokio::spawn(async move {
        while let Some(request) = accepting.accept().await {
            tokio::spawn(async move {
                let Ok(session) = request.accept().await else {
                    return;
                };
                while let Ok(mut stream) = session.accept_bi().await {
                    if tokio::io::copy(&mut stream.recv, &mut stream.send)
                        .await
                        .is_ok()
                    {
                        let _ = stream.send.finish();
                    }
                }
            });
        }
    });
    Ok(server)
}
