//! What all monitors do: samples, bounded history, windows, rules, alerts, and who is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{Dial, news, until, within};
use futures_util::StreamExt;
use wt_monitor::{
    Condition, MAX_RULES, Measure, Monitor, MonitorConfig, MonitorEvent, NoRuntime, Rule, Severity,
    Status, Trend,
    observe::{Snapshot, State, Value},
};

fn config() -> MonitorConfig {
    MonitorConfig::new().with_window(4)
}

/// A monitor of a gauge `load`, and what sets it.
fn loaded(config: MonitorConfig) -> (Monitor, impl Fn(f64)) {
    let dial = Dial::new("engine");
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    let sampled = monitor.clone();
    (monitor, move |load| {
        dial.set(&[], &[("load", load)]);
        sampled.sample();
    })
}

fn too_much() -> Rule {
    Rule::above("load", Measure::last("load"), 10.0)
}

#[tokio::test]
async fn samples_are_taken_between_start_and_stop() {
    let dial = Dial::new("engine");
    let config = config().with_interval(Duration::from_millis(2));
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    assert!(!monitor.is_monitoring());
    monitor.start().unwrap();
    monitor.start().unwrap();
    assert!(monitor.is_monitoring());
    until(|| monitor.history(10).len() >= 3).await;
    within(monitor.stop()).await;
    assert!(!monitor.is_monitoring());
    // Nothing is under way any more: whatever is there now stays.
    let seen = monitor.latest().unwrap().sequence;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(monitor.latest().unwrap().sequence, seen);
    within(monitor.stop()).await;

    monitor.start().unwrap();
    until(|| monitor.latest().unwrap().sequence > seen + 1).await;
    // What is over is not looked at again.
    dial.state(State::Closed);
    until(|| !monitor.is_monitoring()).await;
    assert_eq!(monitor.latest().unwrap().state, State::Closed);
    assert_eq!(monitor.health().status, Status::Ended);
}

#[tokio::test(start_paused = true)]
async fn the_interval_is_that_of_the_configuration() {
    let monitor = Monitor::new(
        Dial::new("engine"),
        config().with_interval(Duration::from_secs(60)),
    );
    let monitor = monitor.unwrap();
    monitor.start().unwrap();
    tokio::time::sleep(Duration::from_secs(150)).await;
    // At once, and after one minute and two.
    assert_eq!(monitor.history(10).len(), 3);
    assert_eq!(monitor.history(1)[0].elapsed, Duration::from_secs(60));
}

#[tokio::test]
async fn a_monitor_without_handles_ends() {
    let dial = Dial::new("engine");
    let monitor = Monitor::new(
        dial.clone(),
        config().with_interval(Duration::from_millis(1)),
    );
    let monitor = monitor.unwrap();
    let mut events = monitor.subscribe();
    monitor.start().unwrap();
    until(|| monitor.latest().is_some()).await;
    drop(monitor);
    while within(events.recv()).await.is_some() {}
    until(|| dial.holders() == 1).await;
}

#[test]
fn it_starts_within_a_runtime_only() {
    let monitor = Monitor::new(Dial::new("engine"), config()).unwrap();
    assert_eq!(monitor.start(), Err(NoRuntime));
    assert!(!monitor.is_monitoring());
    // By hand it works without.
    assert_eq!(monitor.sample().kind, "engine");
}

