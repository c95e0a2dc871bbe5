//! Critical streams: control and QPACK, of both sides.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use wt_proto::{
    ProtocolViolation,
    connection::{Action, Critical},
};

use super::{
    super::{
        inner::Inner,
        io::{self, Read, Stopped},
        wake::Key,
    },
    Driver, Step,
};

const CRITICAL: [Critical; 3] = [
    Critical::Control,
    Critical::QpackEncoder,
    Critical::QpackDecoder,
];

type Opening =
    Pin<Box<dyn Future<Output = Result<[quinn::SendStream; 3], quinn::ConnectionError>> + Send>>;

/// The critical streams of both sides, each kind in the order of [`CRITICAL`].
///
/// Every connection has them and they are silent nearly always, so they share a waker: when something is up with one of
/// them, all are looked at.
pub(super) struct CriticalStreams {
    waker: Waker,
    /// Ours, while they are being opened.
    opening: Option<Opening>,
    own: [Option<Own>; 3],
    /// What is to be sent on ours.
    out: Vec<(Critical, Bytes)>,
    /// Those that the peer has opened.
    peer: [Option<quinn::RecvStream>; 3],
}

/// A critical stream of ours.
struct Own {
    send: quinn::SendStream,
    stopped: Option<Stopped>,
}

impl CriticalStreams {
    pub(super) fn new(inner: &Inner) -> Self {
        let quic = inner.quic().clone();
        let opening = async move {
            // One after the other: some peers insist that the control stream comes first.
            Ok([
                quic.open_uni().await?,
                quic.open_uni().await?,
                quic.open_uni().await?,
            ])
        };
        Self {
            waker: inner.ready.waker(Key::Critical),
            opening: Some(Box::pin(opening)),
            own: [None, None, None],
            out: Vec::new(),
            peer: [None, None, None],
        }
    }

    /// Has the streams looked at in the driver's next round.
    fn nudge(&self) {
        self.waker.wake_by_ref();
    }

    /// Sends on a stream of ours, as soon as it is open and QUIC takes it.
    pub(super) fn push(&mut self, which: Critical, action: Action) {
        // They are neither ended nor reset.
        if let Action::Write(bytes) = action {
            self.out.push((which, bytes));
            self.nudge();
        }
    }

    /// Writes what waits, as far as flow control allows.
    fn flush(&mut self) {
        let mut blocked = [false; 3];
        for (which, bytes) in std::mem::take(&mut self.out) {
            let (own, blocked) = (&mut self.own[which as usize], &mut blocked[which as usize]);
            let rest = match own {
                Some(own) if !*blocked => io::write(&mut own.send, &self.waker, bytes),
                _ => Some(bytes),
            };
            if let Some(rest) = rest {
                *blocked = true;
                self.out.push((which, rest));
            }
        }
    }

    /// Returns whether the peer stopped reading one of ours.
    fn poll_stopped(&mut self) -> bool {
        let own = self.own.iter_mut().flatten();
        // Each is polled, whatever the others say, to have its waker known.
        own.filter_map(|own| io::poll_stopped(&mut own.stopped, &self.waker))
            .count()
            > 0
    }
}

impl Driver {
    pub(super) fn critical_data(&self, which: Critical, bytes: Bytes) -> Step {
        // Whoever sent SETTINGS has sent its transport parameters before.
        let datagrams = self.inner.quic().max_datagram_size().is_some();
        self.proto(|proto| {
            proto.handle_transport_parameters(datagrams)?;
            proto.handle_critical_data(which, bytes)
        })
    }

    /// Reads a new critical stream of the peer from now on.
    pub(super) fn insert_critical(&mut self, which: Critical, recv: quinn::RecvStream) {
        self.critical.peer[which as usize] = Some(recv);
        self.critical.nudge();
    }

    /// Writes, reads and looks after the critical streams.
    pub(super) fn poll_critical(&mut self) -> Step {
        self.critical.flush();
        if self.critical.poll_stopped() {
            return self.check(Err(ProtocolViolation::CriticalStreamClosed));
        }
        for which in CRITICAL {
            let critical = &mut self.critical;
            let recv = &mut critical.peer[which as usize];
            match io::poll_read(recv, &critical.waker, usize::MAX) {
                Poll::Pending | Poll::Ready(Read::Lost) => {}
                Poll::Ready(Read::Data(bytes)) => {
                    critical.nudge();
                    self.critical_data(which, bytes)?;
                }
                Poll::Ready(Read::Fin | Read::Reset(_)) => {
                    self.proto(|proto| Err(proto.handle_critical_end(which)))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn poll_opening(&mut self, cx: &mut Context<'_>) -> Step<bool> {
        let Some(opening) = &mut self.critical.opening else {
            return Ok(false);
        };
        let Poll::Ready(result) = opening.as_mut().poll(cx) else {
            return Ok(false);
        };
        self.critical.opening = None;
        let opened = result.map_err(|error| self.lost(error))?;
        self.critical.own = opened.map(|send| {
            io::prioritise(&send);
            let stopped = Some(io::stopped(&send));
            Some(Own { send, stopped })
        });
        self.critical.nudge();
        Ok(true)
    }
}
