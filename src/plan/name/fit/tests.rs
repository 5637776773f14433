#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::json;
use stowage_storage::driver;

use super::*;
use crate::plan::name::tests::{DATABASE, HANDLERS, fields, of, settings, text};
use crate::plan::{NameSource, compose};

/// The name of an attachment, and the alternative with a suffix.
fn both(handler: &str, document_id: &str, attachment: &str) -> [String; 2] {
    let document = fields(json!({}));
    let source = NameSource { account: None, database: DATABASE, document_id, attachment, document: &document };
    let name = compose(&settings(handler, json!({})), &source).unwrap();
    [name.to_string(), name.with_suffix("1f6c2a9e")]
}

fn assert_fits(handler: &str, name: &str) {
    let Fit { part, whole, spelling } = driver(handler).unwrap().fit;
    assert!(name.len() <= whole, "{handler}: {} of {whole} bytes: {name}", name.len());
    for found in name.split('/') {
        let length = length(found, spelling == Spelling::Url);
        assert!(length <= part, "{handler}: {length} of {part} bytes: {found}");
    }
    percent_decode_str(name).decode_utf8().unwrap_or_else(|error| panic!("{handler}: {name}: {error}"));
}

#[test]
fn what_couchdb_takes_has_a_name_on_every_storage() {
    for attachment in [
        "か".repeat(28),
        "Ж".repeat(60),
        "a".repeat(250),
        "Ж".repeat(160),
        format!("{}.mp3", "😀".repeat(3000)),
        format!("a.{}", "b".repeat(5000)),
        "\u{1}\u{0}\n\u{7f}".repeat(90),
        ".".repeat(600),
        "%".repeat(400),
    ] {
        for handler in HANDLERS {
            for id in ["doc".to_owned(), "Ж".repeat(300)] {
                for name in both(handler, &id, &attachment) {
                    assert_fits(handler, &name);
                }
            }
        }
    }
}

#[test]
fn a_shortened_name_has_a_head_a_hash_and_the_extension() {
    let [name, spare] = both("file", "doc", &format!("{}.mp3", "Ж".repeat(60)));
    let own = name.strip_prefix("unknown_account/doc/").unwrap();
    let (head, tail) = own.rsplit_once('-').unwrap();
    assert_eq!(percent_decode_str(head).decode_utf8().unwrap(), "Ж".repeat(37));
    let (hash, extension) = tail.split_once('.').unwrap();
    assert_eq!((hash.len(), extension), (16, "mp3"));
    assert_eq!(spare, name.replace(".mp3", ".1f6c2a9e.mp3"));
    assert_eq!(name, both("file", "doc", &format!("{}.mp3", "Ж".repeat(60)))[0], "the same every time");
    // A long last part is not an extension.
    let [name, _] = both("file", "doc", &format!("a.{}", "b".repeat(400)));
    assert!(name.len() > 200 && name.contains("/a.bbbb"), "{name}");
}

#[test]
fn names_that_fit_stay_as_they_are() {
    for (handler, length) in [("file", 246), ("ftp", 246), ("http", 211), ("azure", 1011), ("s3", 242)] {
        let fits = "a".repeat(length);
        assert!(both(handler, "doc", &fits)[0].ends_with(&fits), "{handler}");
        assert!(!both(handler, "doc", &format!("{fits}a"))[0].ends_with(&fits), "{handler}");
    }
    // A web server counts decoded bytes.
    let kana = "か".repeat(70);
    assert!(both("http", "doc", &kana)[0].ends_with(&stowage_http::target::encode(&kana)));
}

#[test]
fn hashes_tell_databases_documents_and_attachments_apart() {
    let long = "x".repeat(2000);
    let list = json!({ "field_list": [{ "arg": "attachment" }] });
    let named = |database: &str, document_id: &str, attachment: &str| {
        let document = fields(json!({}));
        let source = NameSource { account: None, database, document_id, attachment, document: &document };
        compose(&settings("s3", list.clone()), &source).unwrap().to_string()
    };
    let one = named("d", "i", &long);
    assert_eq!(one, named("d", "i", &long));
    for other in [named("e", "i", &long), named("d", "j", &long), named("d", "i", &format!("{long}y"))] {
        assert_ne!(one, other);
    }
    // A folder is the same for all of a document's attachments.
    let folder = |attachment: &str| of("file", DATABASE, &long, attachment).rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(folder("a"), folder("b"));
    assert_ne!(of("file", DATABASE, &long, "a"), of("file", DATABASE, &format!("{long}y"), "a"));
}

