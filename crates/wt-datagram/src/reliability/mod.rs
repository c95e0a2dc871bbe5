//! Messages in datagrams that arrive, or whose sender learns that they did not.
//!
//! Each message has a number, and the receiver acknowledges it. A message without an acknowledgement is sent again:
//! first after what the measured round-trip time allows, then after twice as long each time. The messages are those of
//! PyWebTransport, byte for byte.

#[doc(hidden)]
pub mod __fuzz;
mod config;
mod inbound;
mod outbound;
mod timing;
mod wire;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use tokio::{
    runtime,
    sync::{Notify, oneshot},
    task::{AbortHandle, coop},
    time,
};
use wt_core::SessionError;

pub use self::config::ReliabilityConfig;
use self::{
    inbound::{Inbound, Verdict},
    outbound::{Due, Outbound},
    timing::Timing,
    wire::{Message, OVERHEAD},
};
use crate::{
    DatagramTransport, OpenError, Priority, ReceiveError, SendError, SendOptions, inbox::Inbox,
    lock::lock,
};

/// How many numbers of messages a receiver remembers.
const REMEMBERED: usize = 1024;

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// How often it was sent.
    pub transmissions: u32,
    /// The time from the first transmission to the acknowledgement.
    pub time: Duration,
}

/// Why it is not known that a message arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// It was sent as often as allowed, and nobody acknowledged it. It may have arrived all the same.
    #[error("sent {transmissions} times without an acknowledgement")]
    GaveUp {
        /// How often it was sent.
        transmissions: u32,
    },
    /// It is larger than the path carries by now.
    #[error("a message of {size} bytes does not fit, at most {max} do now")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The largest size at this moment.
        max: usize,
    },
    /// The layer or its transport was closed first.
    #[error("the reliability layer was closed before the message was acknowledged")]
    Closed,
    /// The session ended first.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// What becomes of a message: a future that is ready when that is known.
///
/// Dropping it changes nothing for the message.
#[derive(Debug)]
#[must_use = "a message that is given up is reported here and nowhere else"]
pub struct Delivery(oneshot::Receiver<Result<Delivered, DeliveryError>>);

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(outcome.unwrap_or(Err(DeliveryError::Closed)))
    }
}

/// Figures of a reliability layer at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct ReliabilityStats {
    /// Messages that were taken to be sent.
    pub sent: u64,
    /// Messages that were acknowledged.
    pub delivered: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Transmissions after the first of a message.
    pub retransmissions: u64,
    /// Messages on their way.
    pub in_flight: usize,
    /// Messages received, each once.
    pub received: u64,
    /// Messages received again.
    pub duplicates: u64,
    /// Messages that were not acknowledged because there was no room for them.
    pub refused: u64,
    /// Messages that came after others had been waiting for them too long.
    pub late: u64,
    /// Messages that were left out of the order.
    pub skipped: u64,
    /// Datagrams that are no messages of this layer.
    pub ignored: u64,
    /// The round-trip time as measured.
    pub round_trip: Duration,
    /// How long the next message waits for its acknowledgement.
    pub ack_timeout: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    retransmissions: AtomicU64,
    received: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
    late: AtomicU64,
    skipped: AtomicU64,
    ignored: AtomicU64,
}

fn count(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Relaxed);
}

/// Sends messages in datagrams again until the peer has them.
///
/// A cheap handle: clones speak of the same layer. It is closed when all its handles are dropped; the transport lives
/// on.
///
/// The layer takes all datagrams that the transport receives. Those that are none of its messages are dropped and
/// counted: an application that wants both needs two sessions. Messages must be smaller than a packet; what is larger,
/// or has to be in order without a doubt, belongs on a stream.
///
/// # Examples
///
/// ```
/// use wt_core::Session;
/// use wt_datagram::{DatagramTransport, ReliabilityLayer};
///
/// async fn report(session: Session) -> Result<(), Box<dyn std::error::Error>> {
///     let layer = ReliabilityLayer::new(DatagramTransport::new(session)?)?;
///     let delivery = layer.send("score=3").await?;
///     match delivery.await {
///         Ok(delivered) => println!("there after {:?}", delivered.time),
///         Err(error) => println!("{error}"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "DatagramReliabilityLayer")]
pub struct ReliabilityLayer(Arc<Handle>);

/// What the clones share; the last one closes the layer.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.driver.abort();
        self.shared.end(End::Closed);
    }
}

/// Why the layer ended.
#[derive(Clone, Debug)]
enum End {
    Closed,
    Session(SessionError),
}

impl From<End> for DeliveryError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::Session(end) => Self::Session(end),
        }
    }
}

impl From<End> for SendError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::Session(end) => Self::Session(end),
        }
    }
}

impl From<End> for ReceiveError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::Session(end) => Self::Session(end),
        }
    }
}

#[derive(Debug)]
struct Shared {
    transport: DatagramTransport,
    window: usize,
    state: Mutex<State>,
    inbox: Inbox<Bytes, ReceiveError>,
    end: OnceLock<End>,
    /// Told when the window has room, or nothing is on its way.
    moved: Notify,
    /// Told when the driver has to look at the time.
    wake: Notify,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    outbound: Outbound,
    /// When the driver wakes by itself.
    armed: Option<Instant>,
}

