//! Sending bytes that nobody sent here.

use bytes::Bytes;
use wt::{BiStream, SendStream, WriteError};

use super::discard;

/// Zeros, which all streams share.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Sends `bytes` bytes and FIN, while what the client has to say is dropped.
pub(super) async fn bidi(stream: BiStream, bytes: u64) {
    let (send, recv) = stream.split();
    tokio::join!(uni(send, bytes), discard::uni(recv));
}

/// Sends `bytes` bytes and FIN.
pub(super) async fn uni(mut send: SendStream, bytes: u64) {
    // Without the session there is nobody to tell of other errors.
    if let Err(error @ WriteError::Stopped(_)) = write(&mut send, bytes).await {
        send.reset(error.code().unwrap_or(0));
    }
}

async fn write(send: &mut SendStream, mut bytes: u64) -> Result<(), WriteError> {
    while bytes > 0 {
        let part = usize::try_from(bytes).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        send.write_chunk(Bytes::from_static(&ZEROS[..part])).await?;
        bytes -= part as u64;
    }
    send.finish()
}
