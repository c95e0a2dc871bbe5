//! The task of a client: reads what the broker says and writes what the application does.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::debug;
use wt_core::{BiStream, ErrorCode, ReadError, RecvStream, SendStream, Session, WriteError};

use super::Shared;
use crate::pubsub::{
    Message, PubSubEnd, SubscriptionEnd, Topic, WireError,
    queue::{Pushed, Queue},
    wire::{self, Decoder, Item},
};

/// The most that is read at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// Runs until the stream ends or the client is closed.
pub(super) async fn run(shared: Arc<Shared>, stream: BiStream, session: Option<Session>) {
    let (mut send, mut recv) = stream.split();
    let end = tokio::select! {
        biased;
        () = shared.out_of_time() => PubSubEnd::Unsent,
        end = write(&shared, &mut send) => end.unwrap_or_else(|end| end),
        Err(end) = read(&shared, &mut recv) => end,
        Err(end) = read_datagrams(&shared, session.as_ref()) => end,
    };
    let end = match &session {
        Some(session) => reason(end, session).await,
        None => end,
    };
    // Both sides say good-bye at the same time: that is no failure.
    let end = match end {
        PubSubEnd::Finished if shared.is_closing() => PubSubEnd::Closed,
        end => end,
    };
    debug!(stream = %send.id(), %end, "pub/sub is over");
    match end {
        PubSubEnd::Closed => {}
        PubSubEnd::Finished => {
            // What was written is delivered; an error says that it is over already.
            let _ = send.finish();
        }
        _ => {
            send.reset(0);
            recv.stop(0);
        }
    }
    shared.finish(&end);
}

/// How long the word of the end of a session may come after the ends of its streams.
const WORD: Duration = Duration::from_secs(1);

/// Finds out how the session ended, when its streams say no more than that it did.
async fn reason(end: PubSubEnd, session: &Session) -> PubSubEnd {
    let (PubSubEnd::Read(ReadError::Reset(code)) | PubSubEnd::Write(WriteError::Stopped(code))) =
        &end
    else {
        return end;
    };
    if *code != ErrorCode::WT_SESSION_GONE {
        return end;
    }
    match tokio::time::timeout(WORD, session.closed()).await {
        Ok(why) => PubSubEnd::Session(why),
        Err(_) => end,
    }
}

/// Writes what there is to write, and when the client is closed the end of the stream.
async fn write(shared: &Shared, send: &mut SendStream) -> Result<PubSubEnd, PubSubEnd> {
    while let Some(next) = shared.outgoing.next().await {
        send.write_chunk(next.head.clone()).await?;
        send.write_chunk(next.body.clone()).await?;
    }
    send.finish()?;
    // Until the broker has all of it.
    send.closed().await?;
    Ok(PubSubEnd::Closed)
}

async fn read(shared: &Shared, recv: &mut RecvStream) -> Result<Infallible, PubSubEnd> {
    let mut decoder = Decoder::new(shared.config.max_message_size);
    let mut queues = Vec::new();
    while let Some(mut chunk) = recv.read_chunk(CHUNK).await? {
        while let Some(item) = decoder.next(&mut chunk)? {
            handle(shared, item, &mut queues).await;
            tokio::task::consume_budget().await;
        }
    }
    Err(if decoder.is_between() {
        PubSubEnd::Finished
    } else {
        PubSubEnd::Protocol(WireError::Truncated)
    })
}

async fn handle(shared: &Shared, item: Item, queues: &mut Vec<Arc<Queue>>) {
    match item {
        Item::Accepted(topic) => shared.table().confirm(&topic),
        Item::Refused { topic, reason } => {
            let why = SubscriptionEnd::Refused(reason);
            shared.table().end_all(&topic, &why);
        }
        Item::Message { topic, payload } => {
            let Ok(topic) = topic else {
                return shared.counters.dropped.add(1);
            };
            if let Some(message) = wanted(shared, topic, payload, queues) {
                for queue in queues.drain(..) {
                    queue.ready(message.size()).await;
                    push(shared, &queue, &message);
                }
            }
        }
        Item::TooLarge { topic, size } => {
            debug!(topic, size, "a message over the limit was dropped");
            shared.counters.dropped.add(1);
        }
        // What only clients say is skipped, as anything unknown.
        Item::Subscribe { .. } | Item::Unsubscribe(_) | Item::Publish { .. } => {}
    }
}

/// Finds the queues for a message; none is made when nobody wants it.
fn wanted(
    shared: &Shared,
    topic: Topic,
    payload: bytes::Bytes,
    queues: &mut Vec<Arc<Queue>>,
) -> Option<Message> {
    queues.clear();
    shared.table().matching(&topic, queues);
    if queues.is_empty() {
        return None;
    }
    shared.counters.received.add(1);
    Some(Message::received(topic, payload))
}

fn push(shared: &Shared, queue: &Queue, message: &Message) {
    match queue.push(message.clone()) {
        Pushed::Kept { dropped } => shared.counters.dropped.add(dropped),
        Pushed::Dropped => shared.counters.dropped.add(1),
        Pushed::EndedIt | Pushed::Over => {}
    }
}

/// Takes the datagrams of the session, where the client chose them.
async fn read_datagrams(
    shared: &Shared,
    session: Option<&Session>,
) -> Result<Infallible, PubSubEnd> {
    let Some(session) = session.filter(|_| shared.config.datagrams) else {
        return std::future::pending().await;
    };
    let mut queues = Vec::new();
    loop {
        let datagram = session.recv_datagram().await?;
        // Anything else is not for us, or was damaged on its way out of the broker.
        let Some((topic, payload)) = wire::datagram(datagram) else {
            continue;
        };
        if let Some(message) = wanted(shared, topic, payload, &mut queues) {
            // Not waited for: datagrams that nobody takes are dropped anyway.
            queues
                .drain(..)
                .for_each(|queue| push(shared, &queue, &message));
        }
    }
}

impl Shared {
    /// Waits until the time for an orderly end is over.
    async fn out_of_time(&self) {
        let mut closing = self.closing.subscribe();
        // An error says that everything is gone, which cannot be while this runs.
        if closing.wait_for(|closing| *closing).await.is_ok() {
            tokio::time::sleep_until(Instant::now() + self.config.close_timeout).await;
        } else {
            std::future::pending().await
        }
    }
}
