//! A game: players join on a stream, which loses nothing, and move by datagrams, of which only the
//! newest counts.
//!
//! ```console
//! $ cargo run -p wt --example game_messages --features msgpack
//! Ada is player 1
//! player 1 is at 3.0, 0.5 (move 6)
//! the server saw the moves go forward up to 6
//! ```
//!
//! Server and client are in one program here, which makes its own certificate.

use std::{error::Error, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification, Session,
    messaging::{
        messages,
        serializer::MessagePack,
        structured::{StructuredDatagramTransport, StructuredStream},
    },
};

#[derive(Debug, Serialize, Deserialize)]
struct Join {
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Welcome {
    player: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Move {
    player: u32,
    number: u64,
    x: f64,
    y: f64,
}

messages! {
    /// What goes on streams: it has to arrive.
    #[derive(Debug)]
    enum Event {
        Join(Join) = 1,
        Welcome(Welcome) = 2,
    }
}

messages! {
    /// What goes in datagrams: the next one makes up for a lost one.
    #[derive(Debug)]
    enum Update {
        Move(Move) = 16,
    }
}

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many moves are made.
const MOVES: u64 = 6;

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["localhost"])?;
    let hash = identity.certificate_hash();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(&ServerConfig::new(identity).with_bind(loopback))?;
    let port = server.local_addr()?.port();
    let serving = tokio::spawn(serve(server.clone()));

    let config = ClientConfig::new().with_verification(ServerVerification::Hashes(vec![hash]));
    let client = Client::new(config)?;
    let session = client
        .connect(format!("https://localhost:{port}/game"))
        .await?;
    play(&session, "Ada").await?;
    session.close(0, "done");

    let seen = serving.await??;
    println!("the server saw the moves go forward up to {seen}");
    drop(session);
    client.close().await;
    server.close(Duration::from_secs(1)).await;
    Ok(())
}

async fn play(session: &Session, name: &str) -> Result {
    let mut events = StructuredStream::<Event, _>::open(session, MessagePack::new()).await?;
    events
        .send(Join {
            name: name.to_owned(),
        })
        .await?;
    let Some(Event::Welcome(Welcome { player })) = events.recv().await? else {
        return Err("not welcome".into());
    };
    println!("{name} is player {player}");

    let updates =
        StructuredDatagramTransport::<Update, _>::new(session.clone(), MessagePack::new());
    let step = |number| {
        let (x, y) = (number as f64 / 2.0, 0.5);
        updates.send(Move {
            player,
            number,
            x,
            y,
        })
    };
    for number in 1..=MOVES {
        step(number).await?;
    }
    // The server sends back where everybody is; the last word is what counts. When it is lost, the
    // last move is made again.
    loop {
        let Ok(update) = timeout(Duration::from_millis(200), updates.recv()).await else {
            step(MOVES).await?;
            continue;
        };
        let Update::Move(at) = update?;
        if at.number == MOVES {
            println!(
                "player {} is at {:?}, {:?} (move {MOVES})",
                at.player, at.x, at.y
            );
            return Ok(());
        }
    }
}

/// Serves one player and returns the number of the newest move.
async fn serve(server: Server) -> Result<u64> {
    let request = server.accept().await.ok_or("closed")?;
    let session = request.accept().await?;

    let mut events = StructuredStream::<Event, _>::accept(&session, MessagePack::new()).await?;
    let Some(Event::Join(_)) = events.recv().await? else {
        return Err("nobody joins".into());
    };
    events.send(Welcome { player: 1 }).await?;

    let updates = StructuredDatagramTransport::<Update, _>::new(session, MessagePack::new());
    let mut newest = 0;
    loop {
        match updates.recv().await {
            // Datagrams may overtake each other: what is older than the newest is out of date.
            Ok(Update::Move(step)) if step.number >= newest => {
                newest = step.number;
                updates.send(step).await?;
            }
            Ok(Update::Move(_)) => {}
            // A datagram that is no message costs nobody the game.
            Err(error) if !error.is_end() => println!("{error}"),
            Err(_) => return Ok(newest),
        }
    }
}
