//! From figures to metrics.

use ::metrics::{SharedString, counter, gauge, histogram};
use wt_core::{
    DatagramDrop, Dialect, EndpointReport, HandshakeOutcome, RefusalCause,
    observe::{Snapshot, Value},
};

use super::names;

/// Publishes what an endpoint tells.
pub(super) fn endpoint(name: &SharedString, report: &EndpointReport) {
    state(name, report);
    connections(name, report);
    traffic(name, report);
    samples(name, report);
}

fn state(name: &SharedString, report: &EndpointReport) {
    let holds = &report.holdings;
    let connections = report.stats.connections;
    for (metric, value) in [
        (names::CONNECTIONS_OPEN, connections),
        (names::SESSIONS_OPEN, holds.sessions),
        (names::STREAMS_OPEN, holds.streams),
        (names::UNREAD_BYTES, holds.unread_bytes),
    ] {
        gauge!(metric, "endpoint" => name.clone()).set(value as f64);
    }
    for (queue, depth) in [
        ("requests", holds.requests_waiting),
        ("streams", holds.streams_waiting),
        ("datagrams", holds.datagrams_waiting),
        ("early_streams", holds.early_streams),
        ("early_datagrams", holds.early_datagrams),
    ] {
        gauge!(names::QUEUE_DEPTH, "endpoint" => name.clone(), "queue" => queue).set(depth as f64);
    }
}

fn connections(name: &SharedString, report: &EndpointReport) {
    let stats = &report.stats;
    for (outcome, count) in [
        ("established", stats.connections_made),
        ("failed", stats.connections_failed),
    ] {
        counter!(names::CONNECTION_ATTEMPTS, "endpoint" => name.clone(), "outcome" => outcome)
            .absolute(count);
    }
    for dialect in Dialect::ALL {
        for outcome in HandshakeOutcome::ALL {
            let labels = [
                ("endpoint", name.clone()),
                ("dialect", dialect.name().into()),
                ("outcome", outcome.name().into()),
            ];
            counter!(names::HANDSHAKES, &labels).absolute(report.handshakes.get(dialect, *outcome));
        }
    }
    for cause in RefusalCause::ALL {
        counter!(names::REFUSALS, "endpoint" => name.clone(), "cause" => cause.name())
            .absolute(report.refusals.get(*cause));
    }
    for (metric, count) in [
        (names::CONNECTIONS_LOST, stats.connections_lost),
        (names::SESSIONS_ENDED, stats.sessions_ended),
    ] {
        counter!(metric, "endpoint" => name.clone()).absolute(count);
    }
}

fn traffic(name: &SharedString, report: &EndpointReport) {
    let traffic = &report.traffic;
    for (metric, label, value, count) in [
        (names::STREAMS, "by", "local", traffic.streams_opened),
        (names::STREAMS, "by", "peer", traffic.streams_accepted),
        (names::BYTES, "direction", "send", traffic.bytes_sent),
        (names::BYTES, "direction", "receive", traffic.bytes_received),
        (names::PACKETS, "direction", "send", traffic.packets_sent),
        (
            names::PACKETS,
            "direction",
            "receive",
            traffic.packets_received,
        ),
        (
            names::DATAGRAMS,
            "direction",
            "send",
            traffic.datagrams_sent,
        ),
        (
            names::DATAGRAMS,
            "direction",
            "receive",
            traffic.datagrams_received,
        ),
    ] {
        counter!(metric, "endpoint" => name.clone(), label => value).absolute(count);
    }
    for (metric, count) in [
        (names::BIDI_STREAMS, traffic.streams_bidi),
        (names::STREAM_ERRORS, traffic.stream_errors),
        (names::PACKETS_LOST, traffic.packets_lost),
        (names::BYTES_LOST, traffic.bytes_lost),
        (names::CONGESTION_EVENTS, traffic.congestion_events),
    ] {
        counter!(metric, "endpoint" => name.clone()).absolute(count);
    }
    for reason in DatagramDrop::ALL {
        let labels = [
            ("endpoint", name.clone()),
            ("direction", "receive".into()),
            ("reason", reason.name().into()),
        ];
        counter!(names::DATAGRAMS_DROPPED, &labels).absolute(traffic.datagrams_dropped(*reason));
    }
}

fn samples(name: &SharedString, report: &EndpointReport) {
    let rtt = histogram!(names::RTT, "endpoint" => name.clone());
    let loss = histogram!(names::LOSS, "endpoint" => name.clone());
    let window = histogram!(names::WINDOW, "endpoint" => name.clone());
    for sample in &report.samples {
        rtt.record(sample.rtt.as_secs_f64());
        loss.record(sample.loss_rate());
        window.record(sample.congestion_window as f64);
    }
}

/// Publishes a snapshot of anything.
pub(super) fn observed(name: &SharedString, snapshot: &Snapshot) {
    for metric in &snapshot.metrics {
        let labels = [
            ("name", name.clone()),
            ("kind", snapshot.kind.into()),
            ("figure", metric.name.into()),
        ];
        match metric.value {
            Value::Counter(count) => counter!(names::OBSERVED_TOTAL, &labels).absolute(count),
            value => gauge!(names::OBSERVED, &labels).set(value.as_f64()),
        }
    }
}
