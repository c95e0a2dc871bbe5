//! What is allowed, and how much.

use std::time::Duration;

/// How RPC behaves and what it may take. The default suits most.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RpcConfig {
    /// Whether to keep to JSON-RPC 2.0: `"jsonrpc": "2.0"` is sent and demanded, and batches are
    /// allowed. PyWebTransport 0.8 knows neither. Off by default.
    pub strict: bool,
    /// The largest message that is sent or taken, in bytes. A peer that announces a larger one ends
    /// the RPC, or the call when each has its own stream. 1 MiB by default.
    pub max_message_size: usize,
    /// How long a call may take, waiting for room included; `None` for as long as it wants. 30 s by
    /// default.
    pub call_timeout: Option<Duration>,
    /// How many calls may wait for their answers; further ones wait before they are sent. 1024 by
    /// default, at least 1.
    pub pending_calls: usize,
    /// How many handlers may run at a time for the peer. 100 by default, at least 1.
    #[doc(alias = "rpc_concurrency_limit")]
    pub concurrency: usize,
    /// How many requests of the peer may wait for a handler to end. Further ones are answered with
    /// [`RpcErrorCode::BUSY`](super::RpcErrorCode::BUSY). 256 by default. When each call has its own
    /// stream, requests wait in their streams instead.
    pub queue: usize,
    /// How many bytes these may take together. 4 MiB by default.
    pub queue_bytes: usize,
    /// How many bytes of answers may wait to be written, because the peer reads slowly, beside one of
    /// [`Self::max_message_size`]. Beyond that no handler starts on a stream that all calls share, and answers of those
    /// that run are replaced with [`RpcErrorCode::BUSY`](super::RpcErrorCode::BUSY). 32 MiB by default.
    pub answer_bytes: usize,
    /// How many calls and notifications a batch may have. 100 by default.
    pub batch: usize,
    /// How long a request may take to arrive when each call has its own stream. 10 s by default.
    pub request_timeout: Duration,
    /// How long the end may take: for answers that are on their way when the peer calls no more, and
    /// for what is written but not taken by the stream. 5 s by default.
    pub close_timeout: Duration,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            strict: false,
            max_message_size: 1 << 20,
            call_timeout: Some(Duration::from_secs(30)),
            pending_calls: 1024,
            concurrency: 100,
            queue: 256,
            queue_bytes: 4 << 20,
            answer_bytes: 32 << 20,
            batch: 100,
            request_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl RpcConfig {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`Self::strict`].
    #[must_use]
    pub const fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sets [`Self::max_message_size`].
    #[must_use]
    pub const fn with_max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// Sets [`Self::call_timeout`].
    #[must_use]
    pub const fn with_call_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets [`Self::pending_calls`].
    #[must_use]
    pub const fn with_pending_calls(mut self, calls: usize) -> Self {
        self.pending_calls = calls;
        self
    }

    /// Sets [`Self::concurrency`].
    #[must_use]
    pub const fn with_concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers;
        self
    }

    /// Sets [`Self::queue`].
    #[must_use]
    pub const fn with_queue(mut self, requests: usize) -> Self {
        self.queue = requests;
        self
    }

    /// Sets [`Self::queue_bytes`].
    #[must_use]
    pub const fn with_queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Sets [`Self::answer_bytes`].
    #[must_use]
    pub const fn with_answer_bytes(mut self, bytes: usize) -> Self {
        self.answer_bytes = bytes;
        self
    }

    /// Sets [`Self::batch`].
    #[must_use]
    pub const fn with_batch(mut self, calls: usize) -> Self {
        self.batch = calls;
        self
    }

    /// Sets [`Self::request_timeout`].
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`Self::close_timeout`].
    #[must_use]
    pub const fn with_close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }
}
