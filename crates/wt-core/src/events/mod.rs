//! Typed events: whoever emits does not know who listens.
//!
//! An [`Emitter`] hands each event to every listener, an [`Events`] stream each. Listeners share one ring of bounded
//! size: the one that falls behind loses the oldest events and is told how many, and nobody waits for it.
//!
//! [`Endpoint::events`](crate::Endpoint::events), [`Connection::events`](crate::Connection::events) and
//! [`Session::events`](crate::Session::events) tell [`Event`]s; the layers above have types of their own.

mod emitter;
mod event;
mod listener;
mod wait;

pub use self::{
    emitter::{Emitter, EmitterStats, Recorded},
    event::{Event, EventKind, UnknownEventKind},
    listener::{Events, Lagged},
    wait::WaitError,
};

/// How many events a listener may be behind unless [`Emitter::with_capacity`] says otherwise.
pub const CAPACITY: usize = 256;

/// The most that [`Emitter::with_capacity`] and [`Emitter::with_history`] take.
pub const MAX_CAPACITY: usize = 1 << 16;
