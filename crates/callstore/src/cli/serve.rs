//! `callstore serve`, and helpers for running.

use stowage_base::console::{self, complain};
use stowage_base::signals::{Signals, run_until_signal};
use stowage_base::{log, memory, runtime};
use stowage_http::body::BoxError;
use tokio::runtime::Builder;

use crate::app::{App, World};
use crate::config::Config;

/// Runs the call store.
pub(super) fn serve(config: Config) -> Result<(), BoxError> {
    if let Err(error) = memory::bound(ARENAS) {
        complain(&format!("memory will not be given back after a load: {error}"));
    }
    log::start(config.log.0, config.log.1);
    block_on(async {
        // Installed before the program reports that it is ready, so that no signal is missed.
        let signals = Signals::new()?;
        let app = App::start(config, World::default()).await?;
        announce(&app);
        run_until_signal(app, signals).await
    })
}

/// Prints the listeners' addresses. The last line means that all of them are ready.
pub(super) fn announce(app: &App) {
    console::announce([("store", "http", app.store), ("calls", "https", app.tls), ("calls", "http", app.address)]);
}

/// Runs a command to its end, whatever blocking call hangs.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    runtime::block_on(Builder::new_multi_thread().enable_all().build()?, work)
}

/// Events are allocated by the thread that receives them and freed by the one that folds them: with two arenas, an event read from a stream takes a
/// tenth more of the processor.
const ARENAS: u8 = 4;
