//! Edits JSON responses without a CouchDB or a storage, for tests and fuzzing.

use std::sync::Arc;

use bytes::Bytes;

use super::edit::{Editor, Piece};
use super::requested::RequestedRows;
use super::shape::Kind;
use super::state::Terms;
use crate::router::List;

/// Edits a response that arrives in these pieces as the response to each kind of request. `query` and `body` are the request's. Returns `None` for a
/// refused response; leaves out attachments from storages.
#[must_use]
pub fn shown_text(pieces: &[&[u8]], query: &str, body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let lists = [List::Rows, List::Queries, List::Changes, List::Found].map(Kind::List);
    let kinds = [Kind::Document, Kind::OpenRevs, Kind::BulkGet, Kind::Other].into_iter().chain(lists);
    kinds.map(|kind| one(kind, pieces, query, body)).collect()
}

fn one(kind: Kind, pieces: &[&[u8]], query: &str, body: &[u8]) -> Option<Vec<u8>> {
    let query = Some(query);
    let requested_rows = match kind {
        Kind::Document | Kind::OpenRevs => RequestedRows::of_document_query(query),
        Kind::BulkGet => RequestedRows::of_bulk_get(query, Some(body)),
        Kind::List(list) => RequestedRows::of_list(list, query, Some(Some(body))),
        Kind::Other => RequestedRows::default(),
    };
    let hides_history = requested_rows.need_history();
    let terms = Terms { database: "database".to_owned(), requested_rows, hides_history, limit: 1 << 16 };
    let mut editor = Editor::new(Arc::new(terms), kind.paths());
    for piece in pieces {
        editor.feed(Bytes::copy_from_slice(piece)).ok()?;
    }
    editor.ended().ok()?;
    let mut text = Vec::new();
    for piece in &editor.pieces {
        if let Piece::Bytes(bytes) = piece {
            text.extend_from_slice(bytes);
        }
    }
    Some(text)
}

