//! Request heads: RFC 9114, 4.3.1 and RFC 9220.

use std::{fmt, str::FromStr};

use bytes::BytesMut;
use http::{HeaderMap, Method, header::HOST};

use super::{
    HeadError,
    validate::{self, Message},
};
use crate::qpack::{self, Field, FieldLines};

/// The head of a request: pseudo-headers and header fields.
///
/// Decoding yields only heads that keep the rules. Encoding writes what it is given.
///
/// See RFC 9114, 4.3.1 and RFC 9220, 3.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHead {
    /// `:method`
    pub method: Method,
    /// `:scheme`, absent only in a CONNECT without `:protocol`.
    pub scheme: Option<String>,
    /// `:authority`
    pub authority: Option<String>,
    /// `:path` with its query, absent only in a CONNECT without `:protocol`.
    pub path: Option<String>,
    /// `:protocol`, which makes a CONNECT an extended one.
    pub protocol: Option<String>,
    /// The header fields, those of one name in their order.
    pub headers: HeaderMap,
}

impl RequestHead {
    /// Creates the request that opens a session: an extended CONNECT with scheme `https`.
    ///
    /// See draft-16, 3.2.
    pub fn webtransport(
        authority: impl Into<String>,
        path: impl Into<String>,
        token: UpgradeToken,
        headers: HeaderMap,
    ) -> Self {
        Self {
            method: Method::CONNECT,
            scheme: Some("https".to_owned()),
            authority: Some(authority.into()),
            path: Some(path.into()),
            protocol: Some(token.as_str().to_owned()),
            headers,
        }
    }

    /// Answers which WebTransport token the request carries.
    ///
    /// `None` unless the request is a CONNECT for the scheme `https`, as draft-16, 3.2 asks.
    pub fn upgrade_token(&self) -> Option<UpgradeToken> {
        let is_https = self
            .scheme
            .as_deref()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        if self.method == Method::CONNECT && is_https {
            self.protocol.as_deref()?.parse().ok()
        } else {
            None
        }
    }

    /// Returns the size of the field section as RFC 9114, 4.2.2 counts it: names and values uncompressed, and 32 bytes
    /// for each field.
    pub fn size(&self) -> u64 {
        validate::size(self.lines())
    }

    /// Writes the head as a field section: `:method`, `:protocol`, `:scheme`, `:path`, `:authority`, header fields.
    pub fn encode(&self, out: &mut BytesMut) {
        qpack::encode_fields(self.lines(), out);
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let method = (":method", Some(self.method.as_str()));
        let pseudo = [
            method,
            (":protocol", self.protocol.as_deref()),
            (":scheme", self.scheme.as_deref()),
            (":path", self.path.as_deref()),
            (":authority", self.authority.as_deref()),
        ];
        let pseudo = pseudo
            .into_iter()
            .filter_map(|(name, value)| Some((name.as_bytes(), value?.as_bytes())));
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        pseudo.chain(headers)
    }

    /// Reads a head from a field section and checks it.
    ///
    /// `max_size` bounds the size of the section as RFC 9114, 4.2.2 counts it.
    pub fn decode(block: &[u8], max_size: usize) -> Result<Self, HeadError> {
        let mut pseudo = PseudoHeaders::default();
        let mut headers = HeaderMap::new();
        for field in FieldLines::new(block, max_size)? {
            let field = field?;
            if !field.name.starts_with(b":") {
                validate::append(&mut headers, &field, Message::Request)?;
            } else if headers.is_empty() {
                pseudo.set(&field)?;
            } else {
                return Err(HeadError::Malformed("pseudo-header after a header field"));
            }
        }
        let method = pseudo.method.ok_or(HeadError::Malformed("no :method"))?;
        let head = Self {
            method: Method::from_bytes(method.as_bytes())
                .map_err(|_| HeadError::Malformed("invalid :method"))?,
            scheme: pseudo.scheme,
            authority: pseudo.authority,
            path: pseudo.path,
            protocol: pseudo.protocol,
            headers,
        };
        match head.fault() {
            Some(reason) => Err(HeadError::Malformed(reason)),
            None => Ok(head),
        }
    }

