use serde_json::{Value, json};

use crate::plan::decision::tests::{plan, store, with_plan};

#[test]
fn an_older_pointer_finds_its_backend_by_id() {
    let plan = plan(json!({ "attachments": {
        "short": { "handler": "s3", "folder_base_path": "f", "settings": { "bucket": "b" } },
        "bare": { "handler": "file" },
        "broken": { "settings": {} },
        "worse": 1,
    } }));
    let short = plan.storage("short").unwrap();
    assert_eq!(short.handler(), "s3");
    assert_eq!(short.text("bucket"), Ok(Some("b".to_owned())));
    assert_eq!(short.text("folder_base_path"), Ok(Some("f".to_owned())));
    for id in ["broken", "worse", "missing"] {
        assert_eq!(plan.storage(id), None, "{id}");
    }
    let all: Vec<String> = plan.storages().map(|settings| settings.id().to_owned()).collect();
    assert_eq!(all, ["short", "bare"]);
}

#[test]
fn connections_are_read_by_id() {
    let plan = with_plan(json!({}));
    let far = plan.connection("far").unwrap().unwrap();
    assert_eq!(far.handler(), "kazoo_couch");
    assert_eq!(far.number("port"), Ok(Some(5984)));
    assert_eq!(plan.connection("gone"), Ok(None));
}

#[test]
fn params_go_over_settings_and_settings_over_what_stands_beside() {
    let plan = plan(json!({
        "attachments": { "b": {
            "handler": "s3", "name": "n", "field_list": ["beside"], "field_separator": "-",
            "folder_base_path": "beside", "unknown": 1,
            "settings": { "field_list": ["settings"], "folder_base_path": "settings", "bucket": "b" },
        } },
        "plan": { "modb": { "attachments": {
            "handler": "b", "params": { "folder_base_path": "params", "folder_path": "f" },
        } } },
    }));
    let settings = store(&plan, "").settings;
    let expected = json!({
        "field_list": ["settings"], "field_separator": "-", "folder_base_path": "params",
        "bucket": "b", "folder_path": "f",
    });
    assert_eq!(Value::Object(settings.members().clone()), expected);
}
