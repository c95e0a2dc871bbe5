//! What becomes of standard input.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin, stdin};
use wt::{ErrorCode, SendDatagramError, SendStream, Session, WriteError};

use super::screen;
use crate::failure::Failure;

/// The longest line; none that long fits a datagram.
const LINE: u64 = 64 * 1024;

/// How lines go to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Bidi,
    Uni,
    Datagrams,
}

/// Sends standard input on a stream and waits until the server has all of it.
pub(super) async fn stream(send: &mut SendStream) -> Result<(), Failure> {
    // Silent standard input must not keep the stream from existing.
    let mut result = send.flush().await;
    let mut input = stdin();
    let mut buffer = vec![0; LINE as usize];
    while result.is_ok() {
        match input
            .read(&mut buffer)
            .await
            .map_err(|error| unread(&error))?
        {
            0 => break,
            len => result = send.write_all(&buffer[..len]).await,
        }
    }
    let result = match result.and_then(|()| send.finish()) {
        Ok(()) => send.closed().await,
        failed => failed,
    };
    match result {
        // How the session ends says why.
        Err(WriteError::Session(_) | WriteError::Stopped(ErrorCode::WT_SESSION_GONE)) => {
            Err(Failure::told())
        }
        // A server that has heard enough need not be an error: its answer tells.
        Err(error @ WriteError::Stopped(_)) => {
            screen::warn(&error.to_string());
            Ok(())
        }
        result => result.map_err(|error| Failure::during_work(error.to_string())),
    }
}

/// Sends each line of standard input as a datagram; returns how many were left out for their size.
pub(super) async fn datagrams(session: &Session) -> Result<u64, Failure> {
    let mut input = BufReader::new(stdin());
    let mut line = Vec::new();
    let mut left_out = 0_u64;
    loop {
        line.clear();
        let read = (&mut input).take(LINE).read_until(b'\n', &mut line).await;
        if read.map_err(|error| unread(&error))? == 0 {
            break;
        }
        if line.len() as u64 == LINE && !line.ends_with(b"\n") {
            skip_line(&mut input)
                .await
                .map_err(|error| unread(&error))?;
        }
        let payload = line.strip_suffix(b"\n").unwrap_or(&line);
        let payload = payload.strip_suffix(b"\r").unwrap_or(payload);
        match session.send_datagram_wait(payload).await {
            Ok(()) => {}
            Err(error @ SendDatagramError::TooLarge { .. }) => {
                screen::warn(&format!("a line was left out: {error}"));
                left_out += 1;
            }
            Err(SendDatagramError::Session(_)) => return Err(Failure::told()),
            Err(error) => return Err(Failure::during_work(error.to_string())),
        }
    }
    Ok(left_out)
}

/// Reads on to the end of a line, without keeping it.
async fn skip_line(input: &mut BufReader<Stdin>) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf().await?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (used, over) = match end {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if over {
            return Ok(());
        }
    }
}

fn unread(error: &io::Error) -> Failure {
    Failure::during_work(format!("cannot read standard input: {error}"))
}
