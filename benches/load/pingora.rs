//! pingora, a peer that no distribution packs: a package of its own that is built on request, so that nothing of it is among
//! the project's dependencies.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// The package below the project.
const MANIFEST: &str = "benches/pingora/Cargo.toml";
/// Where it is built, and the program there.
const TARGET: &str = "target/pingora";
const PROGRAM: &str = "release/pingora-peer";

/// Builds what its Cargo.lock pins, from crates.io.
pub(crate) fn build() -> Outcome<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What `cargo bench` was started with, rather than the first one in the path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--locked", "--manifest-path"]).arg(project.join(MANIFEST));
    command.arg("--target-dir").arg(project.join(TARGET));
    if !command.status()?.success() {
        return Err("pingora cannot be built; it needs cmake and crates.io".into());
    }
    built().ok_or_else(|| format!("cargo has not built {TARGET}/{PROGRAM}").into())
}

/// The program, where it was built before.
pub(crate) fn built() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(TARGET).join(PROGRAM);
    program.is_file().then_some(program)
}
