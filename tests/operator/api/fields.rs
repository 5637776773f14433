//! Each documented key with valid and invalid values, through the listener. `src/admin/api/schema/tests.rs` covers every rule of the schemas.

use serde_json::{Value, json};
use stowage_storage::driver;

use crate::api::{MINE, Running, ask, data, envelope, file_plan, of, plan, start, wrong};
use stowage_testing::gateway::STORAGE;

/// Saves and removes a plan; returns its errors.
async fn refusals(gateway: &Running, plan: &Value) -> Vec<String> {
    let answer = ask(gateway, "PUT", &of(MINE), Some(plan)).await;
    if answer.status == 201 {
        assert_eq!(ask(gateway, "DELETE", &of(MINE), None).await.status, 200);
        return Vec::new();
    }
    assert_eq!(ask(gateway, "GET", &of(MINE), None).await.status, 404, "refused and saved: {plan}");
    wrong(&answer)
}

/// Valid settings; other handlers' settings are checked if this build has their drivers.
const RIGHT: [(&str, &str); 12] = [
    ("s3", r#"{"bucket": "recordings", "key": "k", "secret": "s"}"#),
    (
        "s3",
        r#"{"bucket": "recordings", "key": "k", "secret": "s", "host": "127.0.0.1", "port": "9000", "scheme": "http",
        "region": "eu-west-1", "bucket_access_method": "path", "bucket_after_host": "true"}"#,
    ),
    ("azure", r#"{"account": "account", "container": "files", "key": "a2V5"}"#),
    ("google_storage", r#"{"bucket": "recordings", "oauth_doc_id": "0123456789abcdef0123456789abcdef"}"#),
    ("google_drive", r#"{"oauth_doc_id": "0123456789abcdef0123456789abcdef", "folder_id": "f"}"#),
    ("dropbox", r#"{"oauth_doc_id": "0123456789abcdef0123456789abcdef"}"#),
    ("onedrive", r#"{"oauth_doc_id": "0123456789abcdef0123456789abcdef"}"#),
    ("http", r#"{"url": "http://127.0.0.1:37635/some_prefix", "verb": "post", "send_multipart": true}"#),
    (
        "http",
        r#"{"url": "https://u:p@127.0.0.1/x?key=k&recording=", "verb": "PUT", "base64_encode_data": "true",
        "headers": {"Authorization": "Bearer x"}, "document_url_field": "media_url", "multipart_subtype": "form-data",
        "field_list": [{"const": "?path="}, {"arg": "account_id"}, {"group": [{"field": "x"}, "y"]}],
        "field_separator": "_"}"#,
    ),
    ("ftp", r#"{"url": "ftp://u:p@127.0.0.1/dir", "document_url_field": "media_url"}"#),
    ("file", r#"{"directory": "a/b", "folder_base_path": "c", "folder_path": "d"}"#),
    ("file", r#"{"directory": "a", "field_list": [], "path": "x"}"#),
];

#[tokio::test]
async fn what_is_documented_is_saved() {
    let gateway = start().await;
    save_grant(&gateway, "0123456789abcdef0123456789abcdef").await;
    for (handler, settings) in RIGHT {
        let settings: Value = serde_json::from_str(settings).unwrap();
        let expected = if driver(handler).is_some() {
            Vec::new()
        } else {
            eprintln!("not in this build: {handler}");
            vec![format!("attachments.{STORAGE}.handler: enum")]
        };
        assert_eq!(refusals(&gateway, &plan(handler, &settings)).await, expected, "{handler}: {settings}");
    }
    for more in [
        json!({"connections": {STORAGE: {"driver": "kazoo_couch", "name": "n", "settings": {"ip": "127.0.0.1", "port": 5984,
            "connect_timeout": 500, "connect_options": {"keepalive": true}, "max_sessions": 10, "max_pipeline_size": "5",
            "credentials": {"username": "u", "password": "text"}, "pool": {"name": "p", "size": 10}}}}}),
        json!({"connections": {STORAGE: {"driver": "kazoo_couch", "settings": {"ip": "127.0.0.1", "port": "5984",
            "credentials": {"username": "u", "password": 1234}}}}, "plan": {"modb": {"connection": STORAGE}}}),
        json!({"connections": {"local": {}}, "plan": {"modb": {"connection": "local"}}}),
        json!({"plan": {"account": {}, "modb": {}, "system": {}, "yodb": {}, "aggregate": {"database": {"names": ["faxes"]}}}}),
        json!({"plan": {"modb": {"database": {"create_options": {"q": 1}}}}, "ui_metadata": {"version": "4.3"}}),
        json!({"plan": {"modb": {"attachments": {"handler": null}}}}),
        json!({}),
    ] {
        assert_eq!(refusals(&gateway, &more).await, [""; 0], "{more}");
    }
    let mut every = file_plan("a");
    every["attachments"][STORAGE]["field_list"] = json!([{"arg": "attachment"}]);
    every["attachments"][STORAGE]["field_separator"] = json!("-");
    every["attachments"][STORAGE]["folder_base_path"] = json!("base");
    let reference = json!({"handler": STORAGE, "params": {"folder_path": "x"}, "stub": true});
    for name in ["call_recording", "fax", "mailbox_message", "media", "function", "my_own_type"] {
        every["plan"]["modb"]["types"][name] = json!({"attachments": reference, "connection": "local"});
    }
    assert_eq!(refusals(&gateway, &every).await, [""; 0]);
    gateway.stop().await;
}

/// Saves an empty OAuth document.
async fn save_grant(gateway: &Running, id: &str) {
    let database = &gateway.couch.auth;
    gateway.couch.request("PUT", &format!("/{database}"), "", b"").await;
    gateway.couch.request("PUT", &format!("/{database}/{id}"), "application/json", b"{}").await;
}

/// Without it the storage cannot work, whether it is tried or not.
#[tokio::test]
async fn an_oauth_document_that_is_not_there_is_refused_under_its_field() {
    let gateway = start().await;
    for (handler, settings, key) in [
        ("google_storage", json!({"bucket": "recordings", "oauth_doc_id": "none"}), "oauth_doc_id"),
        ("google_storage", json!({"bucket": "recordings", "oauth_app_id": "none"}), "oauth_app_id"),
        ("google_drive", json!({"oauth_doc_id": "none"}), "oauth_doc_id"),
        ("dropbox", json!({"oauth_doc_id": "none"}), "oauth_doc_id"),
        ("onedrive", json!({"oauth_doc_id": "none"}), "oauth_doc_id"),
    ] {
        let expected = format!("attachments.{STORAGE}.settings.{key}: invalid");
        assert_eq!(refusals(&gateway, &plan(handler, &settings)).await, [expected], "{handler}");
    }
    save_grant(&gateway, "there").await;
    assert_eq!(refusals(&gateway, &plan("dropbox", &json!({"oauth_doc_id": "there"}))).await, [""; 0]);
    // A document that is not named, or irrelevant to the handler, is not looked up.
    let other = json!({"bucket": "recordings", "key": "k", "secret": "s", "oauth_doc_id": "none"});
    assert_eq!(refusals(&gateway, &plan("s3", &other)).await, [""; 0]);
    gateway.stop().await;
}

#[tokio::test]
async fn errors_stand_under_their_fields_in_the_platforms_form() {
    let gateway = start().await;
    let settings = json!({"key": "k", "secret": "CANARY".repeat(100), "scheme": "gopher", "port": 70_000});
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&plan("s3", &settings))).await.expect_status(400);
    let errors = &envelope(&answer)["data"]["attachments"][STORAGE]["settings"];
    assert_eq!(errors["bucket"]["required"]["message"], "Field is required but missing");
    assert_eq!(errors["scheme"]["enum"]["target"], json!(["http", "https"]));
    assert_eq!(errors["port"]["maximum"]["message"], "Value must be at most 65535");
    assert_eq!(errors["secret"]["maxLength"]["target"], 128);
    assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_driver_refuses_is_refused_under_its_field() {
    let gateway = start().await;
    let s3 = |key: &str, value: Value| {
        let mut settings =
            json!({"bucket": "recordings", "key": "k", "secret": "s", "host": "127.0.0.1", "scheme": "http"});
        settings[key] = value;
        ("s3", settings, format!("{key}: invalid"))
    };
    let http = |key: &str, value: Value| {
        let mut settings = json!({"url": "http://127.0.0.1/"});
        settings[key] = value;
        ("http", settings, format!("{key}: invalid"))
    };
    let file = |directory: &str| ("file", json!({"directory": directory}), "directory: invalid".to_owned());
    let mut cases = vec![
        s3("bucket", json!("a/b/c/d")),
        s3("bucket", json!("rec..ordings")),
        s3("bucket", json!("-recordings")),
        s3("region", json!("a.evil.example")),
        s3("host", json!("user@host")),
        s3("host", json!("https://host")),
        s3("port", json!("65536")),
        s3("bucket_access_method", json!("vhost")),
        http("url", json!("ftp://127.0.0.1/")),
        http("url", json!("127.0.0.1")),
        http("url", json!("http://127.0.0.1/#x")),
        http("url", json!("http://")),
        http("document_url_field", json!("_id")),
        http("document_url_field", json!("pvt_x")),
        file("/etc"),
        file(".."),
        file("a/../../b"),
        file("a\u{0}b"),
    ];
    for name in ["Host", "content-length", "Content-Type", "Transfer-Encoding", "not a name", "Connection"] {
        let settings = json!({"url": "http://127.0.0.1/", "headers": {name: "CANARY"}});
        cases.push(("http", settings, format!("headers.{name}: invalid")));
    }
    let settings = json!({"url": "http://127.0.0.1/", "headers": {"X": "CANARY\nb"}});
    cases.push(("http", settings, "headers.X: invalid".to_owned()));
    for (handler, settings, expected) in cases {
        let answer = ask(&gateway, "PUT", &of(MINE), Some(&plan(handler, &settings))).await;
        assert_eq!(wrong(&answer), [format!("attachments.{STORAGE}.settings.{expected}")], "{settings}");
        assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    }
    // Folders in the storage's settings, and in the plan.
    let folder = plan("file", &json!({"directory": "a", "folder_base_path": "../x"}));
    assert_eq!(refusals(&gateway, &folder).await, [format!("attachments.{STORAGE}.settings: invalid")]);
    let mut params = file_plan("a");
    params["plan"]["modb"]["types"]["fax"]["attachments"] = json!({"params": {"folder_path": "a/../b"}});
    assert_eq!(refusals(&gateway, &params).await, ["plan.modb.types.fax.attachments.params: invalid"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_driver_that_is_turned_off_is_refused() {
    let gateway = crate::api::setup().set("storage.file_root", "").start().await;
    assert_eq!(refusals(&gateway, &file_plan("a")).await, [format!("attachments.{STORAGE}: invalid")]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_patch_is_judged_by_what_comes_of_it() {
    let gateway = start().await;
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&file_plan("a"))).await.status, 201);
    let cases = [
        (json!({"attachments": {STORAGE: {"settings": null}}}), format!("attachments.{STORAGE}.settings: required")),
        (json!({"attachments": {STORAGE: null}}), "plan.modb.attachments.handler: error".to_owned()),
        (json!({"attachments": 1}), "attachments: type".to_owned()),
        (json!({"plan": {"modb": {"x": 1}}}), "plan.modb.x: additionalProperties".to_owned()),
    ];
    for (patch, expected) in cases {
        let answer = ask(&gateway, "PATCH", &of(MINE), Some(&patch)).await;
        assert_eq!(wrong(&answer), [expected], "{patch}");
    }
    let kept = data(&ask(&gateway, "GET", &of(MINE), None).await);
    assert_eq!(kept["attachments"], file_plan("a")["attachments"]);
    let patch = json!({"attachments": null, "plan": {"modb": null}});
    let answer = ask(&gateway, "PATCH", &of(MINE), Some(&patch)).await;
    assert_eq!(data(&answer), json!({"id": MINE, "plan": {}}));
    gateway.stop().await;
}
