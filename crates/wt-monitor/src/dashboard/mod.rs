//! A page that shows a feed: sessions, rates, round trips, drops, alerts and health, as plots.
//!
//! One file without anything from elsewhere. It connects by WebTransport to a route where a
//! [`Feed`](crate::feed::Feed) is served, and connects again when that ends. Serve it by an
//! [`HttpListener`](crate::http::HttpListener), or by any server of your own: the page has to come from
//! `http://localhost` or by HTTPS, since browsers offer WebTransport to no others.
//!
//! ```no_run
//! use wt_core::tls::CertificateHash;
//! use wt_monitor::{
//!     dashboard::Dashboard,
//!     http::{HttpConfig, HttpListener, Pages},
//! };
//!
//! # async fn example(hash: CertificateHash) -> Result<(), Box<dyn std::error::Error>> {
//! let dashboard = Dashboard::new("https://127.0.0.1:4433/monitor").with_certificate(hash);
//! let pages = dashboard.serve_at(Pages::new(), "/");
//! let listener = HttpListener::bind("127.0.0.1:8080".parse()?, pages, HttpConfig::default()).await?;
//! println!("http://localhost:{}/", listener.local_addr().port());
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use wt_core::{
    bytes::Bytes,
    http::{HeaderValue, Response, StatusCode, header},
    tls::{CertificateHash, Certificates},
};

use crate::{feed::Token, http::Pages};

const PAGE: &str = include_str!("page.html");

/// Where the settings stand in the page.
const PLACE: &str = "{{SETTINGS}}";

/// A page that shows a feed.
#[derive(Clone, Debug)]
pub struct Dashboard {
    url: String,
    hash: Option<Hash>,
    token: Option<Token>,
}

/// Which certificate the page trusts.
#[derive(Clone, Debug)]
enum Hash {
    This(CertificateHash),
    /// The default one at the time of the request.
    Of(Certificates),
}

/// What the page is told.
#[derive(Debug, Serialize)]
struct Settings<'a> {
    url: &'a str,
    hash: Option<String>,
}

impl Dashboard {
    /// Makes the page for the feed at a URL: `https://host:port/path`.
    ///
    /// Name a server on this machine by its number: browsers may look for `localhost` at ::1 only.
    #[must_use]
    pub fn new(feed: impl Into<String>) -> Self {
        Self {
            url: feed.into(),
            hash: None,
            token: None,
        }
    }

    /// Trusts a certificate by its hash: for servers whose certificate no authority has issued. Browsers do that for
    /// certificates of 14 days at most.
    #[must_use]
    pub fn with_certificate(mut self, hash: CertificateHash) -> Self {
        self.hash = Some(Hash::This(hash));
        self
    }

    /// Trusts by its hash the certificate that a server shows by default when the page is asked for, so that pages
    /// that are loaded after a renewal know the new one.
    #[must_use]
    pub fn with_certificates_of(mut self, certificates: Certificates) -> Self {
        self.hash = Some(Hash::Of(certificates));
        self
    }

    /// Shows the page only to those who have the token in its URL, who pass it on to the feed: ask for it there too.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Returns the page. It does not have the token in it.
    #[must_use]
    pub fn html(&self) -> Bytes {
        let hash = self.hash.as_ref().map(|hash| match hash {
            Hash::This(hash) => *hash,
            Hash::Of(certificates) => certificates.identity().certificate_hash(),
        });
        let settings = Settings {
            url: &self.url,
            hash: hash.map(|hash| hash.to_hex()),
        };
        // Of strings and nothing else, which can be written. In a script element nothing but `<` could end it.
        let settings = serde_json::to_string(&settings).unwrap_or_default();
        PAGE.replace(PLACE, &settings.replace('<', "\\u003c"))
            .into()
    }

    /// Adds the page to others, at a path.
    #[must_use]
    pub fn serve_at(&self, pages: Pages, path: impl Into<String>) -> Pages {
        let page = self.clone();
        pages.route(path, move |request| {
            let may = page.token.as_ref();
            if may.is_none_or(|token| token.is_in(request.uri().query())) {
                answer(StatusCode::OK, "text/html; charset=utf-8", page.html())
            } else {
                let words = "The token is missing or wrong: add ?token=... to the address.\n";
                answer(
                    StatusCode::FORBIDDEN,
                    "text/plain; charset=utf-8",
                    words.into(),
                )
            }
        })
    }
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // The address may hold the token.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_cannot_leave_their_place() {
        let dashboard = Dashboard::new("https://a/</script><script>alert(1)</script>\"'");
        let html = String::from_utf8_lossy(&dashboard.html()).into_owned();
        assert!(!html.contains("alert(1)<"), "it is escaped");
        assert!(html.contains(r#"{"url":"https://a/\u003c/script>\u003cscript>alert(1)\u003c/script>\"'","hash":null}"#));
        assert!(!html.contains("{{"), "every place is filled");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
        for outside in [
            "src=",
            "@import",
            "<link rel=\"stylesheet",
            "url(http",
            "fetch(",
        ] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
    }
}
