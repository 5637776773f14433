//! The load bench: a small document, 64 MiB recordings and memory, through the gateway and beside its peers.
//!
//! `cargo bench --bench load -- [--quick] [--only small|get|put|memory] [--write docs/performance.md]` starts everything
//! itself on loopback (an upstream that answers at once, object servers, the gateway, nginx, haproxy), measures, prints one
//! Markdown table and ends what it started. `docs/performance.md` says what each row means.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its report, and its progress beside it")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "only the bench's own buffers and texts are indexed")]
#![allow(clippy::disallowed_methods, reason = "the tasks of a bench end with its process")]

mod client;
mod cores;
mod couch;
mod gateway;
mod large;
mod machine;
mod memory;
mod objects;
mod pattern;
mod peers;
mod process;
mod report;
mod roles;
mod s3;
mod small;
#[path = "../../tests/support/mod.rs"]
mod support;
mod wire;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::roles::Role;

/// What can fail here fails with a text for the person who runs the bench.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Small,
    Get,
    Put,
    Memory,
}

#[derive(Debug, Parser)]
#[command(name = "load", about = "The load bench of Stowage")]
struct Args {
    /// A smoke run of seconds: fewer and shorter rounds, smaller bodies. Its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Runs this part only.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Measures this binary instead of the one that cargo has built: another version, to compare with.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_stowage"))]
    binary: PathBuf,
    /// Puts the table between the markers of this file too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only"])]
    write: Option<PathBuf>,
    /// What `cargo bench` adds; without it (`cargo test --all-targets`) nothing runs.
    #[arg(long, hide = true)]
    bench: bool,
    /// Makes this process one of the bench's servers.
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

/// Runs the parts asked for. One that fails is reported, the others still run, and the bench fails in the end.
fn measure(args: &Args) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let machine = machine::describe(&args.binary, args.quick);
    let (binary, is_quick) = (args.binary.as_path(), args.quick);
    let mut report = Report::default();
    let mut failures = Vec::new();
    let mut run = |part: Part, outcome: Outcome<()>| {
        if let Err(error) = outcome {
            failures.push(format!("{part:?}: {error}").to_lowercase());
        }
    };
    if wanted(Part::Small) {
        run(Part::Small, runtime.block_on(small::run(&mut report, binary, is_quick)));
    }
    if wanted(Part::Get) {
        run(Part::Get, runtime.block_on(large::get(&mut report, binary, is_quick)));
    }
    if wanted(Part::Put) {
        run(Part::Put, runtime.block_on(large::put(&mut report, binary, is_quick)));
    }
    if wanted(Part::Memory) {
        run(Part::Memory, runtime.block_on(memory::run(&mut report, binary, is_quick)));
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
