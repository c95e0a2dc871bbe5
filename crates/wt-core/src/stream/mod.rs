//! Streams of a session.
//!
//! After its header a WebTransport stream is a QUIC stream: reads and writes go straight to it. What
//! stands between is one [`Slot`] per stream, through which the end of the session reaches streams
//! that nobody touches at that moment.

mod bi;
mod figures;
mod inbound;
mod info;
mod lines;
mod recv;
mod send;
mod watch;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use quinn::VarInt;
use wt_proto::{Dir, ErrorCode, Initiator, ProtocolViolation, SessionId, StreamId};

use self::{
    figures::{Operations, SendEnd, SendState},
    inbound::{End, Inbound},
};

pub use self::{
    bi::BiStream,
    figures::{OperationStats, StreamStats},
    info::StreamInfo,
    lines::ReadUntilError,
    recv::{ReadError, ReadExactError, ReadToEndError, RecvStream},
    send::{SendStream, StopError, WriteError},
    watch::StreamWatch,
};
use crate::{
    lock::lock,
    session::{SessionRef, Shared},
    state::{StreamDirection, StreamState},
};

/// A stream as its session knows it.
///
/// Order of locks: that of the connection, that of the registry of a session, those in here.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: StreamId,
    pub(crate) dir: Dir,
    /// Whether the peer opened it.
    pub(crate) remote: bool,
    send: Mutex<Option<quinn::SendStream>>,
    recv: Mutex<Inbound>,
    writer: AtomicWaker,
    reader: AtomicWaker,
    /// Handles that the application holds or will get.
    handles: AtomicU8,
    /// Its place in the session's registry.
    pub(crate) key: AtomicUsize,
    created: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    sending: SendEnd,
    reads: Operations,
    writes: Operations,
}

impl Slot {
    /// Makes the slot of a stream that was opened here.
    pub(crate) fn opened(send: quinn::SendStream, recv: Option<quinn::RecvStream>) -> Arc<Self> {
        Self::new(false, Some(send), recv, [const { Bytes::new() }; 2])
    }

    /// Makes the slot of a stream of the peer, with the bytes that came with its header.
    pub(crate) fn arrived(
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        body: [Bytes; 2],
    ) -> Arc<Self> {
        Self::new(true, send, Some(recv), body)
    }

    fn new(
        remote: bool,
        send: Option<quinn::SendStream>,
        recv: Option<quinn::RecvStream>,
        body: [Bytes; 2],
    ) -> Arc<Self> {
        let id = send
            .as_ref()
            .map(quinn::SendStream::id)
            .or(recv.as_ref().map(quinn::RecvStream::id));
        let id = id
            .and_then(|id| StreamId::new(u64::from(id)))
            .unwrap_or(StreamId::MAX);
        let handles = u8::from(send.is_some()) + u8::from(recv.is_some());
        Arc::new(Self {
            id,
            dir: id.dir(),
            remote,
            send: Mutex::new(send),
            recv: Mutex::new(Inbound::new(recv, body)),
            writer: AtomicWaker::new(),
            reader: AtomicWaker::new(),
            handles: AtomicU8::new(handles),
            key: AtomicUsize::new(usize::MAX),
            created: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sending: SendEnd::default(),
            reads: Operations::default(),
            writes: Operations::default(),
        })
    }

    pub(crate) fn info(&self, session: SessionId) -> StreamInfo {
        StreamInfo {
            id: self.id,
            session,
            dir: self.dir,
            opened_by: self.opened_by(),
            bytes_sent: self.sent.load(Relaxed),
            bytes_received: self.received.load(Relaxed),
            age: self.created.elapsed(),
        }
    }

    const fn direction(&self) -> StreamDirection {
        match (self.dir, self.remote) {
            (Dir::Bi, _) => StreamDirection::Bidirectional,
            (Dir::Uni, true) => StreamDirection::ReceiveOnly,
            (Dir::Uni, false) => StreamDirection::SendOnly,
        }
    }

    /// Returns how the stream stands in a session that has `ended` or not.
    fn state(&self, ended: bool) -> StreamState {
        if ended {
            return StreamState::Closed;
        }
        let direction = self.direction();
        let sends = direction != StreamDirection::ReceiveOnly;
        let receives = direction != StreamDirection::SendOnly;
        let sending = self.sending.get();
        let receiving = lock(&self.recv).end;
        match (sending, receiving) {
            (SendState::Stopped, _) if sends => StreamState::ResetReceived,
            (_, End::Reset(_)) if receives => StreamState::ResetReceived,
            (SendState::Reset, _) if sends => StreamState::ResetSent,
            (_, End::Stopped) if receives => StreamState::ResetSent,
            _ => {
                let sent = !sends || sending == SendState::Finished;
                let received = !receives || receiving == End::Finished;
                match (sent, received) {
                    (true, true) => StreamState::Closed,
                    (true, false) if sends => StreamState::HalfClosedLocal,
                    (false, true) if receives => StreamState::HalfClosedRemote,
                    _ => StreamState::Open,
                }
            }
        }
    }

    pub(crate) fn stats(&self, session: SessionId, ended: bool) -> StreamStats {
        StreamStats {
            info: self.info(session),
            direction: self.direction(),
            state: self.state(ended),
            reads: self.reads.snapshot(),
            writes: self.writes.snapshot(),
            read_buffer: self.kept(),
        }
    }

    pub(crate) const fn opened_by(&self) -> Initiator {
        if self.remote {
            Initiator::Peer
        } else {
            Initiator::Local
        }
    }

