use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Event, Fault, Path, Scanner, Step, unquoted};

const ROWS: &[Path] = &[
    &[Step::Member("rows"), Step::Element, Step::Member("doc")],
    &[Step::Member("results"), Step::Element, Step::Member("docs"), Step::Element, Step::Member("ok")],
    &[Step::Member("doc")],
];
const ROOT: &[Path] = &[&[]];

/// Returns all events of a text fed in pieces; with `pass_on`, documents with attachments pass unchanged.
fn events(paths: &'static [Path], text: &str, sizes: &[usize], pass_on: bool) -> Result<Vec<(usize, Event)>, Fault> {
    let mut scanner = Scanner::new(paths, 1 << 20);
    let (mut rest, mut sizes, mut found) = (Bytes::copy_from_slice(text.as_bytes()), sizes.iter().cycle(), Vec::new());
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
        scanner.feed(rest.split_to(size));
        while let Some(event) = scanner.event()? {
            if pass_on && matches!(event, Event::Begin(..)) {
                scanner.pass_on();
            }
            found.push((scanner.row(), event));
        }
    }
    scanner.ended()?;
    Ok(found)
}

/// Reassembles the documents of the events, with their rows.
fn documents(events: &[(usize, Event)]) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, Vec<u8>)> = Vec::new();
    for (row, event) in events {
        let last = found.last_mut().map(|(_, document)| document);
        match (event, last) {
            (Event::Document(bytes), _) => found.push((*row, bytes.to_vec())),
            (Event::Begin(head, opening), _) => found.push((*row, [&**head, &**opening].concat())),
            (Event::Entry(name), Some(last)) => {
                if !last.trim_ascii_end().ends_with(b"{") {
                    last.push(b',');
                }
                last.extend_from_slice(&[&**name, b":"].concat());
            }
            (Event::Value(bytes), Some(last)) => last.extend_from_slice(bytes),
            (Event::End(bytes), Some(last)) => last.extend_from_slice(&[b"}", &**bytes].concat()),
            _ => {}
        }
    }
    found.into_iter().map(|(row, text)| (row, String::from_utf8(text).unwrap())).collect()
}

