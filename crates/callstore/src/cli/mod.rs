//! The program's commands. Exit codes: 0 success, 1 failure, 64 usage or configuration error.

mod adopt;
mod demo;
mod replay;
mod running;
mod serve;
mod show;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stowage_base::console::{self, bad_usage, complain, finish};
use stowage_http::body::BoxError;

use crate::app;
use crate::config::Config;

#[derive(Debug, Parser)]
#[command(name = "callstore", version, about = "Follows live calls, and completes the records of those that died")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the call store
    Serve(ConfigFile),
    /// Validate the configuration and the list of roles, and print every problem
    Check(ConfigFile),
    /// Simulate an hour of calls, some of which die with their switch, then keep serving
    Demo(demo::Demo),
    /// Send the events in a file (one per line, or a list) to a running call store
    Replay(replay::Replay),
    /// Print a call or dialog with its whole history
    Show(show::Show),
    /// Adopt a lost site, so that its calls are finished here
    Adopt(adopt::Adopt),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The TOML file [default: CALLSTORE_CONFIG, else config/callstore.toml if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { bad_usage() } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command {
        Command::Serve(file) => with_config(&file, serve::serve),
        Command::Check(file) => check(&file),
        Command::Demo(demo) => finish(demo.run()),
        Command::Replay(replay) => finish(replay.run()),
        Command::Show(show) => finish(show.run()),
        Command::Adopt(adopt) => finish(adopt.run()),
    }
}

/// Prints every problem of the configuration. If it has none, prints the problems of the list of roles, the certificates and the journal's form.
fn check(file: &ConfigFile) -> ExitCode {
    let config = match source::configuration(file.config.as_deref()) {
        Ok(config) => config,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            return bad_usage();
        }
    };
    let (roles, files) = (source::roles(&config), app::check(&config));
    roles.iter().for_each(|problem| complain(problem));
    if roles.is_empty() && files.is_ok() {
        complain("the configuration is sound");
    }
    let outcome = finish(files);
    if roles.is_empty() { outcome } else { bad_usage() }
}

fn with_config(file: &ConfigFile, command: impl FnOnce(Config) -> Result<(), BoxError>) -> ExitCode {
    console::with_config(source::read(file.config.as_deref()), command)
}