    /// Returns how many bytes were taken from QUIC and not read.
    pub(crate) fn kept(&self) -> usize {
        lock(&self.recv).kept()
    }

    /// Sets the priority among all streams of the connection.
    pub(crate) fn set_priority(&self, priority: i32) {
        if let Some(send) = lock(&self.send).as_ref() {
            let _ = send.set_priority(priority);
        }
    }

    /// Ends the sending half after what was written.
    ///
    /// # Errors
    ///
    /// It is over already.
    fn finish(&self) -> Result<(), ()> {
        match lock(&self.send).as_mut() {
            Some(send) => send.finish().map_err(|_| ()),
            None => Err(()),
        }
    }

    /// Ends both halves with a protocol code and wakes whoever waits on them.
    pub(crate) fn abort(&self, code: ErrorCode) {
        let code = quic_code(code);
        if let Some(mut send) = lock(&self.send).take() {
            // Who waits for the end of the stream looks at this as soon as it is reset.
            let before = self.sending.get();
            self.sending.set(SendState::Reset);
            if send.reset(code).is_err() {
                // It was over already: all of it was delivered.
                self.sending.set(before);
            }
        }
        if let Some(mut recv) = lock(&self.recv).quic.take() {
            let _ = recv.stop(code);
        }
        self.writer.wake();
        self.reader.wake();
    }

    /// Takes from QUIC what has arrived, whether anybody reads or not, so that it counts against
    /// the limit of the session.
    ///
    /// Nothing is taken when more than `window` bytes are `kept` for the readers of the session.
    ///
    /// # Errors
    ///
    /// The violation of a peer that went over its limit.
    pub(crate) fn look_ahead(
        self: &Arc<Self>,
        session: &Shared,
        window: u64,
        kept: &mut u64,
    ) -> Result<(), ProtocolViolation> {
        // A reader that waits in QUIC is replaced by this waker, which wakes it all the same.
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let mut inbound = lock(&self.recv);
        let mut progress = false;
        let result = loop {
            if *kept > window {
                break Ok(());
            }
            match inbound.poll_quic(&mut cx, usize::MAX) {
                Poll::Ready(Ok(Some(chunk))) => {
                    progress = true;
                    if let Err(violation) = session.flow_arrived(chunk.len()) {
                        break Err(violation);
                    }
                    *kept += chunk.len() as u64;
                    inbound.push(chunk);
                }
                Poll::Ready(Err(quinn::ReadError::Reset(_))) => {
                    progress = true;
                    session.forgive_received();
                    break Ok(());
                }
                // The end of the stream is noted; that of the connection is seen elsewhere.
                Poll::Ready(_) => {
                    progress = true;
                    break Ok(());
                }
                Poll::Pending => break Ok(()),
            }
        };
        drop(inbound);
        if progress {
            self.reader.wake();
        }
        result
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.reader.wake();
    }
}

/// One half of a stream in the hands of the application.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) session: Arc<SessionRef>,
    pub(crate) slot: Arc<Slot>,
}

impl Half {
    /// Returns the code with which the application ends its half.
    ///
    /// Once the session is over that is no word of the application any more (draft-16, 6): it may let
    /// go of a stream that the end of the session has not come to yet.
    fn code(&self, code: ErrorCode) -> VarInt {
        match self.session.shared().end() {
            Some(_) => quic_code(ErrorCode::WT_SESSION_GONE),
            None => quic_code(code),
        }
    }

    fn info(&self) -> StreamInfo {
        self.slot.info(self.session.shared().id)
    }

    fn stats(&self) -> StreamStats {
        let shared = self.session.shared();
        self.slot.stats(shared.id, shared.end().is_some())
    }

    fn state(&self) -> StreamState {
        self.slot.state(self.session.shared().end().is_some())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let shared = self.session.shared();
        shared.half_ended(&self.slot);
        if self.slot.handles.fetch_sub(1, AcqRel) == 1 {
            shared.forget_stream(&self.slot);
        }
    }
}

/// Makes the two handles of a bidirectional stream.
pub(crate) fn bi(
    session: &Arc<SessionRef>,
    slot: Arc<Slot>,
    header: Option<wt_proto::stream_header::Header>,
) -> BiStream {
    let recv = Half {
        session: session.clone(),
        slot: slot.clone(),
    };
    let send = Half {
        session: session.clone(),
        slot,
    };
    BiStream {
        send: SendStream::new(send, header),
        recv: RecvStream::new(recv),
    }
}

/// Makes the handle of a unidirectional stream that we opened.
pub(crate) fn uni(
    session: &Arc<SessionRef>,
    slot: Arc<Slot>,
    header: wt_proto::stream_header::Header,
) -> SendStream {
    SendStream::new(
        Half {
            session: session.clone(),
            slot,
        },
        Some(header),
    )
}

/// Makes the handle of a unidirectional stream that the peer opened.
pub(crate) fn uni_recv(session: &Arc<SessionRef>, slot: Arc<Slot>) -> RecvStream {
    RecvStream::new(Half {
        session: session.clone(),
        slot,
    })
}

/// Turns a code into QUIC's type; an `ErrorCode` always fits.
pub(crate) fn quic_code(code: ErrorCode) -> VarInt {
    VarInt::from_u64(code.get()).unwrap_or(VarInt::MAX)
}

/// Turns QUIC's type into a code.
pub(crate) fn code_of(code: VarInt) -> ErrorCode {
    ErrorCode::new(code.into_inner()).unwrap_or(ErrorCode::H3_NO_ERROR)
}
