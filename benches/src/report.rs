//! The tables.

use std::{fmt::Write, fs, path::Path};

use time::OffsetDateTime;

use crate::{
    run::{Outcome, Results},
    stack::{Result, StackName},
    workload::{Effort, WORKLOADS},
};

/// What the others are measured by.
const BASE: StackName = StackName::Quinn;

/// A line of the table: one figure of one workload.
struct Line {
    workload: &'static str,
    figure: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    /// Percent, or a count: shown as it is.
    Plain,
}

const fn line(
    workload: &'static str,
    figure: &'static str,
    title: &'static str,
    unit: &'static str,
    better: Better,
) -> Line {
    Line {
        workload,
        figure,
        title,
        unit,
        better,
    }
}

const LINES: &[Line] = {
    use Better::{Less, More, Plain};
    &[
        line("upload", "cpu", "upload, CPU", "s/GiB", Less),
        line("upload", "rate", "upload", "MiB/s", More),
        line("download", "cpu", "download, CPU", "s/GiB", Less),
        line("download", "rate", "download", "MiB/s", More),
        line("duplex", "cpu", "both ways, CPU", "s/GiB", Less),
        line("duplex", "rate", "both ways", "MiB/s", More),
        line(
            "streams-1000",
            "cpu",
            "1000 streams of 64 KiB at once, CPU",
            "s/GiB",
            Less,
        ),
        line(
            "streams-1000",
            "rate",
            "1000 streams of 64 KiB at once",
            "MiB/s",
            More,
        ),
        line("request-64", "p50", "64 B request, p50", "µs", Less),
        line("request-64", "cpu", "64 B request, CPU", "µs", Less),
        line("request-1k", "p50", "1 KiB request, p50", "µs", Less),
        line("request-1k", "cpu", "1 KiB request, CPU", "µs", Less),
        line(
            "request-64-x64",
            "rate",
            "64 B requests, 64 in flight",
            "1/s",
            More,
        ),
        line(
            "request-64-x64",
            "cpu",
            "64 B requests, 64 in flight, CPU",
            "µs",
            Less,
        ),
        line(
            "request-64-x64",
            "server_cpu",
            "64 B requests, 64 in flight, server's CPU",
            "µs",
            Less,
        ),
        line(
            "request-64-x64",
            "packets",
            "64 B requests, 64 in flight, client's packets",
            "each",
            Plain,
        ),
        line(
            "request-1k-x64",
            "rate",
            "1 KiB requests, 64 in flight",
            "1/s",
            More,
        ),
        line(
            "request-1k-x64",
            "cpu",
            "1 KiB requests, 64 in flight, CPU",
            "µs",
            Less,
        ),
        line(
            "request-64-shared",
            "rate",
            "64 B requests, 8 sessions on a connection",
            "1/s",
            More,
        ),
        line(
            "request-64-shared",
            "cpu",
            "64 B requests, 8 sessions on a connection, CPU",
            "µs",
            Less,
        ),
        line(
            "uni-1k-x64",
            "rate",
            "1 KiB uni streams, 64 in flight",
            "1/s",
            More,
        ),
        line(
            "uni-1k-x64",
            "cpu",
            "1 KiB uni streams, 64 in flight, CPU",
            "µs",
            Less,
        ),
        line(
            "datagram-64",
            "rate",
            "64 B datagrams delivered",
            "1/s",
            More,
        ),
        line("datagram-64", "cpu", "64 B datagrams, CPU", "µs", Less),
        line("datagram-64", "loss", "64 B datagrams lost", "%", Plain),
        line(
            "datagram-1200",
            "rate",
            "1200 B datagrams delivered",
            "1/s",
            More,
        ),
        line("datagram-1200", "cpu", "1200 B datagrams, CPU", "µs", Less),
        line("datagram-1200", "loss", "1200 B datagrams lost", "%", Plain),
        line(
            "datagram-echo",
            "p50",
            "datagram round trip, p50",
            "µs",
            Less,
        ),
        line(
            "connect",
            "rate",
            "sessions set up, one by one",
            "1/s",
            More,
        ),
        line(
            "connect",
            "cpu",
            "sessions set up, one by one, CPU",
            "µs",
            Less,
        ),
        line(
            "connect-x16",
            "rate",
            "sessions set up, 16 at once",
            "1/s",
            More,
        ),
        line(
            "connect-x16",
            "cpu",
            "sessions set up, 16 at once, CPU",
            "µs",
            Less,
        ),
        line("first-answer", "p50", "first answer, p50", "µs", Less),
        line(
            "idle",
            "memory",
            "idle session, server's memory",
            "KiB",
            Less,
        ),
        line(
            "idle-shared",
            "memory",
            "second and later session on a connection, server's memory",
            "KiB",
            Plain,
        ),
        line(
            "sessions-10",
            "set_up",
            "set-up beside 10 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-100",
            "set_up",
            "set-up beside 100 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-1000",
            "set_up",
            "set-up beside 1000 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-5000",
            "set_up",
            "set-up beside 5000 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-10",
            "cpu",
            "request on one of 10 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-100",
            "cpu",
            "request on one of 100 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-1000",
            "cpu",
            "request on one of 1000 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "sessions-5000",
            "cpu",
            "request on one of 5000 sessions, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-10",
            "request",
            "64 B request beside 10 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-100",
            "request",
            "64 B request beside 100 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-1000",
            "request",
            "64 B request beside 1000 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-10000",
            "request",
            "64 B request beside 10000 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-10",
            "cpu",
            "64 B echo on one of 10 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-100",
            "cpu",
            "64 B echo on one of 100 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-1000",
            "cpu",
            "64 B echo on one of 1000 open streams, CPU",
            "µs",
            Less,
        ),
        line(
            "streams-open-10000",
            "cpu",
            "64 B echo on one of 10000 open streams, CPU",
            "µs",
            Less,
        ),
    ]
};

