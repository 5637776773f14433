//! The `stowage` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A request is a dozen small allocations; see docs/performance.md for what this allocator is worth.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    stowage::cli::main()
}
