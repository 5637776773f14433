use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ACCOUNT: &str = "account0000000000000000000000004";
const DATABASE: &str = "account/ac/co/unt0000000000000000000000004-202011";
const HANDLERS: [&str; 9] = [
    "http",
    "ftp",
    "file",
    "s3",
    "azure",
    "google_storage",
    "google_drive",
    "dropbox",
    "onedrive",
];

fn settings(handler: &str, members: Value) -> Settings {
    Settings::new(
        "backend1",
        handler,
        members.as_object().cloned().unwrap_or_default(),
    )
}

fn fields(document: Value) -> IndexMap<String, Box<RawValue>> {
    serde_json::from_value(document).unwrap()
}

/// Composes for document `doc1`, attachment `call 1.mp3`.
fn named(handler: &str, members: Value, document: Value) -> Result<Name, NameError> {
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

fn text(handler: &str, members: Value, document: Value) -> String {
    match named(handler, members, document) {
        Ok(name) => name.to_string(),
        Err(NameError::Refused(_)) => "refused".to_owned(),
        Err(NameError::Plan(error)) => {
            assert_eq!(error.id(), "backend1", "{error}");
            "wrong".to_owned()
        }
    }
}

/// Composes with the default `field_list`.
fn of(handler: &str, database: &str, document_id: &str, attachment: &str) -> String {
    let document = fields(json!({}));
    let source = NameSource {
        account: None,
        database,
        document_id,
        attachment,
        document: &document,
    };
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
        (
            "s3",
            format!("account%2Fac%2Fco%2Funt0000000000000000000000004-202011/{flat}"),
        ),
        ("azure", flat.to_owned()),
        ("google_storage", flat.to_owned()),
        ("google_drive", flat.to_owned()),
        ("dropbox", flat.to_owned()),
        ("onedrive", flat.to_owned()),
    ] {
        assert_eq!(text(handler, json!({}), json!({})), expected, "{handler}");
        assert_eq!(
            text(handler, json!({ "field_list": null }), json!({})),
            expected,
            "{handler}"
        );
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
        (
            json!([{ "arg": "db" }]),
            "account%2Fac%2Fco%2Funt0000000000000000000000004-202011",
        ),
        (
            json!([{ "arg": "account_id" }, { "arg": "id" }, { "arg": "attachment" }]),
            "account0000000000000000000000004/doc1/call%201.mp3",
        ),
        (json!([{ "field": "name" }]), "a%2Fb"),
        (json!([{ "field": "umlaut" }]), "%C3%BC"),
        (json!([{ "field": "sign" }]), "-._~%21%2A%27%28%29%2B"),
        (
            json!([{ "field": "count" }, { "field": "yes" }]),
            "12.5/true",
        ),
        (json!([{ "field": "id" }]), "doc1"),
        (json!([{ "field": "a.b" }]), "dotted"),
        (
            json!(["x", { "field": "empty" }, { "field": "null" }, { "field": "missing" }, { "field": "list" },
                { "field": "object" }, { "field": "_rev" }, { "field": "pvt_type" }, { "field": "a" }, "y"]),
            "x/y",
        ),
        (
            json!([{ "const": "a b/c?d=é" }, "bare%"]),
            "a b/c?d=é/bare%",
        ),
        (
            json!([{ "group": ["a", { "arg": "id" }, { "group": ["b", { "const": "c" }] }] }, "d"]),
            "adoc1bc/d",
        ),
        (
            json!(["x", { "group": [{ "field": "missing" }] }, { "group": [] }, "y"]),
            "x/y",
        ),
        (
            json!([{ "arg": "id", "name": "unknown members are fine", "const": null }]),
            "doc1",
        ),
    ];
    for (list, expected) in cases {
        assert_eq!(
            text("s3", json!({ "field_list": list }), document.clone()),
            expected,
            "{list}"
        );
    }
}

