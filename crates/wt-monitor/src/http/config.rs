//! What a client of the listener may use.

use std::time::Duration;

use wt_core::config::ConfigError;

/// Limits of an [`HttpListener`](super::HttpListener).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// TCP connections at a time; further clients wait in the system's queue. Default: 32.
    pub max_connections: usize,
    /// Bytes of a request's line and header fields, at least 8192; larger ones are answered with 431.
    /// Default: 16 KiB.
    pub max_header_bytes: usize,
    /// Time for a whole request, from the connection to the last byte of the answer; then the connection is closed.
    /// Default: 10 s.
    pub request_timeout: Duration,
    /// Whether other processes of the same user may listen on the same port (`SO_REUSEPORT`), so that a process that
    /// takes over from another can start while that one finishes. Of no effect but on Unix. Default: off.
    pub share_port: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_connections: 32,
            max_header_bytes: 16 * 1024,
            request_timeout: Duration::from_secs(10),
            share_port: false,
        }
    }
}

impl HttpConfig {
    /// The least that a request's header fields may be limited to.
    const MIN_HEADER_BYTES: usize = 8192;

    /// Sets how many connections there may be at a time.
    #[must_use]
    pub const fn with_max_connections(mut self, max: usize) -> Self {
        self.max_connections = max;
        self
    }

    /// Sets how large a request's line and header fields may be.
    #[must_use]
    pub const fn with_max_header_bytes(mut self, bytes: usize) -> Self {
        self.max_header_bytes = bytes;
        self
    }

    /// Sets how long a request may take.
    #[must_use]
    pub const fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets whether other processes of the same user may listen on the same port.
    #[must_use]
    pub const fn with_share_port(mut self, share: bool) -> Self {
        self.share_port = share;
        self
    }

    /// Checks that all values can work.
    ///
    /// # Errors
    ///
    /// Names the first field whose value cannot work, the value and the reason.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            let reason = "must be at least 1";
            return Err(ConfigError::new(
                "HttpConfig.max_connections",
                self.max_connections,
                reason,
            ));
        }
        if self.max_header_bytes < Self::MIN_HEADER_BYTES {
            let reason = "must be at least 8192";
            return Err(ConfigError::new(
                "HttpConfig.max_header_bytes",
                self.max_header_bytes,
                reason,
            ));
        }
        if self.request_timeout.is_zero() {
            let reason = "must be longer than 0";
            return Err(ConfigError::new(
                "HttpConfig.request_timeout",
                self.request_timeout,
                reason,
            ));
        }
        Ok(())
    }
}
