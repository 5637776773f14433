//! Charges the memory of uploads to the storages that they wait for.

use std::time::Duration;

use stowage_storage::{Budget, CHUNK_BYTES, Error, Kind, Opened, Permit, Result};

/// What the memory of an upload is charged to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    /// The storage's part of the budget, chunk by chunk.
    Chunks,
    /// The share of the request, of so many bytes, which was taken before the storage was known.
    Request(usize),
}

impl Memory {
    /// Returns the budget for the chunks.
    pub(super) fn budget(self, backend: &Opened) -> Budget {
        match self {
            Self::Chunks => backend.budget().clone(),
            Self::Request(_) => Budget::new(2 * CHUNK_BYTES as u64),
        }
    }

    /// Charges the request's share to the storage for as long as it is used.
    ///
    /// # Errors
    /// Returns `Passing` if the storage's part of the budget has no room for it. Others may wait for the share, so this waits no longer than for an
    /// operation's turn.
    pub(super) async fn charge(self, backend: &Opened) -> Result<Option<Permit>> {
        let bytes = match self {
            Self::Chunks | Self::Request(0) => return Ok(None),
            Self::Request(bytes) => bytes,
        };
        let charge = tokio::time::timeout(WAITS, backend.budget().charge(bytes)).await;
        charge.map_err(|_| Error::new(Kind::Passing, "uploads that wait for it hold too much memory already"))
    }
}

/// How long an upload waits for room in the storage's part of the budget while it holds a share.
const WAITS: Duration = Duration::from_secs(1);