/// What this stack has to reach.
struct Bar {
    workload: &'static str,
    figure: &'static str,
    title: &'static str,
    base: StackName,
    at: At,
}

enum At {
    Least(f64),
    Most(f64),
}

const fn bar(
    workload: &'static str,
    figure: &'static str,
    title: &'static str,
    base: StackName,
    at: At,
) -> Bar {
    Bar {
        workload,
        figure,
        title,
        base,
        at,
    }
}

const BARS: &[Bar] = {
    use At::{Least, Most};
    use StackName::{Quinn, QuinnBatching};
    &[
        bar("upload", "cpu", "upload, CPU", Quinn, Most(1.03)),
        bar("download", "cpu", "download, CPU", Quinn, Most(1.03)),
        bar("request-64", "p50", "64 B request, p50", Quinn, Most(1.05)),
        bar(
            "request-64-x64",
            "rate",
            "64 B requests, 64 in flight",
            Quinn,
            Least(1.3),
        ),
        bar(
            "request-64-x64",
            "rate",
            "64 B requests, 64 in flight",
            QuinnBatching,
            Least(0.97),
        ),
        bar(
            "datagram-64",
            "rate",
            "64 B datagrams delivered",
            Quinn,
            Least(0.97),
        ),
        bar(
            "datagram-1200",
            "rate",
            "1200 B datagrams delivered",
            Quinn,
            Least(0.97),
        ),
        bar(
            "connect",
            "rate",
            "sessions set up, one by one",
            Quinn,
            Least(0.85),
        ),
        bar(
            "connect-x16",
            "rate",
            "sessions set up, 16 at once",
            Quinn,
            Least(0.85),
        ),
        bar(
            "first-answer",
            "p50",
            "first answer, p50",
            Quinn,
            Most(1.15),
        ),
        bar(
            "idle",
            "memory",
            "idle session, server's memory",
            Quinn,
            Most(1.10),
        ),
    ]
};

/// Writes everything as Markdown.
pub(crate) fn markdown(
    results: &Results,
    stacks: &[StackName],
    effort: Effort,
    flag: &str,
) -> String {
    let mut text = heading(effort, flag);
    table(&mut text, results, stacks);
    bars(&mut text, results);
    let failures = results.failures();
    if !failures.is_empty() {
        text.push_str("\nRuns that did not end as they should:\n\n");
        for failure in failures {
            let _ = writeln!(text, "- {failure}");
        }
    }
    text
}

