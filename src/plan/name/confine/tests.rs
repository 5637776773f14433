use serde_json::json;

use crate::plan::name::tests::{of, text};

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
        ("ftp", "d", "a\r\nDELE x", "unknown_account/d/a%0D%0ADELE%20x"),
        ("s3", "..", "a", "db/.._a"),
        ("s3", "../..", "../a", "db/..%2F.._..%2Fa"),
        ("azure", "..", "..", ".._.."),
    ] {
        let name = of(handler, "db", id, attachment);
        assert!(name == expected || expected == refused && name.contains(refused), "{handler} {id}: {name}");
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
        (json!([".hidden/...", "x"]), ".hidden/.../x", ".hidden/.../x"),
        (json!(["?path=", "x"]), "?path=/x", "?path=/x"),
        (json!(["x?from=https://h/y"]), "x?from=https://h/y", "refused"),
        (json!(["?path=/a/..", "b"]), "refused", "refused"),
        (json!([{ "group": ["?path=", ".."] }]), "refused", "refused"),
    ] {
        let members = json!({ "field_list": list });
        assert_eq!(text("http", members.clone(), json!({})), http, "http {list}");
        assert_eq!(text("s3", members, json!({})), s3, "s3 {list}");
    }
}
