//! pingora, a peer that no distribution packages: a separate package, built on request, to keep it out of the project's dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// The package's manifest, relative to the project.
const MANIFEST: &str = "benches/pingora/Cargo.toml";
/// The target directory, and the program in it.
const TARGET: &str = "target/pingora";
const PROGRAM: &str = "release/pingora-peer";

/// Builds the versions pinned in its Cargo.lock, from crates.io.
pub(crate) fn build() -> Outcome<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The cargo that runs `cargo bench`, rather than the first one in the path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--manifest-path"]).arg(project.join(MANIFEST));
    command.arg("--target-dir").arg(project.join(TARGET));
    if !command.status()?.success() {
        return Err("pingora cannot be built; it needs cmake and crates.io".into());
    }
    built().ok_or_else(|| format!("cargo has not built {TARGET}/{PROGRAM}").into())
}

/// Returns the program, if it was built before.
pub(crate) fn built() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(TARGET).join(PROGRAM);
    program.is_file().then_some(program)
}
