//! New streams of the peer, until it is known what they are.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf, Bytes, BytesMut};
use wt_proto::{
    Dir, ErrorCode, SessionId, StreamId, VarInt,
    coding::Decode,
    connection::UniRole,
    stream_header::{BiHeader, UniHeader},
};

use super::{
    super::{
        inner::State,
        io::{Parked, reject},
        wake::{Key, Part},
    },
    Driver, Step,
};
use crate::{lock::lock, stream::Slot};

impl Driver {
    /// Looks at the header of a stream once; what is not whole yet waits aside.
    pub(super) fn new_stream(
        &mut self,
        send: Option<quinn::SendStream>,
        mut recv: quinn::RecvStream,
    ) -> Step {
        let Some(id) = StreamId::new(u64::from(recv.id())) else {
            return Ok(());
        };
        self.inner.remote_stream_opened(id.dir());
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        // Room for one chunk more than most small messages have: what is left over shows QUIC that the stream has ended,
        // and who reads it need not ask again.
        let mut chunks = [Bytes::new(), Bytes::new()];
        let polled = pin!(recv.read_chunks(&mut chunks)).poll(&mut cx);
        match polled {
            Poll::Ready(Ok(Some(_))) => {
                if self.classify(id, send, recv, chunks)? {
                    return Ok(());
                }
            }
            Poll::Ready(result) => self.headless(id, send, result.map(|_| ()))?,
            Poll::Pending => self.park(id, send, recv, &[])?,
        }
        // There may be something to send, or a time to wait for.
        self.inner.ready.mark(Part::UPKEEP);
        Ok(())
    }

    /// Ends a stream that ended before its header was whole.
    fn headless(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        result: Result<(), quinn::ReadError>,
    ) -> Step {
        self.inner.remote_stream_ended(id.dir());
        if let Err(quinn::ReadError::ConnectionLost(error)) = result {
            return Err(self.lost(error));
        }
        self.give_up(id);
        // A request that is only an end is incomplete (RFC 9114, 4.1).
        reject(send, None, ErrorCode::H3_REQUEST_INCOMPLETE);
        Ok(())
    }

    /// Takes note that it will not be known what a stream is.
    fn give_up(&self, id: StreamId) {
        let mut state = lock(&self.inner.state);
        if id.dir() == Dir::Bi {
            state.proto.handle_bidi_opened(id);
        }
        // QUIC drops the data of a stream that is reset, the header too: whichever session it
        // belonged to, its peer has spent credit on it.
        self.inner.forgive_stream(&state, id.dir());
    }

    /// Decides by its first bytes what a stream is; `true` when it has reached its session, and that is all.
    fn classify(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        [mut first, more]: [Bytes; 2],
    ) -> Step<bool> {
        let mut rest: &[u8] = &first;
        match id.dir() {
            Dir::Uni => match self.check(UniHeader::decode(&mut rest))? {
                Some(header) => {
                    first.advance(first.len() - rest.len());
                    self.uni_stream(header, recv, [first, more])
                }
                None => self
                    .park(id, None, recv, &join(first, &more))
                    .map(|()| false),
            },
            Dir::Bi => match self.check(BiHeader::decode(&mut rest))? {
                Some(BiHeader::WebTransport(session)) => {
                    first.advance(first.len() - rest.len());
                    let mut state = lock(&self.inner.state);
                    state.proto.handle_bidi_opened(id);
                    Ok(self.place(&mut state, session, send, recv, [first, more]))
                }
                Some(_) => {
                    let first = join(first, &more);
                    self.request(id, send, recv, first).map(|()| false)
                }
                None => self
                    .park(id, send, recv, &join(first, &more))
                    .map(|()| false),
            },
        }
    }

    /// Brings a stream to its session; `false` when there is more to do than that.
    fn place(
        &self,
        state: &mut State,
        session: SessionId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        body: [Bytes; 2],
    ) -> bool {
        let bytes = body.iter().map(Bytes::len).sum();
        let slot = Slot::arrived(send, recv, body);
        let delivered = self.inner.place_stream(state, session, slot, bytes);
        if delivered && !state.proto.has_events() {
            return true;
        }
        self.inner.pump(state);
        false
    }

