//! A takeover as the process sees it that has the port.

use std::{
    io,
    net::UdpSocket,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};

use super::{
    MAX_EARLIER,
    messages::{BUSY, DONE, HELLO, Offer, READY, TAKE, TAKEN_BACK, YOURS, hear, say},
    path::ControlFile,
};
use crate::quic::{Elder, Secrets, Switch, Tag};

/// How often is looked whether earlier processes are still there.
const PROBE: Duration = Duration::from_secs(1);

/// A pause after the system refused to accept, for want of files perhaps.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns the user that this process acts for.
pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// All that a process has to give away.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) socket: UdpSocket,
    pub(super) switch: Arc<Switch>,
    pub(super) secrets: Secrets,
    pub(super) tag: Tag,
    /// Bytes that may wait on the way to this process.
    pub(super) buffer: usize,
}

/// Listens for a successor until one has taken over.
pub(super) async fn listen(
    listener: UnixListener,
    file: Arc<ControlFile>,
    seat: Seat,
    done: watch::Sender<bool>,
) {
    let mut probe = tokio::time::interval(PROBE);
    let mut elders = true;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match seat.hand_over(stream, &file).await {
                    Ok(()) => break,
                    Err(error) => tracing::warn!(%error, "the port was not handed over"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            _ = probe.tick(), if elders => elders = seat.switch.probe(),
        }
    }
    seat.switch.forget_elders();
    tracing::info!("a new process has taken the port over");
    done.send_replace(true);
}

impl Seat {
    /// Hands over to who came, if it is one who may and does what is to be done.
    async fn hand_over(&self, mut stream: UnixStream, file: &ControlFile) -> io::Result<()> {
        let user = stream.peer_cred()?.uid();
        if user != own_user() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("a process of user {user} asked for it"),
            ));
        }
        if hear(&mut stream).await? != *HELLO {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "another version of the takeover was asked for",
            ));
        }
        let earlier = self.switch.elders()?;
        if earlier.len() >= MAX_EARLIER {
            say(&mut stream, &[BUSY]).await?;
            return Err(io::Error::other("too many earlier processes have sessions"));
        }
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_nonblocking(true)?;
        if self.buffer > 0 {
            // As much as the UDP socket has; what the system refuses is not an error.
            let _ = SockRef::from(&theirs).set_send_buffer_size(self.buffer);
        }
        let ours = tokio::net::UnixDatagram::from_std(ours)?;
        let own = Elder {
            tag: self.tag,
            channel: theirs,
        };
        let offer = Offer {
            secrets: self.secrets,
            socket: OwnedFd::from(self.socket.try_clone()?),
            elders: [own].into_iter().chain(earlier).collect(),
        };
        offer.send(&stream).await?;
        drop(offer);
        let rest = async {
            expect(&mut stream, TAKE).await?;
            self.switch.read_channel(ours);
            say(&mut stream, &[YOURS]).await?;
            expect(&mut stream, READY).await
        };
        match rest.await {
            // The newcomer counts on it, whether it hears the last word or not.
            Ok(()) => {
                file.leave();
                let _ = say(&mut stream, &[DONE]).await;
                Ok(())
            }
            Err(error) => {
                let told = say(&mut stream, &[TAKEN_BACK]).await;
                self.switch.read_socket();
                tracing::debug!(told = told.is_ok(), "reading the UDP socket again");
                Err(error)
            }
        }
    }
}

/// Waits for a word.
async fn expect(stream: &mut UnixStream, word: u8) -> io::Result<()> {
    let [heard] = hear(stream).await?;
    if heard == word {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
