//! What is known of a stream.

use std::{fmt, time::Duration};

use wt_proto::{Dir, Initiator, SessionId, StreamId};

/// What is known of a stream at one moment.
///
/// `Display` says it in one line, [`Self::fields`] as names and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The QUIC stream id.
    pub id: StreamId,
    /// The session that the stream belongs to.
    pub session: SessionId,
    /// Whether both ends send, or only the one that opened it.
    pub dir: Dir,
    /// Who opened it.
    pub opened_by: Initiator,
    /// Bytes of the application that QUIC accepted.
    pub bytes_sent: u64,
    /// Bytes that the application read.
    pub bytes_received: u64,
    /// How long ago this end learned of it.
    pub age: Duration,
}

impl StreamInfo {
    /// Returns names and values, for logs and diagnostics.
    #[must_use]
    #[doc(alias = "to_dict")]
    pub fn fields(&self) -> [(&'static str, String); 7] {
        [
            ("stream_id", self.id.to_string()),
            ("session_id", self.session.to_string()),
            ("direction", self.dir.to_string()),
            ("opened_by", self.opener().to_owned()),
            ("bytes_sent", self.bytes_sent.to_string()),
            ("bytes_received", self.bytes_received.to_string()),
            ("age", format!("{:.3}", self.age.as_secs_f64())),
        ]
    }

    const fn opener(&self) -> &'static str {
        match self.opened_by {
            Initiator::Local => "this end",
            Initiator::Peer => "the peer",
        }
    }
}

impl fmt::Display for StreamInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            session,
            dir,
            bytes_sent,
            bytes_received,
            age,
            ..
        } = self;
        let age = age.as_secs_f64();
        let opener = self.opener();
        write!(
            f,
            "stream {id} ({dir}, opened by {opener}) of session {session}: \
             {bytes_sent} bytes sent, {bytes_received} received, {age:.1} s old"
        )
    }
}
