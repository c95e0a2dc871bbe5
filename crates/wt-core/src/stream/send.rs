//! The sending half of a stream.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{io::AsyncWrite, sync::futures::OwnedNotified};
use wt_proto::{ErrorCode, StreamId, stream_header::Header};

use super::{Half, SendState, Slot, StreamInfo, StreamStats, StreamWatch, code_of, figures::add};
use crate::{error::SessionError, lock::lock, state::StreamState, stats::count};

/// The most that is put behind the header in the first write of a stream.
const FIRST_WRITE: usize = 64 * 1024;

/// A first chunk below this size is copied behind the header, so that QUIC has one piece to look after.
const SMALL: usize = 1024;

/// The sending half of a stream.
///
/// The peer learns of a stream that this endpoint opened with its first bytes; `flush` announces it
/// without any. Bytes are accepted as far as flow control allows and sent in the background.
///
/// Dropping a stream that was neither [finished](Self::finish) nor [reset](Self::reset) resets it
/// with code 0, so that the peer never takes half an answer for a whole one.
#[derive(Debug)]
#[doc(alias = "WebTransportSendStream")]
pub struct SendStream {
    half: Half,
    /// What of the stream header has not been written yet.
    header: Option<Header>,
    state: State,
    /// Waits for credit of the session, after there was none.
    credit: Option<Pin<Box<OwnedNotified>>>,
    /// Since when a write waits.
    waiting: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    Reset,
}

impl SendStream {
    pub(super) fn new(half: Half, header: Option<Header>) -> Self {
        Self {
            half,
            header,
            state: State::Open,
            credit: None,
            waiting: None,
        }
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

    /// Writes some bytes and returns how many were accepted.
    ///
    /// Waits while flow control allows none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was written.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.poll_write_slice(cx, bytes)).await
    }

    /// Writes all bytes.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, a part may have been written.
    ///
    /// # Errors
    ///
    /// See [`WriteError`]; a part may have been written.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let written = self.write(bytes).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes a buffer without copying it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: if the future is dropped, a part may have been written.
    ///
    /// # Errors
    ///
    /// See [`WriteError`]; a part may have been written.
    pub async fn write_chunk(&mut self, mut chunk: Bytes) -> Result<(), WriteError> {
        while !chunk.is_empty() {
            self.write_buf(&mut chunk).await?;
        }
        Ok(())
    }

