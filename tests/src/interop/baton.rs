//! Devious baton: a number goes back and forth, each time on another kind of stream, and grows by one until it
//! wraps to 0 (draft-frindell-webtrans-devious-baton-00).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use tokio::task::JoinSet;
use url::form_urlencoded;
use wt::core::SessionError;
use wt::proto::VarInt;
use wt::proto::coding::{Decode, Encode};
use wt::{BiStream, RecvStream, SendStream, Session, SessionRequest, WriteError};

use super::Failure;

/// The most batons of a session.
const MAX_BATONS: usize = 100;

/// The longest message.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Time without any message after which the server loses its patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// Codes of the protocol for sessions.
const DONE: u32 = 0;
const MALFORMED: u32 = 2;
const UNEXPECTED: u32 = 3;
const BORED: u32 = 4;

/// Code with which a stream is reset that the peer stopped.
const WHATEVER: u32 = 2;

// ---- messages

/// Writes a message; values divisible by 5 get padding.
#[must_use]
pub fn encode(value: u8) -> Bytes {
    let padding = if value.is_multiple_of(5) {
        1 + 16 * u32::from(value)
    } else {
        0
    };
    let mut out = BytesMut::new();
    VarInt::from_u32(padding).encode(&mut out);
    out.put_bytes(0, padding as usize);
    out.put_u8(value);
    out.freeze()
}

/// Reads a message, which has to fill the stream exactly. The padding may be anything.
#[must_use]
pub fn decode(mut message: &[u8]) -> Option<u8> {
    let padding = VarInt::decode(&mut message).ok()?.get();
    let (value, padded) = message.split_last()?;
    (padded.len() as u64 == padding).then_some(*value)
}

// ---- what is played

/// What the query of the URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Terms {
    count: usize,
    /// The first values that are fixed; the rest are up to the server.
    starts: Vec<u8>,
}

impl Terms {
    /// `None` when they are not acceptable.
    fn parse(query: &str) -> Option<Self> {
        let mut terms = Self {
            count: 1,
            starts: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "version" => (value == "0").then_some(())?,
                "count" => terms.count = value.parse().ok()?,
                "baton" => terms
                    .starts
                    .push(value.parse().ok().filter(|start| *start != 0)?),
                _ => {}
            }
        }
        terms.count = terms.count.max(terms.starts.len());
        (1..=MAX_BATONS).contains(&terms.count).then_some(terms)
    }

    /// The values to start with.
    fn values(&self) -> Vec<u8> {
        let random = || {
            let number = RandomState::new().build_hasher().finish();
            1 + (number % 255) as u8
        };
        let mut values = self.starts.clone();
        values.resize_with(self.count, random);
        values
    }
}

/// Answers a request and plays the server.
///
/// # Errors
///
/// When the session ended otherwise than in order.
pub async fn serve(request: SessionRequest) -> Result<(), Failure> {
    let Some(terms) = Terms::parse(request.query().unwrap_or_default()) else {
        return Ok(request.reject(StatusCode::BAD_REQUEST)?);
    };
    let session = request.accept().await?;
    let mut game = Game::new(&session, Side::Server, Vec::new(), usize::MAX);
    for value in terms.values() {
        game.live += 1;
        game.send(Lane::Uni, value);
    }
    match game.play().await {
        SessionError::Closed { .. } => Ok(()),
        end => Err(end.into()),
    }
}

