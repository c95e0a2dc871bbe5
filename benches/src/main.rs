//! Compares this stack with QUIC alone and with its peers, on the same workloads in one run.
//!
//! `cargo xtask bench` builds and runs it. For each workload and each round the stacks take turns,
//! each with a server and a client process of its own; see `docs/performance.md`.

mod process;
mod report;
mod run;
#[path = "../../crates/wt-core/src/runtime/mod.rs"]
mod runtime;
mod server;
mod stack;
mod tls;
mod workload;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

use crate::{
    server::Address,
    stack::{Quinn, Result, Settings, StackName, WebTransportQuinn, Wt, Wtransport},
    workload::{Effort, Figures, WORKLOADS, Workload},
};

/// Compares WebTransport stacks with each other and with QUIC alone.
#[derive(Debug, Parser)]
struct Args {
    /// Takes under two minutes.
    #[arg(long, group = "effort")]
    quick: bool,
    /// Takes about half an hour; its figures are the better ones.
    #[arg(long, group = "effort")]
    full: bool,
    /// Shows only that everything works.
    #[arg(long, group = "effort")]
    smoke: bool,
    /// Runs only the workloads with these words in their names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Compares only these.
    #[arg(long, value_delimiter = ',')]
    stacks: Vec<StackName>,
    /// Runs so many rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Writes the tables between the markers in this file, unless only a part is run.
    #[arg(long)]
    write: Option<PathBuf>,
    #[command(flatten)]
    inner: Inner,
}

/// How the program starts itself.
#[derive(Debug, clap::Args)]
struct Inner {
    #[arg(long, hide = true)]
    server: Option<StackName>,
    #[arg(long, hide = true)]
    client: Option<StackName>,
    #[arg(long, hide = true)]
    workload: Option<String>,
    #[arg(long, hide = true)]
    address: Option<String>,
}

impl Args {
    const fn effort(&self) -> Effort {
        if self.smoke {
            Effort::SMOKE
        } else if self.full {
            Effort::FULL
        } else {
            Effort::QUICK
        }
    }

    const fn effort_flag(&self) -> &'static str {
        if self.smoke {
            "--smoke"
        } else if self.full {
            "--full"
        } else {
            "--quick"
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<()> {
    let (stack, is_server) = match (args.inner.server, args.inner.client) {
        (Some(stack), _) => (stack, true),
        (None, Some(stack)) => (stack, false),
        (None, None) => return compare(args),
    };
    let name = args.inner.workload.as_deref().unwrap_or_default();
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let workload = *workload.ok_or_else(|| format!("no workload is called {name:?}"))?;
    let settings = Settings {
        streams: workload.streams,
        batches: stack.batches(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Without optimisation the futures of workloads take more than the 2 MiB that a worker has.
        .thread_stack_size(8 << 20)
        .build()?;
    let (address, effort) = (args.inner.address.clone(), args.effort());
    // In a task: the thread that blocks is none of those that drive connections.
    let task = runtime.spawn(async move {
        if is_server {
            serve(stack, settings, workload).await
        } else {
            let address = Address::from_words(&address.unwrap_or_default())?;
            let figures = measure(stack, settings, workload, &address, effort).await?;
            run::print(&figures)
        }
    });
    runtime.block_on(task)??;
    // Nobody has to be told that this process ends.
    std::process::exit(0);
}

async fn serve(stack: StackName, settings: Settings, workload: Workload) -> Result<()> {
    use StackName as N;
    let idle = workload.kind.idle();
    match stack {
        N::Quinn | N::QuinnBatching => server::run::<Quinn>(settings, idle).await,
        N::Wt | N::WtUnbatched => server::run::<Wt>(settings, idle).await,
        N::Wtransport => server::run::<Wtransport>(settings, idle).await,
        N::WebTransportQuinn => server::run::<WebTransportQuinn>(settings, idle).await,
    }
}

async fn measure(
    stack: StackName,
    settings: Settings,
    workload: Workload,
    address: &Address,
    effort: Effort,
) -> Result<Figures> {
    use StackName as N;
    let kind = workload.kind;
    match stack {
        N::Quinn | N::QuinnBatching => {
            workload::run::<Quinn>(kind, address, settings, effort).await
        }
        N::Wt | N::WtUnbatched => workload::run::<Wt>(kind, address, settings, effort).await,
        N::Wtransport => workload::run::<Wtransport>(kind, address, settings, effort).await,
        N::WebTransportQuinn => {
            workload::run::<WebTransportQuinn>(kind, address, settings, effort).await
        }
    }
}

fn compare(args: &Args) -> Result<()> {
    let mut effort = args.effort();
    if let Some(rounds) = args.rounds {
        effort.rounds = rounds;
        effort.scaling_rounds = rounds;
    }
    let stacks = if args.stacks.is_empty() {
        StackName::value_variants()
    } else {
        &args.stacks
    };
    let selected = |workload: &&Workload| {
        args.only.is_empty() || args.only.iter().any(|word| workload.name.contains(word))
    };
    let workloads: Vec<Workload> = WORKLOADS.iter().filter(selected).copied().collect();
    if workloads.is_empty() {
        return Err("no workload has such a name".into());
    }
    let results = run::all(&workloads, stacks, effort, args.effort_flag())?;
    let text = report::markdown(&results, stacks, effort, args.effort_flag());
    println!("{text}");
    let whole = args.only.is_empty() && args.stacks.is_empty() && !args.smoke;
    if let Some(file) = args.write.as_ref().filter(|_| whole) {
        report::write(file, &text)?;
    }
    if args.smoke && !results.failures().is_empty() {
        return Err("some runs failed".into());
    }
    Ok(())
}
