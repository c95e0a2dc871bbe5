//! A takeover as the newcomer sees it.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UnixStream, sync::watch, task::JoinHandle};

use super::{
    TakeoverError,
    control::{self, Seat},
    messages::{DONE, HELLO, Offer, READY, TAKE, TAKEN_BACK, YOURS, hear, say},
    path::{self, ControlFile, Listening, failed},
};
use crate::{
    config::ServerConfig,
    error::BindError,
    quic::{self, Secrets, Switch, Tag},
};

/// Between two looks at a process that broke off.
const AGAIN: Duration = Duration::from_millis(50);

/// How often a process may break off: it has just handed over to yet another one.
const ATTEMPTS: u32 = 40;

/// The process that has the port, and what it offered.
#[derive(Debug)]
struct Predecessor {
    stream: UnixStream,
    offer: Offer,
}

#[derive(Debug)]
pub(crate) struct Takeover {
    path: PathBuf,
    secrets: Secrets,
    tag: Tag,
    predecessor: Option<Predecessor>,
}

impl Takeover {
    pub(crate) async fn begin(path: PathBuf) -> Result<Self, TakeoverError> {
        let predecessor = ask(&path).await?;
        let (secrets, taken) = match &predecessor {
            Some(Predecessor { offer, .. }) => {
                let taken = offer.elders.iter().map(|elder| elder.tag).collect();
                (Ok(offer.secrets), taken)
            }
            None => (Secrets::draw(), Vec::new()),
        };
        let (Ok(secrets), Ok(tag)) = (secrets, Tag::draw(&taken)) else {
            return Err(TakeoverError::NoRandomness);
        };
        Ok(Self {
            path,
            secrets,
            tag,
            predecessor,
        })
    }

    pub(crate) const fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Makes the endpoint.
    pub(crate) fn endpoint(
        self,
        config: &ServerConfig,
        server: quinn::ServerConfig,
    ) -> Result<(quinn::Endpoint, Pending), TakeoverError> {
        let (address, transport) = (config.bind, &config.transport);
        let failed = |source| BindError::Socket { address, source };
        let (socket, stream, elders) = match self.predecessor {
            Some(Predecessor { stream, offer }) => {
                let socket = UdpSocket::from(offer.socket);
                let theirs = socket.local_addr().map_err(failed)?;
                if !agree(address, theirs) {
                    let asked = address;
                    return Err(TakeoverError::OtherAddress { asked, theirs });
                }
                (socket, Some(stream), offer.elders)
            }
            None => {
                let socket = quic::bind_socket(address, transport).map_err(failed)?;
                (socket, None, Vec::new())
            }
        };
        let kept = socket.try_clone().map_err(failed)?;
        let runtime = quic::runtime(transport);
        let socket = runtime.wrap_udp_socket(socket).map_err(failed)?;
        let at_once = stream.is_none();
        let switch = Switch::new(socket, self.secrets.reader(), elders, at_once);
        let switch = Arc::new(switch);
        let mut endpoint = quic::endpoint_config(transport);
        self.secrets.configure(self.tag, &mut endpoint);
        let quic = quinn::Endpoint::new_with_abstract_socket(
            endpoint,
            Some(server),
            switch.clone(),
            runtime,
        );
        let seat = Seat {
            socket: kept,
            switch,
            secrets: self.secrets,
            tag: self.tag,
            buffer: transport.socket_buffer,
        };
        let pending = Pending {
            path: self.path,
            stream,
            seat,
        };
        Ok((quic.map_err(failed)?, pending))
    }
}

/// Whether who asks for one address can do with the other.
fn agree(asked: SocketAddr, theirs: SocketAddr) -> bool {
    let ip =
        asked.ip() == theirs.ip() || asked.ip().is_unspecified() && theirs.ip().is_unspecified();
    ip && (asked.port() == 0 || asked.port() == theirs.port())
}

/// Asks the process at `path` for its port; `None` when there is none.
async fn ask(path: &Path) -> Result<Option<Predecessor>, TakeoverError> {
    let mut attempts = 0;
    loop {
        path::check(path)?;
        let mut stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                // Nothing there, or left behind.
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(None),
                _ => return Err(failed(path)(error)),
            },
        };
        let peer = stream.peer_cred().map_err(failed(path))?;
        if peer.uid() != control::own_user() {
            let (path, uid) = (path.to_owned(), peer.uid());
            return Err(TakeoverError::OtherUser { path, uid });
        }
        let offer = async {
            say(&mut stream, HELLO).await?;
            Offer::receive(&mut stream).await
        };
        match offer.await {
            Ok(Some(offer)) => return Ok(Some(Predecessor { stream, offer })),
            Ok(None) => return Err(TakeoverError::Busy),
            Err(error) if is_end(&error) && attempts < ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(trouble(path, error)),
        }
    }
}

/// Whether the other process ended the conversation.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn trouble(path: &Path, error: io::Error) -> TakeoverError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::TimedOut => TakeoverError::TimedOut { path },
        io::ErrorKind::InvalidData => TakeoverError::Version { path },
        _ => TakeoverError::Socket {
            path,
            source: error,
        },
    }
}

#[derive(Debug)]
pub(crate) struct Pending {
    path: PathBuf,
    stream: Option<UnixStream>,
    seat: Seat,
}

impl Pending {
    pub(crate) async fn complete(mut self) -> Result<Handover, TakeoverError> {
        // Made before anything changes, because it may fail.
        let mut listening = Listening::beside(&self.path, self.seat.tag)?;
        if let Some(mut stream) = self.stream.take() {
            self.exchange(&mut stream, TAKE, YOURS).await?;
            self.seat.switch.read_socket();
            let done = self.exchange(&mut stream, READY, DONE).await;
            done.inspect_err(|_| self.seat.switch.read_nothing())?;
        }
        let published = listening.publish(&self.path);
        published.map_err(failed(&self.path))?;
        let (done, handed_over) = watch::channel(false);
        let switch = self.seat.switch.clone();
        let Listening { listener, file } = listening;
        let file = Arc::new(file);
        let task = control::listen(listener, file.clone(), self.seat, done);
        let task = tokio::spawn(task);
        Ok(Handover {
            switch,
            file,
            handed_over,
            task,
        })
    }

    /// Says a word and expects another. A process that is gone agrees to everything.
    async fn exchange(
        &self,
        stream: &mut UnixStream,
        word: u8,
        expected: u8,
    ) -> Result<(), TakeoverError> {
        // Where this cannot be said, there may be something to be heard all the same.
        let said = say(stream, &[word]).await;
        let answer = match said {
            Err(error) if !is_end(&error) => Err(error),
            _ => hear(stream).await,
        };
        match answer {
            Ok([answer]) if answer == expected => Ok(()),
            Ok([TAKEN_BACK]) => Err(TakeoverError::TakenBack {
                path: self.path.clone(),
            }),
            Ok(_) => Err(trouble(&self.path, io::ErrorKind::InvalidData.into())),
            Err(error) if is_end(&error) => {
                tracing::warn!(path = %self.path.display(), "the process that had the port is gone");
                Ok(())
            }
            Err(error) => Err(trouble(&self.path, error)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Handover {
    switch: Arc<Switch>,
    file: Arc<ControlFile>,
    handed_over: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.task.abort();
        // The task goes when the runtime comes to it.
        self.file.remove();
    }
}

impl Handover {
    pub(crate) async fn handed_over(&self) {
        let mut handed_over = self.handed_over.clone();
        if handed_over.wait_for(|done| *done).await.is_err() {
            // The task is gone without having handed over.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        *self.handed_over.borrow()
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        self.switch.counts()
    }
}