#[cfg(test)]
#[expect(clippy::result_large_err, reason = "the error type of the property tests is proptest's own")]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::shown_text as shown;

    const SECRET: &str = "canary";
    /// The index of the kind that expects no documents.
    const OTHER: usize = 3;

    /// KAZOO's entries, and others beside them.
    fn pointers() -> Value {
        json!({ "a.mp3": { "content_type": "audio/mpeg", "length": 3,
            "handler": { "kz_att_s3": { "S3": SECRET } } }, "note": { "length": 1 } })
    }

    /// JSON that contains pointers outside documents.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}:,]{0,8}".prop_map(Value::from),
            Just(json!({ "pvt_attachments": pointers() })),
            Just(json!({ "_id": "d", "pvt_attachments": pointers(), "_attachments": { "n": { "stub": true } } })),
            Just(pointers()),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            let key = prop_oneof![
                Just("rows"),
                Just("doc"),
                Just("results"),
                Just("docs"),
                Just("ok"),
                Just("hits"),
                Just("groups"),
                Just("value"),
                Just("pvt_attachments"),
                Just("_attachments"),
                Just("a\"b"),
                Just("handler"),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                    Value::Object(
                        members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
                    )
                }),
            ]
        })
    }

    fn is_within(text: &[u8]) -> bool {
        fn looks(value: &Value) -> bool {
            match value {
                Value::Object(members) => {
                    members.get("kz_att_s3").is_some_and(Value::is_object) || members.values().any(looks)
                }
                Value::Array(list) => list.iter().any(looks),
                _ => false,
            }
        }
        serde_json::Deserializer::from_slice(text).into_iter::<Value>().flatten().any(|value| looks(&value))
    }

    fn cut<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let (mut rest, mut pieces, mut sizes) = (text, Vec::new(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces
    }

    #[test]
    fn members_go_with_their_commas_and_nothing_else_does() {
        let pointers = pointers().to_string();
        let gone = r#"{"k":{"handler":{"kz_att_s3":{"S3":"canary"}}}}"#;
        for (text, expected) in [
            ("{}", "{}"),
            (r#"{"a":1,"pvt_attachments":GONE,"b":2}"#, r#"{"a":1,"b":2}"#),
            (r#"{ "pvt_attachments" : GONE , "b":2}"#, r#"{  "b":2}"#),
            (r#"{"pvt_attachments":GONE}"#, "{}"),
            (r#"{"pvt_attachments":GONE,"kz_att_x":[1],"b":2}"#, r#"{"b":2}"#),
            (r#"{"a":1,"pvt_attachments":GONE}"#, r#"{"a":1}"#),
            (r#"{"pvt_\u0061ttachments":GONE}"#, "{}"),
            (r#"[{"x":{"pvt_attachments":SOME}},2]"#, r#"[{"x":{"pvt_attachments":{"note":{"length":1}}}},2]"#),
            (r#"{"pvt_attachments":null,"kz_att_x":7}"#, r#"{"pvt_attachments":null,"kz_att_x":7}"#),
            (r#"{"pvt_attachments":"canary"}"#, "{}"),
            (
                r#"{"s":"\"pvt_attachments\":{","kz_att":1,"pvt":",{"}"#,
                r#"{"s":"\"pvt_attachments\":{","kz_att":1,"pvt":",{"}"#,
            ),
            (r#"["pvt_attachments","kz_att_s3"]"#, r#"["pvt_attachments","kz_att_s3"]"#),
        ] {
            let text = text.replace("GONE", gone).replace("SOME", &pointers);
            for size in [1, 2, 3, 7, 1000] {
                let left = shown(&cut(text.as_bytes(), &[size]), "", b"{}").swap_remove(OTHER).unwrap();
                assert_eq!(String::from_utf8(left).unwrap(), expected, "{text} in pieces of {size}");
            }
        }
        for refused in [r#"{"pvt_attachments":{"a":]}}"#, r#"{"pvt_attachments":{"a""#, r#"{"pvt_attachments":"#] {
            assert_eq!(shown(&[refused.as_bytes()], "", b"{}").swap_remove(OTHER), None, "{refused}");
        }
    }

    #[test]
    fn a_long_attachment_of_couchdbs_is_not_held_beside_a_pointer_of_its_name() {
        let data = "A".repeat(200_000);
        let entry = json!({ "content_type": "audio/mpeg", "length": 3, "revpos": 2,
            "handler": { "kz_att_future": { "x": SECRET } } });
        for (revpos, is_newer) in [(2, false), (3, true)] {
            let native = format!(r#"{{"content_type":"x/y","revpos":{revpos},"digest":"md5-x","data":"{data}"}}"#);
            let kept = if is_newer {
                native.as_str()
            } else {
                r#"{"content_type":"audio/mpeg","revpos":2,"length":3,"stub":true}"#
            };
            let text = format!(
                r#"{{"_id":"d","pvt_attachments":{{"a.mp3":{entry}}},"_attachments":{{"a.mp3":{native},"b":{{"stub":true}}}}}}"#
            );
            let expected = format!(r#"{{"_id":"d","_attachments":{{"a.mp3":{kept},"b":{{"stub":true}}}}}}"#);
            for size in [1000, 70_000, 300_000] {
                let left = shown(&cut(text.as_bytes(), &[size]), "", b"{}").swap_remove(0).unwrap();
                assert!(left == expected.as_bytes(), "generation {revpos} in pieces of {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_secret_leaves_outside_of_documents(
            value in value(), sizes in prop::collection::vec(1_usize..40, 1..5), pretty in any::<bool>(),
            query in prop_oneof![Just(""), Just("attachments=true"), Just("atts_since=[%221-a%22]")],
        ) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let all = shown(&cut(text.as_bytes(), &sizes), query, br#"{"docs":[{"id":"d"}],"queries":[]}"#);
            for (kind, left) in all.into_iter().enumerate() {
                let Some(left) = left else { continue };
                prop_assert!(serde_json::from_slice::<Value>(&left).is_ok(), "{} {}", text, String::from_utf8_lossy(&left));
                // Whatever is within a document is handled there; where no document is expected, nothing may be left.
                prop_assert!(kind != OTHER || !is_within(&left), "{} {}", text, String::from_utf8_lossy(&left));
            }
        }

        #[test]
        fn no_secret_leaves_from_between_any_bytes(
            before in "[\\[\\]{}\",:pk_\\\\ a]{0,40}", after in "[\\[\\]{}\",:pk_\\\\ a]{0,40}",
            sizes in prop::collection::vec(1_usize..40, 1..5),
        ) {
            let planted = json!({ "pvt_attachments": pointers() }).to_string();
            let text = [&before, planted.trim_matches(['{', '}']), "}}}}", &after].concat();
            let (mut string, mut escape) = (false, false);
            for byte in before.bytes() {
                match byte {
                    _ if escape => escape = false,
                    b'\\' if string => escape = true,
                    b'"' => string = !string,
                    _ => {}
                }
            }
            let left = shown(&cut(text.as_bytes(), &sizes), "", b"{}").swap_remove(OTHER).unwrap_or_default();
            prop_assert!(string || !String::from_utf8_lossy(&left).contains(SECRET), "{} {}", text, String::from_utf8_lossy(&left));
        }

        #[test]
        fn pieces_make_no_difference(value in value(), sizes in prop::collection::vec(1_usize..40, 1..5)) {
            let text = value.to_string();
            let body = br#"{"docs":[{"id":"d"}]}"#;
            prop_assert_eq!(shown(&cut(text.as_bytes(), &sizes), "", body), shown(&[text.as_bytes()], "", body));
        }

        #[test]
        fn rows_in_every_form_are_without_secrets(
            rows in prop::collection::vec(value().prop_filter("", |value| !value.is_object()), 0..3),
            sizes in prop::collection::vec(1_usize..40, 1..5),
        ) {
            let document = json!({ "_id": "d", "pvt_attachments": pointers(), "_attachments": { "n": { "stub": true } } });
            let rows: Vec<_> = rows.iter().map(|value| json!({ "id": "d", "value": value, "doc": document })).collect();
            let docs = json!([{ "ok": document }, { "error": { "pvt_attachments": pointers() } }]);
            let listed = json!({ "rows": rows, "hits": rows, "groups": [{ "rows": rows }], "results": [{ "rows": rows }, docs] });
            // In the order of the kinds.
            let answers = [
                document.clone(),
                docs.clone(),
                json!({ "results": [{ "id": "d", "docs": docs }, 7] }),
                json!([listed, docs, document]),
                listed.clone(),
                listed,
                json!({ "results": [{ "doc": document, "changes": docs }], "last_seq": pointers() }),
                json!({ "docs": [document], "bookmark": "x", "warning": pointers() }),
            ];
            for (kind, answer) in answers.iter().enumerate() {
                let text = answer.to_string();
                let left = shown(&cut(text.as_bytes(), &sizes), "", br#"{"docs":[{"id":"d"}]}"#).swap_remove(kind);
                let left = String::from_utf8(left.unwrap()).unwrap();
                prop_assert!(!left.contains(SECRET), "{} {}", text, left);
            }
        }
    }
}
