//! Request streams.

use std::{task::Poll, time::Instant};

use bytes::Bytes;
use wt_proto::{Dir, ProtocolViolation, Side, StreamId};

use super::{
    super::{
        io::{Io, Read},
        wake::Key,
    },
    BATCH, Driver, Step,
};

impl Driver {
    pub(super) fn request(
        &mut self,
        id: StreamId,
        send: Option<quinn::SendStream>,
        recv: quinn::RecvStream,
        first: Bytes,
    ) -> Step {
        if self.side == Side::Client {
            return self.check(Err(ProtocolViolation::UnexpectedServerStream));
        }
        let waker = self.inner.ready.waker(Key::Request(id));
        self.look_after(id, Io::new(waker, send, Some(recv)));
        self.proto(|proto| {
            proto.handle_request_opened(id, Instant::now());
            proto.handle_request_data(id, first)
        })
    }

    /// Writes, reads and looks after a request stream.
    pub(super) fn poll_request(&mut self, id: StreamId) -> Step {
        let Some(mut io) = self.requests.remove(&id) else {
            return Ok(());
        };
        let result = self.serve_request(id, &mut io);
        if io.is_over() {
            if self.side == Side::Server {
                self.inner.remote_stream_ended(Dir::Bi);
            }
        } else {
            self.requests.insert(id, io);
        }
        result
    }

    fn serve_request(&self, id: StreamId, io: &mut Io) -> Step {
        if io.flush() {
            self.proto(|proto| {
                proto.handle_request_abandoned(id);
                Ok(())
            })?;
        }
        for round in 0.. {
            if round == BATCH {
                io.nudge();
                break;
            }
            // What follows a request that is not answered yet stays with QUIC. Its end does not: a
            // client may give up.
            let wanted = self.inner.with_proto(|proto| proto.wants_request_data(id));
            let Poll::Ready(read) = io.poll_read(if wanted { usize::MAX } else { 0 }) else {
                break;
            };
            if !wanted && matches!(read, Read::Data(_)) {
                break;
            }
            self.proto(|proto| match read {
                Read::Data(bytes) => proto.handle_request_data(id, bytes),
                Read::Fin => proto.handle_request_fin(id),
                Read::Reset(code) => {
                    proto.handle_request_reset(id, code);
                    Ok(())
                }
                Read::Lost => Ok(()),
            })?;
        }
        if let Some(code) = io.poll_stopped() {
            self.proto(|proto| {
                proto.handle_request_stopped(id, code);
                Ok(())
            })?;
        }
        Ok(())
    }
}
