//! The page that Prometheus fetches.

use super::Pages;
use crate::metrics::Prometheus;

impl Pages {
    /// Adds `/metrics`, where Prometheus finds the metrics of the program.
    #[must_use]
    pub fn metrics(self, prometheus: &Prometheus) -> Self {
        let prometheus = prometheus.clone();
        self.page("/metrics", Prometheus::CONTENT_TYPE, move || {
            prometheus.render()
        })
    }
}
