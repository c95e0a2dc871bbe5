//! The UDP socket of an endpoint whose port can go to another process.
//!
//! Of the processes that share a port, the newest alone reads the socket. It passes on what belongs
//! to the connections of the others, which read from a channel instead; all of them send on the
//! socket.

use std::{
    fmt,
    io::{self, IoSlice, IoSliceMut},
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;

use super::{
    ids::{Tag, TagReader},
    passing::{self, HEADER},
};
use crate::lock::lock;

/// A process that still has connections: what marks them, and the way to it.
#[derive(Debug)]
pub(crate) struct Elder {
    pub(crate) tag: Tag,
    pub(crate) channel: UnixDatagram,
}

impl Elder {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let (tag, channel) = (self.tag, self.channel.try_clone()?);
        Ok(Self { tag, channel })
    }
}

/// Where packets come from.
#[derive(Debug)]
enum Source {
    /// From nowhere yet: another process reads the socket.
    Nowhere,
    Socket,
    /// From the process that reads the socket.
    Channel(tokio::net::UnixDatagram),
}

struct State {
    source: Source,
    elders: Vec<Elder>,
    /// Who waits for packets, to be woken when they come from elsewhere.
    waiting: Option<Waker>,
}

/// A socket that is read, or not.
pub(crate) struct Switch {
    socket: Arc<dyn AsyncUdpSocket>,
    reader: TagReader,
    state: Mutex<State>,
    passed: AtomicU64,
    lost: AtomicU64,
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch")
            .field("socket", &self.socket)
            .field("passed", &self.passed)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

/// What became of packets that are for another process.
enum Passing {
    Done,
    /// There is no room, as in a router whose queue is full.
    Lost,
    /// That process is no more.
    Gone,
}

impl Switch {
    /// Reads from `socket`, at once or from [`Self::read_socket`] on, and passes on what belongs to
    /// `elders`.
    pub(crate) fn new(
        socket: Arc<dyn AsyncUdpSocket>,
        reader: TagReader,
        elders: Vec<Elder>,
        at_once: bool,
    ) -> Self {
        let source = if at_once {
            Source::Socket
        } else {
            Source::Nowhere
        };
        Self {
            socket,
            reader,
            state: Mutex::new(State {
                source,
                elders,
                waiting: None,
            }),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    fn turn(&self, source: Source) {
        let waiting = {
            let mut state = lock(&self.state);
            state.source = source;
            state.waiting.take()
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Reads the socket from now on.
    pub(crate) fn read_socket(&self) {
        self.turn(Source::Socket);
    }

    /// Reads nothing from now on: the socket is another process's after all.
    pub(crate) fn read_nothing(&self) {
        self.turn(Source::Nowhere);
    }

    /// Reads this channel from now on: when this returns, nothing more is taken from the socket.
    pub(crate) fn read_channel(&self, channel: tokio::net::UnixDatagram) {
        self.turn(Source::Channel(channel));
    }

    /// Returns ways to the other processes that have connections.
    pub(crate) fn elders(&self) -> io::Result<Vec<Elder>> {
        lock(&self.state)
            .elders
            .iter()
            .map(Elder::try_clone)
            .collect()
    }

    /// Forgets the other processes: from now on a successor serves them.
    pub(crate) fn forget_elders(&self) {
        lock(&self.state).elders.clear();
    }

    /// Looks whether the other processes are still there; `false` when none is left.
    pub(crate) fn probe(&self) -> bool {
        let elders = &mut lock(&self.state).elders;
        elders.retain(|elder| !matches!(pass_on(elder, &[]), Passing::Gone));
        !elders.is_empty()
    }

    /// Returns how many UDP datagrams were passed on, and how many more could not be.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.passed.load(Relaxed), self.lost.load(Relaxed))
    }

    /// Passes on what is for others, and leaves what is for this process in `packets`.
    ///
    /// `packets` are UDP datagrams of one client that were received together, each but the last with
    /// as many bytes as `meta` says.
    fn sort_out(&self, elders: &mut Vec<Elder>, packets: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let owner = |elders: &[Elder], packet: &[u8]| {
            let tag = self.reader.tag(passing::destination(packet)?);
            elders.iter().position(|elder| elder.tag == tag)
        };
        let (mut at, mut kept) = (0, 0);
        while at < meta.len {
            let mut end = meta.len.min(at + stride);
            match owner(elders, &packets[at..end]) {
                None => {
                    if kept != at {
                        packets.copy_within(at..end, kept);
                    }
                    kept += end - at;
                }
                Some(elder) => {
                    while end < meta.len {
                        let next = meta.len.min(end + stride);
                        if owner(elders, &packets[end..next]) != Some(elder) {
                            break;
                        }
                        end = next;
                    }
                    if !self.pass(&elders[elder], &packets[at..end], meta) {
                        elders.swap_remove(elder);
                    }
                }
            }
            at = end;
        }
        meta.len = kept;
    }

    /// Passes datagrams on to another process; `false` when it is no more.
    fn pass(&self, elder: &Elder, packets: &[u8], meta: &RecvMeta) -> bool {
        let header = passing::write(meta);
        let count = packets.len().div_ceil(meta.stride.max(1)) as u64;
        match pass_on(elder, &[IoSlice::new(&header), IoSlice::new(packets)]) {
            Passing::Done => {
                self.passed.fetch_add(count, Relaxed);
                true
            }
            Passing::Lost => {
                self.lost.fetch_add(count, Relaxed);
                true
            }
            Passing::Gone => false,
        }
    }
}

fn pass_on(elder: &Elder, message: &[IoSlice<'_>]) -> Passing {
    use rustix::io::Errno;
    let (mut nothing, flags) = (SendAncillaryBuffer::default(), SendFlags::DONTWAIT);
    match sendmsg(&elder.channel, message, &mut nothing, flags) {
        Ok(_) => Passing::Done,
        Err(Errno::CONNREFUSED | Errno::CONNRESET | Errno::NOTCONN | Errno::PIPE) => Passing::Gone,
        Err(_) => Passing::Lost,
    }
}

/// Takes datagrams that another process passed on; `None` for a message that is none.
fn take_passed(
    channel: &tokio::net::UnixDatagram,
    packets: &mut IoSliceMut<'_>,
) -> io::Result<Option<RecvMeta>> {
    let mut header = [0; HEADER];
    let received = channel.try_io(Interest::READABLE, || {
        let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(packets)];
        let (mut nothing, flags) = (RecvAncillaryBuffer::default(), RecvFlags::DONTWAIT);
        Ok(recvmsg(channel, &mut parts, &mut nothing, flags)?)
    })?;
    let Some(len) = received.bytes.checked_sub(HEADER) else {
        return Ok(None);
    };
    let cut = received.flags.contains(ReturnFlags::TRUNC);
    let meta = passing::read(&header, len).map(|mut meta| {
        if cut {
            // The other process takes larger datagrams than this one: whole ones are left.
            meta.len -= len % meta.stride;
        }
        meta
    });
    Ok(meta)
}

/// Takes what another process passed on, as many messages as there are buffers.
fn poll_passed(
    channel: &tokio::net::UnixDatagram,
    cx: &mut Context<'_>,
    bufs: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(channel.poll_recv_ready(cx))?;
        let mut count = 0;
        for (packets, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            match take_passed(channel, packets) {
                Ok(received) => *meta = received.unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if count == 0 => return Poll::Ready(Err(error)),
                Err(_) => break,
            }
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
    }
}

impl AsyncUdpSocket for Switch {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Held while the socket is read, so that who turns the switch knows that it is not any more.
        let state = &mut *lock(&self.state);
        match &state.waiting {
            Some(waiting) if waiting.will_wake(cx.waker()) => {}
            _ => state.waiting = Some(cx.waker().clone()),
        }
        match &state.source {
            Source::Nowhere => Poll::Pending,
            Source::Socket => {
                let count = ready!(self.socket.poll_recv(cx, bufs, meta))?;
                if !state.elders.is_empty() {
                    // What is left may be nothing: quinn takes no offence.
                    for (packets, meta) in bufs.iter_mut().zip(&mut meta[..count]) {
                        self.sort_out(&mut state.elders, packets, meta);
                    }
                }
                Poll::Ready(Ok(count))
            }
            Source::Channel(channel) => match poll_passed(channel, cx, bufs, meta) {
                Poll::Ready(Err(error)) => {
                    // It is about the channel, not about the endpoint, which can still send.
                    tracing::warn!(%error, "no packets come from the process that has the port");
                    state.source = Source::Nowhere;
                    Poll::Pending
                }
                polled => polled,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests;
