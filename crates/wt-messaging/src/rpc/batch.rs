//! Several calls in one message.

use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    CallError,
    handle::{Answer, encode_params, new_id},
    message,
};

/// Calls and notifications that go in one message, see [`Rpc::batch`](super::Rpc::batch).
///
/// ```
/// # async fn run(rpc: wt_messaging::rpc::Rpc) -> Result<(), wt_messaging::rpc::CallError> {
/// use wt_messaging::rpc::Batch;
///
/// let mut batch = Batch::new();
/// let sum = batch.call::<i64>("add", (1, 2));
/// let name = batch.call::<String>("name", ());
/// batch.notify("log", ("both asked for",));
/// let answers = rpc.batch(batch).await?;
/// println!("{} {}", answers.get(sum)?, answers.get(name)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<(Option<Uuid>, String, Result<Bytes, CallError>)>,
    calls: usize,
}

/// A call of a [`Batch`], to ask for its answer.
#[derive(Debug)]
pub struct BatchCall<R> {
    index: usize,
    result: PhantomData<fn() -> R>,
}

/// The answers to the calls of a [`Batch`].
#[derive(Debug)]
pub struct Answers(Vec<Answer>);

impl Batch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a call.
    pub fn call<R: DeserializeOwned>(
        &mut self,
        method: impl Into<String>,
        params: impl Serialize,
    ) -> BatchCall<R> {
        let id = Some(new_id());
        self.entries
            .push((id, method.into(), encode_params(&params)));
        self.calls += 1;
        BatchCall {
            index: self.calls - 1,
            result: PhantomData,
        }
    }

    /// Adds a notification.
    pub fn notify(&mut self, method: impl Into<String>, params: impl Serialize) {
        let params = encode_params(&params);
        self.entries.push((None, method.into(), params));
    }

    /// The ids of the calls, and the frame without its length.
    pub(super) fn frame(self, max: usize) -> Result<(Vec<Uuid>, BytesMut), CallError> {
        let size = self.entries.len();
        if size == 0 || size > max {
            return Err(CallError::BatchSize { size, max });
        }
        let mut ids = Vec::with_capacity(self.calls);
        let mut frame = message::frame(message::ENVELOPE);
        let mut separator = "[";
        for (id, method, params) in self.entries {
            if method.is_empty() {
                return Err(CallError::NoName);
            }
            frame.put_slice(separator.as_bytes());
            separator = ", ";
            ids.extend(id);
            let id = id.map(|id| id.to_string());
            message::request(&mut frame, true, id.as_deref(), &method, &params?);
        }
        frame.put_u8(b']');
        Ok((ids, frame))
    }
}

impl Answers {
    pub(super) const fn new(answers: Vec<Answer>) -> Self {
        Self(answers)
    }

    /// Returns the result of a call of this batch.
    ///
    /// # Errors
    ///
    /// [`CallError::Remote`] when the peer answered with an error, [`CallError::Decode`] when the result
    /// is of another type, and [`CallError::NoAnswer`] when the call is one of another batch.
    #[allow(clippy::needless_pass_by_value, reason = "a call is asked for once")]
    pub fn get<R: DeserializeOwned>(&self, call: BatchCall<R>) -> Result<R, CallError> {
        let answer = self.0.get(call.index).ok_or(CallError::NoAnswer)?;
        let result = answer.as_ref().map_err(|e| CallError::Remote(e.clone()))?;
        message::decode(result).map_err(CallError::Decode)
    }
}
