//! What an instance of the call store decided. A decision is an entry of the journal, so that every instance knows of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fold::{Death, Key, Micros};
use crate::journal::{Draft, Offset};

/// A decision, with the group and epoch of who took it: those of an older epoch of that group are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The group whose epoch it is; 0 where there are no groups.
    #[serde(default)]
    pub group: u32,
    /// The epoch.
    pub epoch: u64,
    /// The instance.
    pub by: Box<str>,
    /// The other site whose calls it is about; none for those of this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Box<str>>,
    /// What was decided.
    #[serde(flatten)]
    pub what: What,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum What {
    /// From here on this instance acts.
    Active,
    /// The calls of the other site are finished here, or are not any more. An operator's word: it has no epoch.
    Adopted {
        /// Whether they are.
        is_adopted: bool,
    },
    /// A switch answered, or was asked, at this time.
    NodeSeen {
        /// The switch.
        node: Box<str>,
        /// When it answered.
        at: Micros,
    },
    /// A leg or dialog is dead.
    DlgDead {
        /// The same for the same dialog, kind and cause.
        id: Box<str>,
        /// Which one.
        key: Key,
        /// Its end.
        #[serde(flatten)]
        end: End,
    },
    /// Its records are saved, or were there already.
    Recorded {
        /// Whose.
        key: Key,
        /// What they hold.
        prints: BTreeMap<Box<str>, Box<str>>,
        /// The last entry that they know of.
        through: Offset,
    },
    /// What others were to be told was told.
    Told {
        /// Which piece of news.
        id: Box<str>,
    },
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `dead` or `timeout`.
    pub kind: Box<str>,
    /// Why that is believed.
    pub cause: Box<str>,
    /// When it ended.
    pub ended: Micros,
    /// The last sign of life that was known.
    pub seen: Micros,
    /// When it was found out.
    pub found: Micros,
}

impl End {
    /// As the fold keeps it.
    #[must_use]
    pub fn death(&self, epoch: u64) -> Death {
        let Self { kind, cause, ended, seen, found } = self.clone();
        Death { epoch, seen, ended, found, kind, cause }
    }
}

impl Decision {
    /// Reads an entry.
    ///
    /// # Errors
    /// For one of a later release, which this one does not know.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// As an entry that is to be written.
    ///
    /// # Errors
    /// Never for what can be built here.
    pub fn draft(&self) -> Result<Draft, serde_json::Error> {
        Ok(Draft { body: Bytes::from(serde_json::to_vec(self)?), is_decision: true })
    }
}

/// The id of a death: whoever finds out the same gives it the same one (UUID version 5, RFC 9562 section 5.5).
#[must_use]
pub fn death_id(key: &Key, kind: &str, cause: &str) -> Box<str> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(SPACE.as_bytes());
    for part in [key.as_str(), kind, cause] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, known)| *byte = *known);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid().to_string().into()
}

/// The name space of these ids, made once at random.
const SPACE: Uuid = Uuid::from_u128(0x6f1c_61f4_84b5_4b0e_9a36_7d0f_52c1_e8a7);
