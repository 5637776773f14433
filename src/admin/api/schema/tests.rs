use serde_json::{Map, Value, json};

use super::super::envelope::Errors;
use super::Schemas;

const ID: &str = "0123456789abcdef0123456789abcdef";

/// Returns every invalid field with its rule, as `a.b.c: rule`.
fn wrong(plan: &Value) -> Vec<String> {
    let mut errors = Errors::default();
    Schemas::new().unwrap().check(plan.as_object().unwrap(), &mut errors);
    let mut found = Vec::new();
    if let Err(failure) = errors.check() {
        collect(failure.data().as_object().unwrap(), "", &mut found);
    }
    found
}

fn collect(members: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    for (key, member) in members {
        match member.as_object() {
            Some(member) if member.get("message").is_some_and(Value::is_string) => found.push(format!("{path}: {key}")),
            Some(member) => {
                collect(member, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, found)
            }
            None => panic!("{key} is no error"),
        }
    }
}

fn storage(handler: &str, settings: &Value) -> Value {
    json!({ "attachments": { ID: { "handler": handler, "settings": settings } } })
}

/// Returns errors except for that about a driver missing in this build.
fn wrong_settings(handler: &str, settings: &Value) -> Vec<String> {
    let mut found = wrong(&storage(handler, settings));
    found.retain(|error| error != &format!("attachments.{ID}.handler: enum"));
    let prefix = format!("attachments.{ID}.settings");
    found.iter().map(|error| error.strip_prefix(&prefix).unwrap().trim_start_matches('.').to_owned()).collect()
}

/// Settings that include everything documented.
fn sound(handler: &str) -> Value {
    match handler {
        "s3" => json!({"bucket": "recordings", "key": "k", "secret": "s", "host": "h", "port": 443, "scheme": "https",
            "region": "r", "bucket_access_method": "auto", "bucket_after_host": false, "folder_base_path": "f"}),
        "azure" => json!({"account": "a", "container": "c", "key": "k", "host": "h", "port": "80", "scheme": "http"}),
        "google_storage" => json!({"bucket": "b", "oauth_doc_id": "d"}),
        "google_drive" => json!({"oauth_doc_id": "d", "folder_id": "f"}),
        "dropbox" | "onedrive" => json!({"oauth_doc_id": "d", "folder_base_path": "f"}),
        "http" => json!({"url": "http://h", "verb": "POST", "send_multipart": true, "base64_encode_data": "false",
            "document_url_field": "u", "multipart_subtype": "form-data", "headers": {"A": "b"},
            "field_list": [{"arg": "id"}, {"field": "f"}, {"const": "c"}, "text", {"group": [{"arg": "db"}]}],
            "field_separator": "/"}),
        "ftp" => json!({"url": "ftp://u:p@h/d", "document_url_field": "u"}),
        "file" => json!({"directory": "d"}),
        _ => json!({"att_dbname": "d", "att_docid": "i", "att_name": "n"}),
    }
}

#[test]
fn what_is_documented_is_right() {
    for handler in stowage_storage::DRIVERS.iter().map(|driver| driver.handler) {
        assert_eq!(wrong_settings(handler, &sound(handler)), [""; 0], "{handler}");
        let mut more = sound(handler);
        more["unknown"] = json!({"a": [1]});
        more["path"] = Value::Null;
        assert_eq!(wrong_settings(handler, &more), [""; 0], "{handler}");
    }
    let reference = json!({"handler": ID, "params": {"folder_path": "f"}, "stub": true, "on_delete": "keep"});
    let fax = json!({"connection": "local", "attachments": reference, "on_delete": "delete"});
    let types = json!({"fax": fax, "function": {}, "any": {}});
    let class = json!({"connection": ID, "attachments": reference, "on_delete": "delete", "database": {"names": ["a"], "create_options": {}},
        "types": types});
    let plan = json!({
        "id": "x", "ui_metadata": {"a": 1},
        "attachments": {ID: {"handler": "file", "name": "n", "settings": {"directory": "d"}, "field_list": [],
            "field_separator": "-", "folder_base_path": "b"}},
        "connections": {"local": {}, ID: {"driver": "kazoo_couch", "name": "n", "settings": {
            "ip": "1.1.1.1", "port": 5984, "connect_timeout": 1, "max_sessions": "2", "max_pipeline_size": 3,
            "credentials": {"username": "u", "password": "text"}, "connect_options": {"keepalive": true},
            "pool": {"name": "n", "size": 1}}}},
        "plan": {"account": class, "modb": class, "system": class, "yodb": class, "aggregate": class},
    });
    assert_eq!(wrong(&plan), [""; 0]);
    assert_eq!(wrong(&json!({})), [""; 0]);
    assert_eq!(wrong(&json!({"attachments": null, "plan": {"modb": {"attachments": {"handler": null}}}})), [""; 0]);
}

