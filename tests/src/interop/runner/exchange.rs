//! The exchange of files over a session: `GET name` one way, the file the other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::{self, File};
use tokio::io::{self, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wt::{BiStream, RecvStream, Session, SessionError};

use super::Failure;

/// What a file travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Uni,
    Bidi,
    Datagram,
}

/// The longest `GET name` and `PUSH name\n`.
const MAX_LINE: usize = 1024;

/// The application code with which a stream is given up when its request cannot be answered.
const NO_SUCH_FILE: u32 = 1;

/// Requests by datagram that wait for their answers: few enough for the queue of a slow link.
const DATAGRAMS_IN_FLIGHT: usize = 8;

/// Time after which a datagram counts as lost, and its file is asked for again.
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(400);

/// Whether a name is a plain word, which leaves no folder.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// The name in `GET name`.
fn requested(request: &[u8]) -> Result<&str, Failure> {
    let name = str::from_utf8(request)?.strip_prefix("GET ");
    let name = name.map(str::trim_end).filter(|name| is_plain(name));
    Ok(name.ok_or("a request that is not `GET name`")?)
}

/// The name in `PUSH name`.
fn pushed(line: &[u8]) -> Result<&str, Failure> {
    let name = str::from_utf8(line)?.strip_prefix("PUSH ");
    Ok(name
        .filter(|name| is_plain(name))
        .ok_or("an answer that is not `PUSH name`")?)
}

// ---- answering

/// Answers requests of all kinds with the files of `folder` until the session ends, and says how it did.
pub(super) async fn answer(session: &Session, folder: &Path) -> SessionError {
    let folder: Arc<Path> = folder.into();
    let mut answers = JoinSet::new();
    loop {
        let (session_, folder) = (session.clone(), folder.clone());
        let result = tokio::select! {
            stream = session.accept_bi() => stream.map(|stream| {
                answers.spawn(async move { answer_bi(stream, &folder).await })
            }),
            stream = session.accept_uni() => stream.map(|stream| {
                answers.spawn(async move { answer_uni(&session_, stream, &folder).await })
            }),
            datagram = session.recv_datagram() => datagram.map(|request| {
                answers.spawn(async move { answer_datagram(&session_, &request, &folder).await })
            }),
            Some(outcome) = answers.join_next() => {
                if let Ok(Err(error)) = outcome {
                    eprintln!("not answered: {error}");
                }
                continue;
            }
        };
        if let Err(end) = result {
            return end;
        }
    }
}

async fn answer_bi(mut stream: BiStream, folder: &Path) -> Result<(), Failure> {
    let request = stream.recv.read_to_end(MAX_LINE).await?;
    let file = match requested(&request) {
        Ok(name) => File::open(folder.join(name)).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    match file {
        Ok(mut file) => {
            io::copy(&mut file, &mut stream.send).await?;
            stream.send.finish()?;
            Ok(stream.send.closed().await?)
        }
        Err(error) => {
            stream.send.reset(NO_SUCH_FILE);
            Err(error)
        }
    }
}

async fn answer_uni(
    session: &Session,
    mut request: RecvStream,
    folder: &Path,
) -> Result<(), Failure> {
    let request = request.read_to_end(MAX_LINE).await?;
    let name = requested(&request)?;
    let mut file = File::open(folder.join(name)).await?;
    let mut send = session.open_uni().await?;
    send.write_all(format!("PUSH {name}\n").as_bytes()).await?;
    io::copy(&mut file, &mut send).await?;
    send.finish()?;
    Ok(send.closed().await?)
}

async fn answer_datagram(session: &Session, request: &[u8], folder: &Path) -> Result<(), Failure> {
    let name = requested(request)?;
    let mut answer = format!("PUSH {name}\n").into_bytes();
    answer.extend(fs::read(folder.join(name)).await?);
    Ok(session.send_datagram_wait(&answer).await?)
}

// ---- asking

/// Asks for files and saves them into `folder`, which is made.
pub(super) async fn ask(
    session: &Session,
    kind: Kind,
    names: &[String],
    folder: &Path,
) -> Result<(), Failure> {
    fs::create_dir_all(folder).await?;
    match kind {
        Kind::Uni => ask_uni(session, names, folder).await,
        Kind::Bidi => ask_bidi(session, names, folder).await,
        Kind::Datagram => ask_datagrams(session, names, folder).await,
    }
}

/// Waits for all tasks; the first failure is the outcome.
async fn all<T: 'static>(mut tasks: JoinSet<Result<T, Failure>>) -> Result<(), Failure> {
    while let Some(outcome) = tasks.join_next().await {
        outcome??;
    }
    Ok(())
}

