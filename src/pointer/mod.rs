//! Pointers: what a document says about an attachment that is stored outside CouchDB.
//!
//! The platform keeps one entry per attachment in `pvt_attachments`, beside CouchDB's own `_attachments`, and reads both as one set. The gateway's
//! own entries have a `stowage` member with the location but no credentials. An entry with a `handler` was written by KAZOO; the gateway reads such
//! entries but never writes them. Any other entry is not a pointer. This is the only module that knows the format, which `docs/pointer.md` describes.

pub mod kazoo;
mod order;
mod view;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use stowage_base::settings::Settings;
use stowage_couch::Document;
use stowage_storage::Location;

use self::kazoo::{AttachmentAddress, KazooEntry, Link};

pub use order::{ahead_of, arrange, order, revpos};
pub use view::{Outside, Shown, hide, left_of, outside, pointers};

/// The target of an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An object in a storage.
    Object(Box<Pointer>),
    /// An attachment of another document.
    Link(Link),
}

impl Entry {
    /// Returns whether both have the same target.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(one), Self::Object(other)) => one.stowage.location == other.stowage.location,
            (Self::Link(one), Self::Link(other)) => one == other,
            _ => false,
        }
    }

    /// Returns the object; `None` for a link.
    #[must_use]
    pub fn object(self) -> Option<Pointer> {
        match self {
            Self::Object(pointer) => Some(*pointer),
            Self::Link(_) => None,
        }
    }
}

/// A pointer to an object in a storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// The media type that the client gave.
    pub content_type: String,
    /// The length in bytes, as the client sent it. Always present in the gateway's own entries.
    pub length: Option<u64>,
    /// CouchDB's digest: `md5-` and the base64 MD5 of these bytes. Always present in the gateway's own entries.
    pub digest: Option<String>,
    /// The generation of the revision that stored the attachment.
    #[serde(default)]
    pub revpos: u64,
    /// Always false: CouchDB has no stub of the attachment.
    #[serde(default)]
    pub stub: bool,
    /// The part that only the gateway reads.
    pub stowage: StoredObject,
}

/// The location of an attachment's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// [`VERSION`] of the release that wrote the entry; releases before 0.2.0 wrote none, which reads as 0.
    #[serde(rename = "v", default, deserialize_with = "known_version", skip_serializing_if = "is_unsaid")]
    pub version: u64,
    /// The storage's key in the plan's `attachments`.
    pub storage: String,
    /// The driver.
    pub handler: String,
    /// The driver's private part.
    pub location: Location,
    /// The SHA-256 of the bytes in hex.
    pub sha256: Option<String>,
    /// The storage's own tag for this version of the object.
    #[serde(default, deserialize_with = "tag")]
    pub etag: Option<String>,
    /// `gzip` if the client sent it compressed, else the encoding in which the storage holds it; null for none.
    pub encoding: Option<String>,
    /// The decompressed length, if the client gave it: it is the one in CouchDB's stub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
    /// The generation of the revision that got the pointer, where it is lower than the attachment's: in copies, and in replicated documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The time in UTC, RFC 3339.
    pub stored_at: String,
    /// The attachment that the object was stored for; in a copied document, it names the original.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// The storage settings in a KAZOO entry, credentials included; only in memory.
    #[serde(skip)]
    pub inside: Option<Settings>,
}

impl StoredObject {
    /// Returns whether both are the same object. A KAZOO entry does not know the storage's id.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let storage = self.storage == other.storage || self.inside.is_some() || other.inside.is_some();
        storage && self.handler == other.handler && self.location == other.location
    }

    /// Returns whether the object may be at this location. Its own location was recorded before the upload, so it may lack members that only the
    /// storage determines.
    #[must_use]
    pub fn is_noted_for(&self, location: &Location) -> bool {
        self.location.iter().all(|(key, value)| location.get(key) == Some(value))
    }
}

/// An attachment's full name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The database's decoded name.
    pub database: String,
    /// The document's id.
    pub document: String,
    /// The attachment's name.
    pub attachment: String,
}