/// Plays the client until the server closes the session, and prints each value that comes.
///
/// # Errors
///
/// When the server breaks a rule or closes the session before all batons ended.
pub async fn play(session: &Session) -> Result<(), Failure> {
    let query = session.query().unwrap_or_default();
    let terms = Terms::parse(query).ok_or("the server took terms that it must refuse")?;
    let random = terms.count - terms.starts.len();
    let mut game = Game::new(session, Side::Client, terms.starts, random);
    let end = game.play().await;
    if !end.is_closed_by_peer() || end.code() != Some(DONE) {
        return Err(end.into());
    }
    let unseen = game.starts.len() + game.free;
    // The end of the session may overtake the last word, or what is known of its delivery.
    let unfinished = game.live.saturating_sub(game.last_words);
    if unseen + unfinished > 0 {
        return Err(
            format!("closed with {unseen} batons unseen and {unfinished} unfinished").into(),
        );
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// What a value is sent on.
#[derive(Debug)]
enum Lane {
    /// A new unidirectional stream; the peer answers on a bidirectional one of its own.
    Uni,
    /// A new bidirectional stream; the peer answers on it.
    Bidi,
    /// The peer's bidirectional stream; it answers on a new unidirectional one.
    Answer(SendStream),
}

/// What a value came on.
#[derive(Debug)]
enum From {
    Uni,
    /// The peer's bidirectional stream, with our half of it.
    PeerBidi(SendStream),
    /// Our bidirectional stream, on which this value was sent.
    OwnBidi(u8),
}

enum Event {
    Came(From, Bytes),
    TooLong,
    /// A baton's last value was delivered.
    Over,
    /// A stream was reset or stopped, and its baton with it; or nothing follows from it.
    Nothing,
}

struct Game<'a> {
    session: &'a Session,
    side: Side,
    /// Batons under way.
    live: usize,
    /// Values with which the peer still has to begin.
    starts: Vec<u8>,
    /// Batons that it may begin with any value.
    free: usize,
    /// Values that are due on the peer's bidirectional streams.
    due_bidi: Vec<u8>,
    /// Values that are due on its unidirectional streams.
    due_uni: Vec<u8>,
    /// Batons of which only a 0 is under way, to the peer or from it.
    last_words: usize,
    streams: JoinSet<Event>,
}

impl<'a> Game<'a> {
    fn new(session: &'a Session, side: Side, starts: Vec<u8>, free: usize) -> Self {
        Self {
            session,
            side,
            live: 0,
            starts,
            free,
            due_bidi: Vec::new(),
            due_uni: Vec::new(),
            last_words: 0,
            streams: JoinSet::new(),
        }
    }

    /// Plays until the session ends.
    async fn play(&mut self) -> SessionError {
        loop {
            let session = self.session;
            tokio::select! {
                stream = session.accept_uni() => match stream {
                    Ok(recv) => drop(self.streams.spawn(read(recv, From::Uni))),
                    Err(end) => return end,
                },
                stream = session.accept_bi() => match stream {
                    Ok(BiStream { send, recv, .. }) => {
                        self.streams.spawn(read(recv, From::PeerBidi(send)));
                    }
                    Err(end) => return end,
                },
                Ok(datagram) = session.recv_datagram() => if self.side == Side::Client {
                    println!("      datagram: {:?}", decode(&datagram));
                },
                Some(Ok(event)) = self.streams.join_next() => {
                    if let Err(code) = self.handle(event) {
                        session.close(code, "");
                    }
                }
                () = tokio::time::sleep(PATIENCE) => session.close(BORED, ""),
            }
        }
    }

    /// Answers an event; the error is the code with which to close the session.
    fn handle(&mut self, event: Event) -> Result<(), u32> {
        match event {
            Event::Came(from, message) => {
                let value = decode(&message).ok_or(MALFORMED)?;
                self.pass_on(from, value)?;
            }
            Event::TooLong => return Err(MALFORMED),
            Event::Over => {
                self.live -= 1;
                self.last_words -= 1;
            }
            Event::Nothing => return Ok(()),
        }
        if self.side == Side::Server && self.live == 0 {
            self.session.close(DONE, "");
        }
        Ok(())
    }

    fn pass_on(&mut self, from: From, value: u8) -> Result<(), u32> {
        self.admit(&from, value)?;
        if self.side == Side::Client {
            let stream = match from {
                From::Uni => "unidirectional stream",
                From::PeerBidi(_) => "bidirectional stream of the server",
                From::OwnBidi(_) => "own bidirectional stream",
            };
            println!("      {value} on a {stream}");
        }
        let remainder = match self.side {
            Side::Server => 0,
            Side::Client => 1,
        };
        if value % 7 == remainder {
            // It is only to be seen: a loss does not matter.
            let _ = self.session.send_datagram(encode(value));
        }
        if value == 0 {
            self.live -= 1;
            return Ok(());
        }
        let lane = match from {
            From::Uni => Lane::Bidi,
            From::PeerBidi(send) => Lane::Answer(send),
            From::OwnBidi(_) => Lane::Uni,
        };
        self.send(lane, value.wrapping_add(1));
        Ok(())
    }

    /// Checks that a value may come on this stream.
    fn admit(&mut self, from: &From, value: u8) -> Result<(), u32> {
        let take = |due: &mut Vec<u8>| {
            let found = due.iter().position(|due| *due == value);
            found.map(|at| due.swap_remove(at)).is_some()
        };
        let expected = match from {
            From::OwnBidi(sent) => value == sent.wrapping_add(1),
            From::PeerBidi(_) => take(&mut self.due_bidi),
            From::Uni if take(&mut self.due_uni) => true,
            From::Uni if take(&mut self.starts) => {
                self.live += 1;
                true
            }
            From::Uni if self.free > 0 => {
                self.free -= 1;
                self.live += 1;
                true
            }
            From::Uni => false,
        };
        if !expected {
            return Err(UNEXPECTED);
        }
        // A 0 that had been waited for.
        self.last_words -= usize::from(value == 0 && self.last_words > 0);
        Ok(())
    }

    fn send(&mut self, lane: Lane, value: u8) {
        let reply = value.wrapping_add(1);
        self.last_words += usize::from(value == u8::MAX || value == 0);
        match lane {
            Lane::Uni if value != 0 => self.due_bidi.push(reply),
            Lane::Answer(_) if value != 0 => self.due_uni.push(reply),
            _ => {}
        }
        let session = self.session.clone();
        self.streams.spawn(async move {
            let sent = match lane {
                Lane::Uni => match session.open_uni().await {
                    Ok(send) => deliver(send, value).await,
                    Err(_) => false,
                },
                Lane::Answer(send) => deliver(send, value).await,
                Lane::Bidi => match session.open_bi().await {
                    Ok(BiStream { send, recv, .. }) if value != 0 => {
                        let answer = read(recv, From::OwnBidi(value));
                        return tokio::join!(deliver(send, value), answer).1;
                    }
                    Ok(stream) => deliver(stream.send, value).await,
                    Err(_) => false,
                },
            };
            if sent && value == 0 {
                Event::Over
            } else {
                Event::Nothing
            }
        });
    }
}

/// Reads the one message of a stream.
async fn read(mut recv: RecvStream, from: From) -> Event {
    use wt::core::ReadToEndError;
    match recv.read_to_end(MAX_MESSAGE).await {
        Ok(message) => Event::Came(from, message),
        Err(ReadToEndError::TooLong(_)) => Event::TooLong,
        // A stream that its sender gave up takes its baton along, and nothing else.
        Err(_) => Event::Nothing,
    }
}

/// Sends the one message of a stream and waits until it has arrived; `false` when it never will.
async fn deliver(mut send: SendStream, value: u8) -> bool {
    let outcome = async {
        send.write_chunk(encode(value)).await?;
        send.finish()?;
        send.closed().await
    };
    let outcome = outcome.await;
    if let Err(WriteError::Stopped(_)) = outcome {
        send.reset(WHATEVER);
    }
    outcome.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_fit_their_stream_exactly() {
        for value in 0..=u8::MAX {
            assert_eq!(decode(&encode(value)), Some(value));
        }
        assert!(encode(20).len() > 2);
        assert_eq!(encode(21).len(), 2);
        let bad: [&[u8]; 5] = [&[], &[0], &[0, 1, 2], &[0x40, 100, 0], &[1, 7]];
        for message in bad {
            assert_eq!(decode(message), None, "{message:?}");
        }
    }

    #[test]
    fn terms_come_from_the_query() {
        let terms = Terms::parse("baton=10&baton=20&count=3").unwrap();
        assert_eq!((terms.count, terms.starts.as_slice()), (3, &[10, 20][..]));
        let values = terms.values();
        assert_eq!((values.len(), &values[..2]), (3, &[10, 20][..]));
        assert_ne!(values[2], 0);
        assert_eq!(Terms::parse("").unwrap().count, 1);
        for bad in [
            "version=99",
            "count=999999",
            "count=0",
            "baton=0",
            "baton=256",
            "count=x",
        ] {
            assert_eq!(Terms::parse(bad), None, "{bad}");
        }
    }
}
