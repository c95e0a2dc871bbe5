//! Echo: what comes goes back.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wt::{BiStream, ReadError, RecvStream, SendStream, Session};

use super::Failure;

// ---- the server

/// Sends everything back until the session ends: on a bidirectional stream on the same one, on a unidirectional
/// stream on a new one, and datagrams.
pub async fn serve(session: &Session) {
    let mut streams = JoinSet::new();
    loop {
        let session_ = session.clone();
        tokio::select! {
            stream = session.accept_bi() => {
                let Ok(stream) = stream else { return };
                streams.spawn(serve_bi(stream));
            }
            stream = session.accept_uni() => {
                let Ok(mut recv) = stream else { return };
                streams.spawn(async move {
                    if let Ok(mut send) = session_.open_uni().await {
                        copy(&mut recv, &mut send).await;
                    }
                });
            }
            datagram = session.recv_datagram() => {
                let Ok(datagram) = datagram else { return };
                // One that does not fit is lost, as datagrams are.
                let _ = session.send_datagram(&datagram);
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

/// Sends back what comes on a bidirectional stream.
pub(super) async fn serve_bi(mut stream: BiStream) {
    copy(&mut stream.recv, &mut stream.send).await;
}

/// Sends bytes as they come, FIN for FIN, and a reset with the same code for a reset.
async fn copy(recv: &mut RecvStream, send: &mut SendStream) {
    loop {
        match recv.read_chunk(usize::MAX).await {
            Ok(Some(bytes)) => {
                if let Err(error) = send.write_chunk(bytes).await {
                    recv.stop(error.code().unwrap_or(0));
                    return;
                }
            }
            Ok(None) => {
                // An error says that nobody wants the rest.
                let _ = send.finish();
                let _ = send.closed().await;
                return;
            }
            Err(ReadError::Reset(code)) => return send.reset_with(code),
            Err(_) => return,
        }
    }
}

// ---- the client

/// Time for each step.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time for the echo of a datagram, and how often one is sent.
const DATAGRAM_PATIENCE: Duration = Duration::from_secs(2);
const DATAGRAM_TRIES: usize = 3;

/// What servers put before their answer, or nothing.
const PREFIX: &[u8] = b"ECHO: ";

/// Has the server at the other end of `session` echo streams and a datagram, prints a line for each, and returns
/// whether all passed. `with_uni` has a unidirectional stream among them.
pub async fn check(session: &Session, with_uni: bool) -> bool {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for (name, size) in [("20 B", 20), ("64 KiB", 64 * 1024), ("1 MiB", 1024 * 1024)] {
        steps.push((
            format!("bidirectional stream, {name}"),
            Box::pin(bidi(session, size)),
        ));
    }
    steps.push(("datagram".to_owned(), Box::pin(datagram(session))));
    if with_uni {
        steps.push(("unidirectional stream".to_owned(), Box::pin(uni(session))));
    }
    let mut passed = true;
    for (name, step) in steps {
        passed &= report(&name, step).await;
    }
    passed
}

type Step<'a> = (
    String,
    Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>,
);

/// Takes one step and prints its outcome.
pub async fn report(name: impl Display, step: impl Future<Output = Result<(), Failure>>) -> bool {
    let started = Instant::now();
    let outcome = timeout(PATIENCE, step)
        .await
        .unwrap_or_else(|_| Err(format!("nothing within {} s", PATIENCE.as_secs()).into()));
    let millis = started.elapsed().as_millis();
    match &outcome {
        Ok(()) => println!("ok    {name} ({millis} ms)"),
        Err(error) => println!("FAIL  {name}: {error}"),
    }
    outcome.is_ok()
}

/// Bytes in which a shift or a swap shows.
fn payload(size: usize) -> Bytes {
    let mut state = size as u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn compare(sent: &[u8], answer: &[u8]) -> Result<(), Failure> {
    let answer = answer.strip_prefix(PREFIX).unwrap_or(answer);
    if answer == sent {
        Ok(())
    } else {
        let (sent, answer) = (sent.len(), answer.len());
        Err(format!("the answer differs: {sent} B sent, {answer} B came back").into())
    }
}

async fn bidi(session: &Session, size: usize) -> Result<(), Failure> {
    let sent = payload(size);
    let (mut send, mut recv) = session.open_bi().await?.split();
    let write = async {
        send.write_chunk(sent.clone()).await?;
        send.finish()?;
        Ok::<_, Failure>(())
    };
    let read = async { Ok::<_, Failure>(recv.read_to_end(2 * size + 1024).await?) };
    let ((), answer) = tokio::try_join!(write, read)?;
    compare(&sent, &answer)
}

async fn uni(session: &Session) -> Result<(), Failure> {
    let sent = payload(1000);
    let mut send = session.open_uni().await?;
    send.write_chunk(sent.clone()).await?;
    send.finish()?;
    let answer = session
        .accept_uni()
        .await?
        .read_to_end(2 * sent.len())
        .await?;
    compare(&sent, &answer)
}

async fn datagram(session: &Session) -> Result<(), Failure> {
    for _ in 0..DATAGRAM_TRIES {
        let sent = payload(64);
        session.send_datagram_wait(&sent).await?;
        if let Ok(answer) = timeout(DATAGRAM_PATIENCE, session.recv_datagram()).await {
            return compare(&sent, &answer?);
        }
    }
    Err(format!("none of {DATAGRAM_TRIES} came back").into())
}
