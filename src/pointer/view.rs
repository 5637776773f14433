//! Pointers as clients see them if `couchdb.present_stubs` says so: as CouchDB's own stubs.

use serde::Serialize;
use serde_json::value::RawValue;
use stowage_couch::{Document, mentions_pointers};

use super::{Entry, MEMBER, Pointer, Unreadable, entry_of, native_revpos};
use crate::pointer::kazoo::AttachmentAddress;

/// An entry of `pvt_attachments` that is a pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// The attachment's name.
    pub name: String,
    /// The target; an entry that cannot be parsed is presented all the same, but cannot be fetched.
    pub entry: Result<Entry, Unreadable>,
    about: About,
}

/// The attachment's properties in an entry.
#[derive(Debug, Clone, PartialEq)]
struct About {
    content_type: String,
    revpos: u64,
    digest: Option<String>,
    length: Option<u64>,
    /// The length of the bytes as stored, which is smaller if they are compressed.
    packed: Option<u64>,
    gzip: bool,
}

/// An attachment in a document as CouchDB prints it, with the members in CouchDB's order (`couch_att:to_json`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown<'a> {
    /// The media type.
    pub content_type: &'a str,
    /// The generation of the revision that stored the attachment.
    pub revpos: u64,
    /// CouchDB's digest. KAZOO's entries have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<&'a str>,
    /// The length in bytes; missing if only the storage knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Whether the bytes are not in this response.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stub: bool,
    /// Whether the bytes are in another part of this response.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
    /// The encoding of the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<&'static str>,
    /// The length of the encoded bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoded_length: Option<u64>,
}

impl Outside {
    /// Returns the attachment's stub. CouchDB only includes the encoding on request (`att_encoding_info`). If an attachment was uploaded as gzip,
    /// CouchDB gives the compressed length as both lengths. This stub does the same, unless the writer specified the unpacked length.
    #[must_use]
    pub fn stub(&self, encoding: bool) -> Shown<'_> {
        let About { content_type, revpos, digest, length, packed: bytes, gzip } = &self.about;
        let packed = encoding && *gzip;
        Shown {
            content_type,
            revpos: *revpos,
            digest: digest.as_deref(),
            length: *length,
            stub: true,
            follows: false,
            encoding: packed.then_some("gzip"),
            encoded_length: bytes.filter(|_| packed),
        }
    }

    /// Returns the generation of the revision that stored the attachment.
    #[must_use]
    pub const fn revpos(&self) -> u64 {
        self.about.revpos
    }

    /// Returns whether the pointer counts although CouchDB has an attachment of the same name: the newer one does.
    #[must_use]
    pub fn wins_over(&self, native_revpos: u64) -> bool {
        let own = match &self.entry {
            Ok(Entry::Object(pointer)) => pointer.age(),
            Ok(Entry::Link(_)) => 0,
            Err(Unreadable) => self.about.revpos,
        };
        native_revpos <= own
    }

    /// Returns the generation by which its place among CouchDB's attachments is found.
    #[must_use]
    pub fn age(&self) -> u64 {
        match &self.entry {
            Ok(Entry::Object(pointer)) => pointer.stowage.generation.unwrap_or(self.about.revpos),
            Ok(Entry::Link(_)) | Err(Unreadable) => self.about.revpos,
        }
    }
}

/// Returns the pointers in the document's `pvt_attachments`, the gateway's own and KAZOO's, in the order in which CouchDB would list the attachments.
/// Includes pointers hidden by a newer attachment in CouchDB: see [`Outside::wins_over`].
#[must_use]
pub fn pointers(document: &Document, database: &str, id: &str) -> Vec<Outside> {
    let Some(entries) = document.object(MEMBER) else { return Vec::new() };
    let names = entries.keys().map(str::to_owned);
    let outside = names.filter_map(|name| {
        let found = entry_of(&entries, AttachmentAddress { database, document: id, attachment: &name }).transpose()?;
        // An entry that is not an object is not a pointer.
        let about = match &found {
            Ok(Entry::Object(pointer)) => of_object(pointer),
            Ok(Entry::Link(_)) | Err(Unreadable) => of_other(&entries.object(&name)?),
        };
        Some(Outside { name, entry: found, about })
    });
    outside.collect()
}

