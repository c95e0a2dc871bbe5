//! Both halves of a bidirectional stream.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wt_proto::StreamId;

use super::{RecvStream, SendStream, StreamInfo, StreamStats, StreamWatch};
use crate::state::StreamState;

/// A bidirectional stream.
///
/// Its halves live independently of each other: take them apart with [`Self::split`] to use them in
/// two tasks.
#[derive(Debug)]
#[non_exhaustive]
#[doc(alias = "WebTransportStream")]
pub struct BiStream {
    /// The sending half.
    pub send: SendStream,
    /// The receiving half.
    pub recv: RecvStream,
}

impl BiStream {
    /// Returns the QUIC stream id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.send.id()
    }

    /// Returns what is known of the stream: who opened it, and how many bytes went each way.
    #[must_use]
    pub fn info(&self) -> StreamInfo {
        self.send.info()
    }

    /// Returns figures of the stream: how it stands, and how reads and writes went.
    #[must_use]
    #[doc(alias = "diagnostics")]
    pub fn stats(&self) -> StreamStats {
        self.send.stats()
    }

    /// Returns how the stream stands, both halves together.
    #[must_use]
    pub fn state(&self) -> StreamState {
        self.send.state()
    }

    /// Returns a handle that looks at the stream while this one is in use elsewhere.
    #[must_use]
    pub fn watch(&self) -> StreamWatch {
        self.send.watch()
    }

    /// Takes the stream apart.
    #[must_use]
    pub fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }

    /// Resets the sending half and stops the receiving half with `code`.
    pub fn abort(&mut self, code: u32) {
        self.send.reset(code);
        self.recv.stop(code);
    }
}

impl AsyncRead for BiStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().recv).poll_read(cx, buf)
    }
}

impl AsyncWrite for BiStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().send).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().send).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().send).poll_shutdown(cx)
    }
}
