//! Requests and answers as JSON, and their frames.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::error::{RpcError, RpcErrorCode};
use crate::serializer::{DecodeError, EncodeError, Json};

/// The head of a frame: the length of the JSON.
pub(super) const HEAD: usize = 4;

/// The method that tells of calls that were given up, as in the Language Server Protocol.
pub(super) const CANCEL: &str = "$/cancelRequest";

const JSON: Json = Json::new();

/// What a frame has in it.
#[derive(Debug)]
pub(super) enum Incoming {
    One(Item),
    Batch(Vec<Item>),
}

/// A request, an answer, or neither.
#[derive(Debug)]
pub(super) enum Item {
    Request(RawRequest),
    Response {
        id: Bytes,
        /// The JSON of the result.
        outcome: Result<Bytes, RpcError>,
    },
    /// To be answered with an error.
    Invalid {
        id: Option<Bytes>,
        error: RpcError,
    },
    /// An answer that is none.
    Ignored,
}

impl Item {
    /// Whether something is sent back.
    pub(super) const fn is_answered(&self) -> bool {
        match self {
            Self::Request(request) => request.id.is_some(),
            Self::Invalid { .. } => true,
            Self::Response { .. } | Self::Ignored => false,
        }
    }
}

/// A request whose parameters are still JSON.
#[derive(Debug)]
pub(super) struct RawRequest {
    /// The JSON of the id; `None` for a notification.
    pub(super) id: Option<Bytes>,
    pub(super) method: String,
    /// The JSON of the parameters: a list or an object.
    pub(super) params: Bytes,
}

impl RawRequest {
    pub(super) fn size(&self) -> usize {
        self.id.as_ref().map_or(0, Bytes::len) + self.method.len() + self.params.len()
    }

    /// The JSON of the id that a cancellation names, when this is one.
    pub(super) fn cancels(&self) -> Option<Bytes> {
        #[derive(Deserialize)]
        struct Cancel<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        if self.method != CANCEL {
            return None;
        }
        let cancel: Cancel<'_> = serde_json::from_slice(&self.params).ok()?;
        Some(self.params.slice_ref(cancel.id.get().as_bytes()))
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn invalid(code: RpcErrorCode, message: impl Into<String>) -> Item {
    Item::Invalid {
        id: None,
        error: RpcError::new(code, message),
    }
}

/// Reads the payload of a frame. `strict` is the largest batch where JSON-RPC 2.0 is kept to.
pub(super) fn parse(payload: &Bytes, strict: Option<usize>) -> Incoming {
    let Ok(text) = str::from_utf8(payload) else {
        return Incoming::One(invalid(
            RpcErrorCode::PARSE_ERROR,
            "The message is not UTF-8.",
        ));
    };
    let items = match text.trim_start().chars().next() {
        Some('{') => return Incoming::One(parse_item(text, payload, strict.is_some())),
        Some('[') => serde_json::from_str::<Vec<&RawValue>>(text),
        // Whether it is JSON at all.
        _ => serde_json::from_str::<&RawValue>(text).map(|_| Vec::new()),
    };
    let refused = match (items, strict) {
        (Err(error), _) => invalid(RpcErrorCode::PARSE_ERROR, format!("Not JSON: {error}.")),
        (Ok(items), Some(most)) if (1..=most).contains(&items.len()) => {
            let items = items.iter().map(|raw| parse_item(raw.get(), payload, true));
            return Incoming::Batch(items.collect());
        }
        (Ok(items), Some(most)) if !items.is_empty() => {
            let message = format!("A batch of {}, at most {most} are allowed.", items.len());
            invalid(RpcErrorCode::INVALID_REQUEST, message)
        }
        (Ok(items), None) if !items.is_empty() => invalid(
            RpcErrorCode::INVALID_REQUEST,
            "Batches are for strict mode only.",
        ),
        (Ok(_), _) => invalid(RpcErrorCode::INVALID_REQUEST, "Not a request."),
    };
    Incoming::One(refused)
}

fn parse_item(text: &str, payload: &Bytes, strict: bool) -> Item {
    // A struct could also be a list for serde.
    if !text.trim_start().starts_with('{') {
        return invalid(RpcErrorCode::INVALID_REQUEST, "Not a request.");
    }
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return invalid(
                RpcErrorCode::INVALID_REQUEST,
                format!("Not a request: {error}."),
            );
        }
        Err(error) => return invalid(RpcErrorCode::PARSE_ERROR, format!("Not JSON: {error}.")),
    };
    let slice = |raw: &RawValue| payload.slice_ref(raw.get().as_bytes());
    // Without strictness null is as good as none, as in PyWebTransport.
    let id = || envelope.id.map(slice).filter(|id| strict || id != "null");
    let version = envelope.jsonrpc.map(RawValue::get);
    let wrong_version = strict && version != Some("\"2.0\"");
    let refuse = |id, message: &str| Item::Invalid {
        id,
        error: RpcError::new(RpcErrorCode::INVALID_REQUEST, message),
    };
    if let Some(method) = envelope.method {
        let id = id();
        if wrong_version {
            return refuse(id, "\"jsonrpc\" has to be \"2.0\".");
        }
        let Ok(method) = serde_json::from_str(method.get()) else {
            return refuse(id, "The method has to be a string.");
        };
        if strict
            && id
                .as_ref()
                .is_some_and(|id| id.starts_with(b"{") || id.starts_with(b"["))
        {
            return refuse(None, "The id has to be a string, a number or null.");
        }
        let params = envelope.params.map_or(Bytes::from_static(b"[]"), slice);
        if !params.starts_with(b"[") && !params.starts_with(b"{") {
            let error = RpcError::invalid_params("Parameters must be a list.");
            return match id {
                Some(_) => Item::Invalid { id, error },
                None => Item::Ignored,
            };
        }
        return Item::Request(RawRequest { id, method, params });
    }
    let outcome = match (envelope.error, envelope.result) {
        (Some(error), _) => Err(RpcError::read(error.get())),
        (None, Some(result)) => Ok(slice(result)),
        (None, None) if strict => return refuse(id(), "Not a request."),
        (None, None) => return Item::Ignored,
    };
    match envelope.id {
        Some(id) if !wrong_version => Item::Response {
            id: slice(id),
            outcome,
        },
        _ => Item::Ignored,
    }
}