impl ReliabilityLayer {
    /// Makes a layer on a transport, as [`ReliabilityConfig`] has it by default.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoRuntime`] outside of a tokio runtime.
    pub fn new(transport: DatagramTransport) -> Result<Self, OpenError> {
        Self::with_config(transport, &ReliabilityConfig::default())
    }

    /// Makes a layer on a transport.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the configuration cannot work, or outside of a tokio runtime.
    pub fn with_config(
        transport: DatagramTransport,
        config: &ReliabilityConfig,
    ) -> Result<Self, OpenError> {
        config.validate()?;
        let runtime = runtime::Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let rtt = transport.session().connection().stats().rtt;
        let timing = Timing::new(rtt, config.min_ack_timeout, config.max_ack_timeout);
        let shared = Arc::new(Shared {
            transport,
            window: config.window,
            state: Mutex::new(State {
                outbound: Outbound::new(config, timing),
                armed: None,
            }),
            inbox: Inbox::new(config.receive_queue),
            end: OnceLock::new(),
            moved: Notify::new(),
            wake: Notify::new(),
            counters: Counters::default(),
        });
        let driver = runtime.spawn(shared.clone().run(Inbound::new(config)));
        let driver = driver.abort_handle();
        Ok(Self(Arc::new(Handle { shared, driver })))
    }

    /// Returns the transport below.
    #[must_use]
    pub fn transport(&self) -> &DatagramTransport {
        &self.0.shared.transport
    }

    /// Returns the largest message now, in bytes; `None` when the peer takes no datagrams.
    #[must_use]
    pub fn max_message_size(&self) -> Option<usize> {
        self.0.shared.max_message_size()
    }

    /// Sends a message; the [`Delivery`] says later what became of it.
    ///
    /// Waits while [`window`](ReliabilityConfig::window) messages are under way.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, the message was not taken.
    ///
    /// # Errors
    ///
    /// [`SendError`] when it is too large, or when the layer or the session has ended.
    pub async fn send(&self, message: impl AsRef<[u8]>) -> Result<Delivery, SendError> {
        let shared = &self.0.shared;
        loop {
            let mut moved = pin!(shared.moved.notified());
            moved.as_mut().enable();
            match self.try_send(message.as_ref()) {
                Err(SendError::QueueFull { .. }) => moved.await,
                taken => return taken,
            }
        }
    }

    /// Sends a message if there is room for it; otherwise like [`Self::send`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; [`SendError::QueueFull`] where [`Self::send`] would wait.
    pub fn try_send(&self, message: impl AsRef<[u8]>) -> Result<Delivery, SendError> {
        self.0.shared.send(message.as_ref())
    }

    /// Waits until no message is under way: all were acknowledged or given up.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn flush(&self) {
        let shared = &self.0.shared;
        loop {
            let mut moved = pin!(shared.moved.notified());
            moved.as_mut().enable();
            if lock(&shared.state).outbound.is_empty() {
                return;
            }
            moved.await;
        }
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no message is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] when the layer was closed, or when the session has ended and all that came before was taken.
    pub async fn receive(&self) -> Result<Bytes, ReceiveError> {
        self.0.shared.inbox.next().await
    }

    /// Waits for the next message, at most for `limit`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped, no message is lost.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`]; [`ReceiveError::TimedOut`] when none came in time.
    pub async fn receive_timeout(&self, limit: Duration) -> Result<Bytes, ReceiveError> {
        let received = time::timeout(limit, self.receive()).await;
        received.unwrap_or(Err(ReceiveError::TimedOut(limit)))
    }

    /// Returns the next message if it is there.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] as [`Self::receive`].
    pub fn try_receive(&self) -> Result<Option<Bytes>, ReceiveError> {
        self.0.shared.inbox.pop()
    }

    /// Returns figures of the layer.
    #[must_use]
    pub fn stats(&self) -> ReliabilityStats {
        let shared = &self.0.shared;
        let (in_flight, round_trip, ack_timeout) = {
            let outbound = &lock(&shared.state).outbound;
            (
                outbound.in_flight(),
                outbound.round_trip(),
                outbound.timeout(),
            )
        };
        let counters = &shared.counters;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        ReliabilityStats {
            sent: get(&counters.sent),
            delivered: get(&counters.delivered),
            failed: get(&counters.failed),
            retransmissions: get(&counters.retransmissions),
            in_flight,
            received: get(&counters.received),
            duplicates: get(&counters.duplicates),
            refused: get(&counters.refused),
            late: get(&counters.late),
            skipped: get(&counters.skipped),
            ignored: get(&counters.ignored),
            round_trip,
            ack_timeout,
        }
    }

    /// Returns whether the layer, its transport or the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.shared.end.get().is_some() || self.0.shared.transport.is_closed()
    }

    /// Closes the layer: gives up what is under way and wakes all who wait.
    ///
    /// The transport lives on. Does nothing the second time. [`Self::flush`] before it waits for what is under way.
    pub fn close(&self) {
        self.0.driver.abort();
        self.0.shared.end(End::Closed);
    }
}

