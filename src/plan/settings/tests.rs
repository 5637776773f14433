use serde_json::{Value, json};

use super::*;

fn settings(members: Value) -> Settings {
    let members = members.as_object().cloned().unwrap_or_default();
    Settings::new("backend1", "s3", members)
}

#[test]
fn reads_are_tolerant_of_numbers_and_booleans_in_strings() {
    let settings = settings(json!({
        "port": "9000", "port2": 9000, "yes": "true", "no": false, "null": null, "text": "a",
        "list": [1], "object": {"a": 1}, "zero": "0",
    }));
    assert_eq!(settings.number("port"), Ok(Some(9000)));
    assert_eq!(settings.number("port2"), Ok(Some(9000)));
    assert_eq!(settings.number("zero"), Ok(Some(0)));
    assert_eq!(settings.flag("yes"), Ok(Some(true)));
    assert_eq!(settings.flag("no"), Ok(Some(false)));
    assert_eq!(settings.text("text"), Ok(Some("a")));
    assert_eq!(
        settings.list("list").map(|list| list.map(<[_]>::len)),
        Ok(Some(1))
    );
    assert_eq!(
        settings.object("object").map(|object| object.map(Map::len)),
        Ok(Some(1))
    );
}

#[test]
fn missing_and_null_are_the_same() {
    let settings = settings(json!({ "null": null }));
    for key in ["null", "missing"] {
        assert_eq!(settings.text(key), Ok(None));
        assert_eq!(settings.number(key), Ok(None));
        assert_eq!(settings.flag(key), Ok(None));
        assert_eq!(settings.list(key), Ok(None));
        assert_eq!(settings.object(key), Ok(None));
        assert!(settings.required_text(key).is_err());
    }
}

#[test]
fn a_wrong_type_names_backend_and_key_and_never_the_value() {
    let secret = "canary";
    let values = [
        json!({ secret: 1 }),
        json!([secret]),
        json!(secret),
        json!(1.5),
        json!(-1),
        json!(true),
    ];
    for value in values {
        let settings = settings(json!({ "key": value }));
        let errors = [
            settings.text("key").err(),
            settings.number("key").err(),
            settings.flag("key").err(),
            settings.list("key").err(),
            settings.object("key").err(),
        ];
        assert!(errors.iter().flatten().count() >= 4, "{value}");
        for error in errors.into_iter().flatten() {
            assert_eq!(error.id(), "backend1");
            let text = error.to_string();
            assert!(
                text.contains("backend1") && text.contains("`key`"),
                "{text}"
            );
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_required_text_is_not_empty() {
    let settings = settings(json!({ "empty": "", "there": "x" }));
    assert_eq!(settings.required_text("there"), Ok("x"));
    assert!(settings.required_text("empty").is_err());
}

#[test]
fn debug_shows_keys_only() {
    let settings = settings(json!({ "secret": "canary", "nested": { "password": "canary" } }));
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("secret") && shown.contains("backend1"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}
