//! What the project's fuzz targets need. No part of the API.

use bytes::Bytes;

use super::wire::{self, Message};

/// Reads a message: its number, and the payload of DATA; an ACK has none.
#[must_use]
pub fn decode(datagram: Bytes) -> Option<(u32, Option<Bytes>)> {
    Some(match wire::decode(datagram)? {
        Message::Data(sequence, payload) => (sequence, Some(payload)),
        Message::Ack(sequence) => (sequence, None),
    })
}

/// Writes DATA, or an ACK when there is no payload.
#[must_use]
pub fn encode(sequence: u32, payload: Option<&[u8]>) -> Bytes {
    payload.map_or_else(
        || wire::ack(sequence),
        |payload| wire::data(sequence, payload),
    )
}
