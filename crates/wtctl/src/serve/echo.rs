//! Sending back what comes.

use wt::{BiStream, ReadError, RecvStream, SendDatagramError, SendStream, Session, WriteError};

/// The most that is taken from a stream at a time, and so what a stream holds here.
const CHUNK: usize = 256 * 1024;

/// Sends the bytes of a stream back on it.
pub(super) async fn bidi(stream: BiStream) {
    let (send, recv) = stream.split();
    copy(recv, send).await;
}

/// Sends the bytes of a stream back on a new one.
pub(super) async fn uni(session: Session, recv: RecvStream) {
    if let Ok(send) = session.open_uni().await {
        copy(recv, send).await;
    }
}

/// Sends datagrams back until the session is over.
pub(super) async fn datagrams(session: Session) {
    while let Ok(datagram) = session.recv_datagram().await {
        match session.send_datagram_wait(&datagram).await {
            Ok(()) => {}
            // The way back may be narrower than the way here.
            Err(error @ SendDatagramError::TooLarge { .. }) => tracing::debug!(%error, "dropped"),
            Err(_) => return,
        }
    }
}

/// How an echo ended before its FIN.
enum Broken {
    /// The client reset its side.
    Reset(ReadError),
    /// The client does not want the echo any more.
    Stopped(WriteError),
    Session,
}

/// Copies until FIN, which is answered by FIN, or a reset, which is answered by a reset with the same
/// code.
async fn copy(mut recv: RecvStream, mut send: SendStream) {
    match copy_to_fin(&mut recv, &mut send).await {
        Ok(()) | Err(Broken::Session) => {}
        Err(Broken::Reset(error)) => send.reset(error.code().unwrap_or(0)),
        Err(Broken::Stopped(error)) => {
            let code = error.code().unwrap_or(0);
            send.reset(code);
            recv.stop(code);
        }
    }
}

async fn copy_to_fin(recv: &mut RecvStream, send: &mut SendStream) -> Result<(), Broken> {
    while let Some(chunk) = recv.read_chunk(CHUNK).await? {
        let mut write = std::pin::pin!(send.write_chunk(chunk));
        let mut watch = true;
        loop {
            tokio::select! {
                biased;
                written = &mut write => break written?,
                // A client that resets may have stopped reading what is being written.
                closed = recv.closed(), if watch => match closed? {
                    Some(code) => return Err(Broken::Reset(ReadError::Reset(code))),
                    None => watch = false,
                }
            }
        }
    }
    Ok(send.finish()?)
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::Reset(error),
            _ => Self::Session,
        }
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::Stopped(error),
            _ => Self::Session,
        }
    }
}