/// Reads the id of a call of ours, which is JSON; `None` when it is none.
pub(super) fn call_id(json: &[u8]) -> Option<Uuid> {
    let text = json.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    // As it was sent, or written in another way.
    Uuid::try_parse_ascii(text)
        .ok()
        .or_else(|| Uuid::try_parse(&serde_json::from_slice::<String>(json).ok()?).ok())
}

/// Begins a frame whose length comes later, with room for a payload of that many bytes.
pub(super) fn frame(room: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEAD + room);
    frame.put_bytes(0, HEAD);
    frame
}

/// Puts the length into a frame and returns the size of its payload.
pub(super) fn seal(frame: &mut BytesMut) -> usize {
    seal_at(frame, 0)
}

/// Puts the length into the frame that begins there, the last one, and returns the size of its payload.
pub(super) fn seal_at(out: &mut BytesMut, start: usize) -> usize {
    let size = out.len() - start - HEAD;
    // What does not fit is larger than any limit, which the caller looks at.
    let len = u32::try_from(size).unwrap_or(u32::MAX);
    out[start..start + HEAD].copy_from_slice(&len.to_be_bytes());
    size
}

/// About what a request takes besides its method and its parameters, or an answer besides its result.
pub(super) const ENVELOPE: usize = 112;

fn begin(out: &mut BytesMut, strict: bool) {
    out.put_slice(if strict {
        b"{\"jsonrpc\": \"2.0\", "
    } else {
        b"{"
    });
}

fn text(out: &mut BytesMut, text: &str) {
    // Strings always have a form.
    let _ = JSON.write(text, out);
}

/// Writes a request, or a notification when there is no id. `params` writes the JSON of the parameters.
pub(super) fn request<E>(
    out: &mut BytesMut,
    strict: bool,
    id: Option<&str>,
    method: &str,
    params: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Result<(), E> {
    begin(out, strict);
    if let Some(id) = id {
        out.put_slice(b"\"id\": ");
        text(out, id);
        out.put_slice(b", ");
    }
    out.put_slice(b"\"method\": ");
    text(out, method);
    out.put_slice(b", \"params\": ");
    params(out)?;
    out.put_u8(b'}');
    Ok(())
}

/// Writes an answer. `id` is JSON.
pub(super) fn response(
    out: &mut BytesMut,
    strict: bool,
    id: &[u8],
    outcome: &Result<Bytes, RpcError>,
) {
    begin(out, strict);
    out.put_slice(b"\"id\": ");
    out.put_slice(id);
    match outcome {
        Ok(result) => {
            out.put_slice(b", \"result\": ");
            out.put_slice(result);
        }
        Err(error) => {
            out.put_slice(b", \"error\": ");
            // Values of serde_json always have a form.
            let _ = JSON.write(error, out);
        }
    }
    out.put_u8(b'}');
}

/// Writes a value as JSON.
pub(super) fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::with_capacity(128);
    encode_to(value, &mut out)?;
    Ok(out.freeze())
}

/// Appends a value as JSON.
pub(super) fn encode_to<T: serde::Serialize + ?Sized>(
    value: &T,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    JSON.write(value, out)
}

/// Reads a value from JSON.
pub(super) fn decode<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, DecodeError> {
    JSON.read(json)
}
