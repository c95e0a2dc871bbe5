//! Where a URL leads.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// What a WebTransport URL says (draft-16, 3.2: `https` only).
///
/// User information and the fragment are not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The host name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// The UDP port; 443 when the URL names none.
    pub port: u16,
    /// Host and port as the request names them; the port is left out when it is 443.
    pub authority: String,
    /// The path with the query.
    pub path: String,
}

/// Why a URL cannot be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to {url:?}: {reason}")]
#[non_exhaustive]
pub struct InvalidUrl {
    /// The URL.
    pub url: String,
    /// Why not, and what to do.
    pub reason: String,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] when it is none, has another scheme than `https`, or no host.
    #[doc(alias = "parse_webtransport_url")]
    #[doc(alias = "validate_url")]
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason: &str| InvalidUrl {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed = Url::parse(url)
            .map_err(|error| invalid(&format!("{error}; write it as https://host:port/path")))?;
        if parsed.scheme() != "https" {
            return Err(invalid("the scheme must be https"));
        }
        let host = match parsed.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(invalid("it names no host")),
        };
        let port = parsed.port_or_known_default().unwrap_or(443);
        if port == 0 {
            return Err(invalid("nothing can listen on port 0"));
        }
        let name = parsed.host_str().unwrap_or_default();
        let authority = parsed
            .port()
            .map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let path = match parsed.query() {
            Some(query) => format!("{}?{query}", parsed.path()),
            None => parsed.path().to_owned(),
        };
        Ok(Self {
            host,
            port,
            authority,
            path,
        })
    }
}

impl FromStr for Target {
    type Err = InvalidUrl;

    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        Self::parse(url)
    }
}

/// Writes the URL as it is asked for: without user information and fragment.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, port: u16, authority: &str, path: &str) {
        let target = Target::parse(url).unwrap();
        let expected = Target {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
        };
        assert_eq!(target, expected);
        // What is written is read as the same.
        assert_eq!(target.to_string().parse(), Ok(expected));
    }

    #[test]
    fn urls_are_taken_apart() {
        check(
            "https://example.com",
            "example.com",
            443,
            "example.com",
            "/",
        );
        check(
            "https://example.com:443/a",
            "example.com",
            443,
            "example.com",
            "/a",
        );
        check(
            "https://example.com:4433/a?b=c#d",
            "example.com",
            4433,
            "example.com:4433",
            "/a?b=c",
        );
        check("https://127.0.0.1:1/", "127.0.0.1", 1, "127.0.0.1:1", "/");
        check("https://[::1]:4433/x", "::1", 4433, "[::1]:4433", "/x");
        check("https://user:secret@h/", "h", 443, "h", "/");
    }

    #[test]
    fn what_is_no_url_is_refused_with_a_reason() {
        for (url, reason) in [
            ("http://example.com/", "the scheme must be https"),
            ("https://example.com:99999/", "invalid port"),
            ("https://example.com:0/", "port 0"),
            ("example.com", "relative URL"),
            ("https://", "empty host"),
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