    /// Names the first rule about the head as a whole that it breaks.
    fn fault(&self) -> Option<&'static str> {
        self.presence_fault()
            .or_else(|| self.scheme_fault())
            .or_else(|| self.path_fault())
            .or_else(|| self.protocol_fault())
            .or_else(|| self.authority_fault())
    }

    /// RFC 9114, 4.3.1 and 4.4; RFC 8441, 4.
    fn presence_fault(&self) -> Option<&'static str> {
        let is_connect = self.method == Method::CONNECT;
        if !is_connect && self.protocol.is_some() {
            return Some(":protocol without CONNECT");
        }
        if is_connect && self.protocol.is_none() {
            return if self.scheme.is_some() || self.path.is_some() {
                Some(":scheme or :path in CONNECT without :protocol")
            } else if self.authority.is_none() {
                Some("CONNECT without :authority")
            } else {
                None
            };
        }
        if self.scheme.is_none() {
            Some("no :scheme")
        } else if self.path.is_none() {
            Some("no :path")
        } else if is_connect && self.authority.is_none() {
            Some("CONNECT without :authority")
        } else {
            None
        }
    }

    /// RFC 3986, 3.1.
    fn scheme_fault(&self) -> Option<&'static str> {
        let scheme = self.scheme.as_deref()?.as_bytes();
        let is_scheme =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let starts_well = scheme.first().is_some_and(u8::is_ascii_alphabetic);
        (!starts_well || !scheme.iter().all(is_scheme)).then_some("invalid :scheme")
    }

    /// RFC 9114, 4.3.1.
    ///
    /// A `#` is let through: there are clients that send the fragment of their URL.
    fn path_fault(&self) -> Option<&'static str> {
        let path = self.path.as_deref()?;
        if !self.has_mandatory_authority() && self.method != Method::CONNECT {
            None
        } else if path.is_empty() {
            Some("empty :path")
        } else if path.starts_with('/') || (path == "*" && self.method == Method::OPTIONS) {
            None
        } else {
            Some(":path does not start with a slash")
        }
    }

    /// RFC 9110, 7.8: a name and perhaps a version, both tokens.
    fn protocol_fault(&self) -> Option<&'static str> {
        let protocol = self.protocol.as_deref()?;
        let (name, version) = match protocol.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (protocol, None),
        };
        let is_token = |part: &str| !part.is_empty() && part.bytes().all(validate::is_token);
        (!is_token(name) || !version.is_none_or(is_token)).then_some("invalid :protocol")
    }

    /// RFC 9114, 4.3.1.
    fn authority_fault(&self) -> Option<&'static str> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let host = hosts.next().map(|host| host.as_bytes());
        if hosts.next().is_some() {
            return Some("several host fields");
        }
        if let (Some(authority), Some(host)) = (self.authority.as_deref(), host)
            && !authority.as_bytes().eq_ignore_ascii_case(host)
        {
            return Some("host differs from :authority");
        }
        if !self.has_mandatory_authority() && self.method != Method::CONNECT {
            return None;
        }
        match (self.authority.as_deref(), host) {
            (Some(authority), _) => validate::authority_fault(authority),
            (None, Some(host)) => match str::from_utf8(host) {
                Ok(host) => validate::authority_fault(host),
                Err(_) => Some("invalid authority"),
            },
            (None, None) => Some("neither :authority nor host"),
        }
    }

    fn has_mandatory_authority(&self) -> bool {
        self.scheme.as_deref().is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
        })
    }
}

/// The pseudo-headers met so far.
#[derive(Default)]
struct PseudoHeaders {
    method: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    protocol: Option<String>,
}

impl PseudoHeaders {
    fn set(&mut self, field: &Field) -> Result<(), HeadError> {
        let slot = match &field.name[..] {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":authority" => &mut self.authority,
            b":path" => &mut self.path,
            b":protocol" => &mut self.protocol,
            _ => return Err(HeadError::Malformed("unknown pseudo-header")),
        };
        if slot.is_some() {
            return Err(HeadError::Malformed("repeated pseudo-header"));
        }
        // None of the five may hold anything but visible ASCII.
        let value = str::from_utf8(&field.value)
            .ok()
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or(HeadError::Malformed(
                "forbidden character in a pseudo-header",
            ))?;
        *slot = Some(value.to_owned());
        Ok(())
    }
}

/// The value of `:protocol` that asks for a WebTransport session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UpgradeToken {
    /// `webtransport`, up to draft-14.
    WebTransport,
    /// `webtransport-h3`, from draft-15 on.
    WebTransportH3,
}

impl UpgradeToken {
    /// Answers how the token is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebTransport => "webtransport",
            Self::WebTransportH3 => "webtransport-h3",
        }
    }
}

impl fmt::Display for UpgradeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Compares without regard to case, as RFC 9110, 7.8 asks for upgrade tokens.
impl FromStr for UpgradeToken {
    type Err = UnknownUpgradeToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::WebTransport, Self::WebTransportH3]
            .into_iter()
            .find(|token| text.eq_ignore_ascii_case(token.as_str()))
            .ok_or(UnknownUpgradeToken)
    }
}

/// A value of `:protocol` that asks for something else than WebTransport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upgrade token of WebTransport")]
pub struct UnknownUpgradeToken;