#[test]
fn what_is_required_is_required() {
    let required = [
        ("s3", &["bucket", "key", "secret"][..]),
        ("azure", &["account", "container", "key"]),
        ("google_storage", &["bucket"]),
        ("google_drive", &["oauth_doc_id"]),
        ("dropbox", &["oauth_doc_id"]),
        ("onedrive", &["oauth_doc_id"]),
        ("http", &["url"]),
        ("ftp", &["url"]),
        ("file", &["directory"]),
    ];
    for (handler, keys) in required {
        for key in keys {
            let mut settings = sound(handler);
            settings.as_object_mut().unwrap().remove(*key);
            assert_eq!(wrong_settings(handler, &settings), [format!("{key}: required")], "{handler}");
            settings[*key] = Value::Null;
            assert_eq!(wrong_settings(handler, &settings), [format!("{key}: required")], "{handler}");
            settings[*key] = json!("");
            assert_eq!(wrong_settings(handler, &settings), [format!("{key}: minLength")], "{handler}");
        }
    }
    assert_eq!(
        wrong_settings("google_storage", &json!({"bucket": "b"})),
        ["oauth_doc_id: required", "oauth_app_id: required"]
    );
    assert_eq!(wrong_settings("google_storage", &json!({"bucket": "b", "oauth_app_id": "a"})), [""; 0]);
}

#[test]
fn every_documented_setting_has_its_type() {
    for handler in stowage_storage::DRIVERS.iter().map(|driver| driver.handler) {
        for (key, value) in sound(handler).as_object().unwrap() {
            for other in
                [json!({"a": "canary"}), json!([{"const": 1}]), json!(1.5), json!("canary canary"), json!(true)]
            {
                if std::mem::discriminant(&other) == std::mem::discriminant(value) {
                    continue;
                }
                let fits = matches!(key.as_str(), "send_multipart" | "bucket_after_host" | "base64_encode_data")
                    && other == json!(true);
                let mut settings = sound(handler);
                settings[key] = other.clone();
                let found = wrong_settings(handler, &settings);
                assert_eq!(found.is_empty(), fits, "{handler}.{key} = {other}: {found:?}");
                assert!(found.iter().all(|error| error.starts_with(key)), "{handler}.{key} = {other}: {found:?}");
            }
        }
    }
}

#[test]
fn rules_of_settings_have_the_platforms_words() {
    let cases = [
        ("s3", json!({"bucket": "short"}), "bucket: minLength"),
        ("s3", json!({"bucket": "x".repeat(64)}), "bucket: maxLength"),
        ("s3", json!({"key": "x".repeat(129)}), "key: maxLength"),
        ("s3", json!({"secret": "x".repeat(129)}), "secret: maxLength"),
        ("s3", json!({"scheme": "ftp"}), "scheme: enum"),
        ("s3", json!({"bucket_access_method": "dns"}), "bucket_access_method: enum"),
        ("s3", json!({"port": 0}), "port: minimum"),
        ("s3", json!({"port": 65_536}), "port: maximum"),
        ("s3", json!({"port": "80a"}), "port: pattern"),
        ("s3", json!({"port": []}), "port: type"),
        ("s3", json!({"bucket_after_host": "yes"}), "bucket_after_host: pattern"),
        ("http", json!({"verb": "get"}), "verb: enum"),
        ("http", json!({"headers": {"X": 1}}), "headers.X: type"),
        ("http", json!({"multipart_subtype": "x"}), "multipart_subtype: enum"),
        ("http", json!({"field_list": [{"arg": "x"}]}), "field_list.0.arg: enum"),
        ("http", json!({"field_list": [{"group": [{"group": [1]}]}]}), "field_list.0.group.0.group.0: type"),
        ("http", json!({"field_list": "x"}), "field_list: type"),
        ("s3", json!({"field_list": [{"arg": "id", "const": "x"}]}), "field_list.0: oneOf"),
        ("ftp", json!({"field_list": ["x", {"field": "a", "group": []}]}), "field_list.1: oneOf"),
        ("azure", json!({"field_list": [{"group": [{"arg": "id", "field": "a"}]}]}), "field_list.0.group.0: oneOf"),
        ("file", json!({"field_list": [{"arg": "id", "args": 1}]}), "field_list.0.args: additionalProperties"),
        ("google_storage", json!({"oauth_app_id": "a"}), ": oneOf"),
        ("s3", json!({"bucket": "a bucket"}), "bucket: pattern"),
        ("s3", json!({"key": "a\tb"}), "key: pattern"),
        ("s3", json!({"secret": " s"}), "secret: pattern"),
        ("s3", json!({"host": "a host"}), "host: pattern"),
        ("s3", json!({"region": "eu\n"}), "region: pattern"),
        ("http", json!({"field_list": [{"arg": "ID"}]}), "field_list.0.arg: enum"),
        ("http", json!({"field_list": [{"field": ""}]}), "field_list.0.field: minLength"),
        ("http", json!({"field_list": [["x"]]}), "field_list.0: type"),
    ];
    for (handler, change, expected) in cases {
        let mut settings = sound(handler);
        settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(wrong_settings(handler, &settings), [expected], "{change}");
    }
    for nothing in [json!({}), json!({"arg": null})] {
        let found = wrong_settings("file", &json!({"directory": "d", "field_list": ["x", nothing]}));
        let expected = ["arg", "field", "const", "group"].map(|key| format!("field_list.1.{key}: required"));
        assert_eq!(found, expected, "{nothing}");
    }
}

