//! What a put may have left at a name, until the caller has taken it over.

use std::time::Duration;

use serde_json::Value;

use super::drive::{Item, Shared};
use super::hash::{self, QuickXor};
use crate::engine::finish::clean_up;
use crate::{Error, Kind, Result, Stored};

/// What is known of the bytes that were sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    hash: [u8; hash::BYTES],
    size: u64,
}

impl From<&QuickXor> for Sum {
    fn from(hash: &QuickXor) -> Self {
        Self { hash: hash.finish(), size: hash.length() }
    }
}

impl Sum {
    /// Whether the item has these bytes. Some drives give no hash, or none that can be read: then the size has to do.
    pub(super) fn fits(&self, item: &Item) -> bool {
        let hashes = item.file.as_ref().and_then(|file| file.hashes.as_ref());
        let given = hashes.and_then(|hashes| hash::read(hashes.quick_xor_hash.as_deref()?));
        item.file.is_some() && item.size == self.size && given.is_none_or(|given| given == self.hash)
    }
}

/// Where a put wants to create an item.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) text: String,
    /// Whether nobody else has this name: what is there is ours.
    pub(super) unique: bool,
}

/// An item of ours, or perhaps one: removed by `Drop` unless it is kept.
#[derive(Debug)]
pub(super) struct Claim(Trace);

/// What is known of the item. Not what removes it when dropped: a clean-up that never ran must not start another.
#[derive(Debug, Clone)]
struct Trace {
    drive: Shared,
    name: Name,
    sum: Sum,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing of ours is there.
    Nothing,
    /// A request was sent, and what came of it is not known.
    Doubtful,
    /// The item is ours.
    Ours(Item),
    /// An item is there that has our bytes and a name that others may use too: it cannot be known whose it is.
    Anybodys,
}

impl Claim {
    /// For a request that is about to be sent.
    pub(super) fn doubtful(drive: Shared, name: Name, sum: Sum) -> Self {
        Self(Trace { drive, name, sum, state: State::Doubtful })
    }

    /// The item was stored.
    ///
    /// # Errors
    /// `Refused` where it has other bytes than ours; it goes.
    pub(super) fn confirm(&mut self, item: Item) -> Result<()> {
        let fits = self.0.sum.fits(&item);
        self.0.state = State::Ours(item);
        if fits { Ok(()) } else { Err(Error::new(Kind::Refused, "OneDrive stored other bytes than it was sent")) }
    }

    /// Nothing was stored.
    pub(super) fn give_up(&mut self) {
        self.0.state = State::Nothing;
    }

    /// Finds out whether the item at the name is ours.
    ///
    /// # Errors
    /// Where that cannot be found out; the claim stays doubtful.
    pub(super) async fn settle(&mut self) -> Result<bool> {
        self.0.settle().await?;
        Ok(matches!(self.0.state, State::Ours(_)))
    }

    /// Leaves what is at the name alone: if it is ours after all, the operator is told.
    pub(super) fn leave(mut self) {
        self.0.tell();
        self.give_up();
    }

    /// Takes the item over: it stays.
    pub(super) fn keep(mut self) -> Result<Stored> {
        let State::Ours(item) = &self.0.state else {
            return Err(Error::new(Kind::Passing, "what became of the item is not known"));
        };
        let nowhere = || Error::new(Kind::Refused, "OneDrive did not say where it stored an object");
        let drive = item.parent_reference.drive_id.clone().ok_or_else(nowhere)?;
        let mut stored = Stored { etag: item.e_tag.as_deref().map(tag), ..Stored::default() };
        stored.location.insert("drive".to_owned(), Value::String(drive));
        stored.location.insert("item".to_owned(), Value::String(item.id.clone()));
        stored.location.insert("path".to_owned(), Value::String(format!("/{}", self.0.name.text)));
        self.give_up();
        Ok(stored)
    }
}

/// A tag without its quotes and without the mark of a weak one.
pub(super) fn tag(text: &str) -> String {
    text.trim_start_matches("W/").trim_matches('"').to_owned()
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !matches!(self.0.state, State::Nothing) {
            clean_up(&self.0.drive.tasks, "onedrive clean-up", self.0.clone().remove());
        }
    }
}

impl Trace {
    async fn settle(&mut self) -> Result<()> {
        let found = self.drive.look(&self.name.text).await?;
        self.state = match found {
            Some(item) if self.name.unique => State::Ours(item),
            Some(item) if self.sum.fits(&item) => State::Anybodys,
            _ => State::Doubtful,
        };
        Ok(())
    }

    fn tell(&self) {
        if matches!(self.state, State::Anybodys) {
            let (storage, name) = (&self.drive.id, &self.name.text);
            tracing::warn!(%storage, %name, "the answer to an upload was lost: a file that no document names may be left");
        }
    }

    /// Removes what is ours, if anything is.
    async fn remove(mut self) {
        let mut failure = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.remove_once().await {
                Ok(true) => return self.tell(),
                Ok(false) => failure = None,
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            let (storage, name) = (&self.drive.id, &self.name.text);
            tracing::warn!(%storage, %name, %error, "a file that no document names may be left");
        }
    }

    /// `false`: nothing of ours is there, as yet.
    async fn remove_once(&mut self) -> Result<bool> {
        if matches!(self.state, State::Doubtful) {
            self.settle().await?;
        }
        match &self.state {
            State::Ours(item) => match &item.parent_reference.drive_id {
                Some(drive) => self.drive.remove((drive, &item.id)).await.map(|()| true),
                None => Err(Error::new(Kind::Refused, "OneDrive did not say where it stored an object")),
            },
            State::Anybodys => Ok(true),
            State::Nothing | State::Doubtful => Ok(false),
        }
    }
}

/// A request whose answer was lost may still be at work on the server: look more than once.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5)];