#[test]
fn numbers_keep_the_text_they_have_in_the_document() {
    struct Raw(&'static str);
    impl Fields for Raw {
        fn raw(&self, key: &str) -> Option<&str> {
            (key == "n").then_some(self.0)
        }
    }
    let list = settings("s3", json!({ "field_list": [{ "field": "n" }] }));
    for (raw, expected) in [
        ("1.50", "1.50"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("1E+3", "1E%2B3"),
        ("false", "false"),
        (" \"a\\u002fb\" ", "a%2Fb"),
        ("\"broken", ""),
    ] {
        let document = Raw(raw);
        let source = NameSource {
            account: None,
            database: "d",
            document_id: "i",
            attachment: "a",
            document: &document,
        };
        assert_eq!(
            compose(&list, &source).map(|name| name.to_string()),
            Ok(expected.to_owned()),
            "{raw}"
        );
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
        let source = NameSource {
            account,
            database: "d",
            document_id: "i",
            attachment: "a",
            document: &fields,
        };
        assert_eq!(
            compose(&list, &source).map(|name| name.to_string()),
            Ok(expected.to_owned()),
            "{document}"
        );
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
        (
            json!({ "folder_base_path": "b", "folder_path": "f/g" }),
            "b/f/g/doc1",
        ),
        (
            json!({ "folder_base_path": "/b/", "folder_path": "/f/" }),
            "b/f/doc1",
        ),
        (
            json!({ "folder_base_path": "//b", "folder_path": null }),
            "b/doc1",
        ),
        (json!({ "folder_base_path": "", "folder_path": "" }), "doc1"),
        (json!({ "folder_base_path": "/" }), "doc1"),
        (
            json!({ "path": "p", "folder_base_path": "b", "folder_path": "f" }),
            "p/doc1",
        ),
        (json!({ "path": "/p/q/" }), "p/q/doc1"),
        (
            json!({ "folder_path": "with space/é" }),
            "with space/é/doc1",
        ),
        (json!({ "folder_path": "f", "field_list": [] }), "f/"),
        (json!({ "folder_path": "f", "field_list": ["/x"] }), "f/x"),
        (json!({ "folder_path": 1 }), "wrong"),
        (json!({ "folder_base_path": {} }), "wrong"),
        (json!({ "path": [] }), "wrong"),
        (json!({ "folder_path": "../f" }), "refused"),
        (
            json!({ "folder_base_path": "a/..", "folder_path": "f" }),
            "refused",
        ),
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
    ] {
        assert_eq!(
            text("s3", json!({ "field_list": list }), json!({})),
            "wrong",
            "{list}"
        );
    }
}

#[test]
fn what_comes_from_a_document_cannot_leave_the_folder() {
    let refused = "segment of dots";
    for (handler, id, attachment, expected) in [
        ("http", "..", "a", refused),
        ("http", ".", "a", refused),
        ("http", "d", "..", refused),
        ("http", "../x", "a", refused),
        ("http", "x/..", "a", refused),
        ("http", "x\\..\\y", "a", refused),
        ("http", "d", "../../etc/passwd", refused),
        ("http", "..x", "a..b", "unknown_account/..x/a..b"),
        ("http", "/etc", "a", "unknown_account/%2Fetc/a"),
        ("http", "a?b=..", "c#d", "unknown_account/a%3Fb%3D../c%23d"),
        ("file", "d", "..", refused),
        ("file", "d", ".", refused),
        ("file", "../x", "a/b", "unknown_account/..%2Fx/a%2Fb"),
        ("file", "%2e%2e", "a", "unknown_account/%252e%252e/a"),
        ("file", "a\0b\n", "c\u{7f}", "unknown_account/a%00b%0A/c%7F"),
        (
            "ftp",
            "d",
            "a\r\nDELE x",
            "unknown_account/d/a%0D%0ADELE%20x",
        ),
        ("s3", "..", "a", "db/.._a"),
        ("s3", "../..", "../a", "db/..%2F.._..%2Fa"),
        ("azure", "..", "..", ".._.."),
    ] {
        let name = of(handler, "db", id, attachment);
        assert!(
            name == expected || expected == refused && name.contains(refused),
            "{handler} {id}: {name}"
        );
    }
    let grouped = json!({ "field_list": [{ "group": [".", { "field": "dot" }] }] });
    assert_eq!(text("s3", grouped, json!({ "dot": "." })), "refused");
}

#[test]
fn what_a_plan_author_writes_cannot_leave_the_folder_either() {
    for (list, http, s3) in [
        (json!(["/abs"]), "refused", "refused"),
        (json!(["", "x"]), "refused", "refused"),
        (json!(["a/../b"]), "refused", "refused"),
        (json!(["a", "..", "b"]), "refused", "refused"),
        (json!(["a/%2E%2e/b"]), "refused", "refused"),
        (json!(["a/.%2e"]), "refused", "refused"),
        (json!(["a\\..\\b"]), "refused", "refused"),
        (json!(["a//b"]), "refused", "refused"),
        (json!(["a/", "b"]), "refused", "refused"),
        (json!(["a\tb"]), "refused", "refused"),
        (
            json!([".hidden/...", "x"]),
            ".hidden/.../x",
            ".hidden/.../x",
        ),
        (json!(["?path=", "x"]), "?path=/x", "?path=/x"),
        (
            json!(["x?from=https://h/y"]),
            "x?from=https://h/y",
            "refused",
        ),
        (json!(["?path=/a/..", "b"]), "refused", "refused"),
        (json!([{ "group": ["?path=", ".."] }]), "refused", "refused"),
    ] {
        let members = json!({ "field_list": list });
        assert_eq!(
            text("http", members.clone(), json!({})),
            http,
            "http {list}"
        );
        assert_eq!(text("s3", members, json!({})), s3, "s3 {list}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = NameError::Refused("a control character").to_string();
    assert_eq!(
        error,
        "the attachment's name in its storage would have a control character"
    );
    let error = named("s3", json!({ "field_list": 1 }), json!({})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the storage plan is wrong at `backend1`: `field_list` must be a list"
    );
}

#[test]
fn a_suffix_goes_before_the_extension() {
    let list = |list: Value| json!({ "field_list": list });
    for (list, expected) in [
        (json!(["x", { "arg": "attachment" }]), "x/call%201.S.mp3"),
        (
            json!([{ "arg": "attachment" }, { "arg": "id" }]),
            "call%201.mp3/doc1.S",
        ),
        (
            json!([{ "group": [{ "arg": "id" }, "_", { "arg": "attachment" }] }]),
            "doc1_call%201.S.mp3",
        ),
        (
            json!([{ "group": [{ "arg": "attachment" }, "?from=x.y/z"] }]),
            "call%201.S.mp3?from=x.y/z",
        ),
        (
            json!([{ "arg": "attachment" }, "?from=x"]),
            "call%201.S.mp3/?from=x",
        ),
        (
            json!(["?path=", { "arg": "attachment" }]),
            "?path=/call%201.S.mp3",
        ),
        (
            json!([{ "group": ["save.php?path=", { "arg": "id" }] }]),
            "save.php?path=doc1.S",
        ),
        (
            json!([{ "group": ["save.php?path=", { "arg": "attachment" }, "&x=y.z"] }]),
            "save.php?path=call%201.S.mp3&x=y.z",
        ),
        (
            json!([{ "group": [{ "arg": "attachment" }, ".bin"] }]),
            "call%201.mp3.S.bin",
        ),
        (
            json!([{ "group": [{ "arg": "attachment" }, ".tar", ".gz"] }]),
            "call%201.mp3.tar.S.gz",
        ),
        (json!([{ "field": "hidden" }]), ".hidden.S"),
        (json!([{ "field": "dotted" }]), "a.b_c.S"),
        (json!([{ "field": "trailing" }]), "a..S"),
        (json!(["fixed.mp3"]), "fixed.S.mp3"),
        (json!(["fixed.mp3?x=y"]), "fixed.S.mp3?x=y"),
        (json!(["?x=fixed.mp3"]), "?x=fixed.S.mp3"),
        (json!(["a.b/c"]), "a.b/c.S"),
        (json!([]), "S"),
    ] {
        let document = json!({ "hidden": ".hidden", "dotted": "a.b_c", "trailing": "a." });
        let name = named("http", self::list_of(&list), document).unwrap();
        assert_eq!(name.with_suffix("S"), expected, "{name}");
    }
    let mut members = list(json!([{ "arg": "attachment" }]));
    members["folder_path"] = json!("/f.x/g");
    let name = named("http", members, json!({})).unwrap();
    assert_eq!(name.with_suffix("1f6c2a9e"), "f.x/g/call%201.1f6c2a9e.mp3");
    let name = named("s3", json!({ "path": "f", "field_list": [] }), json!({})).unwrap();
    assert_eq!(name.with_suffix("S"), "f/S");
}

fn list_of(list: &Value) -> Value {
    json!({ "field_list": list })
}

/// Texts with much that is dangerous in a path.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[./\\\\%?#=&a\u{0}\n]{0,8}",
        "(\\.\\.?/?){1,3}",
        Just("%2e%2e".to_owned()),
    ]
}

fn item() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "account_id|db|id|attachment".prop_map(|arg| json!({ "arg": arg })),
        "owner_id|name".prop_map(|field| json!({ "field": field })),
        "[./?=a]{0,3}".prop_map(|text| json!({ "const": text })),
    ];
    leaf.clone().prop_recursive(2, 8, 3, move |inner| {
        proptest::collection::vec(inner, 0..3).prop_map(|items| json!({ "group": items }))
    })
}

