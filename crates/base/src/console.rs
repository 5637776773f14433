//! The terminal and the exit codes of a program: 0 for success, 1 for failure, 64 for bad usage or configuration.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

/// Writes a line to standard error.
pub fn complain(text: &str) {
    // A failure to write to standard error cannot be reported anywhere.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Writes a line to standard output.
///
/// # Errors
/// If standard output cannot be written to.
pub fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints the listeners that are up, each with its name and scheme.
pub fn announce<const N: usize>(listeners: [(&str, &str, Option<SocketAddr>); N]) {
    for (name, scheme, address) in listeners {
        if let Some(address) = address {
            complain(&format!("listening {name} {scheme}://{address}"));
        }
    }
}

/// Runs a command with its configuration; prints the problems if there is none.
pub fn with_config<C>(
    config: Result<C, Vec<String>>,
    command: impl FnOnce(C) -> Result<(), Box<dyn Error + Send + Sync>>,
) -> ExitCode {
    match config {
        Ok(config) => finish(command(config)),
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            bad_usage()
        }
    }
}

/// Returns the exit code of a command, after printing why it failed.
#[must_use]
pub fn finish(outcome: Result<(), Box<dyn Error + Send + Sync>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&super::log::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the exit code for bad usage, `EX_USAGE` of sysexits.
#[must_use]
pub fn bad_usage() -> ExitCode {
    ExitCode::from(64)
}
