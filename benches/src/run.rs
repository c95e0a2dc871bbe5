//! Runs the workloads: the stacks take turns, each run in processes of its own.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    stack::{Result, StackName},
    workload::{Effort, Figures, Kind, Who, Workload},
};

/// After which a run hangs that holds many sessions or streams.
const LONG_LIMIT: Duration = Duration::from_secs(120);

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Done(Figures),
    /// It did not end in time.
    Hangs,
    Failed(String),
}

/// All outcomes.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By workload and stack, one for each round.
    outcomes: BTreeMap<(&'static str, &'static str), Vec<Outcome>>,
}

impl Results {
    pub(crate) fn of(&self, workload: &str, stack: StackName) -> &[Outcome] {
        let found = self
            .outcomes
            .iter()
            .find(|((w, s), _)| *w == workload && *s == stack.as_str());
        found.map_or(&[], |(_, outcomes)| outcomes)
    }

    /// Says what went wrong.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for ((workload, stack), outcomes) in &self.outcomes {
            let rounds = outcomes.len();
            let hangs = outcomes
                .iter()
                .filter(|o| matches!(o, Outcome::Hangs))
                .count();
            if hangs > 0 {
                failures.push(format!(
                    "{stack}, {workload}: hangs in {hangs} of {rounds} rounds"
                ));
            }
            for outcome in outcomes {
                if let Outcome::Failed(why) = outcome {
                    failures.push(format!("{stack}, {workload}: {why}"));
                }
            }
        }
        failures.dedup();
        failures
    }
}

/// Runs all `workloads` on all `stacks`.
pub(crate) fn all(
    workloads: &[Workload],
    stacks: &[StackName],
    effort: Effort,
    flag: &str,
) -> Result<Results> {
    let mut results = Results::default();
    for workload in workloads {
        if is_too_large(workload, effort) {
            continue;
        }
        eprint!("{}", workload.name);
        let mut stacks: Vec<StackName> = stacks.to_vec();
        stacks.retain(|stack| takes_part(workload, *stack));
        let rounds = match workload.who {
            Who::Scaling => effort.scaling_rounds,
            Who::All | Who::Sharing => effort.rounds,
        };
        for _ in 0..rounds {
            for stack in stacks.clone() {
                eprint!(".");
                let outcome = one(workload, stack, flag, effort.limit)?;
                if matches!(outcome, Outcome::Hangs) {
                    // Once is enough: to wait for it takes longer than all others together.
                    stacks.retain(|other| *other != stack);
                }
                let key = (workload.name, stack.as_str());
                results.outcomes.entry(key).or_default().push(outcome);
            }
        }
        eprintln!();
    }
    Ok(results)
}

fn is_too_large(workload: &Workload, effort: Effort) -> bool {
    match workload.kind {
        Kind::ScaleSessions { count } | Kind::ScaleStreams { count } => count > effort.scale,
        _ => false,
    }
}

fn takes_part(workload: &Workload, stack: StackName) -> bool {
    use StackName as N;
    match (workload.who, workload.kind) {
        (Who::All, _) => true,
        (Who::Sharing, Kind::IdleShared) => stack == N::Wt,
        (Who::Sharing, _) => matches!(stack, N::Quinn | N::QuinnBatching | N::Wt | N::WtUnbatched),
        (Who::Scaling, _) => matches!(stack, N::Quinn | N::QuinnBatching | N::Wt),
    }
}

/// A process that ends with its handle.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(role: &str, workload: &Workload, stack: StackName, more: &[&str]) -> Result<Self> {
        let child = Command::new(env::current_exe()?)
            .args([role, stack.as_str(), "--workload", workload.name])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }
}

fn one(workload: &Workload, stack: StackName, flag: &str, limit: Duration) -> Result<Outcome> {
    let mut server = Process::start("--server", workload, stack, &[])?;
    let stdout = server.0.stdout.take().ok_or("no output")?;
    let mut address = String::new();
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut address)?;
    if address.is_empty() {
        return Ok(Outcome::Failed(format!(
            "its server: {}",
            last_words(&mut server)
        )));
    }

    let more = ["--address", address.trim(), flag];
    let mut client = Process::start("--client", workload, stack, &more)?;
    let mut stdout = client.0.stdout.take().ok_or("no output")?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text).map(|_| text);
        let _ = sender.send(read);
    });
    let limit = match workload.kind {
        Kind::ScaleSessions { .. } | Kind::ScaleStreams { .. } | Kind::Idle | Kind::IdleShared => {
            LONG_LIMIT
        }
        _ => limit,
    };
    let Ok(text) = receiver.recv_timeout(limit) else {
        return Ok(Outcome::Hangs);
    };
    // It has just sent its last word.
    let _ = reader.join();
    if client.0.wait()?.success() {
        parse(&text?).map(Outcome::Done)
    } else {
        Ok(Outcome::Failed(last_words(&mut client)))
    }
}

fn last_words(process: &mut Process) -> String {
    let mut text = String::new();
    let _ = process.0.kill();
    if let Some(stderr) = &mut process.0.stderr {
        // What cannot be read is missing from a message only.
        let _ = stderr.read_to_string(&mut text);
    }
    text.lines().last().unwrap_or("no word").to_owned()
}

/// Hands figures to the process that started this one.
pub(crate) fn print(figures: &Figures) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, value) in figures {
        writeln!(out, "{name} {value}")?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Figures> {
    let mut figures = Figures::new();
    for line in text.lines() {
        let (name, value) = line.split_once(' ').ok_or("a figure without a value")?;
        figures.insert(name.to_owned(), value.parse()?);
    }
    Ok(figures)
}
