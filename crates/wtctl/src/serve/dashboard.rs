//! What the server does, for who looks after it: a feed on a path, and a page that shows it.

use std::{net::SocketAddr, time::Duration};

use wt::{
    Identity, SessionRequest,
    monitor::{
        Measure, Monitor, MonitorConfig, Rule, ServerMonitor, Severity,
        dashboard::Dashboard as Page,
        feed::{Feed, FeedConfig, Token},
        http::{HttpConfig, HttpListener, Pages},
    },
};

use super::{Service, listening};
use crate::{
    demo, doctor,
    failure::{Failure, chain},
    reach::canonical,
};

/// Where the feed is.
pub(super) const PATH: &str = "/monitor";

/// How often the server is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The feed, and who may have it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    feed: Feed,
    token: Option<Token>,
}

impl Watch {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self {
            feed: Feed::new(FeedConfig::default()),
            token,
        }
    }

    /// Returns whether a query has the token, if one is wanted.
    pub(super) fn allows(&self, query: Option<&str>) -> bool {
        let token = self.token.as_ref();
        token.is_none_or(|token| token.is_in(query))
    }

    /// Serves a watcher to the end of its session.
    pub(super) async fn serve(&self, request: SessionRequest) {
        let peer = canonical(request.remote_address());
        let session = match request.accept().await {
            Ok(session) => session,
            Err(error) => {
                tracing::info!(%peer, %error, "a watcher left before the answer");
                return;
            }
        };
        tracing::info!(%peer, watchers = self.feed.watchers() + 1, "a watcher");
        match self.feed.serve(session.clone()).await {
            Ok(()) => tracing::info!(%peer, "a watcher left"),
            Err(error) => tracing::info!(%peer, error = chain(&error), "a watcher is over"),
        }
        session.close(0, "");
        // The session may have been closed with another code, which has to arrive.
        session.closed().await;
    }
}

/// The page, and what looks at the server.
#[derive(Debug)]
pub(super) struct Dashboard {
    url: String,
    _listener: HttpListener,
    _monitor: ServerMonitor,
}

impl Dashboard {
    /// Begins to look at the server and to serve the page.
    pub(super) async fn start(
        address: SocketAddr,
        service: &Service,
        identity: &Identity,
        config: HttpConfig,
    ) -> Result<Self, Failure> {
        let monitor = ServerMonitor::with_config(service.server().clone(), rules())
            .map_err(|error| Failure::cannot_start(&error))?;
        let token = service.watch().and_then(|watch| {
            let all: &Monitor = &monitor;
            watch.feed.attach(all);
            watch.token.clone()
        });
        let page = page(service, identity)?;
        let query = token.as_ref().map(Token::to_query);
        let page = match token {
            Some(token) => page.with_token(token),
            None => page,
        };
        let pages = page.serve_at(Pages::new(), "/");
        let listener = HttpListener::bind(address, pages, config).await;
        let listener = listener.map_err(|error| {
            Failure::bad_argument(format!(
                "{} (choose another address with --dashboard)",
                chain(&error)
            ))
        })?;
        monitor
            .start()
            .map_err(|error| Failure::cannot_start(&error))?;
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        Ok(Self {
            url: format!("{}{query}", page_url(listener.local_addr())),
            _listener: listener,
            _monitor: monitor,
        })
    }

    /// Returns the URL of the page.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// Makes the page, which trusts the certificate by its hash wherever browsers would.
fn page(service: &Service, identity: &Identity) -> Result<Page, Failure> {
    let server = service.local_addr()?;
    let feed = |url: String| format!("{}{PATH}", url.trim_end_matches('/'));
    Ok(if doctor::is_trusted_by_hash(identity) {
        let certificates = service.server().certificates().clone();
        Page::new(feed(demo::by_number(server))).with_certificates_of(certificates)
    } else {
        Page::new(feed(listening::url(server)))
    })
}

/// Returns the URL of the page on this machine, where browsers take it for a secure context.
fn page_url(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    if ip.is_loopback() || ip.is_unspecified() {
        format!("http://localhost:{port}/")
    } else {
        format!("http://{address}/")
    }
}

/// What is looked at, and what should not be so.
fn rules() -> MonitorConfig {
    let loss = Measure::ratio(["lost_packets"], ["sent_packets"]);
    let dropped = Measure::rate("datagrams_dropped");
    MonitorConfig::server()
        .with_interval(INTERVAL)
        // It stops when it is told to, which is nothing to be alarmed about.
        .without_rule("not_serving")
        .with_rule(
            Rule::above("packet_loss", loss, 0.05)
                .with_enough(["sent_packets"], 100)
                .with_message("High packet loss: {percent}%"),
        )
        .with_rule(
            Rule::above("datagrams_dropped", dropped, 0.0)
                .with_severity(Severity::Info)
                .with_message("Sessions do not take their datagrams: {value} dropped per second"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_where_browsers_trust_it() {
        for (address, url) in [
            ("127.0.0.1:80", "http://localhost:80/"),
            ("[::]:80", "http://localhost:80/"),
            ("192.0.2.7:80", "http://192.0.2.7:80/"),
        ] {
            assert_eq!(page_url(address.parse().unwrap()), url);
        }
    }

    #[test]
    fn the_rules_can_work() {
        assert_eq!(rules().validate(), Ok(()));
    }
}