#[test]
fn rules_of_plans_have_the_platforms_words() {
    let right = sound("file");
    let couch = |settings: Value| json!({"connections": {ID: {"driver": "kazoo_couch", "settings": settings}}});
    let storage = |entry: Value| json!({"attachments": {ID: entry}});
    let modb = |class: Value| json!({"plan": {"modb": class}});
    let attachments = |reference: Value| modb(json!({ "attachments": reference }));
    let plans = [
        (json!({"attachments": []}), "attachments: type"),
        (json!({"connections": 1}), "connections: type"),
        (json!({"plan": "x"}), "plan: type"),
        (json!({"id": 1}), "id: type"),
        (json!({"ui_metadata": 1}), "ui_metadata: type"),
        (json!({"unknown": 1}), "unknown: additionalProperties"),
        (json!({"plan": {"numbers": {}}}), "plan.numbers: additionalProperties"),
        (modb(json!(1)), "plan.modb: type"),
        (modb(json!({"x": 1})), "plan.modb.x: additionalProperties"),
        (modb(json!({"connection": 1})), "plan.modb.connection: type"),
        (modb(json!({"types": []})), "plan.modb.types: type"),
        (modb(json!({"types": {"fax": 1}})), "plan.modb.types.fax: type"),
        (modb(json!({"types": {"fax": {"x": 1}}})), "plan.modb.types.fax.x: additionalProperties"),
        (modb(json!({"database": {"names": "x"}})), "plan.modb.database.names: type"),
        (modb(json!({"database": {"create_options": 1}})), "plan.modb.database.create_options: type"),
        (attachments(json!({"handler": 1})), "plan.modb.attachments.handler: type"),
        (attachments(json!({"params": 1})), "plan.modb.attachments.params: type"),
        (attachments(json!({"params": {"url": 1}})), "plan.modb.attachments.params.url: additionalProperties"),
        (
            attachments(json!({"params": {"field_list": [{"arg": "id", "const": "x"}]}})),
            "plan.modb.attachments.params.field_list.0: oneOf",
        ),
        (
            storage(json!({"handler": "file", "settings": right, "field_list": [{"arg": "id", "const": "x"}]})),
            "attachments.ID.field_list.0: oneOf",
        ),
        (attachments(json!({"stub": "x"})), "plan.modb.attachments.stub: pattern"),
        (attachments(json!({"on_delete": "purge"})), "plan.modb.attachments.on_delete: enum"),
        (modb(json!({"on_delete": true})), "plan.modb.on_delete: type"),
        (storage(json!(1)), "attachments.ID: type"),
        (storage(json!({"settings": {}})), "attachments.ID.handler: required"),
        (storage(json!({"handler": 1, "settings": {}})), "attachments.ID.handler: type"),
        (storage(json!({"handler": "x", "settings": {}})), "attachments.ID.handler: enum"),
        (storage(json!({"handler": "file"})), "attachments.ID.settings: required"),
        (storage(json!({"handler": "file", "settings": 1})), "attachments.ID.settings: type"),
        (storage(json!({"handler": "file", "name": 1, "settings": right})), "attachments.ID.name: type"),
        (json!({"attachments": {"Short": {"handler": "file", "settings": right}}}), "attachments.Short: pattern"),
        (json!({"connections": {"local": 1}}), "connections.local: type"),
        (json!({"connections": {ID: {"driver": "x"}}}), "connections.ID.driver: enum"),
        (couch(json!({"ip": "h"})), "connections.ID.settings.port: required"),
        (
            couch(json!({"ip": "h", "port": 1, "credentials": {"username": "u", "password": true}})),
            "connections.ID.settings.credentials.password: type",
        ),
    ];
    for (plan, expected) in plans {
        let found = wrong(&plan);
        assert!(found.iter().any(|error| *error == expected.replace("ID", ID)), "{plan}: {found:?}");
    }
}

#[test]
fn no_message_holds_a_value() {
    let canary = "CANARY-secret-value";
    for value in [json!(canary), json!([canary]), json!({"a": canary}), json!({ "b": [canary] })] {
        for handler in stowage_storage::DRIVERS.iter().map(|driver| driver.handler) {
            let mut settings = sound(handler);
            settings.as_object_mut().unwrap().values_mut().for_each(|member| *member = value.clone());
            let mut errors = Errors::default();
            Schemas::new().unwrap().check(storage(handler, &settings).as_object().unwrap(), &mut errors);
            if let Err(failure) = errors.check() {
                assert!(!failure.data().to_string().contains("CANARY"), "{}", failure.data());
            }
        }
    }
}
