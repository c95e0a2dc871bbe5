//! One client of the broker: one bidirectional stream.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::debug;
use wt_core::{
    BiStream, ReadError, RecvStream, SendDatagramError, SendStream, Session, SessionError,
    WriteError,
};

use super::{
    Access, Broker, BrokerError, Feed, Interest, PubSubService,
    service::{Counters, Shared},
};
use crate::pubsub::{
    Message, Pattern, SubscriptionEnd, Topic, WireError,
    queue::Queue,
    wire::{self, Decoder, Item},
};

/// Answers that wait for the client to read them; then no more of what it says is read.
const ANSWERS: usize = 16;

/// The most that is read at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// How a client ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it ended the stream")]
    Finished,
    #[error("the broker was closed")]
    BrokerClosed,
    #[error("it did not keep up")]
    TooSlow,
    #[error(transparent)]
    Protocol(#[from] WireError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Session(SessionError),
    #[error(transparent)]
    Broker(BrokerError),
}

pub(super) async fn serve<B: Broker>(service: &Shared<B>, session: &Session, stream: BiStream) {
    let (mut send, mut recv) = stream.split();
    let queue = || Feed(Arc::new(Queue::new(service.config.queue.clone())));
    let (messages, datagrams) = (queue(), queue());
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    let mut reader = Reader {
        service,
        session,
        messages: messages.clone(),
        datagrams: datagrams.clone(),
        answers,
        subscriptions: HashMap::new(),
    };
    let counters = &*service.counters;
    let end = tokio::select! {
        Err(end) = reader.run(&mut recv) => end,
        Err(end) = write(&mut send, &messages.0, &mut answered, counters) => end,
        Err(end) = send_datagrams(session, &datagrams.0, &messages, counters) => end,
        () = too_slow(&messages.0) => End::TooSlow,
        () = too_slow(&datagrams.0) => End::TooSlow,
    };
    drop(reader);
    debug!(session = %session.id(), stream = %send.id(), %end, "a client of pub/sub is gone");
    match end {
        End::Finished | End::BrokerClosed => {
            // An error says that it is over already.
            let _ = send.finish();
        }
        End::TooSlow => {
            counters.too_slow.one();
            send.reset(PubSubService::<B>::TOO_SLOW);
            recv.stop(PubSubService::<B>::TOO_SLOW);
        }
        End::Protocol(_) => {
            counters.violations.one();
            send.reset(0);
            recv.stop(0);
        }
        // Dropping resets what is still open.
        End::Read(_) | End::Write(_) | End::Session(_) | End::Broker(_) => {}
    }
}

/// Waits until the queue was ended by its policy.
async fn too_slow(queue: &Queue) {
    if queue.ended().await != SubscriptionEnd::TooSlow {
        std::future::pending().await
    }
}

/// Writes answers and messages as they come; answers first, so that a subscription is confirmed before
/// its first message.
async fn write(
    send: &mut SendStream,
    messages: &Queue,
    answers: &mut mpsc::Receiver<Bytes>,
    counters: &Counters,
) -> Result<Infallible, End> {
    loop {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => send.write_chunk(answer).await?,
            message = messages.next() => {
                let Some(message) = message else {
                    return Err(End::BrokerClosed);
                };
                let frame = message.frame();
                send.write_chunk(frame.head.clone()).await?;
                send.write_chunk(frame.body.clone()).await?;
                counters.sent.one();
            }
        }
    }
}

/// Sends messages as datagrams; those that are too large for one go on the stream.
async fn send_datagrams(
    session: &Session,
    queue: &Queue,
    stream: &Feed,
    counters: &Counters,
) -> Result<Infallible, End> {
    while let Some(message) = queue.next().await {
        let frame = message.frame();
        // A frame in two pieces is larger than any datagram.
        let fits = frame.body.is_empty();
        let sent = match fits {
            true => session.send_datagram_wait(&frame.head).await,
            false => Err(SendDatagramError::Unsupported),
        };
        match sent {
            Ok(()) => counters.sent_datagrams.one(),
            Err(SendDatagramError::Session(end)) => return Err(End::Session(end)),
            Err(_) => {
                stream.push(&message);
            }
        }
    }
    // The broker was closed: the stream ends after what is left for it.
    stream.0.end(SubscriptionEnd::BrokerClosed);
    std::future::pending().await
}

