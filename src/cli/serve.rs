//! `stowage serve`: runs the gateway until a signal.

use stowage_base::console::{self, complain};
use stowage_base::signals::{Program, Signals, run_until_signal};
use stowage_base::{log, memory, runtime};
use stowage_http::body::BoxError;
use tokio::runtime::{Builder, Runtime};

use crate::app::App;
use crate::config::Config;

/// Runs the gateway.
pub(super) fn serve(config: Config) -> Result<(), BoxError> {
    if let Err(error) = memory::bound(ARENAS) {
        complain(&format!("memory will not be given back after a load: {error}"));
    }
    log::start(config.log.format, config.log.level);
    block_on(async {
        // Before the listeners are announced, so that a signal sent right after that finds its handler.
        let signals = Signals::new()?;
        let app = App::start(config).await?;
        announce(&app);
        run_until_signal(app, signals).await
    })
}

/// Prints the addresses of the listeners. All of them are up when the last line is printed; no other line begins with `listening `.
pub(super) fn announce(app: &App) {
    if app.admin.is_some() && !app.has_tokens {
        complain("admin.tokens is empty: /v2 on the admin listener answers 401");
    }
    console::announce([
        ("store", "http", app.store),
        ("proxy", "http", app.proxy),
        ("proxy", "https", app.proxy_tls),
        ("admin", "http", app.admin),
    ]);
}

/// Runs a command to its end, whatever blocking call hangs.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, BoxError>>) -> Result<T, BoxError> {
    runtime::block_on(build()?, work)
}

/// Builds a runtime with one worker per core, unless the environment says otherwise. One worker gets the single-threaded scheduler: work stealing
/// costs a fifth of a forwarded request.
fn build() -> Result<Runtime, BoxError> {
    let mut builder = match workers()? {
        1 => Builder::new_current_thread(),
        workers => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    };
    Ok(builder.event_interval(TASKS_BETWEEN_EVENTS).enable_all().build()?)
}

fn workers() -> Result<usize, BoxError> {
    let Ok(text) = std::env::var(WORKERS) else { return Ok(std::thread::available_parallelism()?.get()) };
    let workers = text.parse().ok().filter(|workers| *workers > 0);
    workers.ok_or_else(|| format!("{WORKERS} must be a whole number above 0").into())
}

impl Program for App {
    fn reload(&self) -> Result<(), BoxError> {
        Self::reload(self)
    }

    async fn stop(self) -> usize {
        Self::stop(self).await
    }
}

/// Arenas of the allocator: the chunks of uploads are shared by all threads, and each arena retains some.
const ARENAS: u8 = 2;
/// Ticks between polls for I/O events under load (tokio's default is 61): fewer system calls per request.
const TASKS_BETWEEN_EVENTS: u32 = 127;
/// The environment variable for the number of worker threads, for benchmarks and shared machines.
const WORKERS: &str = "STOWAGE_WORKER_THREADS";
