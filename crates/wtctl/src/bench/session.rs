//! The load of one session.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use wt::{ReadError, Session, SessionError, WriteError, client::Connect};

use super::{Load, tally::Tally};
use crate::failure::chain;

/// Bytes that tell datagrams apart: where they belong, and which turn it is.
pub(super) const NUMBER: usize = 8;

/// When a datagram that did not come back counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// The most that is written or read at a time.
const CHUNK: usize = 256 * 1024;

/// What all requests are cut from.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Opens a session and keeps requests in flight until it ends or this is dropped.
pub(super) async fn run(connect: Connect, load: Load, tally: &Arc<Tally>) {
    let began = Instant::now();
    let session = match connect.await {
        Ok(session) => session,
        Err(error) => return tally.session_failed(chain(&error)),
    };
    tally.session_open(began.elapsed());
    let end = if load.datagrams {
        datagrams(&session, load, tally).await
    } else {
        streams(&session, load, tally).await
    };
    tally.session_over(end);
}

/// Keeps streams in flight; returns why it ended.
async fn streams(session: &Session, load: Load, tally: &Arc<Tally>) -> String {
    let mut workers = JoinSet::new();
    for _ in 0..load.in_flight {
        let (session, tally) = (session.clone(), tally.clone());
        workers.spawn(async move {
            loop {
                let began = Instant::now();
                match request(&session, load.size).await {
                    Ok(bytes) if bytes >= load.size => tally.answer(began, load.size),
                    Ok(bytes) => {
                        tally.error(format!("an answer of {bytes} bytes to {}", load.size));
                    }
                    Err(Broken::Session) => return,
                    Err(Broken::Stream(error)) => tally.error(error),
                }
            }
        });
    }
    let end = session.closed().await;
    while workers.join_next().await.is_some() {}
    end.to_string()
}

/// Why a request was not answered.
enum Broken {
    Session,
    Stream(String),
}

impl From<SessionError> for Broken {
    fn from(_: SessionError) -> Self {
        Self::Session
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Session(_) => Self::Session,
            error => Self::Stream(error.to_string()),
        }
    }
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Session(_) => Self::Session,
            error => Self::Stream(error.to_string()),
        }
    }
}

/// Sends `size` bytes on a new stream and reads the answer; returns its length.
async fn request(session: &Session, size: usize) -> Result<usize, Broken> {
    let (mut send, mut recv) = session.open_bi().await?.split();
    let write = async {
        let mut left = size;
        while left > 0 {
            let part = left.min(CHUNK);
            send.write_chunk(Bytes::from_static(&ZEROS[..part])).await?;
            left -= part;
        }
        send.finish()?;
        Ok::<_, Broken>(())
    };
    let read = async {
        let mut bytes = 0;
        while let Some(chunk) = recv.read_chunk(CHUNK).await? {
            bytes += chunk.len();
        }
        Ok(bytes)
    };
    let ((), bytes) = tokio::try_join!(write, read)?;
    Ok(bytes)
}

/// A place for one datagram in flight.
struct Place {
    turn: u32,
    sent_at: Instant,
}

/// Keeps datagrams in flight; returns why it ended.
async fn datagrams(session: &Session, load: Load, tally: &Tally) -> String {
    match keep_datagrams(session, load, tally).await {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

async fn keep_datagrams(
    session: &Session,
    load: Load,
    tally: &Tally,
) -> Result<std::convert::Infallible, String> {
    let mut payload = vec![0; load.size];
    let mut send = |index: usize, place: &mut Place| {
        place.turn = place.turn.wrapping_add(1);
        place.sent_at = Instant::now();
        payload[..4].copy_from_slice(&(index as u32).to_be_bytes());
        payload[4..NUMBER].copy_from_slice(&place.turn.to_be_bytes());
        session
            .send_datagram(&payload)
            .map_err(|error| error.to_string())
    };
    let mut places = Vec::with_capacity(load.in_flight as usize);
    for index in 0..load.in_flight as usize {
        let sent_at = Instant::now();
        let mut place = Place { turn: 0, sent_at };
        send(index, &mut place)?;
        places.push(place);
    }
    let mut ticks = interval(LOST_AFTER / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            datagram = session.recv_datagram() => {
                let datagram = datagram.map_err(|end| end.to_string())?;
                // A server may put something in front of what it sends back.
                let Some(start) = datagram.len().checked_sub(load.size) else {
                    continue;
                };
                let Some((index, turn)) = number(&datagram[start..]) else {
                    continue;
                };
                // What comes late or twice has lost its place.
                if let Some(place) = places.get_mut(index).filter(|place| place.turn == turn) {
                    tally.answer(place.sent_at, load.size);
                    send(index, place)?;
                }
            }
            _ = ticks.tick() => {
                for (index, place) in places.iter_mut().enumerate() {
                    if place.sent_at.elapsed() > LOST_AFTER {
                        tally.loss();
                        send(index, place)?;
                    }
                }
            }
        }
    }
}

/// Reads the place and the turn of a datagram.
fn number(datagram: &[u8]) -> Option<(usize, u32)> {
    let (index, rest) = datagram.split_first_chunk()?;
    let turn = rest.first_chunk()?;
    let index = usize::try_from(u32::from_be_bytes(*index)).ok()?;
    Some((index, u32::from_be_bytes(*turn)))
}
