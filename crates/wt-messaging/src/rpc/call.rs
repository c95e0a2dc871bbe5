//! Calls.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{CallError, Rpc, message, pending::Limit};

/// A call that is about to be made: `.await` it for the result.
#[must_use = "nothing happens until it is awaited"]
pub struct Call<R> {
    rpc: Rpc,
    method: String,
    id: Uuid,
    frame: Result<BytesMut, CallError>,
    timeout: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

/// Makes the id of a call: it has to differ from others, and is no secret from the peer, who alone sees it.
pub(super) fn new_id() -> Uuid {
    let bytes = fastrand::u128(..).to_ne_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

impl<R> Call<R> {
    pub(super) fn new(rpc: Rpc, method: String, params: &impl Serialize) -> Self {
        let id = new_id();
        Self {
            timeout: rpc.config().call_timeout,
            frame: rpc.frame(Some(id), &method, params),
            id,
            rpc,
            method,
            result: PhantomData,
        }
    }

    /// Limits the time for the call, waiting for room included; `None` for no limit.
    /// [`RpcConfig::call_timeout`](super::RpcConfig::call_timeout) by default.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }
}

impl<R: DeserializeOwned> Call<R> {
    async fn run(self) -> Result<R, CallError> {
        let limit = Limit {
            what: &self.method,
            after: self.timeout,
        };
        let answer = self.rpc.0.shared.call(self.id, self.frame?, limit).await?;
        message::decode(&answer.map_err(CallError::Remote)?).map_err(CallError::Decode)
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for Call<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Writes a request, or a notification when there is no id. Parameters are a list or an object.
pub(super) fn put_request(
    out: &mut BytesMut,
    strict: bool,
    id: Option<Uuid>,
    method: &str,
    params: &impl Serialize,
) -> Result<(), CallError> {
    if method.is_empty() {
        return Err(CallError::NoName);
    }
    let mut digits = Uuid::encode_buffer();
    let id = id.map(|id| &*id.hyphenated().encode_lower(&mut digits));
    message::request(out, strict, id, method, |out| {
        let start = out.len();
        message::encode_to(params, out).map_err(CallError::Encode)?;
        match &out[start..] {
            [b'[' | b'{', ..] => Ok(()),
            b"null" => {
                out.truncate(start);
                out.extend_from_slice(b"[]");
                Ok(())
            }
            _ => Err(CallError::SingleValue),
        }
    })
}
