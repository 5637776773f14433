//! Identifies items created by a put.

use stowage_base::tasks::Tasks;

use super::drive::{Item, Shared};
use super::hash::{self, QuickXor};
use crate::engine::claim::{self, Answer, Found, Name, Target};
use crate::engine::location::location;
use crate::{Error, Kind, Result, Stored};

/// Hash and size of the bytes that were sent.
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
    /// Returns whether the item has these bytes. Some drives provide no valid hash, in which case the size must suffice.
    pub(super) fn fits(&self, item: &Item) -> bool {
        let hashes = item.file.as_ref().and_then(|file| file.hashes.as_ref());
        let given = hashes.and_then(|hashes| hash::read(hashes.quick_xor_hash.as_deref()?));
        item.file.is_some() && item.size == self.size && given.is_none_or(|given| given == self.hash)
    }
}

/// An item that a put creates.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) drive: Shared,
    pub(super) name: Name,
    pub(super) sum: Sum,
}

pub(super) type Claim = claim::Claim<Made>;

impl Target for Made {
    type Known = Item;

    fn tasks(&self) -> &Tasks {
        &self.drive.tasks
    }

    fn shown(&self) -> (&str, &str) {
        (&self.drive.id, &self.name.text)
    }

    async fn find(&self) -> Result<Found<Item>> {
        Ok(match self.drive.head(&self.name.text).await? {
            Some(item) if self.name.unique => Found::Ours(item),
            Some(item) if self.sum.fits(&item) => Found::Ambiguous,
            Some(_) | None => Found::Nothing,
        })
    }

    async fn remove(&self, item: &Item) -> Result<bool> {
        self.drive.remove(item.place()?).await.map(|()| true)
    }

    fn stored(&self, item: &Item) -> Result<Stored> {
        let (drive, id) = item.place()?;
        let location = location([("drive", drive), ("item", id), ("path", &format!("/{}", self.name.text))]);
        // No ETag: OneDrive changes it by itself, as soon as it has read the tags of a recording. The ids say which item it is.
        Ok(Stored { location, ..Stored::default() })
    }
}

impl Made {
    /// Interprets a response that contains the item.
    pub(super) fn answer(&self, item: Item) -> Answer<Item> {
        if self.sum.fits(&item) {
            Answer::Created(item)
        } else {
            Answer::Corrupted(item, Error::new(Kind::Refused, "OneDrive stored other bytes than it was sent"))
        }
    }
}
