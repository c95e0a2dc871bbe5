//! When something last moved on a connection.

use std::time::Instant;

/// What a look at the counters of QUIC found last.
///
/// Nothing on the way of the data takes the time. Instead, whoever asks compares the counters with those of the look
/// before, so that a time is as exact as the looks are close. Frames that keep a connection alive do not count, those
/// of streams and datagrams do.
#[derive(Debug)]
pub(super) struct Activity {
    frames: u64,
    seen: Instant,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            frames: 0,
            seen: Instant::now(),
        }
    }

    /// Returns when something moved last.
    pub(super) fn look(&mut self, stats: &quinn::ConnectionStats) -> Instant {
        let ways = [stats.frame_rx, stats.frame_tx];
        let frames = ways.map(|f| f.stream + f.datagram + f.reset_stream + f.stop_sending);
        let frames = frames.iter().sum();
        if frames != self.frames {
            self.frames = frames;
            self.seen = Instant::now();
        }
        self.seen
    }
}
