//! Servers that tests start on free ports, and that end with the tests.

pub mod couch;
pub mod etcd;
pub mod gate;
pub mod process;
pub mod rabbitmq;

use std::path::PathBuf;
use std::time::Duration;

/// Returns the path of a program: as named by `./test`, unpacked by it, or installed on the machine.
pub fn installed(variable: &str, unpacked: &str, own: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable) {
        return named.into();
    }
    let unpacked = stowage_testing::root().join("target/tools").join(unpacked);
    if unpacked.exists() { unpacked } else { own.into() }
}

/// Waits for a condition.
pub async fn soon(what: &str, limit: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"));
}
