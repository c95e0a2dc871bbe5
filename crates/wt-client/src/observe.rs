//! What monitors see of this layer.

use wt_core::observe::{Observe, Snapshot, State};

use crate::{
    balance::LoadBalancer,
    client::Client,
    pool::{Manage, Pool},
    reconnect::ReconnectingClient,
};

impl Observe for Client {
    fn observe(&self) -> Snapshot {
        let diagnostics = self.diagnostics();
        let (stats, connections) = (diagnostics.stats, diagnostics.connections);
        let state = if self.is_closed() {
            State::Closed
        } else if diagnostics.sessions > 0 {
            State::Active
        } else if connections.connecting > 0 {
            State::Starting
        } else {
            State::Idle
        };
        let id = match self.endpoint().local_addr() {
            Ok(address) => address.to_string(),
            Err(_) => "unbound".to_owned(),
        };
        let mut snapshot = Snapshot::new("client", id, state)
            .with_uptime(stats.uptime)
            .with_counter("attempted", stats.attempted)
            .with_counter("succeeded", stats.succeeded)
            .with_counter("failed", stats.failed)
            // Beside the average, so that the average of any time can be told.
            .with_counter(
                "connect_microseconds",
                u64::try_from(stats.total_connect_time.as_micros()).unwrap_or(u64::MAX),
            )
            .with_gauge("success_rate", stats.success_rate())
            .with_gauge("sessions", diagnostics.sessions as f64)
            .with_gauge("connecting", connections.connecting as f64)
            .with_gauge("connected", connections.connected as f64)
            .with_gauge("draining", connections.draining as f64)
            .with_gauge("closing", connections.closing as f64);
        if let Some(time) = stats.avg_connect_time() {
            snapshot = snapshot.with_seconds("avg_connect_seconds", time);
        }
        snapshot.with_issues(diagnostics.issues())
    }
}

impl Observe for ReconnectingClient {
    fn observe(&self) -> Snapshot {
        let end = self.end();
        let state = match &end {
            Some(crate::ReconnectError::Closed) => State::Closed,
            Some(_) => State::Failed,
            None if self.is_connected() => State::Active,
            None => State::Starting,
        };
        let stats = self.stats();
        Snapshot::new("reconnecting_client", self.url(), state)
            .with_uptime(stats.uptime)
            .with_counter("established", stats.established)
            .with_counter("lost", stats.lost)
            .with_counter("failed", stats.failed)
            .with_issues(end.filter(|_| state == State::Failed))
    }
}

impl Observe for LoadBalancer {
    fn observe(&self) -> Snapshot {
        let targets = self.target_stats();
        let stats = self.stats();
        let state = if self.is_closed() {
            State::Closed
        } else if stats.connections > 0 {
            State::Active
        } else {
            State::Idle
        };
        let failed = targets.iter().filter(|target| target.failed);
        let words = failed.map(|target| format!("target {} failed", target.authority));
        Snapshot::new("load_balancer", self.strategy().as_str(), state)
            .with_gauge("targets", stats.targets as f64)
            .with_gauge("failed_targets", stats.failed as f64)
            .with_gauge("available_targets", stats.available as f64)
            .with_gauge("connections", stats.connections as f64)
            .with_counter("picked", targets.iter().map(|target| target.picked).sum())
            .with_counter("failures", targets.iter().map(|t| t.failures).sum())
            .with_issues(words)
    }
}

impl<M: Manage> Observe for Pool<M> {
    fn observe(&self) -> Snapshot {
        let stats = self.stats();
        let state = match stats.lent {
            _ if self.is_closed() => State::Closed,
            0 => State::Idle,
            _ => State::Active,
        };
        Snapshot::new("pool", std::any::type_name::<M::Object>(), state)
            .with_gauge("max_size", stats.max_size as f64)
            .with_gauge("idle", stats.idle as f64)
            .with_gauge("lent", stats.lent as f64)
            .with_gauge("waiting", stats.waiting as f64)
            .with_counter("created", stats.created)
            .with_counter("reused", stats.reused)
            .with_counter("unhealthy", stats.unhealthy)
            .with_counter("expired", stats.expired)
            .with_counter("failed", stats.failed)
            .with_counter("timed_out", stats.timed_out)
    }
}
