//! What becomes of all that the server sends: it goes to standard output as it comes.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncWriteExt, Stdout, stdout},
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use wt::{ErrorCode, IncomingStream, ReadError, RecvStream, Session};

use super::screen;
use crate::failure::Failure;

/// The most that is taken from a stream at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// Prints streams and datagrams of the server until the session ends or this is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    printer: Printer,
    task: JoinHandle<()>,
}

/// How far printing has come.
#[derive(Debug)]
struct Seen {
    /// Streams that have not ended.
    open: usize,
    /// When something was last printed.
    last: Instant,
    /// Standard output cannot be written any more.
    broken: Option<Arc<io::Error>>,
}

impl Receiver {
    pub(super) fn new(session: &Session) -> Self {
        let seen = Seen {
            open: 0,
            last: Instant::now(),
            broken: None,
        };
        let printer = Printer {
            out: Arc::new(Mutex::new(stdout())),
            seen: watch::Sender::new(seen),
        };
        let task = tokio::spawn(receive(session.clone(), printer.clone()));
        Self { printer, task }
    }

    /// Prints the answer on a stream that was opened here.
    pub(super) async fn answer(&self, recv: RecvStream) -> Result<(), Failure> {
        self.printer.copy(recv).await.map_err(|error| match error {
            // How the session ends says why.
            ReadError::Session(_) | ReadError::Reset(ErrorCode::WT_SESSION_GONE) => Failure::told(),
            error => Failure::during_work(error.to_string()),
        })
    }

    /// Waits until nothing came for `wait`; when the answer is complete, only for streams that the
    /// server has opened besides.
    pub(super) async fn quiet(&self, wait: Duration, complete: bool) {
        let started = Instant::now();
        let mut seen = self.printer.seen.subscribe();
        loop {
            let (open, last) = {
                let seen = seen.borrow_and_update();
                (seen.open, seen.last)
            };
            if complete && open == 0 {
                return;
            }
            let until = started.max(last) + wait;
            if timeout_at(until, seen.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Waits until standard output cannot be written any more.
    pub(super) fn broken(&self) -> impl Future<Output = Result<(), Failure>> + use<> {
        let mut seen = self.printer.seen.subscribe();
        async move {
            let seen = seen.wait_for(|seen| seen.broken.is_some()).await;
            match seen.ok().and_then(|seen| seen.broken.clone()) {
                // A reader that left early has seen what it wanted.
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                Some(error) => Err(Failure::output(&error)),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until everything that arrived before the end of the session is printed.
    pub(super) async fn end(&mut self) {
        // A task that panicked has said so.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes all streams and datagrams of a session.
async fn receive(session: Session, printer: Printer) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept() => {
                let (recv, send) = match stream {
                    Ok(IncomingStream::Uni(recv)) => (recv, None),
                    Ok(IncomingStream::Bi(stream)) => {
                        let (send, recv) = stream.split();
                        (recv, Some(send))
                    }
                    _ => break,
                };
                if let Some(mut send) = send {
                    // There is nothing to say on it.
                    let _ = send.finish();
                }
                let printer = printer.clone();
                streams.spawn(async move {
                    if let Err(error) = printer.copy(recv).await
                        && !matches!(error, ReadError::Session(_))
                    {
                        screen::warn(&format!("a stream of the server: {error}"));
                    }
                });
            }
            datagram = session.recv_datagram() => match datagram {
                Ok(datagram) => printer.datagram(datagram).await,
                Err(_) => break,
            },
            Some(_) = streams.join_next() => {}
        }
    }
    while streams.join_next().await.is_some() {}
}

/// Writes to standard output.
#[derive(Clone, Debug)]
struct Printer {
    out: Arc<Mutex<Stdout>>,
    seen: watch::Sender<Seen>,
}

impl Printer {
    /// Prints a stream to its end.
    async fn copy(&self, mut recv: RecvStream) -> Result<(), ReadError> {
        self.seen.send_modify(|seen| seen.open += 1);
        let copied = async {
            while let Some(chunk) = recv.read_chunk(CHUNK).await? {
                self.write(&[&chunk]).await;
            }
            Ok(())
        };
        let copied = copied.await;
        self.seen.send_modify(|seen| seen.open -= 1);
        copied
    }

    async fn datagram(&self, datagram: Bytes) {
        let end: &[u8] = if datagram.ends_with(b"\n") {
            b""
        } else {
            b"\n"
        };
        self.write(&[&datagram, end]).await;
    }

    async fn write(&self, parts: &[&[u8]]) {
        let mut out = self.out.lock().await;
        let written = async {
            for part in parts {
                out.write_all(part).await?;
            }
            out.flush().await
        };
        let written = written.await;
        self.seen.send_modify(|seen| {
            seen.last = Instant::now();
            if let Err(error) = written {
                seen.broken = Some(Arc::new(error));
            }
        });
    }
}