async fn ask_bidi(session: &Session, names: &[String], folder: &Path) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for name in names {
        let (session, name, path) = (session.clone(), name.clone(), folder.join(name));
        tasks.spawn(async move {
            let mut stream = session.open_bi().await?;
            stream
                .send
                .write_all(format!("GET {name}").as_bytes())
                .await?;
            stream.send.finish()?;
            save(&mut stream.recv, &[], &path)
                .await
                .map_err(|error| format!("{name}: {error}").into())
        });
    }
    all(tasks).await
}

async fn ask_uni(session: &Session, names: &[String], folder: &Path) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for name in names {
        let (session, request) = (session.clone(), format!("GET {name}"));
        tasks.spawn(async move {
            let mut send = session.open_uni().await?;
            send.write_all(request.as_bytes()).await?;
            send.finish()?;
            Ok(None)
        });
    }
    let mut missing: BTreeSet<String> = names.iter().cloned().collect();
    while !missing.is_empty() {
        tokio::select! {
            stream = session.accept_uni() => {
                let (stream, folder) = (stream?, folder.to_owned());
                tasks.spawn(async move { save_pushed(stream, &folder).await.map(Some) });
            }
            Some(outcome) = tasks.join_next() => if let Some(name) = outcome?? {
                missing.remove(&name);
            }
        }
    }
    all(tasks).await
}

/// Saves the file of a stream that begins with `PUSH name\n`, and returns its name.
async fn save_pushed(mut stream: RecvStream, folder: &Path) -> Result<String, Failure> {
    let mut head = Vec::new();
    loop {
        if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
            let name = pushed(head.get(..end).unwrap_or_default())?.to_owned();
            let body = head.get(end + 1..).unwrap_or_default();
            save(&mut stream, body, &folder.join(&name)).await?;
            return Ok(name);
        }
        if head.len() > MAX_LINE {
            return Err("an answer without a first line".into());
        }
        let chunk = stream.read_chunk(MAX_LINE).await?;
        head.extend_from_slice(&chunk.ok_or("an answer that ends in its first line")?);
    }
}

async fn save(stream: &mut RecvStream, first: &[u8], path: &Path) -> Result<(), Failure> {
    let mut file = File::create(path).await?;
    file.write_all(first).await?;
    io::copy(stream, &mut file).await?;
    Ok(file.flush().await?)
}

async fn ask_datagrams(session: &Session, names: &[String], folder: &Path) -> Result<(), Failure> {
    let mut unasked = names.iter();
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    loop {
        while asked.len() < DATAGRAMS_IN_FLIGHT
            && let Some(name) = unasked.next()
        {
            session.send_datagram_wait(format!("GET {name}")).await?;
            asked.insert(name);
        }
        if asked.is_empty() {
            return Ok(());
        }
        match timeout(DATAGRAM_PATIENCE, session.recv_datagram()).await {
            Ok(answer) => {
                let answer = answer?;
                let end = answer.iter().position(|byte| *byte == b'\n');
                let (line, body) = answer.split_at(end.ok_or("an answer without a first line")?);
                let name = pushed(line)?;
                // The answer to a repeated request may come twice.
                if asked.remove(name) {
                    fs::write(folder.join(name), body.get(1..).unwrap_or_default()).await?;
                }
            }
            Err(_) => {
                for name in &asked {
                    session.send_datagram_wait(format!("GET {name}")).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_served() {
        assert_eq!(requested(b"GET file-1.bin").unwrap(), "file-1.bin");
        for request in [
            "GET ../etc/passwd",
            "GET /etc/passwd",
            "GET ",
            "GET .git",
            "PUT x",
            "GET a b",
        ] {
            assert!(requested(request.as_bytes()).is_err(), "{request}");
        }
        assert!(requested(b"GET \xff").is_err());
        assert_eq!(pushed(b"PUSH a").unwrap(), "a");
        assert!(pushed(b"PUSH ../a").is_err());
    }
}
