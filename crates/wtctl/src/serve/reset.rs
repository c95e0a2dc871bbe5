//! Resetting and stopping streams at their first bytes.

use wt::{BiStream, RecvStream};

/// Waits for the first bytes, or the end, of a stream and resets and stops it.
pub(super) async fn bidi(mut stream: BiStream, code: u32) {
    if stream.recv.read_chunk(usize::MAX).await.is_ok() {
        stream.abort(code);
    }
}

/// Waits for the first bytes of a stream and stops it.
pub(super) async fn uni(mut recv: RecvStream, code: u32) {
    if recv.read_chunk(usize::MAX).await.is_ok() {
        recv.stop(code);
    }
}
