//! A chat with rooms: what one says in a room, the others in it hear.
//!
//! ```console
//! $ cargo run -p wt --example chat
//! ann hears: ann is here
//! bob hears: bob is here
//! ann hears: bob is here
//! bob hears: ann: hello
//! ann hears: ann: hello
//! ann hears: bob left
//! $ cargo run -p wt --example chat -- '[::]:4433'
//! ```
//!
//! Without an address, two clients in the same process talk to each other and it ends; with one, it
//! serves pages until Ctrl-C, and prints the hash of its certificate for them. The guide
//! `docs/guide/server.md` walks through it.

use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    sync::broadcast::{self, error::RecvError},
};
use wt::{
    Client, ClientConfig, Identity, RecvStream, ServerApp, ServerConfig, ServerVerification,
    Session,
    server::{
        BoxError, Close,
        extract::{Path, Query, State},
        middleware::{Origins, SessionsPerPeer},
    },
};

/// Lines that a member may be behind before it misses some.
const BACKLOG: usize = 256;

/// The longest that a member can say at once, in bytes.
const MAX_WORDS: usize = 4096;

/// The rooms that someone is in, by name.
#[derive(Clone, Default)]
pub(crate) struct Rooms(Arc<Mutex<HashMap<String, broadcast::Sender<Arc<str>>>>>);

impl Rooms {
    /// Opens the door to a room, which comes to be with the first member: where to say something,
    /// and what is heard.
    fn enter(&self, room: &str) -> (broadcast::Sender<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A room that everyone has left is forgotten.
        rooms.retain(|_, members| members.receiver_count() > 0);
        let empty = || broadcast::channel(BACKLOG).0;
        let door = rooms.entry(room.to_owned()).or_insert_with(empty);
        (door.clone(), door.subscribe())
    }
}

#[derive(Deserialize)]
struct Member {
    name: String,
}

/// Serves one member: each stream that it opens is something it says; what the room hears goes to it
/// line by line, on one stream.
async fn chat(
    session: Session,
    Path(room): Path<String>,
    Query(Member { name }): Query<Member>,
    State(rooms): State<Rooms>,
) -> Result<(), BoxError> {
    let (door, heard) = rooms.enter(&room);
    let say = |text: String| drop(door.send(text.into()));
    say(format!("{name} is here"));
    let end = talk(&session, heard, |words| say(format!("{name}: {words}"))).await;
    say(format!("{name} left"));
    end
}

async fn talk(
    session: &Session,
    mut heard: broadcast::Receiver<Arc<str>>,
    say: impl Fn(&str),
) -> Result<(), BoxError> {
    let mut lines = session.open_uni().await?;
    loop {
        tokio::select! {
            stream = session.accept_uni() => {
                let words = stream?.read_to_end(MAX_WORDS).await;
                let words = words.map_err(|error| Close::new(4001, error.to_string()))?;
                say(&String::from_utf8_lossy(&words).replace('\n', " "));
            }
            line = heard.recv() => {
                let line = match line {
                    Ok(line) => line,
                    Err(RecvError::Lagged(lost)) => format!("({lost} lines were lost)").into(),
                    Err(RecvError::Closed) => return Ok(()),
                };
                lines.write_all(format!("{line}\n").as_bytes()).await?;
            }
        }
    }
}

/// Puts it together; `pages` are the origins whose pages may enter.
pub(crate) fn app(config: ServerConfig, pages: &[&str]) -> Result<ServerApp<Rooms>, BoxError> {
    Ok(ServerApp::with_state(config, Rooms::default())
        .route("/chat/{room}", chat)
        .layer(SessionsPerPeer::new(100))
        .layer(Origins::new(pages)?.or_none()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1", "::1"])?;
    let hash = identity.certificate_hash();
    let config = ServerConfig::new(identity);
    if let Some(address) = env::args().nth(1) {
        let address: SocketAddr = address.parse()?;
        println!("hash = {:?}", hash.as_bytes());
        let pages = ["http://localhost:8000", "https://example.com"];
        app(config, &pages)?.bind(address).serve().await?;
        return Ok(());
    }

    let app = app(config, &[])?.bind(([127, 0, 0, 1], 0).into());
    let running = app.start().await?;
    let url = format!("https://{}/chat/hall", running.local_addr()?);
    let verification = ServerVerification::Hashes(vec![hash]);
    let client = Client::new(ClientConfig::new().with_verification(verification))?;

    let mut ann = Guest::enter(&client, &url, "ann").await?;
    let mut bob = Guest::enter(&client, &url, "bob").await?;
    ann.hear("bob is here").await?;
    ann.say("hello").await?;
    bob.hear("ann: hello").await?;
    bob.session.close(0, "bye");
    ann.hear("ann: hello").await?;
    ann.hear("bob left").await?;
    ann.session.close(0, "bye");
    client.close().await;
    Ok(running.shut_down().await?)
}

/// Someone who chats.
struct Guest {
    name: &'static str,
    session: Session,
    lines: Lines<BufReader<RecvStream>>,
}

impl Guest {
    /// Enters a room, and waits until everyone in it knows.
    async fn enter(client: &Client, url: &str, name: &'static str) -> Result<Self, BoxError> {
        let session = client.connect(format!("{url}?name={name}")).await?;
        let lines = BufReader::new(session.accept_uni().await?).lines();
        let mut guest = Self {
            name,
            session,
            lines,
        };
        guest.hear(&format!("{name} is here")).await?;
        Ok(guest)
    }

    async fn say(&self, words: &str) -> Result<(), BoxError> {
        let mut stream = self.session.open_uni().await?;
        stream.write_all(words.as_bytes()).await?;
        Ok(stream.finish()?)
    }

    async fn hear(&mut self, expected: &str) -> Result<(), BoxError> {
        let line = self.lines.next_line().await?.unwrap_or_default();
        println!("{} hears: {line}", self.name);
        if line == expected {
            Ok(())
        } else {
            Err(format!("not {expected:?}").into())
        }
    }
}
