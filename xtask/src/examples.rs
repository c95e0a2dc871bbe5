//! Runs the examples of the facade, as somebody who looks at them would.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{setup, steps};

/// The longest that an example may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Servers that run until they are stopped, and the clients that go with them. The last line that such a server says
/// at its start is how to call the client, its arguments behind ` -- `.
const PAIRS: &[(&str, &str)] = &[("echo_server", "echo_client")];

/// Runs each example in turn; the first that fails or takes too long is an error.
pub(crate) fn run() -> Result<(), String> {
    let folder = setup::root().join("crates/wt/examples");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    for name in &names {
        if PAIRS.iter().any(|(_, client)| client == name) {
            continue;
        }
        let started = Instant::now();
        match PAIRS.iter().find(|(server, _)| server == name) {
            Some((server, client)) => pair(server, client)?,
            None => finish(name, start(name, &[], Stdio::inherit())?)?,
        }
        println!("    {name}: {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Runs a server and its client, until the client is done.
fn pair(server: &str, client: &str) -> Result<(), String> {
    let mut running = start(server, &["127.0.0.1:0"], Stdio::piped())?;
    let output = running.0.stdout.take();
    let lines = output
        .into_iter()
        .flat_map(|output| BufReader::new(output).lines());
    let mut lines = lines.map_while(Result::ok);
    let line = lines.find_map(|line| Some(line.split_once(" -- ")?.1.to_owned()));
    let line = line.ok_or_else(|| format!("the example {server} does not say how to call it"))?;
    let args: Vec<&str> = line.split_whitespace().collect();
    finish(client, start(client, &args, Stdio::inherit())?)
}

/// An example that does not outlive this program.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly it is over, and there is nothing to stop.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(name: &str, args: &[&str], output: Stdio) -> Result<Running, String> {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program: PathBuf = setup::target().join("debug/examples").join(file);
    println!("\n    {name} {}", args.join(" "));
    let mut command: Command = steps::prepared(&program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(output)
        .current_dir(setup::root());
    let child = command.spawn();
    child.map(Running).map_err(|error| {
        format!(
            "the example {name} does not start: {}: {error}",
            program.display()
        )
    })
}

/// Waits for the end of an example.
fn finish(name: &str, mut running: Running) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let status = running.0.try_wait();
        match status.map_err(|error| format!("the example {name}: {error}"))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("the example {name} failed: {status}")),
            None if started.elapsed() > LIMIT => {
                return Err(format!("the example {name} is not over after {LIMIT:?}"));
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}
