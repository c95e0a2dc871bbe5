//! The page: one file over HTTP/1.1, for the browser on this machine.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use wt::CertificateHash;

use crate::failure::Failure;

const TEMPLATE: &str = include_str!("../demo.html");

/// The largest head of a request.
const MAX_HEAD: usize = 16 * 1024;

/// Header fields of a request.
const MAX_FIELDS: usize = 100;

/// The time from connecting to the end of the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Requests at a time; further ones wait.
const REQUESTS: usize = 32;

/// The page and where it is served.
#[derive(Debug)]
pub(super) struct Page {
    listener: TcpListener,
    html: Arc<str>,
}

impl Page {
    /// Fills in the page and binds its address.
    pub(super) async fn bind(
        address: SocketAddr,
        url: &str,
        hash: CertificateHash,
        protocol: &str,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::bad_argument(format!(
                "cannot serve the page on {address}: {error} (choose another address with --page)"
            ))
        })?;
        let html = TEMPLATE
            .replace("{{URL}}", url)
            .replace("{{HASH}}", &hash.to_hex())
            .replace("{{PROTOCOL}}", protocol);
        Ok(Self {
            listener,
            html: html.into(),
        })
    }

    pub(super) fn port(&self) -> Result<u16, Failure> {
        let address = self.listener.local_addr();
        Ok(address
            .map_err(|error| Failure::cannot_start(&error))?
            .port())
    }

    /// Answers requests; never returns.
    pub(super) async fn serve(&self) {
        let places = Arc::new(Semaphore::new(REQUESTS));
        let mut requests = JoinSet::new();
        loop {
            while requests.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let html = self.html.clone();
                    requests.spawn(async move {
                        let _place = place;
                        match timeout(LIMIT, answer(stream, &html)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "a request for the page"),
                            Err(_) => tracing::debug!("a request for the page took too long"),
                        }
                    });
                }
                Err(error) => {
                    // Such as too many open files: some may be closed soon.
                    tracing::warn!(%error, "cannot take a request for the page");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Answers the one request of a connection.
async fn answer(mut stream: TcpStream, html: &str) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let response = loop {
        if let Some(response) = respond(&head, html) {
            break response;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// Returns the response to a request; `None` while its head is not whole.
fn respond(head: &[u8], html: &str) -> Option<String> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let status = match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() < MAX_HEAD => return None,
        Ok(httparse::Status::Complete(_)) => match (request.method, request.path) {
            (Some("GET" | "HEAD"), Some(path)) if path.split('?').next() == Some("/") => {
                StatusCode::OK
            }
            (Some("GET" | "HEAD"), _) => StatusCode::NOT_FOUND,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        },
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        }
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let error = format!("{status}\n");
    let (kind, body) = match status {
        StatusCode::OK => ("html", html),
        _ => ("plain", &*error),
    };
    let mut response = format!(
        "HTTP/1.1 {status}\r\n\
         content-type: text/{kind}; charset=utf-8\r\n\
         content-length: {}\r\n\
         cache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n\
         connection: close\r\n",
        body.len(),
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.push_str("allow: GET, HEAD\r\n");
    }
    response.push_str("\r\n");
    if request.method != Some("HEAD") {
        response.push_str(body);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> Option<String> {
        let response = respond(request.as_bytes(), "<html>")?;
        Some(response.split(' ').nth(1).unwrap().to_owned())
    }

    #[test]
    fn the_page_is_at_the_root() {
        let response = respond(b"GET /?x=1 HTTP/1.1\r\nhost: localhost\r\n\r\n", "<html>").unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("\r\ncontent-length: 6\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n<html>"), "{response}");
        let response = respond(b"HEAD / HTTP/1.1\r\n\r\n", "<html>").unwrap();
        assert!(response.contains("\r\ncontent-length: 6\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\n"), "{response}");
    }

    #[test]
    fn everything_else_is_refused() {
        let of = |request: &str| status(request).unwrap();
        assert_eq!(of("GET /favicon.ico HTTP/1.1\r\n\r\n"), "404");
        assert_eq!(of("POST / HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(of("\u{1}\u{2} nonsense\r\n\r\n"), "400");
        let many = "a: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(of(&format!("GET / HTTP/1.1\r\n{many}\r\n")), "431");
        let long = "a".repeat(MAX_HEAD);
        assert_eq!(of(&format!("GET / HTTP/1.1\r\na: {long}")), "431");
    }

    #[test]
    fn a_head_is_waited_for() {
        for part in ["", "GET", "GET / HTTP/1.1\r\nhost: localhost\r\n"] {
            assert_eq!(status(part), None, "{part:?}");
        }
    }

    #[test]
    fn the_template_has_every_placeholder() {
        for name in ["{{URL}}", "{{HASH}}", "{{PROTOCOL}}"] {
            assert_eq!(TEMPLATE.matches(name).count(), 1, "{name}");
        }
    }
}
