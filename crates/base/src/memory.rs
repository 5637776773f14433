//! What glibc does with memory that is freed.
//!
//! Its arenas keep freed chunks of uploads: once one has been freed, glibc takes the next of that size from an arena instead of
//! from the kernel (mallopt(3), `M_MMAP_THRESHOLD` is dynamic), and 100 uploads leave 60 MiB and more behind. Fixed bounds end
//! that, and glibc reads them only from the environment of a program that starts.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Starts the program anew, in the same process, with those bounds, unless the environment has some already.
///
/// # Errors
/// Where it cannot be started anew: memory will not be given back after a load.
pub fn bound() -> std::io::Result<()> {
    if cfg!(not(target_env = "gnu")) || BOUNDS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return Ok(());
    }
    let (Ok(program), mut arguments) = (std::env::current_exe(), std::env::args_os()) else { return Ok(()) };
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It comes back only where it fails.
    Err(again.args(arguments).envs(BOUNDS).exec())
}

/// Chunks of uploads (5 MiB) come from the kernel and go back to it; buffers of bodies (256 KiB) do not, as that would cost a
/// page fault for each 4 KiB that passes.
const BOUNDS: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "4194304"), ("MALLOC_TRIM_THRESHOLD_", "1048576"), ("MALLOC_ARENA_MAX", "2")];