    /// Writes as much of a buffer as is accepted without copying it, takes that from its front, and returns how many
    /// bytes it was.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is ready, nothing was written, and all is still in the buffer.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub async fn write_buf(&mut self, buf: &mut Bytes) -> Result<usize, WriteError> {
        let before = buf.len();
        if before > 0 {
            poll_fn(|cx| self.poll_write_chunk(cx, buf)).await?;
        }
        Ok(before - buf.len())
    }

    /// Announces the stream to the peer when nothing was written yet.
    ///
    /// Bytes that were accepted need no flush, they leave by themselves.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub async fn flush(&mut self) -> Result<(), WriteError> {
        poll_fn(|cx| self.poll_announce(cx)).await
    }

    /// Ends the stream: the peer reads all that was written, and then its end.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] when it was finished or reset before. That the peer stopped the stream
    /// is said by [`Self::closed`].
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.check()?;
        self.state = State::Finished;
        self.half.slot.sending.set(SendState::Finished);
        let Some(header) = self.header.take() else {
            return self.half.slot.finish().map_err(|()| self.gone());
        };
        // An empty stream: its header goes first, now or as soon as QUIC takes it.
        let mut chore = Box::pin(announce_and_finish(self.half.slot.clone(), header));
        let noop = Waker::noop();
        if chore
            .as_mut()
            .poll(&mut Context::from_waker(noop))
            .is_pending()
        {
            self.half.session.shared().conn().add_chore(chore);
        }
        Ok(())
    }

    /// Gives the stream up: the peer gets `code`, and what was not delivered yet is lost.
    ///
    /// Does nothing when the stream was finished and delivered, or reset before.
    pub fn reset(&mut self, code: u32) {
        self.reset_with(ErrorCode::from_application(code));
    }

    /// Like [`Self::reset`], with an HTTP/3 code as it goes on the wire instead of an application's.
    ///
    /// Peers show their application a code only when it is in the range of
    /// [`ErrorCode::from_application`].
    pub fn reset_with(&mut self, code: ErrorCode) {
        self.state = State::Reset;
        if let Some(mut send) = lock(&self.half.slot.send).take() {
            // An error says that the stream is over already: delivered, or stopped by the peer.
            let reset = send.reset(self.half.code(code));
            if reset.is_ok() && self.half.slot.sending.get() != SendState::Stopped {
                self.half.slot.sending.set(SendState::Reset);
            }
        }
        if self.header.take().is_some() {
            self.half.session.shared().unopened(self.half.slot.dir);
        }
    }

    /// Sets the priority among the streams of the session, and of others that are as urgent: higher goes first, 0 is
    /// the default. Values beyond ±2^27 count as these.
    ///
    /// Which session of a connection goes before others, the `priority` field of its request says, or that of the
    /// response: `u=0` is the most urgent, `u=7` the least, `u=3` the default (RFC 9218, 4.1; draft-16, 3.4).
    pub fn set_priority(&self, priority: i32) {
        let priorities = self.half.session.shared().priorities();
        self.half.slot.set_priority(priorities.in_quic(priority));
    }

    /// Returns the priority; 0 when the stream is over.
    #[must_use]
    pub fn priority(&self) -> i32 {
        let priorities = self.half.session.shared().priorities();
        lock(&self.half.slot.send)
            .as_ref()
            .and_then(|s| s.priority().ok())
            .map_or(0, |priority| priorities.in_session(priority))
    }

    /// Waits until the peer stops reading, or has acknowledged all of a finished stream.
    ///
    /// Returns the code of STOP_SENDING, or `None` when everything was delivered or the stream was
    /// reset here.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StopError`] when the session ends first.
    pub async fn stopped(&mut self) -> Result<Option<ErrorCode>, StopError> {
        let shared = self.half.session.shared();
        let stopped = match lock(&self.half.slot.send).as_ref() {
            Some(send) => send.stopped(),
            None => {
                return shared
                    .end()
                    .map_or(Ok(None), |end| Err(StopError(end.clone())));
            }
        };
        tokio::select! {
            result = stopped => match result {
                Ok(Some(code)) => {
                    self.half.slot.sending.set(SendState::Stopped);
                    Ok(Some(code_of(code)))
                }
                // QUIC says the same of a stream that the end of the session has reset.
                Ok(None) => match shared.end() {
                    Some(end) if self.is_cut_off() => Err(StopError(end.clone())),
                    _ => Ok(None),
                },
                Err(_) => Err(StopError(shared.end_or_lost().await)),
            },
            end = shared.ended() => Err(StopError(end)),
        }
    }

    /// Waits until the stream is over: delivered, stopped by the peer, or ended with its session.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Says why not everything was delivered; [`WriteError::Closed`] when the stream was reset here.
    pub async fn closed(&mut self) -> Result<(), WriteError> {
        if self.state == State::Reset {
            return Err(self.gone());
        }
        match self.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(WriteError::Stopped(code)),
            Err(StopError(error)) => Err(WriteError::Session(error)),
        }
    }

    /// Returns whether the stream was reset, and not by its handle.
    fn is_cut_off(&self) -> bool {
        self.state != State::Reset && self.half.slot.sending.get() == SendState::Reset
    }

    fn gone(&self) -> WriteError {
        match self.half.session.shared().end() {
            Some(error) => WriteError::Session(error.clone()),
            None => WriteError::Closed,
        }
    }

    fn check(&self) -> Result<(), WriteError> {
        if let Some(error) = self.half.session.shared().end() {
            return Err(WriteError::Session(error.clone()));
        }
        if self.state == State::Open {
            Ok(())
        } else {
            Err(WriteError::Closed)
        }
    }

    fn map_error(&self, error: quinn::WriteError) -> WriteError {
        match error {
            quinn::WriteError::Stopped(code) => {
                self.half.slot.sending.set(SendState::Stopped);
                WriteError::Stopped(code_of(code))
            }
            quinn::WriteError::ConnectionLost(error) => {
                WriteError::Session(self.half.session.shared().lost(error))
            }
            _ => self.gone(),
        }
    }

    /// Polls one write of `chunks` to QUIC; the number of bytes that it took.
    fn poll_quic(
        &self,
        cx: &mut Context<'_>,
        write: impl FnOnce(
            &mut quinn::SendStream,
            &mut Context<'_>,
        ) -> Poll<Result<usize, quinn::WriteError>>,
    ) -> Poll<Result<usize, WriteError>> {
        let mut guard = lock(&self.half.slot.send);
        let Some(send) = guard.as_mut() else {
            return Poll::Ready(Err(self.gone()));
        };
        let polled = write(send, cx);
        drop(guard);
        match polled {
            Poll::Ready(result) => Poll::Ready(result.map_err(|error| self.map_error(error))),
            Poll::Pending => {
                self.half.slot.writer.register(cx.waker());
                match self.half.session.shared().end() {
                    Some(error) => Poll::Ready(Err(WriteError::Session(error.clone()))),
                    None => Poll::Pending,
                }
            }
        }
    }

    /// Writes the header alone.
    fn poll_announce(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        self.check()?;
        while let Some(header) = self.header {
            let bytes = header.as_slice();
            let written = ready!(self.poll_quic(cx, |send, cx| send_slice(send, cx, bytes)))?;
            self.header = header.rest(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_credit(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<usize, WriteError>> {
        let shared = self.half.session.shared();
        let polled = shared.poll_send_credit(cx, want, &mut self.credit);
        // The header takes no credit (draft-16, 5.4): the peer gets to know the stream meanwhile, and
        // whoever accepts streams before it reads them does not wait for it in vain.
        if polled.is_pending()
            && let Poll::Ready(Err(error)) = self.poll_announce(cx)
        {
            return Poll::Ready(Err(error));
        }
        polled
    }

    /// Takes note of how a write went.
    fn noted<T>(&mut self, polled: Poll<Result<T, WriteError>>) -> Poll<Result<T, WriteError>> {
        match &polled {
            Poll::Pending => {
                self.waiting.get_or_insert_with(Instant::now);
            }
            Poll::Ready(result) => {
                let writes = &self.half.slot.writes;
                if let Some(since) = self.waiting.take() {
                    writes.waited(since.elapsed());
                }
                match result {
                    Ok(_) => writes.done(),
                    Err(_) => {
                        writes.failed();
                        count(&self.half.session.shared().counters.stream_errors);
                    }
                }
            }
        }
        polled
    }

    fn poll_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        let polled = self.try_write_slice(cx, bytes);
        self.noted(polled)
    }

    fn poll_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        let polled = self.try_write_chunk(cx, chunk);
        self.noted(polled)
    }

    fn try_write_slice(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        self.check()?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowed = ready!(self.poll_credit(cx, bytes.len()))?;
        let result = if let Some(header) = self.header {
            let first = bytes.get(..allowed.min(FIRST_WRITE)).unwrap_or(bytes);
            self.poll_first(cx, header, &mut [join(&header, first)])
        } else {
            let allowed = bytes.get(..allowed).unwrap_or(bytes);
            self.poll_quic(cx, |send, cx| send_slice(send, cx, allowed))
        };
        self.settle(allowed, result)
    }

    fn try_write_chunk(
        &mut self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        self.check()?;
        let allowed = ready!(self.poll_credit(cx, chunk.len()))?;
        if self.header.is_none() && allowed == chunk.len() {
            // QUIC takes its part from the front.
            let all = std::slice::from_mut(chunk);
            let result = self.poll_quic(cx, |send, cx| send_chunks(send, cx, all));
            return self.settle(allowed, result).map_ok(|_| ());
        }
        let len = allowed.min(chunk.len());
        let result = match self.header {
            Some(header) if len < SMALL => {
                self.poll_first(cx, header, &mut [join(&header, &chunk[..len])])
            }
            Some(header) => {
                let part = chunk.slice(..len);
                self.poll_first(cx, header, &mut [join(&header, &[]), part])
            }
            None => {
                let part = chunk.slice(..len);
                self.poll_quic(cx, |send, cx| send_chunks(send, cx, &mut [part]))
            }
        };
        let written = ready!(self.settle(allowed, result))?;
        chunk.advance(written);
        Poll::Ready(Ok(()))
    }

    /// Writes the header and the first bytes; the number of those without the header.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        header: Header,
        chunks: &mut [Bytes],
    ) -> Poll<Result<usize, WriteError>> {
        let written = ready!(self.poll_quic(cx, |send, cx| send_chunks(send, cx, chunks)))?;
        self.header = header.rest(written);
        let body = written.saturating_sub(header.as_slice().len());
        if body == 0 {
            // The header was all that fitted, or a part of it. To have written nothing looks like the end to some callers.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(body))
    }

    /// Gives back the credit that a write did not use.
    fn settle(
        &self,
        allowed: usize,
        result: Poll<Result<usize, WriteError>>,
    ) -> Poll<Result<usize, WriteError>> {
        let used = match &result {
            Poll::Ready(Ok(written)) => *written,
            _ => 0,
        };
        add(&self.half.slot.sent, used as u64);
        if used < allowed {
            self.half
                .session
                .shared()
                .return_send_credit(allowed - used);
        }
        result
    }
}

/// Writes the header of an empty stream and finishes it.
async fn announce_and_finish(slot: Arc<Slot>, header: Header) {
    let mut unsent = Some(header);
    while let Some(header) = unsent {
        let written = poll_fn(|cx| {
            // The end of the session takes the stream away and wakes this task.
            slot.writer.register(cx.waker());
            match lock(&slot.send).as_mut() {
                Some(send) => send_slice(send, cx, header.as_slice()).map(Result::ok),
                None => Poll::Ready(None),
            }
        });
        let Some(written) = written.await else {
            return;
        };
        unsent = header.rest(written);
    }
    let _ = slot.finish();
}

/// Puts the first bytes of a stream behind its header.
fn join(header: &Header, body: &[u8]) -> Bytes {
    let header = header.as_slice();
    let mut joined = BytesMut::with_capacity(header.len() + body.len());
    joined.extend_from_slice(header);
    joined.extend_from_slice(body);
    joined.freeze()
}

fn send_slice(
    send: &mut quinn::SendStream,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<Result<usize, quinn::WriteError>> {
    Pin::new(send).poll_write(cx, bytes)
}

fn send_chunks(
    send: &mut quinn::SendStream,
    cx: &mut Context<'_>,
    chunks: &mut [Bytes],
) -> Poll<Result<usize, quinn::WriteError>> {
    pin!(send.write_chunks(chunks))
        .poll(cx)
        .map_ok(|written| written.bytes)
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.reset(0);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slice(cx, buf).map_err(Into::into)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state != State::Open {
            return Poll::Ready(Ok(()));
        }
        this.poll_announce(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.state != State::Open {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(this.finish().map_err(Into::into))
    }
}

/// Why bytes could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer does not want the stream any more (STOP_SENDING); see [`Self::code`].
    ///
    /// With [`ErrorCode::WT_SESSION_GONE`] the session is about to end as well: its streams may end
    /// before the word of it arrives.
    #[error("the peer stopped the stream with {}", application_words(*.0))]
    Stopped(ErrorCode),
    /// This endpoint finished or reset the stream before.
    #[error("the stream was finished or reset before")]
    Closed,
    /// The session ended.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Says a code in the application's terms where it has some.
pub(super) fn application_words(code: ErrorCode) -> String {
    code.to_application().map_or_else(
        || code.to_string(),
        |code| format!("application code {code}"),
    )
}

impl WriteError {
    /// Returns the application's code with which the peer stopped the stream.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Stopped(code) => code.to_application(),
            _ => None,
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(_) => Self::new(io::ErrorKind::ConnectionReset, error),
            WriteError::Closed => Self::new(io::ErrorKind::NotConnected, error),
            WriteError::Session(error) => error.into(),
        }
    }
}

/// The session ended while waiting for the end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct StopError(#[from] pub SessionError);
