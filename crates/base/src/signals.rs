//! The signals that end a program, or have it read its certificates again.

use std::error::Error;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A program that runs until it is stopped.
pub trait Program {
    /// Reads the certificates again.
    ///
    /// # Errors
    /// Files that cannot be used; what was in use stays.
    fn reload(&self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Lets what runs come to its end; gives how many connections and tasks were cut off.
    fn stop(self) -> impl Future<Output = usize>;
}

/// The signals that a program waits for.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Handles them from now on.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new() -> io::Result<Self> {
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

/// SIGTERM and SIGINT drain, a second one stops at once, SIGHUP reads the certificates again.
///
/// # Errors
/// Where something was cut off.
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
