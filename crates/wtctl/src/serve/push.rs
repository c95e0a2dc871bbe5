//! Opening streams at the start of a session.

use tokio::task::JoinSet;
use wt::Session;

use super::source;

/// Opens `count` unidirectional streams of `size` bytes each.
pub(super) async fn uni(session: Session, count: u64, size: u64) {
    let mut writers = JoinSet::new();
    for _ in 0..count {
        let Ok(send) = session.open_uni().await else {
            return;
        };
        writers.spawn(source::uni(send, size));
    }
    while writers.join_next().await.is_some() {}
}

/// Opens `count` bidirectional streams of `size` bytes each; what the client says on them is dropped.
pub(super) async fn bidi(session: Session, count: u64, size: u64) {
    let mut writers = JoinSet::new();
    for _ in 0..count {
        let Ok(stream) = session.open_bi().await else {
            return;
        };
        writers.spawn(source::bidi(stream, size));
    }
    while writers.join_next().await.is_some() {}
}
