//! Bounds on how much freed memory glibc retains.
//!
//! glibc's arenas retain freed upload chunks: once one has been freed, the next allocation of that size comes from an arena instead
//! of the kernel (`M_MMAP_THRESHOLD` is dynamic, see mallopt(3)), and 100 uploads leave 60 MiB or more behind. Fixed thresholds
//! prevent that, but glibc only reads them from the environment at program start.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Re-executes the program in the same process with these thresholds and this number of arenas, unless the environment already sets one of them.
/// With more arenas, threads wait less for each other, and retain more.
///
/// # Errors
/// If the program cannot be re-executed: memory will not be returned to the kernel after a load peak.
pub fn bound(arenas: u8) -> std::io::Result<()> {
    let is_set = |name| std::env::var_os(name).is_some();
    if cfg!(not(target_env = "gnu")) || is_set(ARENAS) || BOUNDS.iter().any(|(name, _)| is_set(*name)) {
        return Ok(());
    }
    let (Ok(program), mut arguments) = (std::env::current_exe(), std::env::args_os()) else { return Ok(()) };
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // `exec` returns only if it fails.
    Err(again.args(arguments).envs(BOUNDS).env(ARENAS, arenas.to_string()).exec())
}

/// Upload chunks (5 MiB) are mapped from the kernel and returned to it; body buffers (256 KiB) are not, as that would cost a
/// page fault for every 4 KiB transferred.
const BOUNDS: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "4194304"), ("MALLOC_TRIM_THRESHOLD_", "1048576")];
const ARENAS: &str = "MALLOC_ARENA_MAX";
