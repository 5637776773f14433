#![expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]

use proptest::prelude::*;

use super::*;

fn read_text(text: &str, follows: bool) -> Result<Vec<Attached>, String> {
    let document = Document::parse(format!(r#"{{"_attachments":{text}}}"#).as_bytes()).unwrap();
    read(&document, follows).map_err(|error| error.to_string())
}

fn kinds(text: &str) -> Vec<String> {
    let told = |one: Attached| format!("{} {:?} {:?} {}", one.name, one.revpos, one.content, one.content_type);
    read_text(text, true).unwrap().into_iter().map(told).collect()
}

#[test]
fn entries_are_what_couchdb_takes_them_for() {
    assert!(kinds("{}").is_empty());
    let text = r#"{"a":{"stub":true,"data":"***","revpos":3},"b":{"data":"aGVsbG8=","stub":false},"c":{"follows":true,"length":3}}"#;
    let [a, b, c] = kinds(text).try_into().unwrap();
    assert_eq!(a, "a Some(3) Stub application/octet-stream");
    assert_eq!(b, "b None Data(b\"hello\") application/octet-stream");
    assert!(c.starts_with("c None Follows(Follows { length: 3"), "{c}");
    let gzip = r#"{"z":{"follows":true,"length":9,"encoding":"gzip","encoded_length":4,"digest":"md5-AAAA"}}"#;
    let [z] = read_text(gzip, true).unwrap().try_into().unwrap();
    let Content::Follows(z) = z.content else { panic!("{z:?}") };
    assert_eq!((z.length, z.gzip, z.unpacked, z.digest.as_deref()), (4, true, Some(9), Some("md5-AAAA")));
}

/// Each of these was sent to CouchDB 3.5.2, which accepted it.
#[test]
fn members_that_couchdb_does_not_look_at_may_be_anything() {
    for members in [
        r#""length":"5""#,
        r#""length":9"#,
        r#""revpos":1.0"#,
        r#""revpos":"x""#,
        r#""revpos":-1"#,
        r#""revpos":null"#,
        r#""digest":7"#,
        r#""digest":"md5-x""#,
        r#""encoding":"gzip""#,
        r#""encoding":7"#,
        r#""stub":false"#,
        r#""stub":1"#,
        r#""stub":"true""#,
        r#""follows":false"#,
        r#""follows":1"#,
        r#""content_type":["a"]"#,
        r#""foo":{"a":1},"headers":[1]"#,
        r#""data":"!!","d\u0061ta":"aGVsbG8=""#,
    ] {
        let text = format!(r#"{{"a":{{"data":"aGVsbG8=",{members}}}}}"#);
        let [one] = read_text(&text, false).unwrap().try_into().unwrap();
        assert!(matches!(&one.content, Content::Data(data) if data == "hello"), "{text}");
        assert_eq!(one.content_type, OCTETS, "{text}");
    }
    // Entries that are not objects are skipped, whatever their names.
    let text = r#"{"_a":1,"b":null,"c":[],"d":{"data":""},"":{"data":""},"e":{"data":"*"},"e":"x"}"#;
    assert_eq!(read_text(text, false).unwrap().iter().map(|one| &*one.name).collect::<Vec<_>>(), ["d", ""]);
}

#[test]
fn the_revision_of_a_stub_has_to_be_a_number() {
    for (said, expected) in
        [("1", 1), ("1.0", 1), ("1.5", u64::MAX), ("\"1\"", u64::MAX), ("null", u64::MAX), ("-1", u64::MAX)]
    {
        let [one] =
            read_text(&format!(r#"{{"a":{{"stub":true,"revpos":{said}}}}}"#), false).unwrap().try_into().unwrap();
        assert_eq!(one.revpos, Some(expected), "{said}");
    }
}

#[test]
fn what_couchdb_refuses_is_refused_in_its_words() {
    for (text, expected) in [
        ("[1]", "Bad special document member: _attachments"),
        ("null", "Bad special document member: _attachments"),
        (r#"{"_a":{"stub":true}}"#, "Attachment name '_a' starts with prohibited character '_'"),
        (r#"{"_a":{"data":"!"}}"#, "Invalid attachment data for _a"),
        (r#"{"a":{}}"#, "Invalid attachment data for a"),
        (r#"{"a":{"data":null}}"#, "Invalid attachment data for a"),
        (r#"{"a":{"data":["aGVs"]}}"#, "Invalid attachment data for a"),
        (r#"{"a":{"follows":true}}"#, "Invalid length for attachment a"),
        (r#"{"a":{"follows":true,"length":"1"}}"#, "Invalid length for attachment a"),
        (r#"{"a":{"follows":true,"length":1.0}}"#, "Invalid length for attachment a"),
        (r#"{"a":{"follows":true,"length":-1}}"#, "attachment longer than expected"),
        (r#"{"a":{"follows":true,"length":1,"encoding":"br"}}"#, "Invalid encoding for attachment a"),
        (r#"{"a":{"follows":true,"length":1,"digest":"md5-!"}}"#, "Invalid digest for attachment a"),
        (r#"{"a":{"data":"","content_type":1}}"#, "Invalid content_type for attachment a"),
    ] {
        assert_eq!(read_text(text, true).err().as_deref(), Some(expected), "{text}");
    }
    assert!(read_text(r#"{"a":{"follows":true,"length":1}}"#, false).is_err());
    let huge = format!(r#"{{"a":{{"follows":true,"length":{}0}}}}"#, u64::MAX);
    assert!(read_text(&huge, true).is_err());
}

#[test]
fn base64_is_erlangs() {
    let text = |base64: &str| decode(&serde_json::to_string(base64).unwrap());
    for taken in ["aGVsbG8=", "aGVs bG8=", " aGVs\nbG8\t=\r\n", "aGVsbG9=", "aGVsbG8 ="] {
        assert_eq!(text(taken).unwrap(), b"hello", "{taken:?}");
    }
    assert_eq!(decode(r#""aGVs bG8=""#).unwrap(), b"hello");
    assert_eq!(decode("[97,71, 86,115]").unwrap(), b"hel");
    assert_eq!(decode("[]").unwrap(), b"");
    assert_eq!(text("aGVsbA= =").unwrap(), b"hell");
    assert_eq!(decode(r#""aGV\u0073b\/8=""#).unwrap(), [0x68, 0x65, 0x6c, 0x6f, 0xff]);
    assert_eq!(text("").unwrap(), b"");
    for refused in [
        "aGVsbG8",
        "aGVsbG8==",
        "=",
        "a-_b",
        "aGVs\u{b}bG8=",
        "aGVs\u{c}bG8=",
        "aGVsbG8=a",
        "aGVsbG8=aGVs",
        "aG=sbA==",
        "aGVs====",
        "aGVs\u{a0}",
    ] {
        assert_eq!(text(refused), None, "{refused:?}");
    }
    assert_eq!(decode("[300]"), None);
    assert_eq!(decode("[1]"), None);
}

proptest! {
    #[test]
    fn no_entry_stops_it(text in r#"\{"a":\{("(data|stub|follows|length|revpos|digest|encoding|content_type)":("[a=A \-_]{0,6}"|-?[0-9]{1,25}(\.[0-9]{1,3})?|true|null|\[[0-9]\]),){0,4}"x":1\}\}"#, follows in any::<bool>()) {
        if let Ok(document) = Document::parse(format!(r#"{{"_attachments":{text}}}"#).as_bytes()) {
            let _ = read(&document, follows);
        }
    }
}
