//! Which pages may open a session.

use std::sync::Arc;

use wt_core::http::{StatusCode, Uri, header};

use super::guard::{Guard, layer};
use crate::message::{Request, Response, refuse};

/// Lets only pages of certain origins open sessions; others get status 403.
///
/// Browsers always say from which origin a page comes, and allow any page to ask: a server that
/// trusts cookies or the network it is in has to check. Programs that are no browsers send what they
/// like, or nothing, which is refused unless [`Self::or_none`] was called.
///
/// ```
/// use wt_server::{Router, Session, middleware::Origins};
///
/// let origins = Origins::new(["https://example.com", "https://*.example.org:8443"])?;
/// let router: Router = Router::new().route("/", async |_: Session| {}).layer(origins.or_none());
/// # Ok::<(), wt_server::middleware::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug)]
#[doc(alias = "create_cors_middleware")]
pub struct Origins {
    /// `None` allows all.
    allowed: Option<Arc<[Pattern]>>,
    none: bool,
}

/// An origin that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no origin: write it as https://example.com, https://example.com:8443 or \
     https://*.example.com"
)]
pub struct InvalidOrigin(String);

/// Scheme, host and port; of a wildcard the host begins with the dot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: String,
    host: String,
    port: Option<u16>,
    subdomains: bool,
}

/// Splits an origin, as browsers write it, in lower case.
fn parse(origin: &str) -> Option<(String, String, Option<u16>)> {
    let uri: Uri = origin.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    // The parser adds a slash for the path that is not there.
    let only_origin = origin.len() == scheme.len() + "://".len() + authority.as_str().len();
    if !only_origin || authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let usual = match &scheme[..] {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let port = authority.port_u16().or(usual);
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

impl Pattern {
    fn parse(pattern: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(pattern.to_owned());
        let subdomains = pattern.contains("://*.");
        let plain = pattern.replacen("://*.", "://", 1);
        let (scheme, host, port) = parse(&plain).ok_or_else(invalid)?;
        if host.contains('*') {
            return Err(invalid());
        }
        let host = if subdomains { format!(".{host}") } else { host };
        Ok(Self {
            scheme,
            host,
            port,
            subdomains,
        })
    }

    fn allows(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let same = if self.subdomains {
            host.len() > self.host.len() && host.ends_with(&self.host)
        } else {
            host == self.host
        };
        same && scheme == self.scheme && port == self.port
    }
}

impl Origins {
    /// Allows these origins: `https://example.com`, with a port if it is not the usual one, or
    /// `https://*.example.com` for everything below a name, but not the name itself.
    ///
    /// # Errors
    ///
    /// The first that is no origin.
    pub fn new<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, InvalidOrigin> {
        let allowed = origins.into_iter().map(|one| Pattern::parse(one.as_ref()));
        Ok(Self {
            allowed: Some(allowed.collect::<Result<_, _>>()?),
            none: false,
        })
    }

    /// Allows any origin, but not none.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            allowed: None,
            none: false,
        }
    }

    /// Lets requests without an origin pass as well: programs that are no browsers.
    #[must_use]
    pub const fn or_none(mut self) -> Self {
        self.none = true;
        self
    }

    fn allows(&self, origin: &str) -> bool {
        let Some(allowed) = &self.allowed else {
            return !origin.is_empty();
        };
        parse(origin).is_some_and(|(scheme, host, port)| {
            allowed.iter().any(|one| one.allows(&scheme, &host, port))
        })
    }
}

impl Guard for Origins {
    async fn check(&self, request: &mut Request) -> Result<(), Response> {
        let mut origins = request.headers().get_all(header::ORIGIN).iter();
        let allowed = match (origins.next(), origins.next()) {
            (None, _) => self.none,
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.allows(origin)),
            (Some(_), Some(_)) => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(refuse(StatusCode::FORBIDDEN))
        }
    }
}

layer!(Origins);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let some = [
            "https://example.com",
            "https://*.b.org",
            "http://[::1]:80",
            "https://c.net:8443",
        ];
        let origins = Origins::new(some).unwrap();
        for (origin, allowed) in [
            ("https://example.com", true),
            ("https://EXAMPLE.com:443", true),
            ("https://example.com:444", false),
            ("http://example.com", false),
            ("https://example.com.evil.org", false),
            ("https://evil-example.com", false),
            ("https://user@example.com", false),
            ("https://example.com/", false),
            ("https://x.b.org", true),
            ("https://y.x.b.org", true),
            ("https://b.org", false),
            ("https://.b.org", false),
            ("https://xb.org", false),
            ("http://[::1]", true),
            ("https://c.net:8443", true),
            ("https://c.net", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.allows(origin), allowed, "{origin:?}");
        }
        assert!(Origins::any().allows("null") && !Origins::any().allows(""));
    }

    #[test]
    fn what_is_no_origin_is_refused_by_its_text() {
        for text in [
            "",
            "*",
            "example.com",
            "https://",
            "https://a/b",
            "https://a.*.b",
            "https://*.*.b",
        ] {
            let error = Origins::new([text]).unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
