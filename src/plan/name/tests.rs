use serde_json::{Value, json};

use super::*;

const ACCOUNT: &str = "account0000000000000000000000004";
pub(super) const DATABASE: &str = "account/ac/co/unt0000000000000000000000004-202011";
pub(super) const HANDLERS: [&str; 9] =
    ["http", "ftp", "file", "s3", "azure", "google_storage", "google_drive", "dropbox", "onedrive"];

pub(super) fn settings(handler: &str, members: Value) -> Settings {
    Settings::new("backend1", handler, members.as_object().cloned().unwrap_or_default())
}

pub(super) fn fields(document: Value) -> Document {
    Document::parse(document.to_string().as_bytes()).unwrap()
}

/// Composes a name for document `doc1`, attachment `call 1.mp3`.
pub(super) fn named(handler: &str, members: Value, document: Value) -> Result<Name, NameError> {
    let document = fields(document);
    compose(
        &settings(handler, members),
        &NameSource {
            account: Some(ACCOUNT),
            database: DATABASE,
            document_id: "doc1",
            attachment: "call 1.mp3",
            document: &document,
        },
    )
}

pub(super) fn text(handler: &str, members: Value, document: Value) -> String {
    match named(handler, members, document) {
        Ok(name) => name.to_string(),
        Err(NameError::Refused(_)) => "refused".to_owned(),
        Err(NameError::Plan(error)) => {
            assert_eq!(error.id(), "backend1", "{error}");
            "wrong".to_owned()
        }
    }
}

