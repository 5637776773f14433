//! One writer at a time for each attachment, so that who comes second with the same revision stores nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::router::Target;

/// The attachments that somebody writes or is about to write.
#[derive(Debug, Default)]
pub struct Locks {
    entries: Mutex<HashMap<Key, Weak<Entry>>>,
}

type Key = (String, String, String);

#[derive(Debug, Default)]
struct Entry {
    turn: Arc<AsyncMutex<()>>,
    /// How many have had their turn.
    turns: AtomicU64,
}

/// A place in the queue for one attachment: to be taken before its document is read.
#[derive(Debug)]
pub(super) struct Place {
    entry: Arc<Entry>,
    turns: u64,
}

/// The right to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    entry: Arc<Entry>,
    _guard: OwnedMutexGuard<()>,
    /// Whether somebody wrote between taking the place and having the turn: what was read before may be old.
    pub(super) overtaken: bool,
}

impl Locks {
    pub(super) fn place(&self, target: &Target) -> Place {
        let key = (target.database.name.clone(), target.document.clone(), target.attachment.clone());
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() > SWEEP_ABOVE {
            entries.retain(|_, entry| entry.strong_count() > 0);
        }
        let known = entries.get(&key).and_then(Weak::upgrade);
        let entry = known.unwrap_or_else(|| {
            let entry = Arc::new(Entry::default());
            entries.insert(key, Arc::downgrade(&entry));
            entry
        });
        let turns = entry.turns.load(Ordering::Acquire);
        Place { entry, turns }
    }
}

impl Place {
    pub(super) async fn turn(self) -> Turn {
        let guard = Arc::clone(&self.entry.turn).lock_owned().await;
        let overtaken = self.entry.turns.load(Ordering::Acquire) != self.turns;
        Turn { entry: self.entry, _guard: guard, overtaken }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.entry.turns.fetch_add(1, Ordering::AcqRel);
    }
}

/// Forgotten entries are swept above this; living ones are as many as requests.
const SWEEP_ABOVE: usize = 4096;
