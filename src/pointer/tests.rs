use super::{Entry, Owner, Place, Pointer, Unreadable, entry, find, is_shared, put, remove};
use crate::couch::Document;
use crate::storage::old::At;

fn pointer(revpos: u64) -> Pointer {
    let location = [("path".to_owned(), "a/b".into())].into_iter().collect();
    let owner = Owner { database: "d".into(), document: "i".into(), attachment: "a.mp3".into() };
    Pointer {
        content_type: "audio/mpeg".into(),
        length: Some(3),
        digest: Some("md5-FXapTWyzNN0SbLHCfxng8g==".into()),
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
            inside: None,
        },
    }
}

fn object(revpos: u64) -> Entry {
    Entry::Object(Box::new(pointer(revpos)))
}

const fn at(attachment: &str) -> At<'_> {
    At { database: "d", document: "i", attachment }
}

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_pointer_is_put_found_and_removed_and_nothing_else_changes() {
    let mut doc =
        document(r#"{"_id":"i","n":1.0,"_attachments":{"a.mp3":{"stub":true,"revpos":1},"b":{"stub":true}}}"#);
    put(&mut doc, "a.mp3", &pointer(2)).unwrap();
    assert_eq!(find(&doc, at("a.mp3")).unwrap(), Some(object(2)));
    assert_eq!(find(&doc, at("b")).unwrap(), None);
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
    assert_eq!(find(&document(foreign), at("a")), Err(Unreadable));
    assert_eq!(find(&document(foreign), at("b")), Ok(None));
    assert_eq!(find(&document(foreign), at("c")), Err(Unreadable));
    assert_eq!(find(&document(r#"{"pvt_attachments":7}"#), at("a")), Ok(None));
}

#[test]
fn a_newer_attachment_of_couchdb_wins() {
    let mut doc = document("{}");
    put(&mut doc, "a.mp3", &pointer(2)).unwrap();
    doc.set("_attachments", &serde_json::json!({"a.mp3": {"revpos": 3, "stub": true}})).unwrap();
    assert_eq!(find(&doc, at("a.mp3")), Ok(None));
    assert_eq!(entry(&doc, at("a.mp3")), Ok(Some(object(2))));
}

#[test]
fn an_object_that_two_entries_name_is_shared() {
    let mut doc = document("{}");
    put(&mut doc, "a.mp3", &pointer(2)).unwrap();
    assert!(!is_shared(&doc, at("a.mp3"), &pointer(2).stowage));
    put(&mut doc, "copy.mp3", &pointer(3)).unwrap();
    assert!(is_shared(&doc, at("a.mp3"), &pointer(2).stowage));
}
