//! Reading what comes and dropping it.

use wt::{BiStream, RecvStream, Session};

/// Reads a stream to its end and then ends the other side of it.
pub(super) async fn bidi(stream: BiStream) {
    let (mut send, recv) = stream.split();
    uni(recv).await;
    // It fails when the client does not listen.
    let _ = send.finish();
}

/// Reads a stream to its end.
pub(super) async fn uni(mut recv: RecvStream) {
    while let Ok(Some(_)) = recv.read_chunk(usize::MAX).await {}
}

/// Reads datagrams until the session is over.
pub(super) async fn datagrams(session: Session) {
    while session.recv_datagram().await.is_ok() {}
}
