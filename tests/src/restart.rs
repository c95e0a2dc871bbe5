//! What the server `restart-server` and its clients agree on.

/// Bytes of a message, of which the first line is noted down.
pub const MAX_MESSAGE: usize = 256 * 1024;
