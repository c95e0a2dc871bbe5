//! Metrics for Prometheus, where they are asked for.

use std::{net::SocketAddr, time::Duration};

use wt::{
    Server,
    monitor::{
        http::{HttpConfig, HttpListener, Pages},
        metrics::{Exporter, Prometheus, Publishing},
    },
};

use crate::failure::Failure;

/// How often the figures are brought up to date.
const INTERVAL: Duration = Duration::from_secs(1);

/// The page with metrics, and what keeps it up to date.
#[derive(Debug)]
pub(super) struct Metrics {
    listener: HttpListener,
    publishing: Publishing,
}

impl Metrics {
    /// Listens on `address` and tells what happens on `server`.
    pub(super) async fn start(
        address: SocketAddr,
        server: &Server,
        config: HttpConfig,
    ) -> Result<Self, Failure> {
        let prometheus = Prometheus::install().map_err(|error| Failure::cannot_start(&error))?;
        let pages = Pages::new().metrics(&prometheus);
        let listener = HttpListener::bind(address, pages, config);
        let listener = listener
            .await
            .map_err(|error| Failure::cannot_start(&error))?;
        let publishing = Exporter::new()
            .endpoint("serve", server.endpoint().clone())
            .observe("serve", server.clone())
            .with_interval(INTERVAL)
            .start()
            .map_err(|error| Failure::cannot_start(&error))?;
        Ok(Self {
            listener,
            publishing,
        })
    }

    pub(super) const fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    pub(super) async fn stop(self) {
        self.publishing.stop().await;
        self.listener.close().await;
    }
}
