//! The server, the same for every stack: it does what the first byte of a stream says.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    thread,
};

use crate::{
    process::{self, DATAGRAMS},
    stack::{Certificate, Identity, RecvHalf, Result, SendHalf, Server, Session, Settings, Stack},
};

/// What comes on a stream is sent back after its end.
pub(crate) const ECHO: u8 = b'e';
/// What comes on a stream, or in a datagram, is sent back at once.
pub(crate) const PING: u8 = b'p';
/// What comes on a stream is counted; at its end one byte answers. In a datagram: it is counted.
pub(crate) const SINK: u8 = b's';
/// As many bytes are wanted as the eight bytes after this one say, big-endian.
pub(crate) const SOURCE: u8 = b'g';

/// The longest request.
pub(crate) const REQUEST: usize = 2048;

/// What is written at a time.
pub(crate) const BLOCK: usize = 64 * 1024;

/// What a client has to know of a server.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) quic: SocketAddr,
    /// Where [`process::Usage::of`] asks.
    pub(crate) usage: SocketAddr,
    pub(crate) certificate: Certificate,
}

impl Address {
    /// Writes the address as three words.
    pub(crate) fn to_words(&self) -> String {
        let hex: String = self
            .certificate
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{} {} {hex}", self.quic, self.usage)
    }

    /// Reads what [`Self::to_words`] wrote.
    pub(crate) fn from_words(words: &str) -> Result<Self> {
        let [quic, usage, hex] = words.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("not the address of a server: {words:?}").into());
        };
        let byte = |at| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
        let certificate = (0..hex.len())
            .step_by(2)
            .map(byte)
            .collect::<Result<Vec<u8>, _>>()?;
        Ok(Self {
            quic: quic.parse()?,
            usage: usage.parse()?,
            certificate: certificate.into(),
        })
    }
}

/// Runs a server until its standard input ends. `idle` sessions are only held.
pub(crate) async fn run<S: Stack>(settings: Settings, idle: bool) -> Result<()> {
    let identity = Identity::new()?;
    let mut server = S::Server::bind(&identity, settings)?;
    let address = Address {
        quic: server.address()?,
        usage: process::answer()?,
        certificate: identity.certificate,
    };
    writeln!(io::stdout(), "{}", address.to_words())?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    while let Some(handshake) = server.accept().await {
        tokio::spawn(async move {
            let Ok(session) = handshake.await else {
                return;
            };
            if idle {
                session.closed().await;
            } else {
                // Boxed, so that the task of a session that is only held has no room for it.
                Box::pin(serve(session)).await;
            }
        });
    }
    Ok(())
}

async fn serve<S: Session>(session: S) {
    let bidi = session.clone();
    tokio::spawn(async move {
        while let Ok((send, recv)) = bidi.accept_bi().await {
            tokio::spawn(answer(send, recv));
        }
    });
    let uni = session.clone();
    tokio::spawn(async move {
        while let Ok(recv) = uni.accept_uni().await {
            tokio::spawn(answer_uni(uni.clone(), recv));
        }
    });
    while let Ok(datagram) = session.recv_datagram().await {
        if datagram.first() == Some(&PING) {
            // It may be lost anywhere, so here as well.
            let _ = session.send_datagram(&datagram).await;
        } else {
            DATAGRAMS.fetch_add(1, Relaxed);
        }
    }
}

/// Reads a request to its end; the number of bytes.
async fn read_to_end(recv: &mut impl RecvHalf, buffer: &mut [u8], mut len: usize) -> Result<usize> {
    while let Some(read) = recv.read(buffer.get_mut(len..).unwrap_or_default()).await? {
        if read == 0 {
            return Err("a request is too long".into());
        }
        len += read;
    }
    Ok(len)
}

async fn answer(mut send: impl SendHalf, mut recv: impl RecvHalf) -> Result<()> {
    let mut buffer = [0; REQUEST];
    let Some(len) = recv.read(&mut buffer).await? else {
        return Ok(());
    };
    match buffer[0] {
        ECHO => {
            let len = read_to_end(&mut recv, &mut buffer, len).await?;
            send.write_all(&buffer[..len]).await?;
        }
        PING => {
            send.write_all(&buffer[..len]).await?;
            while let Some(len) = recv.read(&mut buffer).await? {
                send.write_all(&buffer[..len]).await?;
            }
        }
        SINK => {
            recv.drain().await?;
            send.write_all(&[SINK]).await?;
        }
        SOURCE => {
            read_to_end(&mut recv, &mut buffer, len).await?;
            let mut left = buffer[1..9].iter().fold(0, |n, &b| n << 8 | usize::from(b));
            let block = vec![0; BLOCK];
            while left > 0 {
                let len = left.min(BLOCK);
                send.write_all(&block[..len]).await?;
                left -= len;
            }
        }
        other => return Err(format!("nobody knows what to do with {other}").into()),
    }
    send.finish()
}

/// Sends back on a stream of its own what came on a unidirectional one.
async fn answer_uni(session: impl Session, mut recv: impl RecvHalf) -> Result<()> {
    let mut buffer = [0; REQUEST];
    let len = read_to_end(&mut recv, &mut buffer, 0).await?;
    let mut send = session.open_uni().await?;
    send.write_all(&buffer[..len]).await?;
    send.finish()
}
