//! Round trips by stream, each on a stream of its own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use wt::{Session, SessionError};

use super::{Plan, series::Series, within};

/// What a server may send besides what it got, in bytes.
const MORE: usize = 1024;

/// Opens streams and counts those whose answers end.
pub(super) async fn run(
    session: &Session,
    plan: Plan,
    series: &mut Series,
) -> Result<(), SessionError> {
    let mut ticks = interval(plan.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let payload = Bytes::from(vec![0x5a; plan.size]);
    let mut trips = JoinSet::new();
    let mut sent = 0;
    while sent < plan.count || !trips.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if sent < plan.count => {
                sent += 1;
                let number = series.sent();
                let trip = trip(session.clone(), payload.clone());
                trips.spawn(async move { (number, within(plan.wait, trip).await.flatten()) });
            }
            Some(trip) = trips.join_next() => {
                if let Ok((number, Some(after))) = trip {
                    series.came_back(number, after);
                }
            }
            end = session.closed() => return Err(end),
        }
    }
    Ok(())
}

/// Makes one round trip; `None` when it failed, or less came back than was sent.
async fn trip(session: Session, payload: Bytes) -> Option<Duration> {
    let started = Instant::now();
    let (mut send, mut recv) = session.open_bi().await.ok()?.split();
    let size = payload.len();
    let write = async {
        send.write_chunk(payload).await.ok()?;
        send.finish().ok()
    };
    let (written, read) = tokio::join!(write, recv.read_to_end(size + MORE));
    let answer = written.and(read.ok())?;
    (answer.len() >= size).then(|| started.elapsed())
}
