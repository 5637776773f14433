//! What a document says about an attachment that is stored outside CouchDB.
//!
//! The platform keeps one entry per attachment in `pvt_attachments`, beside CouchDB's own `_attachments`, and reads both
//! as one set. The gateway's own entries hold a `stowage` member with the location and never a credential. An entry with
//! a `handler` is one that KAZOO wrote: it is read, never written. Any other entry says nothing about a place outside.
//! This is the only place that knows the form; `docs/pointer.md` is its page.

pub mod kazoo;
mod view;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use stowage_base::settings::Settings;
use stowage_couch::Document;
use stowage_storage::Location;

use self::kazoo::{AttachmentAddress, KazooEntry, Link};

pub use view::{Outside, Shown, hide, left_of, outside, pointers};

/// What an entry points at.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// An object in a storage.
    Object(Box<Pointer>),
    /// The attachment of another document.
    Link(Link),
}

impl Entry {
    /// Whether both point at the same thing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(one), Self::Object(other)) => one.stowage.location == other.stowage.location,
            (Self::Link(one), Self::Link(other)) => one == other,
            _ => false,
        }
    }

    /// The object; `None` for a link.
    #[must_use]
    pub fn object(self) -> Option<Pointer> {
        match self {
            Self::Object(pointer) => Some(*pointer),
            Self::Link(_) => None,
        }
    }
}

/// An attachment in a storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// The media type that the client gave.
    pub content_type: String,
    /// In bytes, as the client sent it. The gateway's own entries always say it.
    pub length: Option<u64>,
    /// `md5-` and the MD5 of these bytes in base64: CouchDB's digest. The gateway's own entries always say it.
    pub digest: Option<String>,
    /// The generation of the revision that stored it.
    #[serde(default)]
    pub revpos: u64,
    /// Always false: CouchDB has no stub of it.
    #[serde(default)]
    pub stub: bool,
    /// What only the gateway reads.
    pub stowage: StoredObject,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// [`VERSION`] of the release that wrote it; those before 0.2.0 said none, which is 0 here.
    #[serde(rename = "v", default, deserialize_with = "known_version", skip_serializing_if = "is_unsaid")]
    pub version: u64,
    /// The key of the storage in the plan's `attachments`.
    pub storage: String,
    /// The driver.
    pub handler: String,
    /// The driver's own part.
    pub location: Location,
    /// SHA-256 of the bytes in hex.
    pub sha256: Option<String>,
    /// The storage's own tag for this version.
    #[serde(default, deserialize_with = "tag")]
    pub etag: Option<String>,
    /// `gzip` where the client sent it so, else how the storage holds it; null: as it is.
    pub encoding: Option<String>,
    /// The length of what the bytes are the gzip of, where the client said it: CouchDB's stub says this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
    /// RFC 3339, UTC.
    pub stored_at: String,
    /// The attachment that the object was stored for; in a copied document it names the original.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// What an entry of KAZOO's says about its storage, credentials included; only in memory.
    #[serde(skip)]
    pub inside: Option<Settings>,
}

impl StoredObject {
    /// Whether both are the same object. An entry of KAZOO's does not know the storage's id.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let storage = self.storage == other.storage || self.inside.is_some() || other.inside.is_some();
        storage && self.handler == other.handler && self.location == other.location
    }
}

/// An attachment by name.
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
    /// Whether its object was stored for this very attachment: what it may be deleted by. A pointer that came from another
    /// document may only be read.
    #[must_use]
    pub fn is_own(&self, at: AttachmentAddress<'_>) -> bool {
        self.stowage.owner.as_ref().is_some_and(|owner| {
            owner.database == at.database && owner.document == at.document && owner.attachment == at.attachment
        })
    }
    /// The media type of what has none.
    pub const UNKNOWN_TYPE: &str = "application/octet-stream";

    /// The attachment's `ETag`, quoted: its MD5 in base64, as CouchDB has it. None where the MD5 is not known.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        let digest = self.digest.as_deref()?;
        Some(format!("\"{}\"", digest.strip_prefix("md5-").unwrap_or(digest)))
    }

    /// The generation of the revision that stored it; KAZOO's entries do not say it, and then it is the first.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        if self.stowage.inside.is_some() && self.revpos == 0 { 1 } else { self.revpos }
    }

    /// Whether the bytes are gzip that the client sent as `Content-Encoding`.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        self.stowage.encoding.as_deref() == Some("gzip")
    }
}

