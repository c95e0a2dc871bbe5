//! Reading up to a separator.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};

use super::{ReadError, RecvStream};

impl RecvStream {
    /// Reads up to and including the next `separator`, or to the end of the stream; empty only at its end.
    ///
    /// Bytes behind the separator stay for the next read. What is read is copied only where it comes in pieces.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: bytes read before the future is dropped are lost.
    ///
    /// # Errors
    ///
    /// [`ReadUntilError::TooLong`] when there are more than `limit` bytes, the separator among them. What was read of
    /// them is lost then, so that such a stream is best given up. [`ReadUntilError::EmptySeparator`] for an empty one.
    #[doc(alias = "readuntil")]
    pub async fn read_until(
        &mut self,
        separator: &[u8],
        limit: usize,
    ) -> Result<Bytes, ReadUntilError> {
        if separator.is_empty() {
            return Err(ReadUntilError::EmptySeparator);
        }
        let mut line = BytesMut::new();
        loop {
            let found = poll_fn(|cx| self.poll_peek(cx, |chunk| belongs(&line, chunk, separator)));
            let found = found.await?;
            let Some(len) = found else {
                return Ok(line.freeze());
            };
            if line.len() + len > limit {
                return Err(ReadUntilError::TooLong(limit));
            }
            let Some(piece) = self.read_chunk(len).await? else {
                return Ok(line.freeze());
            };
            if line.is_empty() && piece.ends_with(separator) {
                return Ok(piece);
            }
            line.extend_from_slice(&piece);
            if line.ends_with(separator) {
                return Ok(line.freeze());
            }
        }
    }

    /// Reads a line of text, without its LF or CR LF; `None` at the end of the stream.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: bytes read before the future is dropped are lost.
    ///
    /// # Errors
    ///
    /// [`ReadUntilError::TooLong`] when the line has more than `limit` bytes, its end among them, and
    /// [`ReadUntilError::NotUtf8`] when it is no text; the line is lost then.
    #[doc(alias = "readline")]
    pub async fn read_line(&mut self, limit: usize) -> Result<Option<String>, ReadUntilError> {
        let line = self.read_until(b"\n", limit).await?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|_| ReadUntilError::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }
}

/// Returns how many bytes of `chunk` belong to a line that begins with `line`: all, or up to the end of the separator.
fn belongs(line: &[u8], chunk: &[u8], separator: &[u8]) -> usize {
    // A separator may have begun in what came before.
    let before = line.len().min(separator.len() - 1);
    for inside in (1..=before).rev() {
        let rest = &separator[inside..];
        let begun = line.ends_with(&separator[..inside]);
        if begun && chunk.starts_with(rest) {
            return rest.len();
        }
    }
    let found = chunk
        .windows(separator.len())
        .position(|window| window == separator);
    found.map_or(chunk.len(), |at| at + separator.len())
}

/// Why a stream could not be read up to a separator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadUntilError {
    /// There is no separator within this many bytes.
    #[error("no separator within {0} bytes")]
    TooLong(usize),
    /// A separator needs at least one byte.
    #[error("the separator is empty")]
    EmptySeparator,
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn separators_are_found_across_pieces() {
        assert_eq!(belongs(b"", b"ab\ncd", b"\n"), 3);
        assert_eq!(belongs(b"", b"abcd", b"\n"), 4);
        assert_eq!(belongs(b"ab\r", b"\ncd", b"\r\n"), 1);
        assert_eq!(belongs(b"ab\r", b"c\r\nd", b"\r\n"), 3);
        assert_eq!(belongs(b"--", b"-x---y", b"---"), 1);
        assert_eq!(belongs(b"a--", b"x---y", b"---"), 4);
    }
}
