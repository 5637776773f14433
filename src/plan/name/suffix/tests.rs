use serde_json::json;

use crate::plan::name::tests::named;

#[test]
fn a_suffix_goes_before_the_extension() {
    for (list, expected) in [
        (json!(["x", { "arg": "attachment" }]), "x/call%201.S.mp3"),
        (json!([{ "arg": "attachment" }, { "arg": "id" }]), "call%201.mp3/doc1.S"),
        (json!([{ "group": [{ "arg": "id" }, "_", { "arg": "attachment" }] }]), "doc1_call%201.S.mp3"),
        (json!([{ "group": [{ "arg": "attachment" }, "?from=x.y/z"] }]), "call%201.S.mp3?from=x.y/z"),
        (json!([{ "arg": "attachment" }, "?from=x"]), "call%201.S.mp3/?from=x"),
        (json!(["?path=", { "arg": "attachment" }]), "?path=/call%201.S.mp3"),
        (json!([{ "group": ["save.php?path=", { "arg": "id" }] }]), "save.php?path=doc1.S"),
        (
            json!([{ "group": ["save.php?path=", { "arg": "attachment" }, "&x=y.z"] }]),
            "save.php?path=call%201.S.mp3&x=y.z",
        ),
        (json!([{ "group": [{ "arg": "attachment" }, ".bin"] }]), "call%201.mp3.S.bin"),
        (json!([{ "group": [{ "arg": "attachment" }, ".tar", ".gz"] }]), "call%201.mp3.tar.S.gz"),
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
        let name = named("http", json!({ "field_list": list }), document).unwrap();
        assert_eq!(name.with_suffix("S"), expected, "{name}");
    }
}

#[test]
fn a_suffix_finds_its_place_below_a_folder() {
    for (folder, list, expected) in [
        ("/f.x/g", json!([{ "arg": "attachment" }]), "f.x/g/call%201.S.mp3"),
        ("f", json!([]), "f/S"),
        ("f", json!([{ "group": ["//", { "arg": "attachment" }, "?x=y"] }]), "f/call%201.S.mp3?x=y"),
        ("f", json!([{ "group": [{ "field": "missing" }, "//x"] }]), "f/x.S"),
    ] {
        let members = json!({ "folder_path": folder, "field_list": list });
        let name = named("http", members, json!({})).unwrap();
        assert_eq!(name.with_suffix("S"), expected, "{list}");
    }
}