/// The entry is there, but it is none that the gateway can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the document's entry for this attachment cannot be read by this version of Stowage")
    }
}

impl std::error::Error for Unreadable {}

/// Looks for the entry of an attachment. `None` where CouchDB may have it: no entry, an entry that says nothing
/// about a place outside, or one that is older than CouchDB's own attachment of that name.
///
/// # Errors
/// [`Unreadable`]
pub fn find(document: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let native = native_revpos(document, at.attachment);
    let revpos = |entry: &Entry| match entry {
        Entry::Object(pointer) => pointer.revpos,
        Entry::Link(_) => 0,
    };
    Ok(entry(document, at)?.filter(|entry| native.is_none_or(|native| native <= revpos(entry))))
}

/// Like [`find`], also for an entry that is older than CouchDB's own attachment of that name: where that goes, the entry
/// has to go too, or the older bytes would come back.
///
/// # Errors
/// [`Unreadable`]
pub fn entry(document: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let Some(entries) = document.object(MEMBER) else { return Ok(None) };
    entry_of(&entries, at)
}

/// The same among the entries themselves.
fn entry_of(entries: &Document, at: AttachmentAddress<'_>) -> Result<Option<Entry>, Unreadable> {
    let Some(raw) = entries.raw(at.attachment) else { return Ok(None) };
    // Most are the gateway's own, and whole.
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

/// A form of the future may mean something else by the same members: it is not guessed.
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let version = u64::deserialize(deserializer)?;
    if version > VERSION { Err(serde::de::Error::custom("a newer form")) } else { Ok(version) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_unsaid(version: &u64) -> bool {
    *version == 0
}

/// Ceph's empty tags, which older pointers hold, say nothing.
fn tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|tag: &String| !tag.trim_matches('"').is_empty()))
}

/// KAZOO's entries have `content_type` and `length`, and never had a digest or the revision's generation.
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
            stored_at: String::new(),
            owner: (!object.foreign).then_some(owner),
            inside: Some(object.inside),
        },
    }
}

/// The names of the document's attachments, CouchDB's own first.
#[must_use]
pub fn names(document: &Document) -> Vec<String> {
    let members = [NATIVE, MEMBER].into_iter().filter_map(|member| document.object(member));
    members.flat_map(|entries| entries.keys().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Every object that the document names, by the attachment's name: also those that newer attachments of CouchDB hide. An
/// entry that cannot be read names none.
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

/// Puts the entry into the document, and drops CouchDB's own attachment of that name.
///
/// # Errors
/// Never for a pointer that the gateway made.
pub fn put(document: &mut Document, name: &str, pointer: &Pointer) -> Result<(), serde_json::Error> {
    let mut entries = document.object(MEMBER).unwrap_or_default();
    entries.set(name, &serde_json::to_value(pointer)?)?;
    document.set_object(MEMBER, &entries)?;
    remove_from(document, NATIVE, name)
}

/// Moves the entries of these names before the others, in this order. CouchDB keeps the attachments of a document in the order in which
/// the document was sent with them; one that is put alone comes first.
///
/// # Errors
/// Never for members that were read.
pub fn arrange<'a>(document: &mut Document, names: impl IntoIterator<Item = &'a str>) -> Result<(), serde_json::Error> {
    let Some(mut entries) = document.object(MEMBER) else { return Ok(()) };
    entries.begin_with(names);
    document.set_object(MEMBER, &entries)
}

/// Takes the entry, and CouchDB's own attachment of that name, out of the document.
///
/// # Errors
/// Never for members that were read.
pub fn remove(document: &mut Document, name: &str) -> Result<(), serde_json::Error> {
    remove_from(document, MEMBER, name)?;
    remove_from(document, NATIVE, name)
}

/// Takes the entry out of the document, and leaves CouchDB's own attachment of that name.
///
/// # Errors
/// Never for members that were read.
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

/// The version of the form that is written: higher once a release before it would misread an entry, not where it may
/// ignore what is new. `docs/pointer.md` is the form's page.
pub const VERSION: u64 = 1;

/// The member of a document that holds its pointers.
pub const MEMBER: &str = "pvt_attachments";
const NATIVE: &str = "_attachments";

#[cfg(test)]
mod tests;
