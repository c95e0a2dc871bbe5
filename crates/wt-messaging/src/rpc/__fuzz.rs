//! What the project's fuzz targets need. No part of the API.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};

use super::message::{self, Incoming, Item};

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parsed {
    /// A request: its id, its method and its parameters.
    Request(Option<Bytes>, String, Bytes),
    /// An answer: its id, and the result unless it is an error.
    Response(Bytes, Option<Bytes>),
    /// Something that is answered with an error.
    Invalid(Option<Bytes>),
    /// Something that is not answered.
    Ignored,
}

impl From<Item> for Parsed {
    fn from(item: Item) -> Self {
        match item {
            Item::Request(request) => Self::Request(request.id, request.method, request.params),
            Item::Response { id, outcome } => Self::Response(id, outcome.ok()),
            Item::Invalid { id, .. } => Self::Invalid(id),
            Item::Ignored => Self::Ignored,
        }
    }
}

/// Reads a message; the second is whether it is a batch.
#[must_use]
pub fn parse(payload: &Bytes, strict: Option<usize>) -> (Vec<Parsed>, bool) {
    match message::parse(payload, strict) {
        Incoming::One(item) => (vec![item.into()], false),
        Incoming::Batch(items) => (items.into_iter().map(Into::into).collect(), true),
    }
}

/// Writes a request whose id is a string.
#[must_use]
pub fn request(strict: bool, id: Option<&str>, method: &str, params: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let put = |out: &mut BytesMut| {
        out.extend_from_slice(params);
        Ok::<_, Infallible>(())
    };
    let Ok(()) = message::request(&mut out, strict, id, method, put);
    out.freeze()
}

/// Writes an answer that is no error.
#[must_use]
pub fn response(strict: bool, id: &[u8], result: Bytes) -> Bytes {
    let mut out = BytesMut::new();
    message::response(&mut out, strict, id, &Ok(result));
    out.freeze()
}
