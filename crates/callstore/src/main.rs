//! The `callstore` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    callstore::cli::main()
}