/// Composes a name with the default `field_list`.
pub(super) fn of(handler: &str, database: &str, document_id: &str, attachment: &str) -> String {
    let document = fields(json!({}));
    let source = NameSource { account: None, database, document_id, attachment, document: &document };
    match compose(&settings(handler, json!({})), &source) {
        Ok(name) => name.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_handler_has_its_default() {
    let flat = "doc1_call%201.mp3";
    for (handler, expected) in [
        ("http", format!("{ACCOUNT}/doc1/call%201.mp3")),
        ("ftp", format!("{ACCOUNT}/doc1/call%201.mp3")),
        ("file", format!("{ACCOUNT}/doc1/call%201.mp3")),
        ("s3", format!("account%2Fac%2Fco%2Funt0000000000000000000000004-202011/{flat}")),
        ("azure", flat.to_owned()),
        ("google_storage", flat.to_owned()),
        ("google_drive", flat.to_owned()),
        ("dropbox", flat.to_owned()),
        ("onedrive", flat.to_owned()),
    ] {
        assert_eq!(text(handler, json!({}), json!({})), expected, "{handler}");
        assert_eq!(text(handler, json!({ "field_list": null }), json!({})), expected, "{handler}");
    }
    let owned = text("http", json!({}), json!({ "owner_id": "user 1" }));
    assert_eq!(owned, format!("{ACCOUNT}/user%201/doc1/call%201.mp3"));
}

#[test]
fn items_of_a_field_list() {
    let document = json!({
        "name": "a/b", "empty": "", "null": null, "count": 12.50, "big": 123456789012345678901234567890_f64,
        "yes": true, "list": [1], "object": { "a": 1 }, "_rev": "1-a", "pvt_type": "fax", "umlaut": "ü",
        "a.b": "dotted", "a": { "b": 1 }, "sign": "-._~!*'()+",
    });
    let cases = [
        (json!([]), ""),
        (json!([{ "arg": "db" }]), "account%2Fac%2Fco%2Funt0000000000000000000000004-202011"),
        (
            json!([{ "arg": "account_id" }, { "arg": "id" }, { "arg": "attachment" }]),
            "account0000000000000000000000004/doc1/call%201.mp3",
        ),
        (json!([{ "field": "name" }]), "a%2Fb"),
        (json!([{ "field": "umlaut" }]), "%C3%BC"),
        (json!([{ "field": "sign" }]), "-._~%21%2A%27%28%29%2B"),
        (json!([{ "field": "count" }, { "field": "yes" }]), "12.5/true"),
        (json!([{ "field": "id" }]), "doc1"),
        (json!([{ "field": "a.b" }]), "dotted"),
        (
            json!(["x", { "field": "empty" }, { "field": "null" }, { "field": "missing" }, { "field": "list" },
                { "field": "object" }, { "field": "_rev" }, { "field": "pvt_type" }, { "field": "a" }, "y"]),
            "x/y",
        ),
        (json!([{ "const": "a b/c?d=é" }, "bare%"]), "a b/c?d=é/bare%"),
        (json!([{ "group": ["a", { "arg": "id" }, { "group": ["b", { "const": "c" }] }] }, "d"]), "adoc1bc/d"),
        (json!(["x", { "group": [{ "field": "missing" }] }, { "group": [] }, "y"]), "x/y"),
        (json!([{ "arg": "id", "const": null }]), "doc1"),
    ];
    for (list, expected) in cases {
        assert_eq!(text("s3", json!({ "field_list": list }), document.clone()), expected, "{list}");
    }
}

#[test]
fn numbers_keep_the_text_they_have_in_the_document() {
    let list = settings("s3", json!({ "field_list": [{ "field": "n" }] }));
    for (raw, expected) in [
        ("1.50", "1.50"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1E+3", "1E%2B3"),
        ("false", "false"),
        (" \"a\\u002fb\" ", "a%2Fb"),
    ] {
        let document = Document::parse(format!(r#"{{"n":{raw}}}"#).as_bytes()).unwrap();
        let source =
            NameSource { account: None, database: "d", document_id: "i", attachment: "a", document: &document };
        assert_eq!(compose(&list, &source).map(|name| name.to_string()), Ok(expected.to_owned()), "{raw}");
    }
}

#[test]
fn the_account_is_the_documents_or_the_databases_or_unknown() {
    let list = settings("s3", json!({ "field_list": [{ "arg": "account_id" }] }));
    for (document, account, expected) in [
        (json!({ "pvt_account_id": "own" }), Some("db"), "own"),
        (json!({ "pvt_account_id": "" }), Some("db"), "db"),
        (json!({ "pvt_account_id": null }), Some("db"), "db"),
        (json!({ "pvt_account_id": 5 }), Some("db"), "db"),
        (json!({ "account_id": "public" }), Some("db"), "db"),
        (json!({}), Some("system_data"), "system_data"),
        (json!({}), None, "unknown_account"),
    ] {
        let fields = fields(document.clone());
        let source = NameSource { account, database: "d", document_id: "i", attachment: "a", document: &fields };
        assert_eq!(compose(&list, &source).map(|name| name.to_string()), Ok(expected.to_owned()), "{document}");
    }
}

#[test]
fn separators_join_the_items() {
    for (separator, expected) in [
        (json!("/"), "doc1/x"),
        (json!(null), "doc1/x"),
        (json!(""), "doc1x"),
        (json!("--"), "doc1--x"),
        (json!(1), "wrong"),
    ] {
        let members = json!({ "field_list": [{ "arg": "id" }, "x"], "field_separator": separator });
        assert_eq!(text("s3", members, json!({})), expected, "{separator}");
    }
}

#[test]
fn a_folder_goes_before_the_name() {
    for (mut members, expected) in [
        (json!({ "folder_path": "f" }), "f/doc1"),
        (json!({ "folder_base_path": "b" }), "b/doc1"),
        (json!({ "folder_base_path": "b", "folder_path": "f/g" }), "b/f/g/doc1"),
        (json!({ "folder_base_path": "/b/", "folder_path": "/f/" }), "b/f/doc1"),
        (json!({ "folder_base_path": "//b", "folder_path": null }), "b/doc1"),
        (json!({ "folder_base_path": "", "folder_path": "" }), "doc1"),
        (json!({ "folder_base_path": "/" }), "doc1"),
        (json!({ "path": "p", "folder_base_path": "b", "folder_path": "f" }), "p/doc1"),
        (json!({ "path": "/p/q/" }), "p/q/doc1"),
        (json!({ "folder_path": "with space/é" }), "with space/é/doc1"),
        (json!({ "folder_path": "f", "field_list": [] }), "f/"),
        (json!({ "folder_path": "f", "field_list": ["/x"] }), "f/x"),
        (json!({ "folder_path": 1 }), "wrong"),
        (json!({ "folder_base_path": {} }), "wrong"),
        (json!({ "path": [] }), "wrong"),
        (json!({ "folder_path": "../f" }), "refused"),
        (json!({ "folder_base_path": "a/..", "folder_path": "f" }), "refused"),
        (json!({ "folder_path": "a//b" }), "refused"),
        (json!({ "folder_path": "a\nb" }), "refused"),
    ] {
        let case = members.to_string();
        if members.get("field_list").is_none() {
            members["field_list"] = json!([{ "arg": "id" }]);
        }
        assert_eq!(text("s3", members, json!({})), expected, "{case}");
    }
}

#[test]
fn malformed_lists_name_the_backend() {
    for list in [
        json!("id"),
        json!({ "arg": "id" }),
        json!([1]),
        json!([null]),
        json!([[]]),
        json!([{}]),
        json!([{ "unknown": "x" }]),
        json!([{ "arg": "rev" }]),
        json!([{ "arg": 1 }]),
        json!([{ "field": ["a"] }]),
        json!([{ "const": 1 }]),
        json!([{ "group": "x" }]),
        json!([{ "group": [{ "arg": "x" }] }]),
        json!([{ "group": {} }]),
        json!([{ "group": [["x"]] }]),
        json!([{ "arg": "id", "const": "x" }]),
        json!([{ "arg": "id", "name": "x" }]),
        json!([{ "field": "a", "const": "x" }]),
        json!([{ "const": "x", "group": [] }]),
        json!([{ "group": [{ "arg": "id", "field": "a" }] }]),
        json!([{ "group": [{ "group": [{ "const": "x", "more": false }] }] }]),
        json!(["x", true]),
    ] {
        assert_eq!(text("s3", json!({ "field_list": list }), json!({})), "wrong", "{list}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = NameError::Refused("a control character").to_string();
    assert_eq!(error, "the attachment's name in its storage would have a control character");
    let error = named("s3", json!({ "field_list": 1 }), json!({})).unwrap_err();
    assert_eq!(error.to_string(), "the storage plan is wrong at `backend1`: `field_list` must be a list");
}
