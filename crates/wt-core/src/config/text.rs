//! Values of the configuration as text, for files, environment and command lines.

use std::{borrow::Cow, net::SocketAddr, path::PathBuf, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use wt_proto::{Dialect, DialectSet};

use super::{Congestion, StreamCredit};
use crate::tls::{self, ClientAuth, ServerVerification};

/// What a text has to be to name a value.
pub(crate) type Reason = Cow<'static, str>;

/// A value that can be written as text and read back.
pub(crate) trait Text: Sized {
    fn read(text: &str) -> Result<Self, Reason>;
    fn write(&self) -> String;
}

macro_rules! numbers {
    ($($type:ty),+) => {
        $(impl Text for $type {
            fn read(text: &str) -> Result<Self, Reason> {
                let reason = || Reason::Borrowed("must be a whole number, such as 4096 or 4 KiB");
                let text = text.trim();
                let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_'));
                let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
                let number: u64 = digits.replace('_', "").parse().map_err(|_| reason())?;
                let factor: u64 = match unit.trim() {
                    "" => 1,
                    "KiB" => 1 << 10,
                    "MiB" => 1 << 20,
                    "GiB" => 1 << 30,
                    _ => return Err(reason()),
                };
                let bytes = number.checked_mul(factor);
                let fits = bytes.and_then(|bytes| Self::try_from(bytes).ok());
                fits.ok_or(Reason::Borrowed("is too large"))
            }

            fn write(&self) -> String {
                self.to_string()
            }
        })+
    };
}

numbers!(u16, u64, usize);

impl Text for bool {
    fn read(text: &str) -> Result<Self, Reason> {
        match &text.trim().to_ascii_lowercase()[..] {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Text for String {
    fn read(text: &str) -> Result<Self, Reason> {
        Ok(text.to_owned())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl Text for PathBuf {
    fn read(text: &str) -> Result<Self, Reason> {
        if text.is_empty() {
            return Err("must be a path".into());
        }
        Ok(text.into())
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

/// `none` is nothing.
impl<T: Text> Text for Option<T> {
    fn read(text: &str) -> Result<Self, Reason> {
        if text.trim().eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        T::read(text).map(Some)
    }

    fn write(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::write)
    }
}

impl Text for Duration {
    fn read(text: &str) -> Result<Self, Reason> {
        read_duration(text.trim()).ok_or(Reason::Borrowed(
            "must be a time, such as 30s, 250ms, 5m or 1.5 (seconds)",
        ))
    }

    fn write(&self) -> String {
        // Exact, and understood by `read`.
        format!("{self:?}")
    }
}

/// Reads a decimal number and a unit; seconds without one. Exact to the nanosecond, which a float is not.
fn read_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit: u128 = match unit.trim() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().ok()?;
    if fraction.len() > 12 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part: u128 = fraction.parse().ok()?;
    let nanos = u128::from(whole)
        .checked_mul(unit)?
        .checked_add(part.checked_mul(unit)? / scale)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    let rest = u32::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}

impl Text for SocketAddr {
    fn read(text: &str) -> Result<Self, Reason> {
        let reason = "must be an IP address and a port, such as 127.0.0.1:4433 or [::]:0";
        text.trim().parse().map_err(|_| reason.into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Text for Congestion {
    fn read(text: &str) -> Result<Self, Reason> {
        match &text.trim().to_ascii_lowercase()[..] {
            "cubic" => Ok(Self::Cubic),
            "reno" | "newreno" | "new_reno" => Ok(Self::NewReno),
            "bbr" => Ok(Self::Bbr),
            _ => Err("must be one of cubic, reno and bbr".into()),
        }
    }

    fn write(&self) -> String {
        let name = match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
            Self::Bbr => "bbr",
        };
        name.to_owned()
    }
}

/// `100..1280`; one number is both.
impl Text for StreamCredit {
    fn read(text: &str) -> Result<Self, Reason> {
        let (initial, max) = text.split_once("..").unwrap_or((text, text));
        match (u64::read(initial), u64::read(max)) {
            (Ok(initial), Ok(max)) => Ok(Self::new(initial, max)),
            _ => Err("must be a number of streams or a range, such as 100..1280".into()),
        }
    }

    fn write(&self) -> String {
        format!("{}..{}", self.initial, self.max)
    }
}

/// Names with commas between them, or `all`.
impl Text for DialectSet {
    fn read(text: &str) -> Result<Self, Reason> {
        if text.trim().eq_ignore_ascii_case("all") {
            return Ok(Self::ALL);
        }
        let named = text.split(',').map(|name| {
            let name = name.trim();
            // `draft-15/16` is also `draft-15`.
            let is = |d: &Dialect| d.name() == name || d.name().split('/').next() == Some(name);
            Dialect::ALL.into_iter().find(is)
        });
        let dialects: Option<Self> = named.collect();
        let names = Dialect::ALL.map(Dialect::name).join(", ");
        dialects.ok_or_else(|| format!("must be all, or some of {names}").into())
    }

    fn write(&self) -> String {
        let names: Vec<_> = self.iter().map(Dialect::name).collect();
        names.join(",")
    }
}

/// ALPN identifiers with commas between them; bytes that are no text, and commas, as `\xNN`.
impl Text for Vec<Vec<u8>> {
    fn read(text: &str) -> Result<Self, Reason> {
        let reason = "must be ALPN identifiers with commas between them, such as h3";
        let ids: Option<Self> = text.split(',').map(|id| unescape(id.trim())).collect();
        ids.ok_or_else(|| reason.into())
    }

    fn write(&self) -> String {
        let ids = self.iter().map(|id| {
            let parts = id.iter().map(|byte| match byte {
                b',' | b'\\' | b' ' => format!("\\x{byte:02x}"),
                byte if byte.is_ascii_graphic() => char::from(*byte).to_string(),
                byte => format!("\\x{byte:02x}"),
            });
            parts.collect::<String>()
        });
        ids.collect::<Vec<_>>().join(",")
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// PEM, or the name of a file with PEM.
fn read_roots(text: &str) -> Result<Vec<CertificateDer<'static>>, Reason> {
    let roots = if text.contains("-----BEGIN") {
        tls::certificates_from_pem(text.as_bytes())
    } else {
        tls::certificates_from_pem_file(text)
    };
    roots.map_err(|error| error.to_string().into())
}

fn write_roots(roots: &[CertificateDer<'static>]) -> String {
    let pem = roots
        .iter()
        .map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.as_ref())));
    pem.collect()
}

/// `system`, `insecure`, `sha256:` with hashes and commas between them, or PEM, or a file with PEM.
impl Text for ServerVerification {
    fn read(text: &str) -> Result<Self, Reason> {
        match text.trim() {
            "system" => Ok(Self::SystemRoots),
            "insecure" => Ok(Self::Insecure),
            text => match text.strip_prefix("sha256:") {
                Some(hashes) => {
                    let hashes: Result<_, _> = hashes.split(',').map(str::parse).collect();
                    hashes
                        .map(Self::Hashes)
                        .map_err(|error| error.to_string().into())
                }
                None => read_roots(text).map(Self::Roots),
            },
        }
    }

    fn write(&self) -> String {
        match self {
            Self::SystemRoots => "system".to_owned(),
            Self::Insecure => "insecure".to_owned(),
            Self::Hashes(hashes) => {
                let hashes: Vec<_> = hashes.iter().map(ToString::to_string).collect();
                format!("sha256:{}", hashes.join(","))
            }
            Self::Roots(roots) => write_roots(roots),
        }
    }
}

/// `none`, or `optional:` or `required:` and PEM, or a file with PEM.
impl Text for ClientAuth {
    fn read(text: &str) -> Result<Self, Reason> {
        match text.trim().split_once(':') {
            None if text.trim() == "none" => Ok(Self::None),
            Some(("optional", roots)) => read_roots(roots).map(Self::Optional),
            Some(("required", roots)) => read_roots(roots).map(Self::Required),
            _ => Err("must be none, optional:FILE or required:FILE".into()),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Optional(roots) => format!("optional:{}", write_roots(roots)),
            Self::Required(roots) => format!("required:{}", write_roots(roots)),
        }
    }
}

/// `name: value`, each on a line of its own.
impl Text for HeaderMap {
    fn read(text: &str) -> Result<Self, Reason> {
        let mut map = Self::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let field = line.split_once(':').and_then(|(name, value)| {
                let name: HeaderName = name.trim().parse().ok()?;
                let value: HeaderValue = value.trim().parse().ok()?;
                Some((name, value))
            });
            let reason = "must be header fields, one on each line: `name: value`";
            let (name, value) = field.ok_or(Reason::Borrowed(reason))?;
            map.append(name, value);
        }
        Ok(map)
    }

    fn write(&self) -> String {
        let lines = self.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            format!("{name}: {value}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