/// Does what the client says.
struct Reader<'a, B> {
    service: &'a Shared<B>,
    session: &'a Session,
    messages: Feed,
    datagrams: Feed,
    answers: mpsc::Sender<Bytes>,
    /// What the client is subscribed to, and whether it wants datagrams.
    subscriptions: HashMap<Pattern, (bool, Interest)>,
}

impl<B: Broker> Reader<'_, B> {
    async fn run(&mut self, recv: &mut RecvStream) -> Result<Infallible, End> {
        let mut decoder = Decoder::new(self.service.config.max_message_size);
        while let Some(mut chunk) = recv.read_chunk(CHUNK).await? {
            while let Some(item) = decoder.next(&mut chunk)? {
                self.handle(item).await?;
                tokio::task::consume_budget().await;
            }
        }
        Err(if decoder.is_between() {
            End::Finished
        } else {
            End::Protocol(WireError::Truncated)
        })
    }

    async fn handle(&mut self, item: Item) -> Result<(), End> {
        match item {
            Item::Subscribe { topic, datagrams } => self.subscribe(&topic, datagrams).await,
            Item::Unsubscribe(topic) => {
                self.subscriptions.remove(topic.as_str());
            }
            Item::Publish { topic, payload } => {
                let refused = match topic {
                    Ok(topic) => self.publish(topic, payload).await?,
                    Err(invalid) => Some(invalid.to_string()),
                };
                if let Some(reason) = refused {
                    self.rejected(&reason);
                }
            }
            Item::TooLarge { topic, size } => {
                self.rejected(&format!("{size} bytes under {topic} are over the limit"));
            }
            // What only brokers say is skipped, as anything unknown.
            Item::Accepted(_) | Item::Refused { .. } | Item::Message { .. } => {}
        }
        Ok(())
    }

    fn rejected(&self, reason: &str) {
        self.service.counters.rejected.one();
        debug!(session = %self.session.id(), reason, "a published message was dropped");
    }

    fn authorize(&self, access: Access<'_>) -> Result<(), String> {
        let Some(authorize) = &self.service.authorize else {
            return Ok(());
        };
        authorize(self.session, access).map_err(|denied| denied.to_string())
    }

    /// Publishes; returns why not, when it is the client's fault.
    async fn publish(&self, topic: Topic, payload: Bytes) -> Result<Option<String>, End> {
        if let Err(reason) = self.authorize(Access::Publish(&topic)) {
            return Ok(Some(reason));
        }
        match self
            .service
            .broker
            .publish(Message::new(topic, payload))
            .await
        {
            Ok(_) => {
                self.service.counters.published.one();
                Ok(None)
            }
            Err(BrokerError::Unavailable(why)) => Err(End::Broker(BrokerError::Unavailable(why))),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn subscribe(&mut self, topic: &str, datagrams: bool) {
        // Nothing is read while too many answers wait, so that they cannot pile up.
        let Ok(answer) = self.answers.clone().reserve_owned().await else {
            return;
        };
        answer.send(match self.try_subscribe(topic, datagrams).await {
            Ok(()) => wire::accepted_line(topic),
            Err(reason) => {
                self.service.counters.refused.one();
                wire::refused_line(topic, &reason)
            }
        });
    }

    async fn try_subscribe(&mut self, topic: &str, datagrams: bool) -> Result<(), String> {
        let pattern = Pattern::new(topic).map_err(|invalid| invalid.to_string())?;
        if datagrams && !self.service.config.datagrams {
            return Err("this server sends no datagrams".to_owned());
        }
        self.authorize(Access::Subscribe(&pattern))?;
        match self.subscriptions.get(&pattern) {
            Some((kind, _)) if *kind == datagrams => return Ok(()),
            Some(_) => {
                self.subscriptions.remove(&pattern);
            }
            None => {}
        }
        let max = self.service.config.max_subscriptions;
        if self.subscriptions.len() >= max {
            return Err(format!("too many subscriptions: the limit is {max}"));
        }
        let feed = match datagrams {
            true => self.datagrams.clone(),
            false => self.messages.clone(),
        };
        let interest = self.service.broker.subscribe(pattern.clone(), feed).await;
        let interest = interest.map_err(|error| error.to_string())?;
        self.subscriptions.insert(pattern, (datagrams, interest));
        Ok(())
    }
}
