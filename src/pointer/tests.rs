use stowage_couch::Document;

use super::{Entry, Owner, Pointer, StoredObject, Unreadable, VERSION, entry, find, objects, put, remove};
use crate::pointer::kazoo::AttachmentAddress;

fn pointer(revpos: u64) -> Pointer {
    let location = [("path".to_owned(), "a/b".into())].into_iter().collect();
    let owner = Owner { database: "d".into(), document: "i".into(), attachment: "a.mp3".into() };
    Pointer {
        content_type: "audio/mpeg".into(),
        length: Some(3),
        digest: Some("md5-FXapTWyzNN0SbLHCfxng8g==".into()),
        revpos,
        stub: false,
        stowage: StoredObject {
            version: VERSION,
            storage: "s".into(),
            handler: "file".into(),
            location,
            sha256: None,
            etag: None,
            encoding: None,
            unpacked: None,
            generation: None,
            stored_at: "2026-01-01T00:00:00Z".into(),
            owner: Some(owner),
            inside: None,
        },
    }
}

fn object(revpos: u64) -> Entry {
    Entry::Object(Box::new(pointer(revpos)))
}

const fn at(attachment: &str) -> AttachmentAddress<'_> {
    AttachmentAddress { database: "d", document: "i", attachment }
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
    let foreign = r#"{"pvt_attachments":{"a":{"handler":{"kz_att_http":{"file":"x"}}},"b":{"length":1},"c":7}}"#;
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
fn a_newer_attachment_of_couchdb_wins_over_an_entry_that_cannot_be_read() {
    let found = |native: u64, entry: &str| {
        let text = format!(r#"{{"_attachments":{{"a":{{"revpos":{native}}}}},"pvt_attachments":{{"a":{entry}}}}}"#);
        find(&document(&text), at("a"))
    };
    for (entry, revpos) in [
        (r#"{"revpos":2,"handler":{"kz_att_future":{}}}"#, 2),
        (r#"{"revpos":2,"stowage":{"v":2}}"#, 2),
        (r#"{"handler":{"kz_att_future":{}}}"#, 1),
        ("null", 0),
    ] {
        assert_eq!(found(revpos, entry), Err(Unreadable), "{entry}");
        assert_eq!(found(revpos + 1, entry), Ok(None), "{entry}");
    }
}

#[test]
fn objects_are_told_by_the_names_of_their_attachments() {
    let mut doc = document(
        r#"{"_attachments":{"a.mp3":{"revpos":9}},"pvt_attachments":{"note":{"text":1},"odd":{"stowage":1},"odder":7,
        "link":{"handler":{"kz_att_link":{"att_dbname":"db","att_docid":"d"}}}}}"#,
    );
    put(&mut doc, "a.mp3", &pointer(2)).unwrap();
    put(&mut doc, "copy.mp3", &pointer(3)).unwrap();
    let expected = [("a.mp3", 2), ("copy.mp3", 3)].map(|(name, revpos)| (name.to_owned(), pointer(revpos)));
    assert_eq!(objects(&doc, "db", "i"), expected);
    assert!(objects(&document(r#"{"pvt_attachments":[]}"#), "db", "i").is_empty());
}

#[test]
fn only_the_attachment_that_an_object_was_stored_for_owns_it() {
    let mut own = pointer(1);
    let here = at("a.mp3");
    let owner = |database: &str, document: &str, attachment: &str| {
        Some(Owner { database: database.to_owned(), document: document.to_owned(), attachment: attachment.to_owned() })
    };
    own.stowage.owner = owner(here.database, here.document, "a.mp3");
    assert!(own.is_own(here) && !own.is_own(at("b.mp3")));
    for other in [owner("other", here.document, "a.mp3"), owner(here.database, "other", "a.mp3"), None] {
        own.stowage.owner = other;
        assert!(!own.is_own(here));
    }
}

#[test]
fn an_entry_of_kazoos_is_read_and_not_written() {
    let text = r#"{"_rev":"1-a","pvt_attachments":{"a.mp3":{"content_type":"audio/mpeg","length":3,"stub":false,
        "handler":{"kz_att_http":{"url":"http://me:secret@h/i/a.mp3"}}},
        "bare":{"handler":{"kz_att_http":{"url":"http://h/other/a.mp3"}}},
        "link":{"length":0,"handler":{"kz_att_link":{"att_dbname":"db","att_docid":"d"}}}}}"#;
    let doc = document(text);
    let found = |name: &str| find(&doc, at(name)).unwrap().unwrap();
    let old = found("a.mp3").object().unwrap();
    assert_eq!((old.length, &old.digest, old.etag(), old.revpos), (Some(3), &None, None, 0));
    assert_eq!(old.stowage.owner.as_ref().map(|owner| owner.document.as_str()), Some("i"));
    let written = serde_json::to_string(&old).unwrap();
    assert!(!written.contains("secret") && !format!("{old:?}").contains("secret"), "{written}");
    let bare = found("bare").object().unwrap();
    assert_eq!((bare.content_type.as_str(), bare.length), ("application/octet-stream", None));
    assert_eq!(bare.stowage.owner, None, "its name is of another document");
    assert!(matches!(found("link"), Entry::Link(_)));
    assert_eq!(super::names(&doc), ["a.mp3", "bare", "link"]);
}

#[test]
fn a_native_attachment_wins_over_an_entry_of_kazoos() {
    let text = r#"{"_attachments":{"a":{"revpos":1}},
        "pvt_attachments":{"a":{"handler":{"kz_att_link":{"att_dbname":"db","att_docid":"d"}}}}}"#;
    let doc = document(text);
    assert_eq!(find(&doc, at("a")), Ok(None));
    assert!(entry(&doc, at("a")).unwrap().is_some());
}

#[test]
fn an_own_entry_says_length_and_digest() {
    let mut value = serde_json::to_value(pointer(1)).unwrap();
    for key in ["length", "digest"] {
        let kept = value[key].take();
        let doc = document(&serde_json::json!({"pvt_attachments": {"a": value}}).to_string());
        assert_eq!(find(&doc, at("a")), Err(Unreadable), "{key}");
        value[key] = kept;
    }
}

/// With a tag that differs from the pointer's, each read of an object compares all of its bytes.
#[test]
fn an_empty_tag_is_none() {
    for (tag, known) in [(r#""""#, None), (r#""\"\"""#, None), ("null", None), (r#""\"v1\"""#, Some("\"v1\""))] {
        let mut doc = document(r#"{"_id":"i"}"#);
        put(&mut doc, "a.mp3", &pointer(2)).unwrap();
        let text = String::from_utf8(doc.to_bytes().unwrap()).unwrap();
        let doc = document(&text.replace(r#""etag":null"#, &format!(r#""etag":{tag}"#)));
        let Some(Entry::Object(found)) = find(&doc, at("a.mp3")).unwrap() else { panic!("no object: {tag}") };
        assert_eq!(found.stowage.etag.as_deref(), known, "{tag}");
    }
}

#[test]
fn every_version_up_to_ones_own_is_read_and_no_later_one() {
    let entry = serde_json::to_value(pointer(1)).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut entry = entry.clone();
        change(entry["stowage"].as_object_mut().unwrap());
        find(&document(&serde_json::json!({ "pvt_attachments": { "a.mp3": entry } }).to_string()), at("a.mp3"))
    };
    assert_eq!(entry["stowage"]["v"], VERSION);
    assert_eq!(with(&|_| {}), Ok(Some(object(1))));
    // As written by releases before 0.2.0, and with what a later one may add without another version.
    assert!(matches!(with(&|place| drop(place.remove("v"))), Ok(Some(Entry::Object(_)))));
    assert_eq!(with(&|place| drop(place.insert("new".into(), 1.into()))), Ok(Some(object(1))));
    for later in [serde_json::json!(VERSION + 1), serde_json::json!("1"), serde_json::json!(null)] {
        assert_eq!(with(&|place| drop(place.insert("v".into(), later.clone()))), Err(Unreadable), "{later}");
    }
}

#[test]
fn the_page_has_every_member() {
    let page = include_str!("../../docs/pointer.md");
    let mut whole = pointer(1);
    whole.stowage.unpacked = Some(1);
    let entry = serde_json::to_value(whole).unwrap();
    let (place, owner) = (&entry["stowage"], &entry["stowage"]["owner"]);
    for (level, members) in [("", &entry), ("stowage.", place), ("stowage.owner.", owner)] {
        for member in members.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{level}{member}` |")), "{level}{member}");
        }
    }
}
