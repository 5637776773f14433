//! What a document says about an attachment that is stored outside CouchDB.
//!
//! The platform keeps one entry per attachment in `pvt_attachments`, beside CouchDB's own `_attachments`, and reads both
//! as one set. The gateway's own entries hold a `stowage` member with the location and never a credential; an entry
//! without it belongs to somebody else. This is the only place that knows the form.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::couch::Document;
use crate::storage::Location;

/// The gateway's entry for one attachment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    /// The media type that the client gave.
    pub content_type: String,
    /// In bytes, as the client sent it.
    pub length: u64,
    /// `md5-` and the MD5 of these bytes in base64: CouchDB's digest.
    pub digest: String,
    /// The generation of the revision that stored it.
    #[serde(default)]
    pub revpos: u64,
    /// Always false: CouchDB has no stub of it.
    #[serde(default)]
    pub stub: bool,
    /// What only the gateway reads.
    pub stowage: Place,
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The key of the storage in the plan's `attachments`.
    pub storage: String,
    /// The driver.
    pub handler: String,
    /// The driver's own part.
    pub location: Location,
    /// SHA-256 of the bytes in hex.
    pub sha256: Option<String>,
    /// The storage's own tag for this version.
    pub etag: Option<String>,
    /// `gzip` where the client sent it so, else how the storage holds it; null: as it is.
    pub encoding: Option<String>,
    /// RFC 3339, UTC.
    pub stored_at: String,
    /// The attachment that the object was stored for; in a copied document it names the original.
    #[serde(default)]
    pub owner: Option<Owner>,
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
    /// The attachment's `ETag`, quoted: its MD5 in base64, as CouchDB has it.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.digest.strip_prefix("md5-").unwrap_or(&self.digest))
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
        f.write_str("the document's entry for this attachment cannot be read")
    }
}

impl std::error::Error for Unreadable {}

/// Looks for the entry of an attachment. `None` where CouchDB has it, or nobody: no entry, an entry that says nothing
/// about a place outside, or one that is older than CouchDB's own attachment of that name.
///
/// # Errors
/// [`Unreadable`]
pub fn find(document: &Document, name: &str) -> Result<Option<Pointer>, Unreadable> {
    let native = native_revpos(document, name);
    let is_newer = |pointer: &Pointer| native.is_some_and(|native| native > pointer.revpos);
    Ok(entry(document, name)?.filter(|pointer| !is_newer(pointer)))
}

/// Like [`find`], also for an entry that is older than CouchDB's own attachment of that name: where that goes, the entry
/// has to go too, or the older bytes would come back.
///
/// # Errors
/// [`Unreadable`]
pub fn entry(document: &Document, name: &str) -> Result<Option<Pointer>, Unreadable> {
    let Some(entries) = document.object(MEMBER) else { return Ok(None) };
    let Some(raw) = entries.raw(name) else { return Ok(None) };
    let Ok(entry) = serde_json::from_str::<Map<String, Value>>(raw.get()) else { return Err(Unreadable) };
    if !entry.contains_key("stowage") {
        return if entry.contains_key("handler") { Err(Unreadable) } else { Ok(None) };
    }
    serde_json::from_value(Value::Object(entry)).map(Some).map_err(|_| Unreadable)
}

/// Whether another entry of the document points at the same object.
#[must_use]
pub fn is_shared(document: &Document, name: &str, place: &Place) -> bool {
    let Some(entries) = document.object(MEMBER) else { return false };
    let others = entries.keys().filter(|key| *key != name);
    others
        .filter_map(|key| find(document, key).ok().flatten())
        .any(|other| other.stowage.storage == place.storage && other.stowage.location == place.location)
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

/// Takes the entry, and CouchDB's own attachment of that name, out of the document.
///
/// # Errors
/// Never for members that were read.
pub fn remove(document: &mut Document, name: &str) -> Result<(), serde_json::Error> {
    remove_from(document, MEMBER, name)?;
    remove_from(document, NATIVE, name)
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

const MEMBER: &str = "pvt_attachments";
const NATIVE: &str = "_attachments";

#[cfg(test)]
mod tests {
    use super::{Owner, Place, Pointer, Unreadable, entry, find, is_shared, put, remove};
    use crate::couch::Document;

    fn pointer(revpos: u64) -> Pointer {
        let location = [("path".to_owned(), "a/b".into())].into_iter().collect();
        let owner = Owner { database: "d".into(), document: "i".into(), attachment: "a.mp3".into() };
        Pointer {
            content_type: "audio/mpeg".into(),
            length: 3,
            digest: "md5-FXapTWyzNN0SbLHCfxng8g==".into(),
            revpos,
            stub: false,
            stowage: Place {
                storage: "s".into(),
                handler: "file".into(),
                location,
                sha256: None,
                etag: None,
                encoding: None,
                stored_at: "2026-01-01T00:00:00Z".into(),
                owner: Some(owner),
            },
        }
    }

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_pointer_is_put_found_and_removed_and_nothing_else_changes() {
        let mut doc =
            document(r#"{"_id":"i","n":1.0,"_attachments":{"a.mp3":{"stub":true,"revpos":1},"b":{"stub":true}}}"#);
        put(&mut doc, "a.mp3", &pointer(2)).unwrap();
        assert_eq!(find(&doc, "a.mp3").unwrap(), Some(pointer(2)));
        assert_eq!(find(&doc, "b").unwrap(), None);
        let text = String::from_utf8(doc.to_bytes().unwrap()).unwrap();
        assert!(
            text.starts_with(r#"{"_id":"i","n":1.0,"_attachments":{"b":{"stub":true}},"pvt_attachments":{"a.mp3":"#),
            "{text}"
        );
        assert!(!text.contains(r#""handler":{"#), "{text}");
        remove(&mut doc, "a.mp3").unwrap();
        assert_eq!(doc.to_bytes().unwrap(), br#"{"_id":"i","n":1.0,"_attachments":{"b":{"stub":true}}}"#);
    }

    #[test]
    fn what_is_not_ours_is_told_apart() {
        let foreign =
            r#"{"pvt_attachments":{"a":{"handler":{"kz_att_http":{"url":"http://h/"}}},"b":{"length":1},"c":7}}"#;
        assert_eq!(find(&document(foreign), "a"), Err(Unreadable));
        assert_eq!(find(&document(foreign), "b"), Ok(None));
        assert_eq!(find(&document(foreign), "c"), Err(Unreadable));
        assert_eq!(find(&document(r#"{"pvt_attachments":7}"#), "a"), Ok(None));
    }

    #[test]
    fn a_newer_attachment_of_couchdb_wins() {
        let mut doc = document("{}");
        put(&mut doc, "a.mp3", &pointer(2)).unwrap();
        doc.set("_attachments", &serde_json::json!({"a.mp3": {"revpos": 3, "stub": true}})).unwrap();
        assert_eq!(find(&doc, "a.mp3"), Ok(None));
        assert_eq!(entry(&doc, "a.mp3"), Ok(Some(pointer(2))));
    }

    #[test]
    fn an_object_that_two_entries_name_is_shared() {
        let mut doc = document("{}");
        put(&mut doc, "a.mp3", &pointer(2)).unwrap();
        assert!(!is_shared(&doc, "a.mp3", &pointer(2).stowage));
        put(&mut doc, "copy.mp3", &pointer(3)).unwrap();
        assert!(is_shared(&doc, "a.mp3", &pointer(2).stowage));
    }
}
