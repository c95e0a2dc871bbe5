//! Several calls in one message.

use std::marker::PhantomData;

use bytes::{BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    CallError,
    call::{new_id, put_request},
    message,
    shared::Answer,
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
    /// The ids of calls, and the JSON of calls and notifications.
    entries: Vec<(Option<Uuid>, Result<BytesMut, CallError>)>,
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
        self.add(Some(new_id()), &method.into(), &params);
        self.calls += 1;
        BatchCall {
            index: self.calls - 1,
            result: PhantomData,
        }
    }

    /// Adds a notification.
    pub fn notify(&mut self, method: impl Into<String>, params: impl Serialize) {
        self.add(None, &method.into(), &params);
    }

    fn add(&mut self, id: Option<Uuid>, method: &str, params: &impl Serialize) {
        let mut out = BytesMut::new();
        // There are batches in strict mode only.
        let written = put_request(&mut out, true, id, method, params);
        self.entries.push((id, written.map(|()| out)));
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
        for (id, request) in self.entries {
            frame.put_slice(separator.as_bytes());
            separator = ", ";
            ids.extend(id);
            frame.put_slice(&request?);
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
