//! Names of objects as actually stored.

use serde_json::{Value, json};

use crate::plans::{put_as, start, storage};
use stowage_testing::gateway::{Running, Setup, json as parsed};

async fn plan(gateway: &Running, settings: &Value, beside: &Value, params: &Value) {
    let mut entry = json!({ "handler": "file", "settings": settings });
    if let (Some(entry), Some(beside)) = (entry.as_object_mut(), beside.as_object()) {
        entry.extend(beside.clone());
    }
    let modb = json!({ "attachments": { "handler": "a", "params": params } });
    gateway.save_plan(&gateway.account.clone(), storage(json!({ "a": entry }), json!({ "modb": modb }))).await;
}

#[tokio::test]
async fn every_item_of_a_field_list_is_in_the_name() {
    let (gateway, path) = start(Setup::default()).await;
    let account = gateway.account.clone();
    let stored_database = gateway.database().replace('/', "%2F");
    let members = json!({
        "owner_id": "owner/1", "name": "Ü b", "n": 1.50, "flag": true, "empty": "", "null": null, "list": [1], "o": {}
    });
    let cases = [
        (json!([]), None),
        (json!(["a", "b"]), Some("a/b".to_owned())),
        (json!([{ "arg": "account_id" }, { "arg": "id" }]), Some(format!("{account}/d%20oc"))),
        (json!([{ "arg": "db" }, { "arg": "attachment" }]), Some(format!("{stored_database}/c%2Fall.mp3"))),
        (json!([{ "field": "owner_id" }, { "field": "name" }]), Some("owner%2F1/%C3%9C%20b".to_owned())),
        (json!([{ "field": "n" }, { "field": "flag" }, { "field": "id" }]), Some("1.5/true/d%20oc".to_owned())),
        (
            json!([{ "field": "empty" }, { "field": "null" }, { "field": "list" }, { "field": "o" }, { "field": "x" }, "z"]),
            Some("z".to_owned()),
        ),
        (json!([{ "const": "x%/ü" }]), Some("x%/ü".to_owned())),
        (
            json!([{ "group": [{ "arg": "id" }, { "const": "_" }, { "arg": "attachment" }] }]),
            Some("d%20oc_c%2Fall.mp3".to_owned()),
        ),
        (json!([{ "field": "pvt_type" }, { "field": "_id" }, "only"]), Some("only".to_owned())),
    ];
    for (list, name) in cases {
        let before = gateway.stored();
        plan(&gateway, &json!({ "directory": "d", "field_list": list }), &json!({}), &json!({})).await;
        let document = format!("/{path}/d%20oc");
        let answer = put_as(&gateway, &path, "d%20oc", "c%2Fall.mp3", members.clone()).await;
        let Some(name) = name else {
            assert!(answer.status >= 400, "an empty name is no file: {answer:?}");
            let rev = parsed(&gateway.request("GET", &document, &[], b"").await)["_rev"].clone();
            let target = format!("{document}?rev={}", rev.as_str().unwrap());
            assert_eq!(gateway.request("DELETE", &target, &[], b"").await.status, 200);
            continue;
        };
        assert_eq!(answer.status, 201, "{list}: {answer:?}");
        let new: Vec<String> = gateway.stored().into_iter().filter(|stored| !before.contains(stored)).collect();
        assert_eq!(new, [format!("d/{name}")], "{list}");
        let rev = parsed(&answer)["rev"].as_str().unwrap().to_owned();
        let gone = gateway.request("DELETE", &format!("{document}/c%2Fall.mp3?rev={rev}"), &[], b"").await;
        let target = format!("{document}?rev={}", parsed(&gone)["rev"].as_str().unwrap());
        assert_eq!(gateway.request("DELETE", &target, &[], b"").await.status, 200);
        gateway.settled().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn folders_and_separators_come_from_settings_and_params() {
    let (gateway, path) = start(Setup::default()).await;
    let list = json!([{ "arg": "id" }, { "arg": "attachment" }]);
    let none = json!({});
    let cases = [
        (json!({ "field_separator": "-" }), none.clone(), none.clone(), "ID-call.mp3"),
        (json!({ "folder_base_path": "/base/" }), none.clone(), none.clone(), "base/ID/call.mp3"),
        (
            json!({ "folder_base_path": "base" }),
            none.clone(),
            json!({ "folder_path": "/sub/" }),
            "base/sub/ID/call.mp3",
        ),
        (none.clone(), none.clone(), json!({ "folder_path": "sub" }), "sub/ID/call.mp3"),
        (json!({ "path": "p", "folder_base_path": "b" }), none.clone(), json!({ "folder_path": "s" }), "p/ID/call.mp3"),
        (none.clone(), json!({ "folder_base_path": "beside" }), none.clone(), "beside/ID/call.mp3"),
        (json!({ "folder_base_path": "in" }), json!({ "folder_base_path": "beside" }), none.clone(), "in/ID/call.mp3"),
        (none.clone(), none.clone(), json!({ "directory": "other", "folder_path": null }), "ID/call.mp3"),
    ];
    for (index, (settings, beside, params, name)) in cases.into_iter().enumerate() {
        let id = format!("doc{index}");
        let mut all = json!({ "directory": "d", "field_list": list });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        plan(&gateway, &all, &beside, &params).await;
        put_as(&gateway, &path, &id, "call.mp3", json!({})).await.expect_status(201);
        let folder = params.get("directory").and_then(Value::as_str).unwrap_or("d");
        let wanted = format!("{folder}/{}", name.replace("ID", &id));
        assert!(gateway.stored().contains(&wanted), "{wanted}: {:?}", gateway.stored());
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_account_of_the_document_counts_before_that_of_the_database() {
    let (gateway, path) = start(Setup::default()).await;
    plan(&gateway, &json!({ "directory": "d" }), &json!({}), &json!({})).await;
    let members = json!({ "pvt_account_id": "another", "owner_id": "me" });
    assert_eq!(put_as(&gateway, &path, "doc", "call.mp3", members).await.status, 201);
    assert_eq!(gateway.stored(), ["d/another/me/doc/call.mp3"]);
    gateway.stop().await;
}

#[tokio::test]
async fn names_that_would_leave_the_folder_are_refused() {
    let (gateway, path) = start(Setup::default()).await;
    let attachment = json!([{ "arg": "attachment" }]);
    plan(&gateway, &json!({ "directory": "d", "field_list": attachment }), &json!({}), &json!({})).await;
    for name in ["%2e%2e", "%2E", ".%2e"] {
        let answer = put_as(&gateway, &path, &format!("doc{}", name.replace('%', "")), name, json!({})).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(parsed(&answer)["error"], "bad_request");
    }
    let field = json!([{ "field": "name" }, { "arg": "attachment" }]);
    plan(&gateway, &json!({ "directory": "d", "field_list": field }), &json!({}), &json!({})).await;
    assert_eq!(put_as(&gateway, &path, "dots", "x", json!({ "name": ".." })).await.status, 400);
    for list in [json!(["../x"]), json!(["a//b"]), json!(["a\u{0}b"]), json!(["a/./b"])] {
        plan(&gateway, &json!({ "directory": "d", "field_list": list }), &json!({}), &json!({})).await;
        let id = uuid::Uuid::new_v4().simple().to_string();
        assert_eq!(put_as(&gateway, &path, &id, "x", json!({})).await.status, 400, "{list}");
    }
    plan(&gateway, &json!({ "directory": "d" }), &json!({}), &json!({ "folder_path": "../up" })).await;
    assert_eq!(put_as(&gateway, &path, "folder", "x", json!({})).await.status, 400);
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    gateway.stop().await;
}

/// CouchDB accepts names of any length, a file system does not, especially when percent-encoded.
#[tokio::test]
async fn names_of_any_length_are_stored_and_read_back() {
    let (gateway, path) = start(Setup::default()).await;
    plan(&gateway, &json!({ "directory": "d" }), &json!({}), &json!({})).await;
    let names = [
        "%E3%81%8B".repeat(28),
        "%D0%96".repeat(60),
        "a".repeat(250),
        format!("{}.mp3", "%D0%96".repeat(160)),
        format!("{}.mp3", "%F0%9F%98%80".repeat(900)),
        "%01%0A%7F".repeat(60),
    ];
    for (index, name) in names.iter().enumerate() {
        for id in [format!("doc{index}"), format!("{}{index}", "%D0%B7".repeat(100))] {
            let target = format!("/{path}/{id}/{name}");
            let members = json!({ "owner_id": "o".repeat(400) });
            let first = put_as(&gateway, &path, &id, name, members).await.expect_status(201);
            // A second attachment of the same name: that of the first object is taken.
            let rev = parsed(&first)["rev"].as_str().unwrap().to_owned();
            let audio = [("Content-Type", "audio/mpeg")];
            gateway.request("PUT", &format!("{target}?rev={rev}"), &audio, b"other bytes").await.expect_status(201);
            let got = gateway.request("GET", &target, &[], b"").await;
            assert_eq!((got.status, got.body.as_slice()), (200, &b"other bytes"[..]), "{got:?}");
            gateway.settled().await;
        }
    }
    assert_eq!(gateway.stored().len(), 2 * names.len(), "{:?}", gateway.stored());
    gateway.stop().await;
}
