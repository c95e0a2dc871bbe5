//! Hashes of certificates.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls::pki_types::CertificateDer;

use super::provider::sha256;

/// Standard base64, read with or without padding.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The SHA-256 of a certificate, by which a client can trust it without any authority.
///
/// This is the `value` of a browser's `serverCertificateHashes`. It is written as 64 hexadecimal digits and also read
/// with colons between the bytes or as base64.
///
/// # Examples
///
/// ```
/// use wt_core::tls::{CertificateHash, Identity};
///
/// let hash = Identity::self_signed(["localhost"])?.certificate_hash();
/// assert_eq!(hash.to_hex_colons().parse::<CertificateHash>()?, hash);
/// assert_eq!(hash.to_base64().parse::<CertificateHash>()?, hash);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateHash([u8; 32]);

impl CertificateHash {
    /// Computes the hash of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(sha256(certificate))
    }

    /// Takes the 32 bytes of a hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Writes the hash as 64 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        self.to_string()
    }

    /// Writes the hash as 32 pairs of lower-case hexadecimal digits with colons between them.
    pub fn to_hex_colons(&self) -> String {
        self.0.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Writes the hash as padded base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.0)
    }
}

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateHash({self})")
    }
}

impl FromStr for CertificateHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let text = text.trim();
        let bytes = match text.len() {
            64 => text.as_bytes().chunks(2).map(hex_byte).collect(),
            95 => text
                .split(':')
                .map(|pair| hex_byte(pair.as_bytes()))
                .collect(),
            _ => BASE64.decode(text).ok(),
        };
        bytes
            .and_then(|bytes: Vec<u8>| bytes.try_into().ok())
            .map(Self)
            .ok_or(InvalidHash)
    }
}

/// Reads two hexadecimal digits.
fn hex_byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else {
        return None;
    };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// A text is not a SHA-256 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256 hash: expected 64 hexadecimal digits, with or without colons between bytes, or base64 of 32 bytes"
)]
#[non_exhaustive]
pub struct InvalidHash;

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc" (FIPS 180-4).
    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const COLONS: &str = "ba:78:16:bf:8f:01:cf:ea:41:41:40:de:5d:ae:22:23:b0:03:61:a3:96:17:7a:9c:b4:10:ff:61:f2:00:15:ad";
    const BASE64_TEXT: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    #[test]
    fn hash_of_known_bytes_in_every_form() {
        let hash = CertificateHash::of(&CertificateDer::from(&b"abc"[..]));
        assert_eq!(hash.to_string(), HEX);
        assert_eq!(hash.to_hex(), HEX);
        assert_eq!(hash.to_hex_colons(), COLONS);
        assert_eq!(hash.to_base64(), BASE64_TEXT);
    }

    #[test]
    fn every_form_is_read() {
        let hash = CertificateHash::of(&CertificateDer::from(&b"abc"[..]));
        let upper = (HEX.to_uppercase(), COLONS.to_uppercase());
        let unpadded = BASE64_TEXT.trim_end_matches('=');
        for text in [
            HEX,
            COLONS,
            BASE64_TEXT,
            &upper.0,
            &upper.1,
            unpadded,
            "  ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n",
        ] {
            assert_eq!(text.parse(), Ok(hash), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let not_hex = format!("+{}", &HEX[1..]);
        let misplaced = format!("{}:ab:c", &COLONS[..90]);
        let not_ascii = format!("é{}", &HEX[2..]);
        for text in [
            "",
            "abc",
            &HEX[2..],
            &not_hex,
            &misplaced,
            &not_ascii,
            &BASE64_TEXT[4..],
        ] {
            assert_eq!(text.parse::<CertificateHash>(), Err(InvalidHash), "{text}");
        }
    }
}
