//! Checksums of payloads.

use std::{fmt, fmt::Write, str::FromStr};

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// A way to compute a checksum.
///
/// Checksums are for logs and comparisons on one side. They are not sent: QUIC protects what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checksum {
    /// SHA-224.
    Sha224,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Checksum {
    /// Computes the checksum, as lower-case hexadecimal digits.
    #[doc(alias = "calculate_checksum")]
    #[must_use]
    pub fn hex(self, data: impl AsRef<[u8]>) -> String {
        let data = data.as_ref();
        match self {
            Self::Sha224 => hex(&Sha224::digest(data)),
            Self::Sha256 => hex(&Sha256::digest(data)),
            Self::Sha384 => hex(&Sha384::digest(data)),
            Self::Sha512 => hex(&Sha512::digest(data)),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no checksum of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no checksum is called {0:?}; there are sha224, sha256, sha384 and sha512")]
pub struct UnknownChecksum(String);

impl FromStr for Checksum {
    type Err = UnknownChecksum;

    fn from_str(name: &str) -> Result<Self, UnknownChecksum> {
        let all = [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];
        let found = all.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| UnknownChecksum(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 180-2.
    #[test]
    fn checksums_are_those_of_the_standard() {
        let starts = [
            (Checksum::Sha224, "23097d22", 56),
            (Checksum::Sha256, "ba7816bf", 64),
            (Checksum::Sha384, "cb00753f", 96),
            (Checksum::Sha512, "ddaf35a1", 128),
        ];
        for (algorithm, start, len) in starts {
            let sum = algorithm.hex("abc");
            assert!(sum.starts_with(start), "{algorithm}: {sum}");
            assert_eq!(sum.len(), len);
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        let unknown = "md5".parse::<Checksum>().unwrap_err();
        assert!(unknown.to_string().contains("\"md5\""));
    }
}
