//! The load bench: small documents, recordings and memory, through the gateway and its peers.
//!
//! `cargo bench --bench load -- [--quick] [--only PART,...] [--pingora] [--write docs/performance.md]` starts everything on loopback (an upstream
//! that responds immediately, object servers, the gateway, nginx, haproxy, pingora), measures, prints one Markdown table, and stops what it started.
//! `docs/performance.md` explains each row.
//!
//! | files | contents |
//! |---|---|
//! | `small`, `large`, `many`, `hanging`, `intents`, `memory`, `two_cores` | the parts, each with its rows of the table |
//! | `subjects`, `gateway`, `peers`, `pingora` | the subjects of the measurements |
//! | `roles`, `couch/`, `objects`, `s3` | the servers behind it |
//! | `client`, `wire`, `exchange`, `recording`, `workload`, `pattern` | the requests and their sender |
//! | `process`, `cores`, `machine`, `figures`, `report` | processes and results |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its report, and its progress beside it")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "only the bench's own buffers and texts are indexed")]
#![allow(clippy::disallowed_methods, reason = "the tasks of a bench end with its process")]

mod client;
mod cores;
mod couch;
mod exchange;
mod figures;
mod gateway;
mod hanging;
mod intents;
mod large;
mod machine;
mod many;
mod memory;
mod objects;
mod pattern;
mod peers;
mod pingora;
mod process;
mod recording;
mod report;
mod roles;
mod s3;
mod small;
mod subjects;
use stowage_testing as support;

mod two_cores;
mod wire;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::roles::Role;

/// The result of anything that can fail, with an error for the person who runs the bench.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// GETs of small documents.
    Small,
    /// PUTs of a small document.
    Save,
    /// GETs of a large recording on one core.
    Get,
    /// PUTs of a large recording on one core.
    Put,
    /// PUTs of recordings of 1 MiB at once, on one core.
    Many,
    /// A large recording either way on two cores.
    TwoCores,
    /// PUTs of small recordings beside a storage that hangs.
    Hanging,
    /// PUTs with and without `jobs.intents`, in front of a real CouchDB.
    Intents,
    /// The peak resident set.
    Memory,
}

/// The settings shared by all parts.
#[derive(Debug)]
pub(crate) struct Run {
    /// The gateway's binary.
    pub(crate) binary: PathBuf,
    /// The pingora peer's binary, if it was built.
    pub(crate) pingora: Option<PathBuf>,
    pub(crate) is_quick: bool,
}

#[derive(Debug, Parser)]
#[command(name = "load", about = "The load bench of Stowage")]
struct Args {
    /// A smoke test of seconds: fewer and shorter rounds, smaller bodies. Its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Runs only these parts, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Builds the pingora peer first (needs cmake and some minutes); once built, it always takes part.
    #[arg(long)]
    pingora: bool,
    /// Measures this binary instead of the one built by cargo, to compare with another version.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_stowage"))]
    binary: PathBuf,
    /// Also writes the table between the markers of this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only"])]
    write: Option<PathBuf>,
    /// Passed by `cargo bench`; without it (`cargo test --all-targets`), nothing runs.
    #[arg(long, hide = true)]
    bench: bool,
    /// Runs this process as one of the bench's servers.
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
    /// The directory of the role's data.
    #[arg(long, hide = true)]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match (args.role, args.bench) {
        (Some(role), _) => roles::run(role, args.root),
        (None, true) => measure(&args),
        (None, false) => {
            eprintln!("load: start this with `cargo bench --bench load`");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the selected parts. If one fails, it is reported, the others still run, and the bench fails in the end.
fn measure(args: &Args) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pingora = if args.pingora { Some(pingora::build()?) } else { pingora::built() };
    let run = Run { binary: args.binary.clone(), pingora, is_quick: args.quick };
    let machine = machine::describe(&run);
    let mut report = Report::default();
    let mut failures = Vec::new();
    for part in Part::value_variants() {
        if !args.only.is_empty() && !args.only.contains(part) {
            continue;
        }
        if let Err(error) = runtime.block_on(part.run(&mut report, &run)) {
            failures.push(format!("{}: {error}", format!("{part:?}").to_lowercase()));
        }
    }
    let text = format!("{machine}\n{}", report.markdown());
    println!("{text}");
    if !failures.is_empty() {
        return Err(failures.join("\nload: ").into());
    }
    match &args.write {
        Some(file) => report::write(file, &text),
        None => Ok(()),
    }
}

impl Part {
    async fn run(self, report: &mut Report, run: &Run) -> Outcome<()> {
        match self {
            Self::Small => small::run(report, run, &exchange::READ).await,
            Self::Save => small::run(report, run, &exchange::SAVED).await,
            Self::Get => large::get(report, run).await,
            Self::Put => large::put(report, run).await,
            Self::Many => many::put(report, run).await,
            Self::TwoCores => {
                two_cores::get(report, run).await?;
                two_cores::put(report, run).await
            }
            Self::Hanging => hanging::put(report, run).await,
            Self::Intents => intents::put(report, run).await,
            Self::Memory => memory::run(report, run).await,
        }
    }
}
