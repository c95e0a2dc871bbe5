//! From a target to a connection: the name, its addresses, and which of them answers.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout_at};
use wt_core::{Connection, Endpoint};

use crate::{client::Client, connect::ConnectError, target::Target};

/// How long an address has for itself before the next one is tried as well (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses of a name that are tried; a name server could answer with any number.
pub(crate) const MAX_ADDRESSES: usize = 16;

impl Client {
    /// Connects to a target by the first of its addresses that answers.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let limit = self.inner.config.limits.connections;
        let Some(place) = self.inner.tracker.reserve(limit) else {
            let limit = limit.unwrap_or_default();
            return Err(ConnectError::TooManyConnections { limit });
        };
        let dial = self.to_dial(target, addresses);
        if let Some(own) = self.own_dial(&dial) {
            let connection = own.await?;
            place.take(&connection);
            return Ok(connection);
        }
        let (addresses, first) = dial.find().await?;
        let mut failed = None;
        let race = race(&self.inner.endpoint, target, addresses, &mut failed);
        if let Ok(Some(connection)) = timeout_at(deadline, race).await {
            place.take(&connection);
            return Ok(connection);
        }
        Err(failed.unwrap_or(ConnectError::NoAnswer { address: first }))
    }
}

/// Tries addresses one after the other, without giving up those that have not answered yet.
///
/// `None` when all failed; the last error is in `failed` then.
pub(crate) async fn race(
    endpoint: &Endpoint,
    target: &Target,
    addresses: Vec<SocketAddr>,
    failed: &mut Option<ConnectError>,
) -> Option<Connection> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(async move { (address, endpoint.connect(address, &target.host).await) });
        }
        tokio::select! {
            answer = attempts.next() => match answer? {
                (_, Ok(connection)) => return Some(connection),
                (address, Err(error)) => {
                    tracing::debug!(%address, %error, "could not connect");
                    *failed = Some(ConnectError::Session(error));
                }
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// Finds the addresses of a target, each once, the families by turns (RFC 8305, 4).
pub(crate) async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source: std::io::Error| ConnectError::Resolve {
        host: target.host.clone(),
        reason: source.to_string(),
    };
    let found = tokio::net::lookup_host((target.host.as_str(), target.port));
    Ok(by_turns(found.await.map_err(failed)?))
}

/// Takes the two families by turns, beginning with that of the first address.
pub(crate) fn by_turns(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut preferred = VecDeque::new();
    let mut other = VecDeque::new();
    for address in found {
        let first = preferred.front().unwrap_or(&address);
        let family = if first.is_ipv4() == address.is_ipv4() {
            &mut preferred
        } else {
            &mut other
        };
        if family.len() < MAX_ADDRESSES && !family.contains(&address) {
            family.push_back(address);
        }
    }
    let mut all = Vec::new();
    while all.len() < MAX_ADDRESSES && !(preferred.is_empty() && other.is_empty()) {
        all.extend(preferred.pop_front());
        all.extend(other.pop_front());
    }
    all.truncate(MAX_ADDRESSES);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_once_and_the_families_by_turns() {
        let parse = |all: &[&str]| -> Vec<SocketAddr> {
            let parsed = all.iter().map(|address| address.parse());
            parsed.collect::<Result<_, _>>().unwrap()
        };
        let found = parse(&["[::1]:1", "[::2]:1", "[::1]:1", "1.1.1.1:1", "[::3]:1"]);
        let expected = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(by_turns(found.into_iter()), expected);
        assert!(by_turns(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_name_with_too_many_addresses_is_tried_at_some_of_them() {
        let found = (0..1000).map(|n| SocketAddr::from(([10, 0, 0, 1], n)));
        assert_eq!(by_turns(found).len(), MAX_ADDRESSES);
        let both = (0..1000).flat_map(|n| {
            let four = SocketAddr::from(([10, 0, 0, 1], n));
            [four, SocketAddr::from(([0; 8], n))]
        });
        let tried = by_turns(both);
        assert_eq!(tried.len(), MAX_ADDRESSES);
        assert_eq!(
            tried.iter().filter(|a| a.is_ipv4()).count(),
            MAX_ADDRESSES / 2
        );
    }
}
