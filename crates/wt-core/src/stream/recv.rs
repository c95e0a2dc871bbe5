//! The receiving half of a stream.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::MutexGuard,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, ReadBuf};
use wt_proto::{ErrorCode, StreamId};

use super::{
    End, Half, Inbound, StreamInfo, StreamStats, StreamWatch, code_of, figures::add,
    send::application_words,
};
use crate::{error::SessionError, lock::lock, session::Shared, state::StreamState, stats::count};

/// How much unread data [`RecvStream::closed`] looks behind, in bytes.
const LOOK_BEHIND: usize = 64 * 1024;

/// How often [`RecvStream::closed`] looks for a reset behind more unread data than that.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The receiving half of a stream.
///
/// Dropping a stream before its end stops it with code 0.
#[derive(Debug)]
#[doc(alias = "WebTransportReceiveStream")]
pub struct RecvStream {
    half: Half,
    /// Since when a read waits.
    waiting: Option<Instant>,
}

impl RecvStream {
    pub(super) const fn new(half: Half) -> Self {
        Self {
            half,
            waiting: None,
        }
    }

    fn session(&self) -> &Shared {
        self.half.session.shared()
    }

    /// Returns the QUIC stream id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.half.slot.id
    }

    /// Returns what is known of the stream: who opened it, and how many bytes went each way.
    #[must_use]
    pub fn info(&self) -> StreamInfo {
        self.half.info()
    }

    /// Returns figures of the stream: how it stands, and how reads and writes went.
    #[must_use]
    #[doc(alias = "diagnostics")]
    pub fn stats(&self) -> StreamStats {
        self.half.stats()
    }

    /// Returns how the stream stands, both halves together.
    #[must_use]
    pub fn state(&self) -> StreamState {
        self.half.state()
    }

    /// Returns a handle that looks at the stream while this one is in use elsewhere.
    #[must_use]
    pub fn watch(&self) -> StreamWatch {
        StreamWatch::new(&self.half)
    }

    /// Reads some bytes into `buf` and returns how many; `None` at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was read.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if buf.is_empty() {
            return Ok(Some(0));
        }
        let mut buf = ReadBuf::new(buf);
        let read = poll_fn(|cx| self.poll_read_buf(cx, &mut buf)).await?;
        Ok((read > 0).then_some(read))
    }

    /// Reads the next bytes, at most `max`, without copying them; `None` at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was read.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_read_chunk(cx, max)).await
    }

    /// Fills `buf`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: bytes read before the future is dropped are lost.
    ///
    /// # Errors
    ///
    /// [`ReadExactError::FinishedEarly`] when the stream ends first, with the number of bytes that
    /// were read into `buf`.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ReadExactError> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest).await? {
                Some(n) => filled += n,
                None => return Err(ReadExactError::FinishedEarly(filled)),
            }
        }
        Ok(())
    }

    /// Reads all up to the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: bytes read before the future is dropped are lost.
    ///
    /// # Errors
    ///
    /// [`ReadToEndError::TooLong`] when there are more than `limit` bytes; the stream is stopped.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Bytes, ReadToEndError> {
        let Some(first) = self.read_chunk(usize::MAX).await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(self.too_long(limit));
        }
        let Some(second) = self.read_chunk(usize::MAX).await? else {
            return Ok(first);
        };
        let mut all = BytesMut::with_capacity((first.len() + second.len()) * 2);
        all.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            if all.len() + chunk.len() > limit {
                return Err(self.too_long(limit));
            }
            all.extend_from_slice(&chunk);
            next = self.read_chunk(usize::MAX).await?;
        }
        Ok(all.freeze())
    }

    /// Returns the stream as chunks of at most `max` bytes, not copied, up to its end.
    ///
    /// An error is the last item.
    #[doc(alias = "read_iter")]
    pub fn chunks(
        &mut self,
        max: usize,
    ) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin {
        let chunks = futures_util::stream::poll_fn(move |cx| {
            self.poll_read_chunk(cx, max).map(Result::transpose)
        });
        // What failed goes on failing.
        let mut failed = false;
        chunks.take_while(move |chunk| {
            let goes_on = !failed;
            failed = chunk.is_err();
            std::future::ready(goes_on)
        })
    }

    fn too_long(&mut self, limit: usize) -> ReadToEndError {
        self.stop(0);
        ReadToEndError::TooLong(limit)
    }

    /// Asks the peer to stop sending, with `code`, and gives up what was not read.
    ///
    /// Does nothing when the stream is over.
    pub fn stop(&mut self, code: u32) {
        self.stop_with(ErrorCode::from_application(code));
    }

    /// Like [`Self::stop`], with an HTTP/3 code as it goes on the wire instead of an application's.
    ///
    /// Peers show their application a code only when it is in the range of
    /// [`ErrorCode::from_application`].
    pub fn stop_with(&mut self, code: ErrorCode) {
        let mut inbound = lock(&self.half.slot.recv);
        if inbound.is_read() {
            return;
        }
        let unread = inbound.clear();
        // A stream of which all was read, but not its end, is over and lost nothing.
        let was_reset = inbound.look_for_end();
        let was_open = inbound.end == End::Open;
        if was_open {
            inbound.end = End::Stopped;
        }
        let quic = inbound.quic.take();
        drop(inbound);
        if let Some(mut quic) = quic {
            // An error says that the stream is over already.
            let _ = quic.stop(self.half.code(code));
        }
        self.consumed(unread);
        if was_open || was_reset {
            self.session().forgive_received();
        }
    }

    /// Waits until the peer resets the stream, or its end arrived, without reading it.
    ///
    /// Returns the code of the reset, or `None` when all data arrived or the stream was stopped
    /// here. Looks behind at most 64 KiB of unread data.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ReadError::Session`] when the session ends first.
    pub async fn closed(&mut self) -> Result<Option<ErrorCode>, ReadError> {
        loop {
            if let Some(result) = poll_fn(|cx| self.poll_closed(cx)).await {
                return result;
            }
            // QUIC wakes nobody for a reset behind unread bytes: look again now and then.
            let session = self.session();
            tokio::select! {
                end = session.ended() => return Err(ReadError::Session(end)),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Polls for the end of the stream; `None` when too much is unread to look behind it.
    fn poll_closed(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Option<ErrorCode>, ReadError>>> {
        loop {
            let mut inbound = lock(&self.half.slot.recv);
            match inbound.end {
                End::Open => {}
                End::Reset(code) => return Poll::Ready(Some(Ok(Some(code)))),
                End::Finished | End::Stopped => return Poll::Ready(Some(Ok(None))),
            }
            let full = inbound.kept() >= LOOK_BEHIND;
            // Nothing is taken from a full stream; a reset shows all the same.
            let Poll::Ready(result) = inbound.poll_quic(cx, if full { 0 } else { usize::MAX })
            else {
                return self
                    .pending(cx)
                    .map(|ended: Result<Option<ErrorCode>, ReadError>| Some(ended));
            };
            if let Ok(Some(chunk)) = result {
                if full {
                    return Poll::Ready(None);
                }
                let arrived = self.session().flow_arrived(chunk.len());
                inbound.push(chunk);
                drop(inbound);
                if let Err(violation) = arrived {
                    let error = ReadError::Session(self.session().violated(violation));
                    return Poll::Ready(Some(Err(error)));
                }
                continue;
            }
            drop(inbound);
            return Poll::Ready(Some(match result {
                Ok(_) => Ok(None),
                Err(error) => match self.fail(error) {
                    ReadError::Reset(code) => Ok(Some(code)),
                    error => Err(error),
                },
            }));
        }
    }

    fn gone(&self) -> ReadError {
        self.session_ended().unwrap_or(ReadError::Closed)
    }

    fn session_ended(&self) -> Option<ReadError> {
        self.session()
            .end()
            .map(|error| ReadError::Session(error.clone()))
    }

    /// Counts bytes that the application read or gave up.
    fn consumed(&self, bytes: usize) {
        if bytes > 0 && self.session().consumed(bytes) {
            self.session().credit_due();
        }
    }

    /// Has the task woken by more data and by the end of the session. The caller holds the lock of
    /// the stream, so that nobody who takes the data from QUIC meanwhile finds no task to wake.
    fn pending<T>(&self, cx: &Context<'_>) -> Poll<Result<T, ReadError>> {
        self.half.slot.reader.register(cx.waker());
        self.session_ended()
            .map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    }

    fn fail(&self, error: quinn::ReadError) -> ReadError {
        match error {
            quinn::ReadError::Reset(code) => {
                self.session().forgive_received();
                ReadError::Reset(code_of(code))
            }
            quinn::ReadError::ConnectionLost(error) => {
                ReadError::Session(self.session().lost(error))
            }
            _ => self.gone(),
        }
    }

    /// Polls until some bytes are kept, and returns how many of them belong to what is read: up to and including the
    /// one that `belongs` says is the last, or all of a chunk. `None` at the end of the stream.
    pub(super) fn poll_peek(
        &mut self,
        cx: &mut Context<'_>,
        mut belongs: impl FnMut(&[u8]) -> usize,
    ) -> Poll<Result<Option<usize>, ReadError>> {
        loop {
            let mut inbound = lock(&self.half.slot.recv);
            if let Some(chunk) = inbound.front() {
                return Poll::Ready(Ok(Some(belongs(chunk))));
            }
            match inbound.end {
                End::Open => {}
                End::Finished => return Poll::Ready(Ok(None)),
                End::Reset(code) => return Poll::Ready(Err(ReadError::Reset(code))),
                End::Stopped => return Poll::Ready(Err(ReadError::Closed)),
            }
            if let Some(error) = self.session_ended() {
                return Poll::Ready(Err(error));
            }
            let Poll::Ready(result) = inbound.poll_quic(cx, usize::MAX) else {
                return self.pending(cx);
            };
            let Ok(Some(chunk)) = result else {
                drop(inbound);
                return Poll::Ready(match result {
                    Ok(_) => Ok(None),
                    Err(error) => Err(self.fail(error)),
                });
            };
            let arrived = self.session().flow_arrived(chunk.len());
            inbound.push(chunk);
            drop(inbound);
            if let Err(violation) = arrived {
                let error = ReadError::Session(self.session().violated(violation));
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Begins a read of at most `max` bytes.
    fn begin(&self, max: usize) -> Result<Begin<'_>, ReadError> {
        let mut inbound = lock(&self.half.slot.recv);
        if let Some(chunk) = inbound.take(max) {
            drop(inbound);
            self.read_by_application(chunk.len());
            return Ok(Begin::Kept(chunk));
        }
        match inbound.end {
            End::Open => match self.session_ended() {
                Some(error) => Err(error),
                None => Ok(Begin::Quic(inbound)),
            },
            End::Finished => Ok(Begin::Over),
            End::Reset(code) => Err(ReadError::Reset(code)),
            End::Stopped => Err(ReadError::Closed),
        }
    }

    fn read_by_application(&self, bytes: usize) {
        add(&self.half.slot.received, bytes as u64);
        self.consumed(bytes);
    }

    /// Takes note of how a read went.
    fn noted<T>(&mut self, polled: Poll<Result<T, ReadError>>) -> Poll<Result<T, ReadError>> {
        match &polled {
            Poll::Pending => {
                self.waiting.get_or_insert_with(Instant::now);
            }
            Poll::Ready(result) => {
                let reads = &self.half.slot.reads;
                if let Some(since) = self.waiting.take() {
                    reads.waited(since.elapsed());
                }
                match result {
                    Ok(_) => reads.done(),
                    Err(_) => {
                        reads.failed();
                        count(&self.session().counters.stream_errors);
                    }
                }
            }
        }
        polled
    }

    fn poll_read_chunk(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let polled = self.try_read_chunk(cx, max);
        self.noted(polled)
    }

    /// Reads into `buf` and returns how many bytes; 0 at the end.
    fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<usize, ReadError>> {
        let polled = self.try_read_buf(cx, buf);
        self.noted(polled)
    }

    fn try_read_chunk(
        &self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Option<Bytes>, ReadError>> {
        let mut inbound = match self.begin(max)? {
            Begin::Kept(chunk) => return Poll::Ready(Ok(Some(chunk))),
            Begin::Over => return Poll::Ready(Ok(None)),
            Begin::Quic(inbound) => inbound,
        };
        let Poll::Ready(result) = inbound.poll_some(cx) else {
            return self.pending(cx);
        };
        let chunk = inbound.take(max);
        drop(inbound);
        let arrived = result.map_err(|error| self.fail(error))?.unwrap_or(0);
        let read = chunk.as_ref().map_or(0, Bytes::len);
        self.session().arrived(arrived)?;
        self.read_by_application(read);
        Poll::Ready(Ok(chunk))
    }

    fn try_read_buf(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<usize, ReadError>> {
        let mut inbound = match self.begin(buf.remaining())? {
            Begin::Kept(chunk) => {
                buf.put_slice(&chunk);
                return Poll::Ready(Ok(chunk.len()));
            }
            Begin::Over => return Poll::Ready(Ok(0)),
            Begin::Quic(inbound) => inbound,
        };
        let before = buf.filled().len();
        let Poll::Ready(result) = inbound.poll_quic_buf(cx, buf) else {
            return self.pending(cx);
        };
        drop(inbound);
        result.map_err(|error| self.fail(error))?;
        let read = buf.filled().len() - before;
        self.session().arrived(read)?;
        self.read_by_application(read);
        Poll::Ready(Ok(read))
    }
}

/// How a read begins.
enum Begin<'a> {
    /// With bytes that were kept.
    Kept(Bytes),
    /// At the end of the stream.
    Over,
    /// In QUIC.
    Quic(MutexGuard<'a, Inbound>),
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.stop(0);
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.get_mut().poll_read_buf(cx, buf))?;
        Poll::Ready(Ok(()))
    }
}

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream (RESET_STREAM); see [`Self::code`].
    ///
    /// With [`ErrorCode::WT_SESSION_GONE`] the session is about to end as well: its streams may end
    /// before the word of it arrives.
    #[error("the peer reset the stream with {}", application_words(*.0))]
    Reset(ErrorCode),
    /// This endpoint stopped the stream before.
    #[error("the stream was stopped before")]
    Closed,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl ReadError {
    /// Returns the application's code with which the peer reset the stream.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Reset(code) => code.to_application(),
            _ => None,
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(_) => Self::new(io::ErrorKind::ConnectionReset, error),
            ReadError::Closed => Self::new(io::ErrorKind::NotConnected, error),
            ReadError::Session(error) => error.into(),
        }
    }
}

/// Why a buffer could not be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadExactError {
    /// The stream ended after this many bytes.
    #[error("the stream ended after {0} bytes")]
    FinishedEarly(usize),
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a stream could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadToEndError {
    /// The stream has more than this many bytes.
    #[error("the stream is longer than {0} bytes")]
    TooLong(usize),
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}
