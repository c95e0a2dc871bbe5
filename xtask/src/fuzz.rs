//! Runs the fuzz targets.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{setup, steps};

/// How long each target runs when nothing is said.
const SECONDS: u32 = 60;

/// Inputs are not made longer than this: what can be found has shown itself by then.
const LONGEST: u32 = 2048;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    seconds: u32,
    target: Option<String>,
}

/// What a target said at its end.
struct Report {
    executions: Option<u64>,
    /// The last words of a target that failed.
    failure: Option<String>,
}

/// Runs all targets in turn, or one, and says what came of it.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let request = parse(args)?;
    if let Some(lack) = setup::fuzz_lacks() {
        return Err(lack);
    }
    let mut targets = targets()?;
    if let Some(wanted) = &request.target {
        targets.retain(|target| target == wanted);
        if targets.is_empty() {
            return Err(format!("no fuzz target is called `{wanted}`"));
        }
    }
    println!("==> fuzz: building");
    let built = cargo_fuzz("build").status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("the fuzz targets do not build".to_owned());
    }
    let mut failed = Vec::new();
    for target in targets {
        let started = Instant::now();
        let report = fuzz(&target, request.seconds)?;
        let executions = match report.executions {
            Some(count) => format!("{count} executions"),
            None => "executions not told".to_owned(),
        };
        let outcome = if report.failure.is_some() {
            "FAILED"
        } else {
            "ok"
        };
        let seconds = started.elapsed().as_secs();
        println!("    {target:<15} {outcome:<6} {seconds:>5} s  {executions}");
        if let Some(words) = report.failure {
            println!("{words}");
            failed.push(target);
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{} failed; the inputs are in fuzz/artifacts, fuzz/README.md says how to go on",
            failed.join(", ")
        ))
    }
}

fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request {
        seconds: SECONDS,
        target: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(format!("{arg} needs a value"))?;
        match arg.as_str() {
            "--seconds" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                request.seconds = seconds.ok_or(format!("{value} is no number of seconds"))?;
            }
            "--target" => request.target = Some(value.clone()),
            _ => return Err(format!("`cargo xtask fuzz` does not know {arg}")),
        }
    }
    Ok(request)
}

/// The names of the targets.
fn targets() -> Result<Vec<String>, String> {
    let folder = setup::root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some(path.file_stem()?.to_str()?.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// A subcommand of cargo-fuzz, with nightly.
///
/// No sanitizer: the crate forbids `unsafe`, and without one a target runs several times as often. Debug assertions
/// and overflow checks are on.
fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = steps::prepared("rustup");
    command
        .args(["run", "nightly", "cargo", "fuzz", subcommand])
        .args(["--sanitizer", "none", "--target-dir", "target/fuzz"])
        .current_dir(setup::root());
    command
}

/// Runs one target from its seeds and from what earlier runs found.
fn fuzz(target: &str, seconds: u32) -> Result<Report, String> {
    let found = format!("target/fuzz-corpus/{target}");
    fs::create_dir_all(setup::root().join(&found)).map_err(|error| format!("{found}: {error}"))?;
    let output = cargo_fuzz("run")
        .args([target, &found, &format!("fuzz/corpus/{target}"), "--"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("rustup does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    Ok(Report {
        executions: executions(&text),
        failure: (!output.status.success()).then(|| last_words(&text)),
    })
}

/// What libFuzzer counted.
fn executions(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// The panic and what follows it, or the end of the text.
fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at"));
    let from = panic.unwrap_or(lines.len().saturating_sub(20));
    lines[from..]
        .iter()
        .take(20)
        .map(|line| format!("    {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(args: &[&str]) -> Result<Request, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        parse(&args)
    }

    #[test]
    fn arguments() {
        let asked = request(&["--seconds", "7", "--target", "frames"]).unwrap();
        assert_eq!(asked.seconds, 7);
        assert_eq!(asked.target.as_deref(), Some("frames"));
        assert_eq!(request(&[]).unwrap().seconds, SECONDS);
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--jobs", "2"]] {
            assert!(request(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_has_seeds() {
        for target in targets().unwrap() {
            assert!(
                setup::root().join("fuzz/corpus").join(&target).is_dir(),
                "{target}"
            );
        }
    }

    #[test]
    fn what_libfuzzer_says() {
        let text = "x\nstat::number_of_executed_units: 123\n";
        assert_eq!(executions(text), Some(123));
        assert_eq!(executions("Done"), None);
        let panic = "INFO: a\nthread '<unnamed>' panicked at src/pair.rs:1:2:\nwhy\n";
        assert!(last_words(panic).contains("why") && !last_words(panic).contains("INFO"));
    }
}
