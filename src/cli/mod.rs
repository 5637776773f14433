//! The program's commands. Exit codes: 0 for success, 1 for failure, 64 for bad usage or configuration.

mod demo;
mod explain;
mod healthcheck;
mod jobs;
mod migrate;
mod scope;
mod serve;
mod shown;
mod verify;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stowage_base::console::{self, bad_usage, complain, finish};
use stowage_base::source;
use stowage_http::body::BoxError;

use crate::app;
use crate::config::{Config, load};

#[derive(Debug, Parser)]
#[command(name = "stowage", version, about = "Sends CouchDB's attachments to the storage that a plan names")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(ConfigFile),
    /// Read the configuration and print every problem
    Check(ConfigFile),
    /// Store a recording in a built-in store and a directory, read it back, then keep serving
    Demo(demo::Demo),
    /// Print the storage, object name and URL that the plan gives an attachment, as JSON
    Explain(explain::Explain),
    /// Move attachments to the storages that the plans select, back into CouchDB, or between storages
    Migrate(migrate::Migrate),
    /// Check that every pointer leads to its object
    Verify(verify::Verify),
    /// List jobs, retry them or drop them
    Jobs(jobs::Jobs),
    /// Exit with 0 if the admin listener reports ready
    Healthcheck(ConfigFile),
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The TOML file [default: STOWAGE_CONFIG, else config/stowage.toml if it exists]
    #[arg(long, value_name = "FILE", global = true)]
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
        Command::Serve(file) => with_config(file.config, serve::serve),
        Command::Check(file) => with_config(file.config, |config| {
            app::check(&config)?;
            complain("the configuration is sound");
            Ok(())
        }),
        Command::Demo(demo) => finish(demo.run()),
        Command::Explain(explain) => with_config(explain.file.config.clone(), |config| explain.run(config)),
        Command::Migrate(migrate) => with_config(migrate.file.config.clone(), |config| migrate.run(config)),
        Command::Verify(verify) => with_config(verify.file.config.clone(), |config| verify.run(config)),
        Command::Jobs(jobs) => with_config(jobs.file.config.clone(), |config| jobs.run(config)),
        Command::Healthcheck(file) => with_config(file.config, |config| healthcheck::healthcheck(&config)),
    }
}

fn with_config(file: Option<PathBuf>, command: impl FnOnce(Config) -> Result<(), BoxError>) -> ExitCode {
    let read = source::read(file.as_deref(), "STOWAGE_CONFIG", "config/stowage.toml", load);
    console::with_config(read, command)
}
