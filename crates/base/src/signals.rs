//! Signals that stop a program or make it reload its certificates.

use std::error::Error;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A program that runs until it is stopped.
pub trait Program {
    /// Reloads the certificates.
    ///
    /// # Errors
    /// If the files cannot be used; the current certificates remain in use.
    fn reload(&self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Waits for work in progress to finish; returns how many connections and tasks were cut off.
    fn stop(self) -> impl Future<Output = usize>;
}

/// The signals a program waits for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// If the operating system refuses a signal handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal; returns `false` for SIGHUP.
    async fn is_stop(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => false,
        }
    }
}

/// Runs the program: SIGTERM and SIGINT drain it, a second one stops it immediately, SIGHUP reloads the certificates.
///
/// # Errors
/// If anything was cut off.
pub async fn run_until_signal(program: impl Program, mut signals: Signals) -> Result<(), Box<dyn Error + Send + Sync>> {
    while !signals.is_stop().await {
        match program.reload() {
            Ok(()) => tracing::info!("certificates were read again"),
            Err(error) => tracing::error!(%error, "certificates could not be read again; the old ones stay"),
        }
    }
    tracing::info!("stopping after the requests that run");
    let second = async { while !signals.is_stop().await {} };
    tokio::select! {
        cut = program.stop() => match cut {
            0 => Ok(()),
            cut => Err(format!("{cut} connections or tasks were cut off").into()),
        },
        () = second => Err("stopped at once by a second signal".into()),
    }
}