fn check_confined(handler: &str, name: &str) -> Result<(), TestCaseError> {
    let path = if handler == "http" {
        name.split('?').next().unwrap()
    } else {
        name
    };
    prop_assert!(!path.starts_with('/'), "{}", name);
    prop_assert!(!path.contains("//"), "{}", name);
    prop_assert!(!name.chars().any(char::is_control), "{}", name);
    prop_assert!(
        !name
            .split('/')
            .any(|segment| segment == ".." || segment == "."),
        "{}",
        name
    );
    if handler == "http" {
        let url = format!("http://host/folder/inner/{name}");
        let parsed = url::Url::parse(&url).unwrap();
        prop_assert!(parsed.path().starts_with("/folder/inner/"), "{}", parsed);
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        prop_assert!(
            !decoded.split('/').any(|segment| segment == ".."),
            "{}",
            name
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_document_leads_out_of_a_folder(
        id in hostile(), attachment in hostile(), owner in hostile(), account in hostile(),
        which in 0..HANDLERS.len(), folder in "[a/.]{0,5}",
        list in proptest::option::of(proptest::collection::vec(item(), 0..4)), separator in "[/.-]?",
    ) {
        let document = fields(json!({ "owner_id": owner, "name": attachment, "pvt_account_id": account }));
        let source = NameSource {
            account: None, database: DATABASE, document_id: &id, attachment: &attachment, document: &document,
        };
        let members = json!({ "field_list": list, "field_separator": separator, "folder_path": folder });
        if let Ok(name) = compose(&settings(HANDLERS[which], members), &source) {
            check_confined(HANDLERS[which], name.as_str())?;
            let suffixed = name.with_suffix("1f6c2a9e");
            prop_assert_eq!(suffixed.len().abs_diff(name.as_str().len() + 8) <= 1, true);
            check_confined(HANDLERS[which], &suffixed)?;
        }
    }

    #[test]
    fn ordinary_names_are_never_refused(id in "[a-z0-9][ -~é]{0,9}", which in 0..HANDLERS.len()) {
        prop_assume!(!id.contains(".."));
        prop_assume!(!id.contains("/.") && !id.contains("\\."));
        let name = of(HANDLERS[which], "db", &id, "call.mp3");
        let last = name.rsplit('/').next().unwrap();
        prop_assert!(last.ends_with("call.mp3"), "{}", name);
    }

    #[test]
    fn values_decode_to_what_they_were(value in any::<String>()) {
        let name = Name::value(&value);
        let encoded = name.as_str();
        prop_assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), value.as_str());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        prop_assert!(encoded.bytes().all(allowed), "{}", encoded);
        for escape in encoded.split('%').skip(1) {
            let digits = escape.as_bytes()[..2].iter();
            prop_assert!(digits.clone().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit)));
        }
    }
}
