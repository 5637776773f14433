//! Decisions of an instance. A decision is a journal entry, so that every instance learns of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fold::{Death, Key, Micros};
use crate::journal::{Draft, Offset};

/// A decision, with the group and epoch of the instance that made it: decisions of an older epoch of that group are rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The group that the epoch belongs to; 0 without groups.
    #[serde(default)]
    pub group: u32,
    /// The epoch.
    pub epoch: u64,
    /// The instance.
    pub by: Box<str>,
    /// The other site whose calls it concerns; `None` for this site's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Box<str>>,
    /// What was decided.
    #[serde(flatten)]
    pub what: What,
}

/// Kind of decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum What {
    /// This instance is active from here on.
    Active,
    /// The site is adopted, so that its calls are finished here, or is handed back. An operator's decision, without an epoch.
    Adopted {
        /// Whether it is adopted.
        is_adopted: bool,
    },
    /// A switch responded at this time.
    NodeSeen {
        /// The switch.
        node: Box<str>,
        /// When it answered.
        at: Micros,
    },
    /// A leg or dialog is dead.
    DlgDead {
        /// Deterministic id of the dialog, kind and cause.
        id: Box<str>,
        /// The leg or dialog.
        key: Key,
        /// How it ended.
        #[serde(flatten)]
        end: End,
    },
    /// The records of a leg or dialog are saved, or existed already.
    Recorded {
        /// The leg or dialog.
        key: Key,
        /// Fingerprints of its records.
        prints: BTreeMap<Box<str>, Box<str>>,
        /// The last entry they take into account.
        through: Offset,
    },
    /// A notice was delivered.
    Told {
        /// The id of the notice.
        id: Box<str>,
        /// The dialog that it is about. Another instance may have its notice under another id.
        #[serde(default)]
        dialog: Box<str>,
        /// When it was delivered.
        #[serde(default)]
        at: Micros,
    },
}

/// How a leg or dialog ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// `dead` or `timeout`.
    pub kind: Box<str>,
    /// Why it is believed to be dead.
    pub cause: Box<str>,
    /// When it ended.
    pub ended: Micros,
    /// The last sign of life known at the time.
    pub seen: Micros,
    /// When the death was detected.
    pub found: Micros,
}

impl End {
    /// Converts it to the fold's form.
    #[must_use]
    pub fn death(&self, epoch: u64) -> Death {
        let Self { kind, cause, ended, seen, found } = self.clone();
        Death { epoch, seen, ended, found, kind, cause }
    }
}

impl Decision {
    /// Parses an entry.
    ///
    /// # Errors
    /// If it is of a later release, with a decision unknown to this one.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Serializes the decision as a journal entry.
    ///
    /// # Errors
    /// Never for what can be built here.
    pub fn draft(&self) -> Result<Draft, serde_json::Error> {
        Ok(Draft { body: Bytes::from(serde_json::to_vec(self)?), is_decision: true })
    }
}

/// Returns the id of a death: deterministic, so that all instances agree (UUID version 5, RFC 9562 section 5.5).
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

/// The namespace of these ids, generated once at random.
const SPACE: Uuid = Uuid::from_u128(0x6f1c_61f4_84b5_4b0e_9a36_7d0f_52c1_e8a7);
