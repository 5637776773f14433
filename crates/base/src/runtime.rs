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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_blocking_call_that_hangs_does_not_hold_up_the_end() {
        let (hold, held) = channel::<()>();
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let ended = block_on(runtime, async {
            let (begin, begun) = tokio::sync::oneshot::channel();
            drop(tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                held.recv_timeout(Duration::from_secs(60)).ok();
            }));
            begun.await.unwrap();
            Instant::now()
        });
        assert!(ended.elapsed() < Duration::from_secs(30));
        drop(hold);
    }
}
