//! Attachments that stay in a storage although everything is moved out of it.

use super::Found;
use crate::error::Error;
use crate::pointer::{Entry, Outside, Pointer, outside};

/// Why an attachment stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stays {
    /// Its entry cannot be parsed.
    Unreadable,
    /// Another attachment owns the object.
    Foreign,
    /// KAZOO's own pointer lacks what the move requires.
    Kazoo,
}

impl Found {
    /// Returns the attachments that [`to_move_back`](Self::to_move_back) leaves out.
    pub(crate) fn staying_out(&self) -> Vec<(String, Stays)> {
        self.staying(|pointer, is_own| match pointer.length {
            _ if !is_own => Some(Stays::Foreign),
            None => Some(Stays::Kazoo),
            Some(_) => None,
        })
    }

    /// Returns the attachments that [`to_rehome`](Self::to_rehome) leaves out although they are not in the plan's storage.
    pub(crate) fn staying_away(&self) -> Result<Vec<(String, Stays)>, Error> {
        let Some(decision) = self.decision()?.filter(|decision| !decision.stub) else { return Ok(Vec::new()) };
        Ok(self.staying(|pointer, is_own| {
            if self.storage_of(pointer) == decision.storage() {
                None
            } else if !is_own {
                Some(Stays::Foreign)
            } else {
                pointer.stowage.inside.is_some().then_some(Stays::Kazoo)
            }
        }))
    }

    /// Returns the attachments that clients see and that stay for a reason. A link is not among them: the other document's attachment is moved.
    fn staying(&self, why: impl Fn(&Pointer, bool) -> Option<Stays>) -> Vec<(String, Stays)> {
        let of = |Outside { name, entry, .. }: Outside| {
            let stays = match &entry {
                Ok(Entry::Object(pointer)) => why(pointer, pointer.is_own(self.target.attachment(&name).at()))?,
                Ok(Entry::Link(_)) => return None,
                Err(_) => Stays::Unreadable,
            };
            Some((name, stays))
        };
        let found = outside(&self.document, &self.target.database.name, &self.target.document);
        found.into_iter().filter_map(of).collect()
    }
}