#[test]
fn fields_are_shortened_and_what_the_plan_says_is_not() {
    let long = "a".repeat(400);
    let list = json!([{ "field": "name" }, { "group": ["x-", { "field": "name" }, ".bin"] }]);
    let name = text("file", json!({ "field_list": list }), json!({ "name": long }));
    let (folder, own) = name.split_once('/').unwrap();
    assert!(folder.len() <= 255 && own.starts_with("x-aaa") && own.ends_with(".bin"), "{name}");
    // A constant in a query may be a secret of 400 characters.
    let list = json!([{ "group": [format!("save?sig={long}&path="), { "field": "name" }] }]);
    let name = text("http", json!({ "field_list": list }), json!({ "name": long }));
    assert!(name.starts_with(&format!("save?sig={long}&path=aaa")) && name.len() < 640, "{name}");
    assert_eq!(text("file", json!({ "field_list": [long] }), json!({})), long);
}

#[test]
fn many_long_parts_share_the_room() {
    let list: Vec<_> = (0..5).map(|_| json!({ "field": "name" })).collect();
    for (handler, most) in [("ftp", 400), ("onedrive", 280), ("s3", 1024)] {
        let members = json!({ "field_list": list, "folder_path": "recordings" });
        let name = text(handler, members, json!({ "name": "Ж".repeat(99) }));
        assert!(name.len() <= most && name.split('/').count() == 6, "{handler}: {name}");
    }
}

#[test]
fn names_that_a_desktop_reads_otherwise_are_spelled_out() {
    let list = json!({ "field_list": [{ "field": "name" }, { "arg": "attachment" }] });
    for (value, expected) in [
        ("con", "%63on"),
        ("Aux.mp3", "%41ux.mp3"),
        ("COM1", "%43OM1"),
        ("com12", "com12"),
        ("control", "control"),
        ("desktop.ini", "%64esktop.ini"),
        (".lock", "%2Elock"),
        ("a.", "a%2E"),
        ("...", "..%2E"),
        ("x_vti_vti_y", "x%5Fvti%5Fvti_y"),
        ("~$a", "~%24a"),
        ("a ", "a%20"),
    ] {
        for handler in ["onedrive", "ftp", "dropbox"] {
            let name = text(handler, list.clone(), json!({ "name": value }));
            assert_eq!(name, format!("{expected}/call%201.mp3"), "{handler}");
        }
    }
    assert_eq!(text("s3", list.clone(), json!({ "name": "con" })), "con/call%201.mp3");
    assert_eq!(text("http", list, json!({ "name": "a\0b" })), "a%2500b/call%201.mp3");
}

/// The driver does not remove what a server may take for a folder.
#[test]
fn a_url_does_not_end_in_a_slash_of_the_attachments_name() {
    for (attachment, expected) in [("a/", "/doc/a%252F"), ("a//", "/doc/a%2F%252F"), ("a/b", "/doc/a%2Fb")] {
        let [name, _] = both("http", "doc", attachment);
        assert!(name.ends_with(expected), "{name}");
    }
    assert!(both("s3", "doc", "a/")[0].ends_with("a%2F"));
}

proptest! {
    /// Whatever a document holds: the name fits, also with its suffix, and no character is cut.
    #[test]
    fn every_name_fits(
        id in "\\PC{0,400}", attachment in any::<String>(), more in ".{1,3}", times in 1..700_usize,
        which in 0..HANDLERS.len(),
    ) {
        let document = fields(json!({ "owner_id": id }));
        let attachment = format!("{attachment}{}", more.repeat(times));
        let source =
            NameSource { account: None, database: DATABASE, document_id: &id, attachment: &attachment, document: &document };
        let handler = HANDLERS[which];
        if let Ok(name) = compose(&settings(handler, json!({})), &source) {
            assert_fits(handler, name.as_str());
            assert_fits(handler, &name.with_suffix("1f6c2a9e"));
        }
    }
}
