//! Round trips by datagram.

use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};
use wt::{SendDatagramError, Session, SessionError};

use super::{Plan, series::Series, within};

/// Bytes that tell datagrams apart.
pub(super) const NUMBER: usize = 4;

/// Sends datagrams and counts those that come back.
pub(super) async fn run(
    session: &Session,
    plan: Plan,
    series: &mut Series,
) -> Result<(), SessionError> {
    let mut ticks = interval(plan.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent_at = Vec::with_capacity(plan.count as usize);
    let mut payload = vec![0x5a; plan.size];
    while sent_at.len() < plan.count as usize {
        tokio::select! {
            _ = ticks.tick() => {
                let number = series.sent();
                payload[..NUMBER].copy_from_slice(&number.to_be_bytes());
                sent_at.push(Instant::now());
                // One that has become too large, since the path is another, is lost.
                if let Err(SendDatagramError::Session(end)) = session.send_datagram(&payload) {
                    return Err(end);
                }
            }
            datagram = session.recv_datagram() => note(series, plan, &sent_at, &datagram?),
        }
    }
    let last = async {
        while !series.is_complete() {
            note(series, plan, &sent_at, &session.recv_datagram().await?);
        }
        Ok(())
    };
    within(plan.wait, last).await.unwrap_or(Ok(()))
}

/// Finds out which one came back. A server may put something in front of what it sends back.
fn note(series: &mut Series, plan: Plan, sent_at: &[Instant], datagram: &[u8]) {
    let Some(start) = datagram.len().checked_sub(plan.size) else {
        return;
    };
    let Some(number) = datagram[start..].first_chunk::<NUMBER>() else {
        return;
    };
    let number = u32::from_be_bytes(*number);
    if let Some(sent_at) = sent_at.get(number as usize) {
        let after = sent_at.elapsed();
        if after <= plan.wait {
            series.came_back(number, after);
        }
    }
}
