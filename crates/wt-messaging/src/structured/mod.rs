//! Whole messages of an application, on streams and in datagrams.
//!
//! Every message goes with the number of its type, so that one stream carries messages of several. The
//! types are either those of one enum, made by [`messages!`](crate::messages), or those of a
//! [`Registry`] that is filled while the program runs.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wt_messaging::{messages, serializer::Json, structured::StructuredStream};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! pub struct Join {
//!     name: String,
//! }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! pub struct Say {
//!     text: String,
//! }
//!
//! messages! {
//!     /// What a chat consists of.
//!     #[derive(Debug)]
//!     pub enum Chat {
//!         /// Somebody comes.
//!         Join(Join) = 1,
//!         /// Somebody speaks.
//!         Say(Say) = 2,
//!     }
//! }
//!
//! async fn chat(session: &wt_core::Session) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut stream = StructuredStream::<Chat>::open(session, Json::new()).await?;
//!     stream.send(Join { name: "Ann".to_owned() }).await?;
//!     while let Some(message) = stream.recv().await? {
//!         match message {
//!             Chat::Join(join) => println!("{} is here", join.name),
//!             Chat::Say(say) => println!("{}", say.text),
//!         }
//!     }
//!     Ok(())
//! }
//! ```

#[doc(hidden)]
pub mod __fuzz;
mod codec;
mod datagram;
mod error;
mod messages;
mod recv;
mod registry;
mod send;
mod stream;

pub use self::codec::Codec;
pub use self::datagram::{Datagrams, StructuredDatagramTransport};
pub use self::error::{
    DatagramRecvError, DatagramSendError, MessageError, RecvError, SendError, UnknownType,
};
pub use self::messages::Messages;
pub use self::recv::StructuredRecv;
pub use self::registry::{Dynamic, Registry, RegistryError};
pub use self::send::StructuredSend;
pub use self::stream::StructuredStream;

/// The largest message by default, in bytes: 1 MiB.
pub const MAX_MESSAGE_SIZE: usize = 1 << 20;
