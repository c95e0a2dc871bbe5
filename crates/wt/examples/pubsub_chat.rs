//! A chat: rooms are topics, and the server decides who may read and write them.
//!
//! ```console
//! $ cargo run -p wt --example pubsub_chat --features messaging
//! ada reads rooms/lobby: Ada is here
//! grace may not read rooms/staff: only for ada
//! grace reads rooms/lobby: Ada is here
//! ada reads rooms/lobby: hello, Ada
//! grace reads rooms/lobby: hello, Ada
//! ada reads rooms/lobby: hello, Grace
//! grace reads rooms/lobby: hello, Grace
//! the server counts 3 messages, delivered 6 times
//! ```
//!
//! Server and clients are in one program here, which makes its own certificate.

use std::{error::Error, net::SocketAddr};

use futures_util::StreamExt as _;
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    messaging::pubsub::{
        Access, BrokerConfig, Denied, MemoryBroker, Message, PubSub, PubSubError, PubSubService,
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity::self_signed(["localhost"])?;
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(&ServerConfig::new(identity).with_bind(loopback))?;
    let port = server.local_addr()?.port();

    // The last message of each room is kept for those who come later.
    let broker = MemoryBroker::with_config(BrokerConfig::new().with_history(1));
    let service = PubSubService::new(broker.clone()).with_authorize(may);
    let serving = tokio::spawn(serve(server.clone(), service));

    let config = ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Client::new(config)?;
    let ada = client
        .connect(format!("https://localhost:{port}/ada"))
        .await?;
    let grace = client
        .connect(format!("https://localhost:{port}/grace"))
        .await?;

    // Ada reads all rooms, what she says herself among it.
    let ada = PubSub::open(&ada).await?;
    let mut rooms = ada.subscribe("rooms/#").await?;
    ada.publish("rooms/lobby", "Ada is here").await?;
    show("ada", rooms.next().await);

    // Grace may not read everything. What was said last in the lobby comes first.
    let grace = PubSub::open(&grace).await?;
    if let Err(PubSubError::Refused { pattern, reason }) = grace.subscribe("rooms/staff").await {
        println!("grace may not read {pattern}: {reason}");
    }
    let mut lobby = grace.subscribe("rooms/lobby").await?;
    show("grace", lobby.next().await);

    grace.publish("rooms/lobby", "hello, Ada").await?;
    show("ada", rooms.next().await);
    show("grace", lobby.next().await);
    ada.publish("rooms/lobby", "hello, Grace").await?;
    show("ada", rooms.next().await);
    show("grace", lobby.next().await);

    let stats = broker.stats();
    println!(
        "the server counts {} messages, delivered {} times",
        stats.published, stats.delivered
    );

    ada.close().await?;
    grace.close().await?;
    client.close().await;
    server.close(std::time::Duration::from_secs(1)).await;
    serving.await?;
    Ok(())
}

fn show(who: &str, message: Option<Message>) {
    if let Some(message) = message {
        let text = message.text().unwrap_or("no text");
        println!("{who} reads {}: {text}", message.topic());
    }
}

/// Accepts everybody; the path says who it is. A real server asks for a token.
async fn serve(server: Server, service: PubSubService) {
    while let Some(request) = server.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            if let Ok(session) = request.accept().await {
                service.serve(&session).await;
            }
        });
    }
}

/// Everybody may do everything but read what is for the staff.
fn may(session: &Session, access: Access<'_>) -> Result<(), Denied> {
    match access {
        Access::Subscribe(pattern)
            if pattern.as_str() != "rooms/lobby" && session.path() != "/ada" =>
        {
            Err(Denied::new("only for ada"))
        }
        _ => Ok(()),
    }
}