impl Pointer {
    /// Returns whether the object was stored for this very attachment, which is required for removing it. A pointer copied from another document is
    /// read-only.
    #[must_use]
    pub fn is_own(&self, at: AttachmentAddress<'_>) -> bool {
        self.stowage.owner.as_ref().is_some_and(|owner| {
            owner.database == at.database && owner.document == at.document && owner.attachment == at.attachment
        })
    }

    /// The default media type.
    pub const UNKNOWN_TYPE: &str = "application/octet-stream";

    /// Returns the attachment's quoted `ETag`: its MD5 in base64, as in CouchDB. `None` if the MD5 is unknown.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        let digest = self.digest.as_deref()?;
        Some(format!("\"{}\"", digest.strip_prefix("md5-").unwrap_or(digest)))
    }

    /// Returns the generation of the revision that stored the attachment; 1 for KAZOO's entries without one.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        if self.stowage.inside.is_some() && self.revpos == 0 { 1 } else { self.revpos }
    }

    /// Returns the generation that an attachment in CouchDB must exceed to be newer.
    #[must_use]
    pub fn age(&self) -> u64 {
        self.stowage.generation.unwrap_or(self.revpos)
    }

    /// Returns whether the bytes are gzip that the client sent with `Content-Encoding`.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        self.stowage.encoding.as_deref() == Some("gzip")
    }
}

/// The error for an entry that the gateway cannot parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document's entry for this attachment cannot be read by this version of Stowage")]
pub struct Unreadable;

/// Looks up an attachment's entry. Returns `None` if CouchDB may have the attachment: there is no entry, it is not a pointer, or CouchDB's own
/// attachment of that name is newer.
///
/// # Errors
/// Returns [`Unreadable`] if the entry cannot be parsed, unless CouchDB's attachment is newer.
pub fn find(document: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let found = entry(document, at);
    let age = match &found {
        Ok(Some(Entry::Object(pointer))) => pointer.age(),
        Ok(_) => 0,
        Err(Unreadable) => view::unread_revpos(document, at.attachment),
    };
    let is_hidden = native_revpos(document, at.attachment).is_some_and(|native| native > age);
    if is_hidden { Ok(None) } else { found }
}

/// Looks up an attachment's entry as [`find`] does, but also returns one that is older than CouchDB's own attachment of that name: when that is
/// deleted, the entry has to be removed too, or the older bytes would come back.
///
/// # Errors
/// Returns [`Unreadable`] if the entry cannot be parsed.
pub fn entry(document: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let Some(entries) = document.object(MEMBER) else { return Ok(None) };
    entry_of(&entries, at)
}

/// Looks up an attachment among the entries.
fn entry_of(entries: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let Some(raw) = entries.raw(at.attachment) else { return Ok(None) };
    // The fast path: most entries are the gateway's own, and complete.
    if let Ok(pointer) = serde_json::from_str::<Pointer>(raw.get())
        && pointer.length.is_some()
        && pointer.digest.is_some()
    {
        return Ok(Some(Entry::Object(Box::new(pointer))));
    }
    let Ok(entry) = serde_json::from_str::<Map<String, Value>>(raw.get()) else { return Err(Unreadable) };
    if entry.contains_key("stowage") {
        let pointer: Pointer = serde_json::from_value(Value::Object(entry)).map_err(|_| Unreadable)?;
        let whole = pointer.length.is_some() && pointer.digest.is_some();
        return if whole { Ok(Some(Entry::Object(Box::new(pointer)))) } else { Err(Unreadable) };
    }
    match entry.get("handler") {
        None => Ok(None),
        Some(handler) => match kazoo::read(handler, at).ok_or(Unreadable)? {
            KazooEntry::Link(link) => Ok(Some(Entry::Link(link))),
            KazooEntry::Object(object) => Ok(Some(Entry::Object(Box::new(of_kazoo(&entry, object, at))))),
        },
    }
}

/// Rejects a newer version, whose members may mean something else.
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let version = u64::deserialize(deserializer)?;
    if version > VERSION { Err(serde::de::Error::custom("a newer form")) } else { Ok(version) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_unsaid(version: &u64) -> bool {
    *version == 0
}

/// Ignores Ceph's empty tags, which older pointers contain.
fn tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|tag: &String| !tag.trim_matches('"').is_empty()))
}

