//! The messages of RPC as records.
//!
//! [`Rpc`](super::Rpc) makes and reads messages without them. They are for those who log, check or send messages by
//! themselves, for instance in tests.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RpcError;

/// The id of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(
    clippy::exhaustive_enums,
    reason = "JSON-RPC has no other ids but null, which is `None`"
)]
pub enum RpcId {
    /// A whole number.
    Number(i64),
    /// A text; PyWebTransport and this crate send UUIDs.
    Text(String),
}

impl From<i64> for RpcId {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for RpcId {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A request: a call, or without an id a notification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a record is made field by field, and its fields are those of the wire"
)]
pub struct RpcRequest {
    /// Pairs the answer with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RpcId>,
    /// What is called.
    pub method: String,
    /// A list of parameters, or a map with their names.
    #[serde(default = "no_params")]
    pub params: Value,
}

fn no_params() -> Value {
    Value::Array(Vec::new())
}

/// The answer to a call that has a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a record is made field by field, and its fields are those of the wire"
)]
pub struct RpcSuccessResponse {
    /// The id of the call.
    pub id: RpcId,
    /// What it returned.
    pub result: Value,
}

/// The answer to a call that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a record is made field by field, and its fields are those of the wire"
)]
pub struct RpcErrorResponse {
    /// The id of the call; `None` when it could not be read.
    pub id: Option<RpcId>,
    /// Why it failed.
    pub error: RpcError,
}