impl Shared {
    fn max_message_size(&self) -> Option<usize> {
        self.transport.max_datagram_size()?.checked_sub(OVERHEAD)
    }

    // ---- sending

    fn send(&self, message: &[u8]) -> Result<Delivery, SendError> {
        let max = self.max_message_size();
        let mut state = lock(&self.state);
        // The end is set before what is under way is given up, so nothing is taken after that.
        if let Some(end) = self.end.get() {
            return Err(end.clone().into());
        }
        let max = max.ok_or(SendError::Unsupported)?;
        let size = message.len();
        if size > max {
            return Err(SendError::TooLarge { size, max });
        }
        if state.outbound.is_full() {
            let limit = self.window;
            return Err(SendError::QueueFull { limit });
        }
        let (done, outcome) = oneshot::channel();
        let now = Instant::now();
        let due = state.outbound.push(message, now, done);
        count(&self.counters.sent, 1);
        self.transmit(&mut state, due, now);
        let next = state.outbound.next_due();
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            self.wake.notify_one();
        }
        Ok(Delivery(outcome))
    }

    /// Gives a message to the transport, in the order of the calls.
    fn transmit(&self, state: &mut State, due: Due, now: Instant) {
        let Due { sequence, frame } = due;
        match self.transport.try_send(frame) {
            Ok(()) => state.outbound.transmitted(sequence, now, true),
            Err(SendError::TooLarge { size, max }) => {
                let error = DeliveryError::TooLarge {
                    size: size.saturating_sub(OVERHEAD),
                    max: max.saturating_sub(OVERHEAD),
                };
                state.outbound.fail(sequence, error);
                count(&self.counters.failed, 1);
                self.moved.notify_waiters();
            }
            // Too much waits. If it is the end, the driver learns of it.
            Err(_) => state.outbound.transmitted(sequence, now, false),
        }
    }

    // ---- the driver

    /// Receives, acknowledges and sends again until the transport or the session ends.
    async fn run(self: Arc<Self>, mut inbound: Inbound) {
        let mut ready = Vec::new();
        loop {
            let wake_at = {
                let mut state = lock(&self.state);
                state.armed = state.outbound.next_due();
                state.armed.into_iter().chain(inbound.gap_ends()).min()
            };
            let alarm = async {
                match wake_at {
                    Some(at) => time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = self.transport.receive() => match received {
                    Ok(datagram) => self.receive(datagram, &mut inbound, &mut ready),
                    Err(ReceiveError::Session(end)) => return self.end(End::Session(end)),
                    Err(_) => return self.end(End::Closed),
                },
                () = self.wake.notified() => {}
                () = alarm => {}
            }
            let now = Instant::now();
            self.repeat(now);
            count(&self.counters.skipped, inbound.skip(now, &mut ready));
            for message in ready.drain(..) {
                let kept = self.inbox.push(message);
                debug_assert!(kept.is_ok(), "the inbound side counts what is in there");
            }
            coop::consume_budget().await;
        }
    }

    fn receive(&self, datagram: Bytes, inbound: &mut Inbound, ready: &mut Vec<Bytes>) {
        let now = Instant::now();
        match wire::decode(datagram) {
            Some(Message::Data(sequence, payload)) => {
                let queued = self.inbox.len();
                let verdict = inbound.receive(sequence, payload, queued, now, ready);
                let counters = &self.counters;
                let counter = match verdict {
                    Verdict::New => &counters.received,
                    Verdict::Duplicate => &counters.duplicates,
                    Verdict::NoRoom => &counters.refused,
                    Verdict::Late => &counters.late,
                };
                count(counter, 1);
                if matches!(verdict, Verdict::New | Verdict::Duplicate) {
                    let urgent = SendOptions::new().priority(Priority::High);
                    // One that does not get through is asked for again.
                    let _ = self.transport.try_send_with(wire::ack(sequence), urgent);
                }
            }
            Some(Message::Ack(sequence)) => {
                // Who learns of it finds it counted: the figures are read under this lock.
                let mut state = lock(&self.state);
                if state.outbound.acked(sequence, now) {
                    count(&self.counters.delivered, 1);
                    drop(state);
                    self.moved.notify_waiters();
                }
            }
            None => count(&self.counters.ignored, 1),
        }
    }

    /// Sends again what is due, and gives up what was sent often enough.
    fn repeat(&self, now: Instant) {
        let mut state = lock(&self.state);
        let (again, given_up) = state.outbound.due(now);
        count(&self.counters.retransmissions, again.len());
        count(&self.counters.failed, given_up);
        for due in again {
            self.transmit(&mut state, due, now);
        }
        drop(state);
        if given_up > 0 {
            self.moved.notify_waiters();
        }
    }

    // ---- the end

    /// Ends the layer; the first word counts.
    fn end(&self, end: End) {
        if self.end.set(end.clone()).is_err() {
            return;
        }
        {
            let mut state = lock(&self.state);
            let given_up = state.outbound.fail_all(&end.clone().into());
            count(&self.counters.failed, given_up);
        }
        self.inbox.end(end.into());
        self.moved.notify_waiters();
    }
}