/// Converts a KAZOO entry, which has `content_type` and `length`, but never a digest or the revision's generation.
fn of_kazoo(entry: &Map<String, Value>, object: kazoo::Object, at: AttachmentAddress<'_>) -> Pointer {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let digest = text("digest").filter(|digest| digest.starts_with("md5-"));
    let owner = Owner {
        database: at.database.to_owned(),
        document: at.document.to_owned(),
        attachment: at.attachment.to_owned(),
    };
    Pointer {
        content_type: text("content_type").unwrap_or(Pointer::UNKNOWN_TYPE).to_owned(),
        length: entry.get("length").and_then(Value::as_u64),
        digest: digest.map(str::to_owned),
        revpos: entry.get("revpos").and_then(Value::as_u64).unwrap_or_default(),
        stub: false,
        stowage: StoredObject {
            version: 0,
            storage: object.inside.id().to_owned(),
            handler: object.inside.handler().to_owned(),
            location: object.location,
            sha256: None,
            etag: None,
            encoding: None,
            unpacked: None,
            generation: None,
            stored_at: String::new(),
            owner: (!object.foreign).then_some(owner),
            inside: Some(object.inside),
        },
    }
}

/// Returns the names of the document's attachments, CouchDB's own first.
#[must_use]
pub fn names(document: &Document) -> Vec<String> {
    let members = [NATIVE, MEMBER].into_iter().filter_map(|member| document.object(member));
    members.flat_map(|entries| entries.keys().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns every object that the document names, by attachment name, including those hidden by newer attachments in CouchDB. An entry that cannot be
/// parsed names none.
#[must_use]
pub fn objects(document: &Document, database: &str, id: &str) -> Vec<(String, Pointer)> {
    let Some(entries) = document.object(MEMBER) else { return Vec::new() };
    let of = |name: &str| {
        let pointer =
            entry(document, AttachmentAddress { database, document: id, attachment: name }).ok().flatten()?.object()?;
        Some((name.to_owned(), pointer))
    };
    entries.keys().filter_map(of).collect()
}

/// Puts an entry into the document, and removes CouchDB's own attachment of that name.
///
/// # Errors
/// Never fails for a pointer that the gateway made.
pub fn put(document: &mut Document, name: &str, pointer: &Pointer) -> Result<(), serde_json::Error> {
    let mut entries = document.object(MEMBER).unwrap_or_default();
    entries.set(name, &serde_json::to_value(pointer)?)?;
    document.set_object(MEMBER, &entries)?;
    remove_from(document, NATIVE, name)
}

/// Removes an entry, and CouchDB's own attachment of that name, from the document.
///
/// # Errors
/// Never fails for members that were parsed.
pub fn remove(document: &mut Document, name: &str) -> Result<(), serde_json::Error> {
    remove_from(document, MEMBER, name)?;
    remove_from(document, NATIVE, name)
}

/// Removes an entry from the document, but keeps CouchDB's own attachment of that name.
///
/// # Errors
/// Never fails for members that were parsed.
pub fn forget(document: &mut Document, name: &str) -> Result<(), serde_json::Error> {
    remove_from(document, MEMBER, name)
}

fn remove_from(document: &mut Document, member: &str, name: &str) -> Result<(), serde_json::Error> {
    let Some(mut entries) = document.object(member) else { return Ok(()) };
    if !entries.remove(name) {
        return Ok(());
    }
    if entries.is_empty() {
        document.remove(member);
        return Ok(());
    }
    document.set_object(member, &entries)
}

fn native_revpos(document: &Document, name: &str) -> Option<u64> {
    document.object(NATIVE)?.object(name)?.value("revpos")?.as_u64()
}

/// The version of the format that is written. It is raised if an earlier release would misread an entry, but not for additions that it may ignore.
/// `docs/pointer.md` describes the format.
pub const VERSION: u64 = 1;

/// The member of a document that holds its pointers.
pub const MEMBER: &str = "pvt_attachments";
const NATIVE: &str = "_attachments";

#[cfg(test)]
mod tests;
