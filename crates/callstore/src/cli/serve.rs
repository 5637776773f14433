//! `callstore serve`, and what running needs.

use stowage_base::{log, memory};
use stowage_http::body::BoxError;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::complain;
use crate::app::{App, World};
use crate::config::Config;

/// Runs the call store.
pub(super) fn serve(config: Config) -> Result<(), BoxError> {
    if let Err(error) = memory::bound() {
        complain(&format!("memory will not be given back after a load: {error}"));
    }
    log::start(config.log.0, config.log.1);
    runtime()?.block_on(async {
        // Before it says that it is there: a signal must find its handler.
        let signals = Signals::new()?;
        let app = App::start(config, World::default()).await?;
        announce(&app);
        run_until_signal(app, signals).await
    })
}

/// Says where the listeners are. The last line says that all of them are there.
pub(super) fn announce(app: &App) {
    for (name, scheme, address) in
        [("store", "http", app.store), ("calls", "https", app.tls), ("calls", "http", app.address)]
    {
        if let Some(address) = address {
            complain(&format!("listening {name} {scheme}://{address}"));
        }
    }
}

pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
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
