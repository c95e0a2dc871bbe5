//! Datagrams that say that the sender is alive.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// What a heartbeat starts with.
const PREFIX: &str = "HEARTBEAT:";

/// The time between two heartbeats unless somebody says otherwise, as in PyWebTransport.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// Writes the heartbeat of a moment: `HEARTBEAT:` and the whole seconds since 1970, in decimal.
#[must_use]
pub fn encode(now: SystemTime) -> Bytes {
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    format!("{PREFIX}{}", since.unwrap_or_default().as_secs()).into()
}

/// Reads a heartbeat; `None` for any other datagram.
///
/// A transport hands heartbeats of the peer to the application, like all datagrams.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use wt_datagram::heartbeat;
///
/// let sent = heartbeat::decode(b"HEARTBEAT:1700000000").unwrap();
/// assert_eq!(sent, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
/// assert_eq!(heartbeat::decode(b"HEARTBEAT"), None);
/// ```
#[must_use]
pub fn decode(data: &[u8]) -> Option<SystemTime> {
    let digits = data.strip_prefix(PREFIX.as_bytes())?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = std::str::from_utf8(digits).ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_has_the_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_999);
        let sent = encode(now);
        assert_eq!(sent, "HEARTBEAT:1700000000");
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(decode(&sent), Some(whole));
        for other in [
            "",
            "HEARTBEAT:",
            "HEARTBEAT:-1",
            "HEARTBEAT:+1",
            "heartbeat:1",
        ] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
        assert_eq!(decode(b"HEARTBEAT:99999999999999999999999"), None);
    }
}