    fn uni_stream(
        &mut self,
        header: UniHeader,
        recv: quinn::RecvStream,
        body: [Bytes; 2],
    ) -> Step<bool> {
        let role = lock(&self.inner.state).proto.handle_uni(header);
        match self.check(role)? {
            UniRole::WebTransport(session) => {
                let mut state = lock(&self.inner.state);
                Ok(self.place(&mut state, session, None, recv, body))
            }
            UniRole::Critical(which) => {
                self.inner.remote_stream_ended(Dir::Uni);
                self.insert_critical(which, recv);
                for part in body {
                    if !part.is_empty() {
                        self.critical_data(which, part)?;
                    }
                }
                Ok(false)
            }
            UniRole::Discard(code) => {
                self.inner.remote_stream_ended(Dir::Uni);
                reject(None, Some(recv), code);
                Ok(false)
            }
        }
    }

    /// Keeps a stream until its header has arrived.
    ///
    /// A stream of which nothing arrived exists because a later one does. Peers may leave it like
    /// that for as long as they want, as Chromium does with its QPACK encoder stream, so it counts
    /// against no limit but that of QUIC. Nor does a unidirectional stream before its type is known,
    /// which may be one that the connection cannot do without (RFC 9114, 6.2).
    fn park(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        first: &[u8],
    ) -> Step {
        let begun = match id.dir() {
            Dir::Uni => VarInt::decode(&mut &*first).is_ok(),
            Dir::Bi => !first.is_empty(),
        };
        let limits = self.inner.limits();
        if begun && self.headers_due.len() >= limits.pending_headers {
            self.refuse_headless(id, send, recv);
            return Ok(());
        }
        let waker = self.inner.ready.waker(Key::Parked(id));
        // Have it polled again: QUIC knows of no waker for it yet.
        waker.wake_by_ref();
        let due = begun.then(|| Instant::now() + limits.header_timeout);
        self.headers_due.extend(due.map(|due| (due, id)));
        let bytes = BytesMut::from(first);
        self.parked.insert(
            id,
            Parked {
                send,
                recv,
                bytes,
                due,
                waker,
            },
        );
        Ok(())
    }

    /// Refuses a stream whose header is not whole.
    pub(super) fn refuse_headless(
        &self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
    ) {
        self.inner.remote_stream_ended(id.dir());
        self.give_up(id);
        reject(send, Some(recv), ErrorCode::WT_BUFFERED_STREAM_REJECTED);
    }

    pub(super) fn unpark(&mut self, id: StreamId) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        if let Some(due) = parked.due {
            self.headers_due.remove(&(due, id));
        }
        Some(parked)
    }

    pub(super) fn poll_parked(&mut self, id: StreamId) -> Step {
        let Some(parked) = self.parked.get_mut(&id) else {
            return Ok(());
        };
        let mut cx = Context::from_waker(&parked.waker);
        let polled = pin!(parked.recv.read_chunk(usize::MAX, true)).poll(&mut cx);
        let Poll::Ready(result) = polled else {
            return Ok(());
        };
        let Some(parked) = self.unpark(id) else {
            return Ok(());
        };
        let Parked {
            send,
            recv,
            mut bytes,
            ..
        } = parked;
        match result {
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk.bytes);
                let bytes = [bytes.freeze(), Bytes::new()];
                self.classify(id, send, recv, bytes).map(|_| ())
            }
            Ok(None) => self.headless(id, send, Ok(())),
            Err(error) => self.headless(id, send, Err(error)),
        }
    }
}

/// Puts two pieces together, the second of which is mostly empty.
fn join(first: Bytes, more: &Bytes) -> Bytes {
    if more.is_empty() {
        return first;
    }
    let mut joined = BytesMut::from(first);
    joined.extend_from_slice(more);
    joined.freeze()
}
