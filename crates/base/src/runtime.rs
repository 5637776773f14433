//! The end of a program's runtime.

use std::time::Duration;

use tokio::runtime::Runtime;

/// Runs work to its end on this runtime. A blocking call that hangs, such as a look-up of a name or a read from a dead NFS server, cannot be ended:
/// the process ends without it. Others, such as a write to a file, get a second.
pub fn block_on<T>(runtime: Runtime, work: impl Future<Output = T>) -> T {
    let outcome = runtime.block_on(work);
    // To drop the runtime would wait for blocking calls without a limit.
    runtime.shutdown_timeout(CLEAN_UP_WITHIN);
    outcome
}

/// How long the tasks that are left behind may take to clean up.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(1);