/// Concatenates everything that passes.
fn passed(events: &[(usize, Event)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (_, event) in events {
        match event {
            Event::Pass(bytes) | Event::Document(bytes) => all.extend_from_slice(bytes),
            Event::Begin(head, opening) => all.extend_from_slice(&[&**head, &**opening].concat()),
            _ => panic!("{event:?}"),
        }
    }
    all
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\{}\\[\\],: ü\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof!["[a-z\"\\\\{},:]{0,4}", Just("doc".to_owned()), Just("rows".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    let members = prop::collection::vec(("[a-z\"\\\\]{1,5}", value()), 0..4);
    let attachments = prop::option::of(prop::collection::vec(("[a-z\"\\\\ü ]{0,5}", value()), 0..4));
    (members, attachments).prop_map(|(members, attachments)| {
        let mut document: Map<String, Value> = members.into_iter().collect();
        if let Some(entries) = attachments {
            document.insert("_attachments".to_owned(), Value::Object(entries.into_iter().collect()));
        }
        Value::Object(document)
    })
}

proptest! {
    #[test]
    fn rows_are_found_as_serde_finds_them(
        rows in prop::collection::vec((value(), prop_oneof![document(), value()]), 0..5),
        sizes in prop::collection::vec(1_usize..30, 1..5),
        pretty in any::<bool>(),
    ) {
        let listed: Vec<_> = rows.iter().map(|(value, doc)| json!({ "id": "x", "value": value, "doc": doc })).collect();
        let answer = json!({ "total_rows": 1, "doc": 7, "rows": listed, "results": [{ "docs": [{ "error": { "ok": 1 } }] }] });
        let text = if pretty { serde_json::to_string_pretty(&answer).unwrap() } else { answer.to_string() };
        let found = documents(&events(ROWS, &text, &sizes, false).unwrap());
        let expected: Vec<_> =
            rows.iter().enumerate().filter(|(_, (_, doc))| doc.is_object()).map(|(row, (_, doc))| (row, doc)).collect();
        let found: Vec<(usize, Value)> =
            found.iter().map(|(row, text)| (*row, serde_json::from_str(text).unwrap())).collect();
        let found: Vec<_> = found.iter().map(|(row, doc)| (*row, doc)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(passed(&events(ROWS, &text, &sizes, true).unwrap()), text.as_bytes());
    }

    #[test]
    fn a_document_on_the_top_level_is_found(doc in document(), sizes in prop::collection::vec(1_usize..30, 1..5)) {
        let text = format!("{doc}\n");
        let found = documents(&events(ROOT, &text, &sizes, false).unwrap());
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(serde_json::from_str::<Value>(&found[0].1).unwrap(), doc);
    }

    #[test]
    fn any_bytes_are_passed_on_or_refused(text in "[\\[\\]{}\",:a\\\\ ]{0,60}", sizes in prop::collection::vec(1_usize..9, 1..5)) {
        for paths in [ROWS, ROOT] {
            if let Ok(events) = events(paths, &text, &sizes, true) {
                prop_assert_eq!(passed(&events), text.as_bytes());
            }
        }
    }
}

#[test]
fn lists_of_lists_say_which_row_they_are_in() {
    let text =
        r#"{"results":[{"id":"a","docs":[{"ok":{"n":1}},{"ok":{"n":2}}]},{"docs":[{"error":{}},{"ok":{"n":3}}]}]}"#;
    let found = documents(&events(ROWS, text, &[7], false).unwrap());
    assert_eq!(found, [(0, r#"{"n":1}"#.to_owned()), (0, r#"{"n":2}"#.to_owned()), (1, r#"{"n":3}"#.to_owned())]);
}

#[test]
fn lines_of_a_feed_are_one_value_each() {
    let text =
        "\n{\"seq\":1,\"doc\":{\"n\":1}}\n\n{\"seq\":\"2-}{\",\"doc\":{\"n\":2}}\ndata: {\"doc\":{\"n\":3}}\nid: 3\n\n";
    let found = documents(&events(ROWS, text, &[5], false).unwrap());
    assert_eq!(
        found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]
    );
    let whole = events(ROWS, text, &[1000], true).unwrap();
    assert_eq!(passed(&whole), text.as_bytes());
}

#[test]
fn inline_data_is_not_held_and_everything_else_is_bounded() {
    let long = "x".repeat(200);
    let limited = |text: String| {
        let mut scanner = Scanner::new(ROOT, 100);
        scanner.feed(text.into());
        loop {
            match scanner.event() {
                Ok(Some(_)) => {}
                Ok(None) => return scanner.ended(),
                Err(fault) => return Err(fault),
            }
        }
    };
    assert_eq!(limited(format!(r#"{{"_attachments":{{"a":{{"data":"{long}"}}}}}}"#)), Ok(()));
    assert_eq!(limited(format!(r#"{{"a":"{long}"}}"#)), Err(Fault::TooLarge));
    assert_eq!(limited(format!(r#"{{"_attachments":{{"{long}":1}}}}"#)), Err(Fault::TooLarge));
    assert_eq!(limited(format!(r#"{{"_attachments":{{}},"a":"{long}"}}"#)), Err(Fault::TooLarge));
    assert_eq!(limited(r#"{"a":1"#.to_owned()), Err(Fault::Cut));
    assert_eq!(limited(r#"{"_attachments":{"a":"#.to_owned()), Err(Fault::Cut));
}

#[test]
fn pointers_that_come_too_late_are_never_passed() {
    for key in ["pvt_attachments", r"pvt\u005fattachments", "_attachments"] {
        let text = format!(r#"{{"_attachments":{{"a":{{}}}},"{key}":{{}}}}"#);
        for pass_on in [true, false] {
            assert_eq!(events(ROOT, &text, &[3], pass_on), Err(Fault::Order), "{text}");
        }
    }
}

#[test]
fn names_are_read() {
    assert_eq!(unquoted(br#""a b""#), "a b");
    assert_eq!(unquoted(br#""a\"\u00fcb""#), "a\"üb");
}
