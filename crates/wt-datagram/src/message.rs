//! A received datagram and what is known of it.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::Checksum;

/// A received datagram and what is known of it.
///
/// Written by serde it is a record of everything but the payload.
#[derive(Clone, Debug)]
#[doc(alias = "DatagramMessage")]
#[non_exhaustive]
pub struct Datagram {
    /// The payload.
    pub data: Bytes,
    /// Its number among those that the transport received, from 0 on. The peer's numbers are not sent.
    pub sequence: u64,
    /// When it was taken from QUIC.
    #[doc(alias = "timestamp")]
    pub arrived: Instant,
    /// How long it may be kept.
    pub max_age: Option<Duration>,
}

impl Datagram {
    /// Returns the size of the payload in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// Returns how long ago it arrived.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.arrived.elapsed()
    }

    /// Returns whether it is older than it may be.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.max_age.is_some_and(|max| self.age() > max)
    }

    /// Returns the first 8 hexadecimal digits of the payload's SHA-256, to recognise it in a log.
    #[must_use]
    pub fn checksum(&self) -> String {
        let mut sum = Checksum::Sha256.hex(&self.data);
        sum.truncate(8);
        sum
    }
}

impl Serialize for Datagram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let age = self.age();
        let arrived = SystemTime::now()
            .checked_sub(age)
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mut record = serializer.serialize_struct("Datagram", 7)?;
        record.serialize_field("size", &self.size())?;
        record.serialize_field("timestamp", &arrived.unwrap_or_default().as_secs_f64())?;
        record.serialize_field("age", &age.as_secs_f64())?;
        record.serialize_field("checksum", &self.checksum())?;
        record.serialize_field("sequence", &self.sequence)?;
        record.serialize_field("max_age", &self.max_age.map(|age| age.as_secs_f64()))?;
        record.serialize_field("is_expired", &self.is_expired())?;
        record.end()
    }
}
