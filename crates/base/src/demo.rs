//! What the programs' demos share: a folder of their own, and the time after they have shown everything.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::console::say;
use super::signals::{Program, Signals, run_until_signal};

/// A temporary folder, removed on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it, with this at the beginning of its name.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(name: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("{name}-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "the demo's folder stays");
        }
    }
}

/// Serves until a signal comes, unless the demo is to run once only or has failed.
///
/// # Errors
/// What the demo failed with, or if anything was cut off.
pub async fn serve_after(
    shown: Result<(), Box<dyn Error + Send + Sync>>,
    once: bool,
    program: impl Program,
    signals: Signals,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if once || shown.is_err() {
        program.stop().await;
        return shown;
    }
    say("\nServing until Ctrl-C.")?;
    run_until_signal(program, signals).await
}