/// Returns the pointers that clients see: those that no newer attachment in CouchDB hides.
#[must_use]
pub fn outside(document: &Document, database: &str, id: &str) -> Vec<Outside> {
    let mut found = pointers(document, database, id);
    found.retain(|outside| native_revpos(document, &outside.name).is_none_or(|native| outside.wins_over(native)));
    found
}

/// Removes every pointer from `pvt_attachments`, and that member if it becomes empty, so that a replicator never learns of a storage.
///
/// # Errors
/// Never fails for members that were parsed.
pub fn hide(document: &mut Document, pointers: &[Outside]) -> Result<(), serde_json::Error> {
    pointers.iter().try_for_each(|outside| super::remove_from(document, MEMBER, &outside.name))
}

/// Redacts a member of a text that is not a document: removes pointers and what their entries contain. Returns `None` if nothing remains.
///
/// # Errors
/// Returns [`Unreadable`] for an object that cannot be parsed.
pub fn left_of(name: &str, value: &[u8], database: &str) -> Result<Option<Vec<u8>>, Unreadable> {
    match value.first() {
        Some(b'{') if name == MEMBER => {
            let text = [br#"{"pvt_attachments":"#, value, b"}"].concat();
            let mut document = Document::parse(&text).map_err(|_| Unreadable)?;
            let found = pointers(&document, database, "");
            hide(&mut document, &found).map_err(|_| Unreadable)?;
            // Anything that is not a pointer must not contain one.
            let speaks = |left: &&str| mentions_pointers(left.as_bytes()) || left.contains("kz_att_");
            let left = document.raw(MEMBER).map(RawValue::get).filter(|left| !speaks(left));
            Ok(left.map(|left| left.as_bytes().to_vec()))
        }
        Some(b'{' | b'[' | b'"') => Ok(None),
        _ => Ok(Some(value.to_vec())),
    }
}

fn of_object(pointer: &Pointer) -> About {
    About {
        content_type: pointer.content_type.clone(),
        revpos: pointer.generation(),
        digest: pointer.digest.clone(),
        length: pointer.stowage.unpacked.or(pointer.length),
        packed: pointer.length,
        gzip: pointer.is_gzip(),
    }
}

/// Returns the generation of an entry that cannot be parsed; 0 for one that is not an object, and thus not a pointer.
pub(super) fn unread_revpos(document: &Document, name: &str) -> u64 {
    let entry = document.object(MEMBER).and_then(|entries| entries.object(name));
    entry.map_or(0, |entry| of_other(&entry).revpos)
}

/// Returns the properties in a link's entry: only the media type is reliable, as KAZOO writes a length of 0.
fn of_other(raw: &Document) -> About {
    let number = |key: &str| raw.value(key).and_then(|value| value.as_u64()).filter(|number| *number > 0);
    let text = |key: &str| raw.text(key).filter(|text| !text.is_empty());
    About {
        content_type: text("content_type").unwrap_or_else(|| Pointer::UNKNOWN_TYPE.to_owned()),
        revpos: number("revpos").unwrap_or(1),
        digest: text("digest").filter(|digest| digest.starts_with("md5-")),
        length: number("length"),
        packed: None,
        gzip: false,
    }
}

#[cfg(test)]
mod tests {
    use super::{hide, left_of, outside, pointers};
    use stowage_couch::Document;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn own(revpos: u64, encoding: &str) -> String {
        format!(
            r#"{{"content_type":"audio/mpeg","length":3,"digest":"md5-FXapTWyzNN0SbLHCfxng8g==","revpos":{revpos},"stub":false,
            "stowage":{{"storage":"s","handler":"file","location":{{"path":"a"}},"encoding":{encoding},"stored_at":""}}}}"#
        )
    }

    fn shown(text: &str, encoding: bool) -> Vec<(String, String)> {
        let found = outside(&document(text), "d", "i");
        found
            .iter()
            .map(|outside| (outside.name.clone(), serde_json::to_string(&outside.stub(encoding)).unwrap()))
            .collect()
    }

    #[test]
    fn a_pointer_is_shown_as_couchdbs_stub() {
        let plain = format!(r#"{{"pvt_attachments":{{"a":{}}}}}"#, own(2, "null"));
        let stub = r#"{"content_type":"audio/mpeg","revpos":2,"digest":"md5-FXapTWyzNN0SbLHCfxng8g==","length":3,"stub":true}"#;
        assert_eq!(shown(&plain, false), [("a".to_owned(), stub.to_owned())]);
        assert_eq!(shown(&plain, true), shown(&plain, false));
        let packed = format!(r#"{{"pvt_attachments":{{"a":{}}}}}"#, own(2, r#""gzip""#));
        assert_eq!(shown(&packed, false), shown(&plain, false));
        let info = format!(r#"{},"encoding":"gzip","encoded_length":3}}"#, stub.trim_end_matches('}'));
        assert_eq!(shown(&packed, true), [("a".to_owned(), info)]);
    }

    #[test]
    fn kazoos_entries_are_shown_without_what_they_do_not_know() {
        let text = r#"{"pvt_attachments":{
            "old":{"content_type":"audio/mpeg","length":3,"handler":{"kz_att_http":{"url":"http://me:secret@h/i/old"}}},
            "bare":{"handler":{"kz_att_http":{"url":"http://h/x"}}},
            "link":{"content_type":"audio/wav","length":0,"handler":{"kz_att_link":{"att_dbname":"db","att_docid":"d"}}},
            "strange":{"content_type":"text/plain","handler":{"kz_att_future":{"key":"secret"}}},
            "note":{"length":1}}}"#;
        let expected = [
            ("old", r#"{"content_type":"audio/mpeg","revpos":1,"length":3,"stub":true}"#),
            ("bare", r#"{"content_type":"application/octet-stream","revpos":1,"stub":true}"#),
            ("link", r#"{"content_type":"audio/wav","revpos":1,"stub":true}"#),
            ("strange", r#"{"content_type":"text/plain","revpos":1,"stub":true}"#),
        ];
        assert_eq!(shown(text, true), expected.map(|(name, stub)| (name.to_owned(), stub.to_owned())));
        let mut kept = document(text);
        hide(&mut kept, &pointers(&document(text), "d", "i")).unwrap();
        assert_eq!(kept.to_bytes().unwrap(), br#"{"pvt_attachments":{"note":{"length":1}}}"#);
    }

    #[test]
    fn outside_of_documents_nothing_is_left_of_pointers() {
        let left = |name: &str, value: &str| {
            left_of(name, value.as_bytes(), "d").map(|left| left.map(|left| String::from_utf8(left).unwrap()))
        };
        let pointers = format!(
            r#"{{"a":{},"k":{{"handler":{{"kz_att_s3":{{"S3":"canary"}}}}}},"n":{{"length":1}},"u":{{"handler":7}}}}"#,
            own(2, "null")
        );
        assert_eq!(left("pvt_attachments", &pointers).unwrap().unwrap(), r#"{"n":{"length":1}}"#);
        assert_eq!(left("pvt_attachments", r#"{"k":{"handler":{}}}"#), Ok(None));
        let nested = format!(r#"{{"n":{{"length":1,"pvt_attachments":{pointers}}}}}"#);
        assert_eq!(left("pvt_attachments", &nested), Ok(None));
        assert_eq!(left("pvt_attachments", r#"{"k":{]"#), Err(super::Unreadable));
        assert_eq!(left("pvt_attachments", "[1]"), Ok(None));
        assert_eq!(left("pvt_attachments", "null").unwrap().unwrap(), "null");
        assert_eq!(left("kz_att_s3", r#"{"S3":"canary"}"#), Ok(None));
        assert_eq!(left("kz_att_s3", "7").unwrap().unwrap(), "7", "how many there are");
    }

    #[test]
    fn what_couchdb_has_and_is_newer_hides_a_pointer_from_view_and_nothing_carries_it_away() {
        let text = |native: u64| {
            format!(r#"{{"pvt_attachments":{{"a":{}}},"_attachments":{{"a":{{"revpos":{native}}}}}}}"#, own(2, "null"))
        };
        assert_eq!(shown(&text(2), false).len(), 1);
        assert!(shown(&text(3), false).is_empty());
        let mut hidden = document(&text(3));
        let all = pointers(&hidden, "d", "i");
        hide(&mut hidden, &all).unwrap();
        assert_eq!(hidden.to_bytes().unwrap(), br#"{"_attachments":{"a":{"revpos":3}}}"#);
    }
}