fn heading(effort: Effort, flag: &str) -> String {
    let now = OffsetDateTime::now_utc();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("CPU of unknown model", |(_, model)| model);
    let kernel = read("/proc/sys/kernel/osrelease");
    let versions: Vec<String> = [
        "quinn",
        "quinn-proto",
        "rustls",
        "tokio",
        "wtransport",
        "web-transport-quinn",
    ]
    .into_iter()
    .map(|name| format!("{name} {}", version(name)))
    .collect();
    format!(
        "`cargo xtask bench {flag}` on {}-{:02}-{:02}; {cores} cores, {}, {} {}; wt {}, {}; medians of {} rounds.\n\n",
        now.year(),
        u8::from(now.month()),
        now.day(),
        model.trim(),
        std::env::consts::OS,
        kernel.trim(),
        version("wt"),
        versions.join(", "),
        effort.rounds,
    )
}

/// Finds the version of a crate in the lock file that this program was built with.
fn version(name: &str) -> &'static str {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let mut lines = LOCK.lines();
    let wanted = format!("name = {name:?}");
    lines.find(|line| *line == wanted);
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = "));
    version.map_or("?", |version| version.trim_matches('"'))
}

fn table(text: &mut String, results: &Results, stacks: &[StackName]) {
    let others: Vec<StackName> = stacks.iter().copied().filter(|&s| s != BASE).collect();
    let _ = write!(text, "| | {} |", BASE.as_str());
    for stack in &others {
        let _ = write!(text, " {} |", stack.as_str());
    }
    text.push_str("\n|---|--:|");
    text.push_str(&"--:|".repeat(others.len()));
    text.push('\n');
    for line in LINES {
        let shown = stacks
            .iter()
            .any(|&stack| !results.of(line.workload, stack).is_empty());
        if !shown {
            continue;
        }
        let _ = write!(
            text,
            "| {} | {} |",
            line.title,
            absolute(results, line, BASE)
        );
        for &stack in &others {
            let _ = write!(text, " {} |", cell(results, line, stack));
        }
        text.push('\n');
    }
}

fn values(results: &Results, workload: &str, figure: &str, stack: StackName) -> Vec<Option<f64>> {
    let one = |outcome: &Outcome| match outcome {
        Outcome::Done(figures) => figures.get(figure).copied(),
        _ => None,
    };
    results.of(workload, stack).iter().map(one).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => values.get(middle).copied(),
        _ => Some((values.get(middle - 1)? + values.get(middle)?) / 2.0),
    }
}

/// The median of the ratios to `base` in the same round.
fn ratio(
    results: &Results,
    workload: &str,
    figure: &str,
    stack: StackName,
    base: StackName,
) -> Option<f64> {
    let values_of = |stack| values(results, workload, figure, stack);
    let pairs = values_of(stack).into_iter().zip(values_of(base));
    median(
        pairs
            .filter_map(|(value, base)| Some(value? / base?))
            .collect(),
    )
}

fn absolute(results: &Results, line: &Line, stack: StackName) -> String {
    let found = values(results, line.workload, line.figure, stack);
    if found.is_empty() {
        return "–".to_owned();
    }
    match median(found.into_iter().flatten().collect()) {
        Some(value) if line.unit == "1/s" || line.unit == "MiB/s" => {
            format!("{value:.0} {}", line.unit)
        }
        Some(value) if value >= 100.0 => format!("{value:.0} {}", line.unit),
        Some(value) => format!("{value:.2} {}", line.unit),
        None if results
            .of(line.workload, stack)
            .iter()
            .any(|o| matches!(o, Outcome::Hangs)) =>
        {
            "hangs".to_owned()
        }
        None => "fails".to_owned(),
    }
}

fn cell(results: &Results, line: &Line, stack: StackName) -> String {
    let plain = line.better == Better::Plain;
    match ratio(results, line.workload, line.figure, stack, BASE) {
        Some(ratio) if !plain => format!("{ratio:.2}"),
        _ => absolute(results, line, stack),
    }
}

