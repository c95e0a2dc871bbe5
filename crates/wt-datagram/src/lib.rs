//! Queues, priority, expiry and reliability for WebTransport datagrams.
//!
//! [`Session::send_datagram`](wt_core::Session::send_datagram) hands a datagram to QUIC and forgets it. This crate
//! holds what applications build around that:
//!
//! | Type | Does |
//! |---|---|
//! | [`DatagramTransport`] | three priority lanes, time to live, a policy for full queues, a counter for every drop |
//! | [`ReliabilityLayer`] | acknowledges, repeats, drops duplicates, tells the sender what became of a message |
//! | [`Broadcaster`] | sends one payload to many sessions, of which none waits for another |
//!
//! What is not used costs nothing: a datagram without priority and time to live goes straight to QUIC as long as
//! there is room.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use wt_core::Session;
//! use wt_datagram::{DatagramTransport, Priority, SendOptions};
//!
//! async fn play(session: Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let transport = DatagramTransport::new(session)?;
//!     // Of no use when it is late.
//!     let position = SendOptions::new().ttl(Duration::from_millis(50));
//!     transport.send_with("x=3 y=4", position).await?;
//!     // Overtakes what waits.
//!     transport.send_with("bang", SendOptions::new().priority(Priority::High)).await?;
//!     println!("{:?}", transport.receive().await?);
//!     Ok(())
//! }
//! ```

mod broadcast;
mod checksum;
mod config;
mod counters;
mod error;
mod event;
mod inbox;
mod json;
mod lock;
mod message;
mod options;
mod payload;
pub mod reliability;
mod stats;
mod transport;

pub use broadcast::{AddError, Broadcaster, Report};
pub use checksum::{Checksum, UnknownChecksum};
pub use config::{DatagramConfig, DropPolicy};
pub use error::{OpenError, ReceiveError, SendError, SendManyError};
pub use event::{DatagramEvent, DropReason};
pub use message::Datagram;
pub use options::{Priority, SendOptions};
pub use payload::Payload;
#[doc(inline)]
pub use reliability::ReliabilityLayer;
pub use stats::{DatagramStats, Diagnostics, Drops, Issue, QueueStats, Thresholds};
pub use transport::{DatagramTransport, heartbeat};
