//! What two processes say to each other on the control socket.
//!
//! The newcomer says [`HELLO`]. The other one answers with an offer: a byte for the version, or
//! [`BUSY`]; the secrets of the connection ids; a count; and the tags of so many processes, its own
//! first. With the first byte come a UDP socket and, for each tag, the way to that process. Then both
//! say one byte by turns: [`TAKE`], [`YOURS`], [`READY`], [`DONE`]. [`TAKEN_BACK`] says that the
//! port stays where it was.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
    time::timeout,
};

use super::MAX_EARLIER;
use crate::quic::{Elder, Secrets, Tag};

pub(super) const HELLO: &[u8; 12] = b"takeover 1\r\n";

const VERSION: u8 = 1;
pub(super) const BUSY: u8 = 0;

/// The newcomer is ready to read.
pub(super) const TAKE: u8 = b'T';
/// Nobody reads the UDP socket any more.
pub(super) const YOURS: u8 = b'Y';
/// The newcomer reads and accepts.
pub(super) const READY: u8 = b'R';
/// The port is the newcomer's.
pub(super) const DONE: u8 = b'D';
/// It is not.
pub(super) const TAKEN_BACK: u8 = b'X';

/// How long one waits for the other's next word.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The processes of an offer: the one that makes it, and those before it.
const PROCESSES: usize = MAX_EARLIER + 1;

/// Files that are received are not for programs that this one starts.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// Bytes of an offer before its tags.
const FIXED: usize = 1 + Secrets::LEN + 1;

fn timed_out<T>(_: T) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn nonsense() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Says something; the other one reads it soon or is stuck.
pub(super) async fn say(stream: &mut UnixStream, words: &[u8]) -> io::Result<()> {
    let writing = stream.write_all(words);
    timeout(PATIENCE, writing).await.map_err(timed_out)?
}

/// Waits for so many bytes.
pub(super) async fn hear<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut words = [0; N];
    let reading = stream.read_exact(&mut words);
    timeout(PATIENCE, reading).await.map_err(timed_out)??;
    Ok(words)
}

/// What a process gives to its successor.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) secrets: Secrets,
    /// The UDP socket.
    pub(super) socket: OwnedFd,
    /// The processes that have connections, the one that makes the offer first.
    pub(super) elders: Vec<Elder>,
}

impl Offer {
    /// Makes an offer.
    pub(super) async fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let mut words = vec![VERSION];
        words.extend(self.secrets.to_bytes());
        words.push(u8::try_from(self.elders.len()).map_err(|_| nonsense())?);
        words.extend(self.elders.iter().flat_map(|elder| elder.tag.0));
        let channels = self.elders.iter().map(|elder| elder.channel.as_fd());
        let files: Vec<BorrowedFd<'_>> =
            [self.socket.as_fd()].into_iter().chain(channels).collect();
        let sending = stream.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PROCESSES + 1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&files)) {
                return Err(nonsense());
            }
            let (words, flags) = ([IoSlice::new(&words)], SendFlags::DONTWAIT);
            Ok(sendmsg(stream, &words, &mut control, flags)?)
        });
        let sent = timeout(PATIENCE, sending).await.map_err(timed_out)??;
        // A local socket with nothing in it takes 80 bytes at once.
        if sent == words.len() {
            Ok(())
        } else {
            Err(nonsense())
        }
    }

    /// Waits for an offer; `None` when the other process has too many others behind it.
    pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<Option<Self>> {
        let mut first = [0];
        let mut files = Vec::new();
        let receiving = stream.async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PROCESSES + 1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut words = [IoSliceMut::new(&mut first)];
            let received = recvmsg(&*stream, &mut words, &mut control, RECEIVE)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = message {
                    files.extend(rights);
                }
            }
            Ok(received.bytes)
        });
        if timeout(PATIENCE, receiving).await.map_err(timed_out)?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match first {
            [VERSION] => {}
            [BUSY] => return Ok(None),
            _ => return Err(nonsense()),
        }
        let fixed: [u8; FIXED - 1] = hear(stream).await?;
        let (secrets, count) = fixed.split_at(Secrets::LEN);
        let secrets = secrets.try_into().map_err(|_| nonsense())?;
        let count = usize::from(count[0]);
        if !(1..=PROCESSES).contains(&count) || files.len() != count + 1 {
            return Err(nonsense());
        }
        for file in &files {
            // Where it could not be asked for at once.
            rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC)?;
        }
        let mut files = files.into_iter();
        let socket = files.next().ok_or_else(nonsense)?;
        let mut elders = Vec::with_capacity(count);
        for file in files {
            let tag = Tag(hear(stream).await?);
            let channel = UnixDatagram::from(file);
            channel.set_nonblocking(true)?;
            elders.push(Elder { tag, channel });
        }
        Ok(Some(Self {
            secrets: Secrets::from_bytes(secrets),
            socket,
            elders,
        }))
    }
}