#[test]
fn history_is_bounded_and_limits_are_honoured() {
    let (monitor, load) = loaded(config().with_history(4, 2).with_rule(too_much()));
    for n in 0..6 {
        load(f64::from(n));
    }
    let loads = |limit| {
        let samples = monitor.history(limit);
        let loads = samples.iter().map(|sample| sample.get("load").unwrap());
        loads.collect::<Vec<_>>()
    };
    assert_eq!(loads(usize::MAX), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(loads(2), [4.0, 5.0]);
    assert_eq!(loads(0), [0.0; 0]);
    assert_eq!(monitor.latest().unwrap().sequence, 5);

    for over in [11.0, 0.0, 12.0, 0.0, 13.0] {
        load(over);
    }
    let values = |limit| {
        let alerts = monitor.alerts(limit);
        alerts
            .iter()
            .map(|alert| alert.value.unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(25), [12.0, 13.0]);
    assert_eq!(values(1), [13.0]);
    assert_eq!(values(0), [0.0; 0]);

    monitor.clear_history();
    assert!(monitor.latest().is_none() && monitor.alerts(25).is_empty());
    assert_eq!(monitor.health().status, Status::Unknown);
    assert_eq!(monitor.health().reasons, ["No metrics collected yet."]);
    // What is wrong is wrong all the same, and is no second alert.
    assert_eq!(monitor.active().len(), 1);
    load(14.0);
    assert!(monitor.alerts(25).is_empty());
    assert_eq!(monitor.health().status, Status::Degraded);
}

#[test]
fn figures_beyond_the_limit_are_left_out_and_counted() {
    let mut config = config();
    config.series = 2;
    let dial = Dial::new("engine");
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    dial.change(|snapshot| {
        let counted = snapshot.with_counter("a", 1).with_counter("b", 2);
        counted.with_counter("c", 3).with_issues(["1", "2", "3"])
    });
    let sample = monitor.sample();
    let names: Vec<_> = sample.figures.iter().map(|figure| figure.name).collect();
    assert_eq!((&*names, sample.left_out), (&["a", "b"][..], 2));
    assert_eq!(sample.issues, ["1", "2"]);
}

#[test]
fn impossible_configurations_are_refused() {
    let refused = |config: MonitorConfig| {
        let error = Monitor::new(Dial::new("engine"), config).unwrap_err();
        error.to_string()
    };
    let field = |change: fn(&mut MonitorConfig)| {
        let mut config = config();
        change(&mut config);
        refused(config)
    };
    assert!(field(|c| c.interval = Duration::ZERO).contains("`interval`"));
    assert!(field(|c| c.history = 0).contains("from 1 to 65536"));
    assert!(field(|c| c.alerts = 65_537).contains("`alerts`"));
    assert!(
        field(|c| c.window = c.history + 1).contains("`window`: 121: it must be from 1 to 120")
    );
    assert!(field(|c| c.series = 4_097).contains("`series`"));

    let rule = |rule: Rule| refused(config().with_rule(rule));
    assert!(rule(too_much().with_window(121)).contains("its window"));
    assert!(rule(Rule::above("load", Measure::last("load"), f64::NAN)).contains("finite"));
    assert!(rule(Rule::above("p", Measure::percentile("load", 101.0), 1.0)).contains("percentile"));
    assert!(rule(Rule::state("none", [])).contains("\"none\": it names no state"));
    assert!(field(|c| c.rules = vec![too_much(), too_much()]).contains("a name of its own"));
    let many = (0..=MAX_RULES).map(|n| Rule::above(n.to_string(), Measure::last("load"), 1.0));
    let many = many.fold(config(), MonitorConfig::with_rule);
    assert!(refused(many).contains("at most 256"));

    let threshold = |rule, config: MonitorConfig| config.with_threshold(rule, 1.0).unwrap_err();
    assert!(
        threshold("x", config())
            .to_string()
            .contains("there is no rule")
    );
    assert!(
        threshold("not_serving", MonitorConfig::server())
            .to_string()
            .contains("no threshold")
    );
}

#[test]
fn counters_grow_from_sample_to_sample_and_may_begin_anew() {
    let dial = Dial::new("engine");
    dial.set(&[("sent", 100)], &[("load", 1.0)]);
    let monitor = Monitor::new(dial.clone(), config()).unwrap();
    let step = |sent| {
        dial.set(&[("sent", sent)], &[("load", 1.0)]);
        monitor.sample().increase("sent")
    };
    // What happened before it watched is not its business.
    assert_eq!(step(103), Some(3));
    assert_eq!(step(103), Some(0));
    assert_eq!(step(7), Some(7));
    let sample = monitor.latest().unwrap();
    assert_eq!(sample.figure("sent").unwrap().value, Value::Counter(7));
    assert_eq!((sample.increase("load"), sample.rate("load")), (None, None));
    assert_eq!(sample.increase("nothing"), None);
    assert_eq!(monitor.measure(&Measure::increase(["sent"])), Some(10.0));

    // One that has just come has no increase yet.
    dial.set(&[("sent", 7), ("new", 5)], &[]);
    assert_eq!(monitor.sample().increase("new"), None);
    dial.set(&[("sent", 7), ("new", 6)], &[]);
    assert_eq!(monitor.sample().increase("new"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn rates_are_those_of_the_window() {
    let dial = Dial::new("engine");
    dial.set(&[("sent", 1_000_000)], &[]);
    let monitor = Monitor::new(dial.clone(), config()).unwrap();
    let mut sent = 1_000_000;
    for grown in [1000, 10, 20, 30, 40] {
        tokio::time::advance(Duration::from_secs(10)).await;
        sent += grown;
        dial.set(&[("sent", sent)], &[]);
        monitor.sample();
    }
    // Of four samples, and of the newest.
    assert_eq!(monitor.rate("sent"), Some(2.5));
    assert_eq!(monitor.latest().unwrap().rate("sent"), Some(4.0));
    let summary = monitor.summary("sent").unwrap();
    assert_eq!((summary.rate, summary.mean), (Some(2.5), 2.5));
    assert_eq!((summary.min, summary.p50, summary.max), (1.0, 2.0, 4.0));
    assert_eq!(summary.trend, Trend::Increasing);
    assert_eq!(monitor.measure(&Measure::rate("sent")), Some(2.5));
    assert_eq!(monitor.rate("nothing"), None);
}

#[test]
fn percentiles_and_the_like_are_those_of_the_window() {
    let (monitor, load) = loaded(config().with_window(100));
    for n in 0..=100 {
        load(f64::from(n));
    }
    // The first sample has left the window.
    let summary = monitor.summary("load").unwrap();
    assert_eq!((summary.min, summary.max, summary.mean), (1.0, 100.0, 50.5));
    assert_eq!((summary.p50, summary.p95, summary.p99), (50.0, 95.0, 99.0));
    assert_eq!((summary.rate, summary.trend), (None, Trend::Increasing));
    let measures = [
        (Measure::last("load"), 100.0),
        (Measure::mean("load"), 50.5),
        (Measure::min("load"), 1.0),
        (Measure::max("load"), 100.0),
        (Measure::percentile("load", 90.0), 90.0),
    ];
    for (measure, value) in measures {
        assert_eq!(monitor.measure(&measure), Some(value), "{measure:?}");
    }
    assert_eq!(monitor.measure(&Measure::last("nothing")), None);
    load(f64::NAN);
    assert_eq!(monitor.measure(&Measure::max("load")), Some(100.0));
}

#[test]
fn trends_compare_the_halves_of_the_window() {
    let trend = |loads: &[f64]| {
        let (monitor, load) = loaded(config());
        loads.iter().for_each(|one| load(*one));
        monitor.trend(&Measure::last("load"))
    };
    // Stable below the window, whatever happens.
    assert_eq!(trend(&[]), Trend::Stable);
    assert_eq!(trend(&[1.0, 2.0, 300.0]), Trend::Stable);
    assert_eq!(trend(&[4.0, 4.0, 5.0, 5.0]), Trend::Stable);
    assert_eq!(trend(&[4.0, 4.0, 5.0, 5.1]), Trend::Increasing);
    assert_eq!(trend(&[4.0, 4.0, 3.0, 2.9]), Trend::Decreasing);
    assert_eq!(trend(&[0.0, 0.0, 0.0, 0.1]), Trend::Increasing);
    // What was long ago does not count any more.
    assert_eq!(trend(&[0.0, 0.0, 4.0, 4.0, 4.0, 4.0]), Trend::Stable);

    // Nor do a few values among samples without one.
    let nan = f64::NAN;
    let gaps = |loads: &[f64]| {
        let (monitor, load) = loaded(config().with_window(6));
        loads.iter().for_each(|one| load(*one));
        monitor.trend(&Measure::last("load"))
    };
    assert_eq!(gaps(&[nan, nan, nan, nan, 1.0, 9.0]), Trend::Stable);
    assert_eq!(gaps(&[nan, nan, nan, 1.0, 9.0, 9.0]), Trend::Increasing);

    let rising = Rule::trend("rising", Measure::last("load"), Trend::Increasing, 100.0);
    let (monitor, load) = loaded(config().with_rule(rising.with_message("{value} now")));
    for low in [1.0, 1.0, 2.0, 2.0] {
        load(low);
    }
    assert!(monitor.active().is_empty(), "it is below the floor");
    for high in [3.0, 3.0, 100.0, 200.0] {
        load(high);
    }
    assert_eq!(monitor.active()[0].message, "150.00 now");
    load(150.0);
    load(100.0);
    assert!(monitor.active().is_empty());
}

#[tokio::test]
async fn an_alert_is_raised_once_and_clears() {
    let (monitor, load) =
        loaded(config().with_rule(too_much().with_message("{value} > {threshold}")));
    let mut events = monitor.subscribe();
    let mut alerts = monitor.subscribe_alerts();
    for one in [10.0, 11.0, 12.0, 13.0, 10.0, 9.0] {
        load(one);
    }
    assert_eq!(
        news(&monitor, &mut events).await,
        [
            "unknown -> healthy: Engine is operating normally.",
            "raised load",
            "healthy -> degraded: 11.00 > 10",
            "cleared load",
            "degraded -> healthy: Engine is operating normally.",
        ]
    );
    let all = monitor.alerts(25);
    assert_eq!(all.len(), 1);
    // As of the last sample that broke the rule.
    assert_eq!((&*all[0].message, all[0].value), ("13.00 > 10", Some(13.0)));
    let samples = monitor.history(10);
    assert_eq!(
        (all[0].since, all[0].cleared),
        (samples[1].at, Some(samples[4].at))
    );
    assert!(monitor.active().is_empty());

    let raised = within(alerts.next()).await.unwrap().unwrap();
    assert_eq!((&*raised.message, raised.cleared), ("11.00 > 10", None));
    let cleared = within(alerts.next()).await.unwrap().unwrap();
    assert_eq!(cleared, all[0]);
    assert_eq!(cleared.to_string(), "warning: load: 13.00 > 10 (cleared)");

    load(11.0);
    let again = within(alerts.next()).await.unwrap().unwrap();
    assert_eq!((again.id, again.is_active()), (1, true));
    drop((monitor, load));
    assert!(within(alerts.next()).await.is_none());
}

#[test]
fn a_rule_may_wait_for_several_samples() {
    let rule = too_much().with_after(3).with_clear_after(2);
    let (monitor, load) = loaded(config().with_rule(rule));
    let is_active = |loads: &[f64]| {
        loads.iter().for_each(|one| load(*one));
        !monitor.active().is_empty()
    };
    assert!(!is_active(&[11.0, 11.0, 0.0, 11.0, 11.0]));
    assert!(is_active(&[11.0]));
    assert!(is_active(&[0.0, 11.0, 0.0]));
    assert!(!is_active(&[0.0]));
    assert_eq!(monitor.alerts(10).len(), 1);
}

#[test]
fn a_rule_may_need_that_enough_happens() {
    let dial = Dial::new("engine");
    let rate = Measure::ratio(["good"], ["good", "bad"]);
    let rule = Rule::below("rate", rate, 0.5).with_enough(["good", "bad"], 4);
    let config = MonitorConfig::new().with_rule(rule.with_window(1));
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    dial.set(&[("good", 0), ("bad", 0)], &[]);
    monitor.sample();
    let mut counts = (0, 0);
    let mut is_active = |good, bad| {
        counts = (counts.0 + good, counts.1 + bad);
        dial.set(&[("good", counts.0), ("bad", counts.1)], &[]);
        monitor.sample();
        !monitor.active().is_empty()
    };
    assert!(!is_active(0, 4));
    assert!(is_active(0, 5));
    assert!(!is_active(0, 0));
    assert!(is_active(2, 3));
    assert!(!is_active(3, 3));
}

#[test]
fn health_has_the_reasons_of_the_worst_alert_first() {
    let gauge = |name: &str, severity| {
        let rule = Rule::above(name, Measure::last(name.to_owned()), 0.0);
        rule.with_severity(severity)
            .with_message(format!("{name} of {{kind}} {{id}}"))
    };
    let config = config()
        .with_rule(gauge("known", Severity::Info))
        .with_rule(gauge("slow", Severity::Warning))
        .with_rule(gauge("dead", Severity::Critical))
        .with_rule(Rule::state("draining", [State::Draining]).with_message("is {state}"))
        .with_rule(Rule::issue("disk", "disk"));
    let dial = Dial::new("engine");
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    let health = |gauges: &[(&'static str, f64)]| {
        dial.set(&[], gauges);
        monitor.sample();
        monitor.health().to_string()
    };
    assert_eq!(monitor.health().status, Status::Unknown);
    assert_eq!(
        health(&[("known", 1.0)]),
        "healthy: Engine is operating normally."
    );
    assert_eq!(monitor.active()[0].rule, "known");
    let both = [("known", 1.0), ("slow", 1.0), ("dead", 1.0)];
    assert_eq!(health(&both[..2]), "degraded: slow of engine 7");
    assert_eq!(
        health(&both),
        "unhealthy: dead of engine 7; slow of engine 7"
    );
    dial.state(State::Draining);
    assert_eq!(health(&[]), "degraded: is draining");
    dial.state(State::Active);
    dial.change(|snapshot| snapshot.with_issues(["the weather", "the disk is full"]));
    monitor.sample();
    assert_eq!(monitor.health().reasons, ["the disk is full"]);
    for (state, status) in [
        (State::Idle, Status::Idle),
        (State::Starting, Status::Idle),
        (State::Active, Status::Healthy),
        (State::Closed, Status::Ended),
        (State::Failed, Status::Unhealthy),
    ] {
        dial.state(state);
        monitor.sample();
        assert_eq!(monitor.health().status, status);
        assert_eq!(
            status.is_ok(),
            matches!(status, Status::Idle | Status::Healthy)
        );
    }
}

#[test]
fn own_rules_stand_beside_those_that_are_there() {
    let names = |config: MonitorConfig| -> BTreeMap<String, Condition> {
        let rules = config.rules.into_iter();
        rules.map(|rule| (rule.name, rule.condition)).collect()
    };
    let mine = MonitorConfig::client()
        .with_rule(too_much())
        .with_threshold("slow_connections", 1.0)
        .unwrap()
        .without_rule("low_success_rate");
    let mine = names(mine);
    assert_eq!(
        mine.keys().collect::<Vec<_>>(),
        ["load", "slow_connections"]
    );
    let slow = &mine["slow_connections"];
    assert!(matches!(slow, Condition::Threshold { threshold, .. } if *threshold == 1.0));
    // One of the same name takes the place of the other.
    let replaced =
        MonitorConfig::client().with_rule(Rule::state("slow_connections", [State::Closing]));
    let replaced = names(replaced);
    assert_eq!(replaced.len(), 2);
    assert!(matches!(
        replaced["slow_connections"],
        Condition::State { .. }
    ));
}

#[test]
fn configurations_are_data() {
    for config in [
        MonitorConfig::new(),
        MonitorConfig::client(),
        MonitorConfig::server(),
        MonitorConfig::datagrams().with_rule(Rule::issue("any", "")),
    ] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<MonitorConfig>(&text).unwrap(),
            config,
            "{text}"
        );
        config.validate().unwrap();
    }
    let short: MonitorConfig = serde_json::from_str(
        r#"{"window": 3, "rules": [{"name": "gone", "severity": "critical",
            "condition": {"state": {"states": ["closed", "failed"]}}}]}"#,
    )
    .unwrap();
    let gone = Rule::state("gone", [State::Closed, State::Failed]);
    let gone = gone.with_severity(Severity::Critical);
    assert_eq!(short, MonitorConfig::new().with_window(3).with_rule(gone));
    for wrong in [
        r#"{"windows": 3}"#,
        r#"{"rules": [{"name": "x", "condition": {"state": {"states": ["tired"]}}}]}"#,
    ] {
        serde_json::from_str::<MonitorConfig>(wrong).unwrap_err();
    }
}

#[test]
fn a_report_is_one_value_for_pages_and_exporters() {
    let dial = Dial::new("engine");
    let config = config().with_rule(too_much().with_message("{value}"));
    let monitor = Monitor::new(dial.clone(), config).unwrap();
    let empty = serde_json::to_value(monitor.report()).unwrap();
    assert_eq!(empty["health"]["status"], "unknown");
    assert!(empty["sample"].is_null());

    dial.set(&[("sent", 3)], &[("load", 0.5)]);
    monitor.sample();
    dial.set(&[("sent", 5)], &[("load", 10.5)]);
    monitor.sample();
    let report = serde_json::to_value(monitor.report()).unwrap();
    assert_eq!(
        (&report["kind"], &report["id"]),
        (&"engine".into(), &"7".into())
    );
    assert_eq!(report["monitoring"], false);
    assert_eq!(report["health"]["status"], "degraded");
    assert_eq!(report["health"]["reasons"][0], "10.50");
    let sample = &report["sample"];
    assert_eq!(sample["state"], "active");
    assert!(sample["at"].as_f64().unwrap() > 1e9);
    let [sent, load] = [&sample["figures"][0], &sample["figures"][1]];
    assert_eq!((&sent["name"], &sent["value"]), (&"sent".into(), &5.into()));
    assert_eq!(sent["increase"], 2);
    assert!(sent["rate"].as_f64().unwrap() > 0.0);
    assert_eq!((&load["value"], load.get("rate")), (&10.5.into(), None));
    assert_eq!(report["window"][1]["name"], "load");
    assert_eq!(report["window"][1]["max"], 10.5);
    assert_eq!(report["active"], report["alerts"]);
    let alert = &report["active"][0];
    assert_eq!(
        (&alert["rule"], &alert["severity"]),
        (&"load".into(), &"warning".into())
    );
    assert!(alert["since"].is_f64() && alert["cleared"].is_null());
    // Events are written likewise.
    let event = MonitorEvent::AlertRaised(monitor.active().remove(0));
    assert_eq!(serde_json::to_value(event).unwrap()["alert_raised"], *alert);
}

#[tokio::test]
async fn a_listener_that_is_too_slow_loses_the_oldest_and_is_told() {
    let (monitor, load) = loaded(config().with_rule(too_much()));
    let mut alerts = monitor.subscribe_alerts();
    load(11.0);
    for _ in 0..wt_core::events::CAPACITY {
        load(12.0);
    }
    // The first sample, its alert and the change of the health were pushed out by the samples behind them.
    let lagged = within(alerts.next()).await.unwrap().unwrap_err();
    assert_eq!(lagged.0, 3);
    load(0.0);
    // The three events of this sample have pushed out as many again.
    assert_eq!(within(alerts.next()).await.unwrap().unwrap_err().0, 3);
    let cleared = within(alerts.next()).await.unwrap().unwrap();
    assert!(!cleared.is_active());
}

#[test]
fn a_function_can_be_watched() {
    let watched = wt_core::observe::from_fn(|| Snapshot::new("cache", "x", State::Idle));
    let monitor = Monitor::new(watched, MonitorConfig::new()).unwrap();
    assert_eq!(monitor.sample().id, "x");
    assert_eq!(monitor.health().to_string(), "idle: Cache is not in use.");
    assert!(format!("{monitor:?}").contains("Idle"));
}
