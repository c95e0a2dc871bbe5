//! The QUIC streams that the driver itself reads and writes.

use std::{
    collections::VecDeque,
    fmt,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use quinn::VarInt;
use wt_proto::{ErrorCode, connection::Action};

use crate::stream::{code_of, quic_code};

/// Ends when the peer stops reading a stream.
pub(super) type Stopped =
    Pin<Box<dyn Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + Send>>;

/// What reading a stream gave.
#[derive(Debug)]
pub(super) enum Read {
    Data(Bytes),
    Fin,
    Reset(ErrorCode),
    /// The connection is gone; the driver learns it elsewhere.
    Lost,
}

/// A request stream.
pub(super) struct Io {
    waker: Waker,
    send: Option<quinn::SendStream>,
    recv: Option<quinn::RecvStream>,
    out: VecDeque<Action>,
    stopped: Option<Stopped>,
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io")
            .field("send", &self.send)
            .field("recv", &self.recv)
            .finish_non_exhaustive()
    }
}

impl Io {
    pub(super) fn new(
        waker: Waker,
        send: Option<quinn::SendStream>,
        recv: Option<quinn::RecvStream>,
    ) -> Self {
        send.iter().for_each(prioritise);
        let stopped = send.as_ref().map(stopped);
        Self {
            waker,
            send,
            recv,
            out: VecDeque::new(),
            stopped,
        }
    }

    /// Has the stream looked at in the driver's next round.
    pub(super) fn nudge(&self) {
        self.waker.wake_by_ref();
    }

    pub(super) fn push(&mut self, action: Action) {
        match action {
            // These do not wait for what the peer may never take.
            Action::Stop(_) => self.out.push_front(action),
            Action::Reset(_) => {
                self.out
                    .retain(|earlier| matches!(earlier, Action::Stop(_)));
                self.out.push_back(action);
            }
            Action::Write(_) | Action::Finish => self.out.push_back(action),
        }
        self.nudge();
    }

    /// Returns whether all that was to be written has been taken by QUIC.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Returns whether neither half is in use any more.
    pub(super) const fn is_over(&self) -> bool {
        self.send.is_none() && self.recv.is_none()
    }

    /// Carries out what waits, as far as flow control allows; `true` when reading was stopped.
    pub(super) fn flush(&mut self) -> bool {
        let mut stopped_reading = false;
        while let Some(action) = self.out.pop_front() {
            match action {
                Action::Write(bytes) => {
                    if let Some(rest) = self.write(bytes) {
                        self.out.push_front(Action::Write(rest));
                        break;
                    }
                }
                Action::Finish => {
                    if let Some(mut send) = self.send.take() {
                        // An error says that the stream is over already; likewise below.
                        let _ = send.finish();
                    }
                    self.stopped = None;
                }
                Action::Reset(code) => {
                    if let Some(mut send) = self.send.take() {
                        let _ = send.reset(quic_code(code));
                    }
                    self.stopped = None;
                }
                Action::Stop(code) => {
                    if let Some(mut recv) = self.recv.take() {
                        let _ = recv.stop(quic_code(code));
                        stopped_reading = true;
                    }
                }
            }
        }
        if self.out.is_empty() {
            // Most of these streams are silent once they have begun.
            self.out = VecDeque::new();
        }
        stopped_reading
    }

    /// Writes bytes; gives back what QUIC does not take now.
    fn write(&mut self, bytes: Bytes) -> Option<Bytes> {
        write(self.send.as_mut()?, &self.waker, bytes)
    }

    /// Reads the next chunk of up to `max` bytes. With 0, only the end of the stream is taken, and an
    /// empty chunk says that bytes are before it.
    pub(super) fn poll_read(&mut self, max: usize) -> Poll<Read> {
        poll_read(&mut self.recv, &self.waker, max)
    }

    /// Looks whether the peer stopped reading.
    pub(super) fn poll_stopped(&mut self) -> Option<ErrorCode> {
        poll_stopped(&mut self.stopped, &self.waker)
    }
}

/// Has SETTINGS, answers and credit go before any data, whatever its priority.
pub(super) fn prioritise(send: &quinn::SendStream) {
    let _ = send.set_priority(i32::MAX);
}

pub(super) fn stopped(send: &quinn::SendStream) -> Stopped {
    Box::pin(send.stopped())
}

/// Does what [`Io::poll_stopped`] does.
pub(super) fn poll_stopped(stopped: &mut Option<Stopped>, waker: &Waker) -> Option<ErrorCode> {
    let mut cx = Context::from_waker(waker);
    match stopped.as_mut()?.as_mut().poll(&mut cx) {
        Poll::Pending => None,
        Poll::Ready(result) => {
            *stopped = None;
            result.ok().flatten().map(code_of)
        }
    }
}

/// Writes bytes; gives back what QUIC does not take now.
pub(super) fn write(send: &mut quinn::SendStream, waker: &Waker, bytes: Bytes) -> Option<Bytes> {
    let mut cx = Context::from_waker(waker);
    let mut chunks = [bytes];
    loop {
        let polled = pin!(send.write_chunks(&mut chunks)).poll(&mut cx);
        match polled {
            Poll::Pending => {
                let [rest] = chunks;
                return Some(rest);
            }
            Poll::Ready(Ok(_)) if !chunks.iter().all(Bytes::is_empty) => {}
            // An error shows as the end of the stream or of the connection.
            Poll::Ready(_) => return None,
        }
    }
}

/// Does what [`Io::poll_read`] does. A stream that is over is taken away.
pub(super) fn poll_read(
    recv: &mut Option<quinn::RecvStream>,
    waker: &Waker,
    max: usize,
) -> Poll<Read> {
    let Some(reading) = recv else {
        return Poll::Pending;
    };
    let mut cx = Context::from_waker(waker);
    let read = match pin!(reading.read_chunk(max, true)).poll(&mut cx) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(Some(chunk))) => return Poll::Ready(Read::Data(chunk.bytes)),
        Poll::Ready(Ok(None)) => Read::Fin,
        Poll::Ready(Err(quinn::ReadError::Reset(code))) => Read::Reset(code_of(code)),
        Poll::Ready(Err(_)) => Read::Lost,
    };
    *recv = None;
    Poll::Ready(read)
}

/// A stream of the peer whose header has not arrived whole.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) send: Option<quinn::SendStream>,
    pub(super) recv: quinn::RecvStream,
    /// What arrived of it.
    pub(super) bytes: BytesMut,
    /// When its header has to be whole; `None` while nothing of it arrived.
    pub(super) due: Option<Instant>,
    pub(super) waker: Waker,
}

/// Ends both halves of a stream with a protocol code.
pub(super) fn reject(
    send: Option<quinn::SendStream>,
    recv: Option<quinn::RecvStream>,
    code: ErrorCode,
) {
    if let Some(mut send) = send {
        let _ = send.reset(quic_code(code));
    }
    if let Some(mut recv) = recv {
        let _ = recv.stop(quic_code(code));
    }
}
