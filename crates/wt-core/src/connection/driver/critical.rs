//! Critical streams: control and QPACK, of both sides.

use std::task::{Context, Poll};

use bytes::Bytes;
use wt_proto::{
    ProtocolViolation,
    connection::{Action, Critical},
};

use super::{
    super::{io::Read, wake::Key},
    Driver, Step,
};

const CRITICAL: [Critical; 3] = [
    Critical::Control,
    Critical::QpackEncoder,
    Critical::QpackDecoder,
];

impl Driver {
    pub(super) fn critical_data(&self, which: Critical, bytes: Bytes) -> Step {
        // Whoever sent SETTINGS has sent its transport parameters before.
        let datagrams = self.inner.quic().max_datagram_size().is_some();
        self.proto(|proto| {
            proto.handle_transport_parameters(datagrams)?;
            proto.handle_critical_data(which, bytes)
        })
    }

    pub(super) fn poll_critical(&mut self, which: Critical) -> Step {
        let Some(io) = self.streams.get_mut(&Key::Peer(which)) else {
            return Ok(());
        };
        match io.poll_read(usize::MAX) {
            Poll::Pending | Poll::Ready(Read::Lost) => Ok(()),
            Poll::Ready(Read::Data(bytes)) => {
                io.nudge();
                self.critical_data(which, bytes)
            }
            Poll::Ready(Read::Fin | Read::Reset(_)) => {
                self.proto(|proto| Err(proto.handle_critical_end(which)))
            }
        }
    }

    pub(super) fn poll_own(&mut self, which: Critical) -> Step {
        let Some(io) = self.streams.get_mut(&Key::Own(which)) else {
            return Ok(());
        };
        io.flush();
        match io.poll_stopped() {
            Some(_) => self.check(Err(ProtocolViolation::CriticalStreamClosed)),
            None => Ok(()),
        }
    }

    pub(super) fn poll_opening(&mut self, cx: &mut Context<'_>) -> Step<bool> {
        let Some(opening) = &mut self.opening else {
            return Ok(false);
        };
        let Poll::Ready(result) = opening.as_mut().poll(cx) else {
            return Ok(false);
        };
        self.opening = None;
        for (which, send) in CRITICAL
            .into_iter()
            .zip(result.map_err(|error| self.lost(error))?)
        {
            self.insert(Key::Own(which), Some(send), None);
        }
        for (which, action) in std::mem::take(&mut self.waiting) {
            self.own(which, action);
        }
        Ok(true)
    }

    pub(super) fn own(&mut self, which: Critical, action: Action) {
        match self.streams.get_mut(&Key::Own(which)) {
            Some(io) => io.push(action),
            None => self.waiting.push((which, action)),
        }
    }
}
