//! `stowage serve`: the gateway until a signal.

use stowage_base::{log, memory};
use stowage_http::body::BoxError;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::show::complain;
use crate::app::App;
use crate::config::Config;

/// Runs the gateway.
pub(super) fn serve(config: Config) -> Result<(), BoxError> {
    if let Err(error) = memory::bound() {
        complain(&format!("memory will not be given back after a load: {error}"));
    }
    log::start(config.log.format, config.log.level);
    runtime()?.block_on(async {
        // Before the gateway says that it is there: a signal must find its handler.
        let signals = Signals::new()?;
        let app = App::start(config).await?;
        announce(&app);
        run_until_signal(app, signals).await
    })
}

/// Says where the listeners are. The last line says that all of them are there.
pub(super) fn announce(app: &App) {
    if app.admin.is_some() && !app.has_tokens {
        complain("listening without admin.tokens: /v2 on the admin listener answers 401");
    }
    let listeners = [
        ("store", "http", app.store),
        ("proxy", "http", app.proxy),
        ("proxy", "https", app.proxy_tls),
        ("admin", "http", app.admin),
    ];
    for (name, scheme, address) in listeners {
        if let Some(address) = address {
            complain(&format!("listening {name} {scheme}://{address}"));
        }
    }
}

/// One worker for each core, unless the variable says otherwise. A single one needs no scheduler that shares work: that
/// costs a fifth of a forwarded request.
pub(super) fn runtime() -> Result<Runtime, BoxError> {
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

/// SIGTERM and SIGINT drain, a second one stops at once, SIGHUP reads the certificates again.
pub(super) async fn run_until_signal(app: App, mut signals: Signals) -> Result<(), BoxError> {
    while !signals.is_stop().await {
        match app.reload() {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => tracing::error!(%error, "certificates could not be read again; the old ones stay"),
        }
    }
    tracing::info!("stopping after the requests that run");
    let second = async { while !signals.is_stop().await {} };
    tokio::select! {
        cut = app.stop() => match cut {
            0 => Ok(()),
            cut => Err(format!("{cut} connections or tasks were cut off").into()),
        },
        () = second => Err("stopped at once by a second signal".into()),
    }
}

/// The signals that are waited for.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; `false` for SIGHUP.
    async fn is_stop(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => false,
        }
    }
}

/// Under load, sockets are asked for news after this many tasks (tokio's default is 61): fewer system calls a request.
const TASKS_BETWEEN_EVENTS: u32 = 127;
/// How many threads serve; for comparisons and for machines that are shared.
const WORKERS: &str = "STOWAGE_WORKER_THREADS";
