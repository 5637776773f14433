//! MD5 and SHA-256 of a body as it streams through, on another core once the body is large.
//!
//! Together they run at a few hundred MiB/s on one core, which would be the bottleneck of a large upload. Small bodies are
//! hashed in place: handing them over would cost more.

use std::sync::LazyLock;

use bytes::Bytes;
use md5::{Digest, Md5};
use sha2::Sha256;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, Kind, Result};

/// Digests of a complete body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// Length in bytes.
    pub length: u64,
    /// CouchDB's digest of an attachment.
    pub md5: [u8; 16],
    /// Used for signatures and in the pointer.
    pub sha256: [u8; 32],
}

/// Incremental hasher.
#[derive(Debug)]
pub(crate) struct Hasher {
    length: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Here(Box<State>),
    Elsewhere(mpsc::Sender<Bytes>, JoinHandle<State>),
}

#[derive(Debug, Clone, Default)]
struct State {
    md5: Md5,
    sha256: Sha256,
}

impl State {
    /// Alternates block by block: each step of MD5 depends on the previous one, so the processor can run SHA-256 in the meantime.
    /// Measured: a sixth more throughput than one after the other.
    fn update(&mut self, data: &[u8]) {
        for block in data.chunks(BLOCK_BYTES) {
            self.md5.update(block);
            self.sha256.update(block);
        }
    }
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { length: 0, mode: Mode::Here(Box::default()) }
    }

    /// Returns how many bytes were hashed.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Hashes the next bytes. Waits if the other core is behind, so that at most a few frames are queued.
    pub(crate) async fn update(&mut self, data: &Bytes) {
        self.length += data.len() as u64;
        if self.length > INLINE_BYTES
            && let Mode::Here(state) = &mut self.mode
            && *SPARE_CORE
        {
            self.mode = elsewhere(std::mem::take(state));
        }
        match &mut self.mode {
            Mode::Here(state) => state.update(data),
            // Fails only if the thread died, which `finish` reports.
            Mode::Elsewhere(sender, _) => drop(sender.send(data.clone()).await),
        }
    }

    /// Returns the digests; `None` only if the hashing thread died.
    pub(crate) async fn finish(self) -> Option<Digests> {
        let state = match self.mode {
            Mode::Here(state) => *state,
            Mode::Elsewhere(sender, worker) => {
                drop(sender);
                worker.await.ok()?
            }
        };
        Some(Digests { length: self.length, md5: state.md5.finalize().into(), sha256: state.sha256.finalize().into() })
    }
}

fn elsewhere(state: Box<State>) -> Mode {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUED_FRAMES);
    let worker = tokio::task::spawn_blocking(move || {
        let mut state = *state;
        while let Some(data) = receiver.blocking_recv() {
            state.update(&data);
        }
        state
    });
    Mode::Elsewhere(sender, worker)
}

/// Runs CPU-bound work, such as hashing a chunk, on another thread.
pub(crate) async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let failed = |_| Error::new(Kind::Passing, "the body could not be hashed");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// Cached: the standard library reads the cgroup files on every call.
static SPARE_CORE: LazyLock<bool> =
    LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Block size of both hashes (RFC 1321 section 3.4, FIPS 180-4 section 5.2.1).
const BLOCK_BYTES: usize = 64;
/// Bodies up to this size are hashed in place.
const INLINE_BYTES: u64 = 256 << 10;
/// Frames queued for the hashing thread. They are outside the upload budget, so a hundred uploads must not add up to much.
const QUEUED_FRAMES: usize = 2;
