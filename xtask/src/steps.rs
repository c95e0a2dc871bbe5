//! The steps of the check, each a list of cargo commands.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::Instant;

use crate::{examples, setup};

/// One named piece of the check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Arguments for cargo; one command each.
    commands: &'static [&'static [&'static str]],
    env: &'static [(&'static str, &'static str)],
    /// What to say besides the command when it fails.
    advice: &'static str,
    /// What is done after the commands.
    then: fn() -> Result<(), String>,
}

/// For steps that are over with their commands.
fn nothing() -> Result<(), String> {
    Ok(())
}

/// In the order in which `ci` runs them.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "formatting is rustfmt's",
        commands: &[&["fmt", "--all", "--check"]],
        env: &[],
        advice: "`cargo fmt --all` mends it",
        then: nothing,
    },
    Step {
        name: "clippy",
        about: "no warning from the compiler or clippy, tests and examples included",
        commands: &[&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]],
        env: &[],
        advice: "",
        then: nothing,
    },
    Step {
        name: "features",
        about: "each feature of each crate builds with each cryptography alone, without warnings",
        commands: &[&[
            "hack",
            "clippy",
            "--workspace",
            "--ignore-private",
            "--feature-powerset",
            "--depth",
            "2",
            // Without cryptography nothing above wt-proto can be built.
            "--at-least-one-of",
            "ring,aws-lc-rs",
            "--exclude-features",
            "default",
            "--exclude-all-features",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]],
        env: &[],
        advice: "",
        then: nothing,
    },
    Step {
        name: "docs",
        about: "the documentation builds without warnings, links included",
        commands: &[&[
            "doc",
            "--workspace",
            "--no-deps",
            "--all-features",
            "--locked",
        ]],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
        advice: "",
        then: nothing,
    },
    Step {
        name: "deny",
        about: "licences, duplicate and banned crates, sources of crates",
        commands: &[&[
            "deny",
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ]],
        env: &[],
        advice: "what is allowed stands in deny.toml",
        then: nothing,
    },
    Step {
        name: "doctest",
        about: "the examples in the documentation compile and run",
        commands: &[&["test", "--doc", "--workspace", "--locked"]],
        env: &[],
        advice: "",
        then: nothing,
    },
    Step {
        name: "examples",
        about: "every example of the facade runs to its end by itself",
        commands: &[&[
            "build",
            "--package",
            "wt",
            "--examples",
            // Cargo leaves out examples of layers that are off.
            "--features",
            "client,server,datagram,messaging,msgpack,protobuf,dashboard,prometheus",
            "--locked",
        ]],
        env: &[],
        advice: "`cargo run -p wt --example NAME` runs one",
        then: examples::run,
    },
    Step {
        name: "test",
        about: "all other tests, those in Chromium and Firefox among them",
        // The browser tests start the binary; built here, its build is not part of their time.
        commands: &[
            &["build", "--package", "wtctl", "--locked"],
            &["nextest", "run", "--workspace", "--locked"],
        ],
        env: &[],
        advice: "",
        then: nothing,
    },
];

/// Not part of the check.
pub(crate) const OTHERS: &[Step] = &[ADVISORIES, BENCH];

/// It needs the network, and its answer changes from day to day.
const ADVISORIES: Step = Step {
    name: "advisories",
    about: "known vulnerabilities in dependencies; not in ci, since it fetches their database",
    commands: &[&["deny", "--log-level", "error", "check", "advisories"]],
    env: &[],
    advice: "the database of advisories has to be fetched: where that is not possible, this says nothing about the dependencies",
    then: nothing,
};

/// It takes minutes, and other work on the machine changes its figures.
const BENCH: Step = Step {
    name: "bench",
    about: "speed beside QUIC alone and the peers; --quick or --full, --only WORKLOAD, --stacks A,B; not in ci",
    commands: &[&[
        "run",
        "--release",
        "--quiet",
        "--package",
        "wt-benches",
        "--locked",
        "--",
        "--write",
        "docs/performance.md",
    ]],
    env: &[],
    advice: "",
    then: nothing,
};

pub(crate) fn find(name: &str) -> Option<&'static Step> {
    STEPS.iter().chain(OTHERS).find(|step| step.name == name)
}

impl Step {
    /// Runs the commands in order, `extra` handed to the last one.
    pub(crate) fn run(&self, extra: &[String]) -> Result<(), String> {
        let started = Instant::now();
        for (index, args) in self.commands.iter().enumerate() {
            let extra = if index + 1 == self.commands.len() {
                extra
            } else {
                &[]
            };
            let args: Vec<&str> = args
                .iter()
                .copied()
                .chain(extra.iter().map(String::as_str))
                .collect();
            println!("\n==> {}: cargo {}", self.name, args.join(" "));
            let status = cargo()
                .args(&args)
                .envs(self.env.iter().copied())
                .current_dir(setup::root())
                .status()
                .map_err(|error| format!("cargo does not start: {error}"))?;
            if !status.success() {
                return Err(self.failure(extra));
            }
        }
        (self.then)().map_err(|why| format!("{why}\n       {}", self.failure(extra)))?;
        // The tests' own summary is the last word.
        if self.name != "test" {
            println!(
                "    {}: {:.1} s",
                self.name,
                started.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    fn failure(&self, extra: &[String]) -> String {
        let mut message = format!(
            "{} failed; to run it again: cargo xtask {}",
            self.name, self.name
        );
        for arg in extra {
            message.push(' ');
            message.push_str(arg);
        }
        if !self.advice.is_empty() {
            message.push_str(&format!("\n       {}", self.advice));
        }
        message
    }
}

/// Cargo, with the tools that setup installed in reach of it.
fn cargo() -> Command {
    prepared(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// A program that runs as if it were started by hand, not by cargo, with the tools in reach.
pub(crate) fn prepared(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", setup::path_with_tools());
    // What cargo told this program about its own package would make some build scripts run again
    // after each change between `cargo xtask` and plain cargo.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_the_last_step() {
        assert_eq!(STEPS.last().map(|step| step.name), Some("test"));
    }

    #[test]
    fn every_step_is_found_by_its_own_name() {
        for step in STEPS.iter().chain(OTHERS) {
            assert_eq!(find(step.name).map(|found| found.about), Some(step.about));
        }
        assert!(find("ci").is_none());
    }

    #[test]
    fn a_failure_says_how_to_run_the_step_again() {
        let step = find("fmt").unwrap();
        let message = step.failure(&["--verbose".to_owned()]);
        assert!(message.contains("cargo xtask fmt --verbose"), "{message}");
    }
}
