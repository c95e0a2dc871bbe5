//! Tasks of the project; `cargo xtask --help` lists them.
//!
//! `cargo xtask ci` is the one check. Every other step can be run alone, by its name and with
//! further arguments for the command behind it.

mod compliance;
mod examples;
mod fuzz;
mod setup;
mod steps;

use std::env;
use std::process::ExitCode;

use steps::{OTHERS, STEPS, Step};

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let task = args.next().unwrap_or_else(|| "--help".to_owned());
    let rest: Vec<String> = args.collect();

    let outcome = match (task.as_str(), steps::find(&task)) {
        ("--help" | "-h" | "help", _) => {
            print!("{}", help());
            Ok(())
        }
        ("ci", _) if rest.is_empty() => ci(),
        ("setup", _) if rest.is_empty() => setup::run().and_then(|missing| missing.report()),
        ("setup", _) if rest == ["--fuzz"] => setup::run_fuzz(),
        ("setup", _) => Err("`cargo xtask setup` takes no argument but --fuzz".to_owned()),
        ("compliance", _) if rest.is_empty() => compliance::run(),
        ("fuzz", _) => fuzz::run(&rest),
        ("ci" | "compliance", _) => Err(format!("`cargo xtask {task}` takes no arguments")),
        (_, Some(step)) => step.run(&rest),
        (_, None) => Err(format!(
            "no task is called `{task}`; see `cargo xtask --help`"
        )),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything, cheapest first, and the tests last, so that their summary ends the output.
fn ci() -> Result<(), String> {
    let missing = setup::run()?;
    missing.report()?;
    compliance::run()?;
    for step in STEPS {
        if let Some(why) = missing.stops(step.name) {
            println!("\n==> {}: skipped, {why}", step.name);
        } else {
            step.run(&[])?;
        }
    }
    Ok(())
}

fn help() -> String {
    let mut text = String::from(
        "Tasks of the project.\n\n\
         Usage: cargo xtask TASK [ARGS]...\n\n\
         Tasks:\n\
         \x20 ci          the one check: setup, then every step below up to test; stops at the first failure\n\
         \x20 setup       install what a bare machine lacks; safe to run again; --fuzz: what fuzzing needs\n\
         \x20 compliance  every module and test that docs/compliance.md names exists; counts the rules\n",
    );
    for Step { name, about, .. } in STEPS.iter().chain(OTHERS) {
        text.push_str(&format!("  {name:<10}  {about}\n"));
    }
    text.push_str(
        "  fuzz        run every fuzz target in turn; --seconds N for each, --target NAME for one\n\
         \nARGS are handed on to the step's last command: `cargo xtask test -p wt-proto varint`.\n\
         With CI=true in the environment, what would be skipped is a failure.\n",
    );
    text
}