fn bars(text: &mut String, results: &Results) {
    let stack = StackName::Wt;
    let mut rows = String::new();
    for bar in BARS {
        let Some(ratio) = ratio(results, bar.workload, bar.figure, stack, bar.base) else {
            continue;
        };
        let (wanted, reached) = match bar.at {
            At::Least(least) => (format!("≥ {least}"), ratio >= least),
            At::Most(most) => (format!("≤ {most}"), ratio <= most),
        };
        let reached = if reached { "yes" } else { "**no**" };
        let (title, base) = (bar.title, bar.base.as_str());
        let _ = writeln!(
            rows,
            "| {title}, to {base} | {wanted} | {ratio:.2} | {reached} |"
        );
    }
    if let Some(kib) = median(
        values(results, "idle-shared", "memory", stack)
            .into_iter()
            .flatten()
            .collect(),
    ) {
        let reached = if kib <= 4.0 { "yes" } else { "**no**" };
        let _ = writeln!(
            rows,
            "| second and later session on a connection | ≤ 4 KiB | {kib:.1} KiB | {reached} |"
        );
    }
    growth(&mut rows, results, "sessions-", &["set_up", "cpu"]);
    growth(&mut rows, results, "streams-open-", &["request", "cpu"]);
    peers(&mut rows, results);
    if !rows.is_empty() {
        let _ = write!(
            text,
            "\n| Bar | wanted | measured | reached |\n|---|--:|--:|---|\n{rows}"
        );
    }
}

/// How much more one costs when there are many than when there are few, beside QUIC alone on the same runtime.
fn growth(rows: &mut String, results: &Results, prefix: &str, figures: &[&str]) {
    for figure in figures {
        let ratios: Vec<(&str, f64)> = WORKLOADS
            .iter()
            .filter(|workload| workload.name.starts_with(prefix))
            .filter_map(|workload| {
                let quic = StackName::QuinnBatching;
                let ratio = ratio(results, workload.name, figure, StackName::Wt, quic)?;
                Some((workload.name, ratio))
            })
            .collect();
        if let [(few, first), .., (many, last)] = ratios[..] {
            let growth = last / first;
            let reached = if growth <= 1.10 { "yes" } else { "**no**" };
            let line = LINES
                .iter()
                .find(|l| l.workload == few && l.figure == *figure);
            let title = line.map_or(few, |line| line.title);
            let count = many.trim_start_matches(prefix);
            let _ = writeln!(
                rows,
                "| {title}: with {count} more by, beyond QUIC's own growth | ≤ 1.10 | {growth:.2} | {reached} |"
            );
        }
    }
}

/// In how many lines this stack is ahead of a peer.
fn peers(rows: &mut String, results: &Results) {
    for peer in [StackName::Wtransport, StackName::WebTransportQuinn] {
        let mut behind = Vec::new();
        let mut compared = 0;
        for line in LINES.iter().filter(|line| line.better != Better::Plain) {
            let Some(ratio) = ratio(results, line.workload, line.figure, StackName::Wt, peer)
            else {
                continue;
            };
            compared += 1;
            let ahead = if line.better == Better::More {
                ratio >= 1.0
            } else {
                ratio <= 1.0
            };
            if !ahead {
                behind.push(format!("{} ({ratio:.2})", line.title));
            }
        }
        if compared > 0 {
            let measured = format!("{} of {compared}", compared - behind.len());
            let reached = if behind.is_empty() {
                "yes".to_owned()
            } else {
                format!("**no**: {}", behind.join("; "))
            };
            let _ = writeln!(
                rows,
                "| ahead of {} | all | {measured} | {reached} |",
                peer.as_str()
            );
        }
    }
}

const BEGIN: &str = "<!-- begin of what `cargo xtask bench` writes -->";
const END: &str = "<!-- end of what `cargo xtask bench` writes -->";

/// Replaces what stands between the markers of a file.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    let old = fs::read_to_string(file)?;
    let missing = || format!("{} has no place for the tables", file.display());
    let (before, rest) = old.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(file, format!("{before}{BEGIN}\n\n{text}\n{END}{after}"))?;
    Ok(())
}
