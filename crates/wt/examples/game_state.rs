//! A game server that tells all players the state of the game, many times a second, by datagrams.
//!
//! A position is of no use when it is late: it has a time to live, and the next one makes up for a lost one. What must
//! not be late has a high priority, and overtakes what waits. One payload is shared by all players, and a slow player
//! slows nobody.
//!
//! ```console
//! $ cargo run -p wt --example game_state --features datagram
//! ```
//!
//! Server and players run in this one process, over QUIC on loopback.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};
use wt::{
    Client, ClientConfig, Identity, Server, ServerConfig, ServerVerification,
    datagram::{Broadcaster, DatagramConfig, DatagramTransport, DropPolicy, Priority, SendOptions},
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The time between two states.
const TICK: Duration = Duration::from_millis(20);

const TICKS: u32 = 50;

#[tokio::main]
async fn main() -> Result {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let trust = ServerVerification::Hashes(vec![identity.certificate_hash()]);
    let server = Server::bind(&ServerConfig::new(identity).with_bind(([127, 0, 0, 1], 0).into()))?;
    let url = format!("https://{}/", server.local_addr()?);

    let names = ["ann", "bob", "cleo"];
    let game = Arc::new(Broadcaster::new());
    let client = Client::new(ClientConfig::new().with_verification(trust))?;
    let mut players = JoinSet::new();
    for name in names {
        players.spawn(play(client.clone(), url.clone(), name));
        let request = server.accept().await.ok_or("the server was closed")?;
        join(&game, request.accept().await?)?;
    }
    run(&game).await;

    while let Some(player) = players.join_next().await {
        player??;
    }
    client.close().await;
    server.close(Duration::from_secs(1)).await;
    Ok(())
}

/// Adds a player. At most 4 states wait for it; of more only the newest are of interest.
fn join(game: &Broadcaster, session: wt::Session) -> Result {
    let config = DatagramConfig::new().with_outgoing(4, DropPolicy::LowestPriority);
    game.add(&DatagramTransport::with_config(session, &config)?)?;
    println!("{} players", game.len());
    Ok(())
}

/// The game: something moves until somebody wins.
async fn run(game: &Broadcaster) {
    let late = SendOptions::new().ttl(2 * TICK);
    let urgent = SendOptions::new().priority(Priority::High);
    let mut ticks = time::interval(TICK);
    for tick in 0..TICKS {
        ticks.tick().await;
        let angle = f64::from(tick) / 10.0;
        let state = format!("tick {tick}: ball at {:.2} {:.2}", angle.cos(), angle.sin());
        game.broadcast(state, late);
        if tick % 20 == 19 {
            game.broadcast(format!("goal in tick {tick}"), urgent);
        }
    }
    // A datagram may be lost: what all have to know is said until they have left.
    while game.broadcast("the end", urgent).sent > 0 {
        ticks.tick().await;
    }
}

/// A player: looks at what comes, and leaves when the game is over.
async fn play(client: Client, url: String, name: &str) -> Result {
    let transport = DatagramTransport::new(client.connect(url).await?)?;
    let mut states = 0;
    loop {
        let datagram = transport.receive().await?;
        match std::str::from_utf8(&datagram)? {
            "the end" => break,
            goal if goal.starts_with("goal") => println!("{name}: {goal}!"),
            _ => states += 1,
        }
    }
    println!("{name} saw the end of the game and {states} of {TICKS} states");
    transport.session().close(0, "good game");
    Ok(())
}
