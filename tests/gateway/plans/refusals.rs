//! Plans that cannot be followed: a 502 that names the id, and nothing is stored.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plans::{file, start, storage};
use stowage_testing::gateway::{Running, STORAGE, Setup, authorization, json as parsed};
use stowage_testing::raw::{RawClient, RawResponse};

/// Creates a document directly on the server, and PUTs an attachment through the gateway; returns the response.
async fn put(gateway: &Running, path: &str, members: Value) -> RawResponse {
    let target = format!("/{path}/{}", uuid::Uuid::new_v4().simple());
    let made = gateway.couch.save(&target, &members).await;
    let target = format!("{target}/call.mp3?rev={made}");
    gateway.request("PUT", &target, &[("Content-Type", "audio/mpeg")], b"bytes").await
}

async fn with(attachments: Value, modb: Value) -> (Running, String) {
    let (gateway, path) = start(Setup::default()).await;
    let mut plan = storage(attachments, json!({ "modb": modb }));
    plan["connections"] = json!({ "remote": { "driver": "kazoo_couch", "settings": { "ip": "10.0.0.1" } } });
    gateway.save_plan(&gateway.account.clone(), plan).await;
    (gateway, path)
}

/// Returns a storage with the id [`STORAGE`] that cannot be used.
fn storage_with(entry: Value) -> (Value, Value) {
    (json!({ STORAGE: entry }), json!({ "attachments": { "handler": STORAGE } }))
}

#[tokio::test]
async fn the_answer_names_the_id_and_nothing_is_stored() {
    let unknown = |modb| (json!({ "a": file("a") }), modb);
    let settings = |settings: Value| storage_with(json!({ "handler": "file", "settings": settings }));
    let cases = [
        (unknown(json!({ "attachments": { "handler": STORAGE } })), STORAGE),
        (unknown(json!({ "connection": "elsewhere", "attachments": { "handler": "a" } })), "elsewhere"),
        (unknown(json!({ "connection": "remote", "attachments": { "handler": "a" } })), "remote"),
        (unknown(json!({ "connection": "elsewhere" })), "elsewhere"),
        (storage_with(json!({ "handler": "carrier_pigeon", "settings": {} })), STORAGE),
        (storage_with(json!({ "settings": { "directory": "d" } })), STORAGE),
        (storage_with(json!("file")), STORAGE),
        (storage_with(json!({ "handler": "file", "settings": "d" })), STORAGE),
        (settings(json!({})), STORAGE),
        (settings(json!({ "directory": 7 })), STORAGE),
        (settings(json!({ "directory": "../up" })), STORAGE),
        (settings(json!({ "directory": "/etc" })), STORAGE),
        (settings(json!({ "directory": "d", "field_list": "id" })), STORAGE),
        (settings(json!({ "directory": "d", "field_list": [{ "arg": "what" }] })), STORAGE),
        (settings(json!({ "directory": "d", "field_list": [{ "what": "id" }] })), STORAGE),
        (settings(json!({ "directory": "d", "field_list": [{ "arg": "id", "const": "x" }] })), STORAGE),
        (settings(json!({ "directory": "d", "field_list": [{ "group": [{ "arg": "id", "more": 1 }] }] })), STORAGE),
        (settings(json!({ "directory": "d", "field_separator": 7 })), STORAGE),
        (settings(json!({ "directory": "d", "folder_base_path": ["x"] })), STORAGE),
        (storage_with(json!({ "handler": "s3", "settings": { "bucket": 7, "key": "k", "secret": "s" } })), STORAGE),
    ];
    for ((attachments, modb), id) in cases {
        let shown = format!("{attachments} {modb}");
        let (gateway, path) = with(attachments, modb).await;
        let answer = put(&gateway, &path, json!({})).await;
        assert_eq!(answer.status, 502, "{shown}: {answer:?}");
        let answer = parsed(&answer);
        assert_eq!(answer["error"], "bad_gateway");
        assert!(answer["reason"].as_str().unwrap().contains(id), "{shown}: {answer}");
        assert!(gateway.stored().is_empty());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn malformed_plans_name_the_place() {
    for (modb, place) in [
        (json!("x"), "plan.modb"),
        (json!({ "attachments": "x" }), "plan.modb.attachments"),
        (json!({ "attachments": { "handler": 7 } }), "plan.modb.attachments.handler"),
        (json!({ "types": [] }), "plan.modb.types"),
    ] {
        let (gateway, path) = with(json!({ "a": file("a") }), modb.clone()).await;
        let answer = put(&gateway, &path, json!({})).await;
        assert_eq!(answer.status, 502, "{modb}: {answer:?}");
        assert!(parsed(&answer)["reason"].as_str().unwrap().contains(place), "{modb}: {answer:?}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn values_of_wrong_settings_are_not_repeated() {
    let (attachments, modb) = storage_with(json!({ "handler": "file", "settings": { "directory": ["canary"] } }));
    let (gateway, path) = with(attachments, modb).await;
    let answer = put(&gateway, &path, json!({})).await.expect_status(502);
    assert!(!answer.text().contains("canary"), "{answer:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn what_the_plan_does_not_speak_of_still_works() {
    let modb = json!({ "types": { "fax": { "attachments": { "handler": STORAGE } } } });
    let (gateway, path) = with(json!({ "a": file("a") }), modb).await;
    assert_eq!(put(&gateway, &path, json!({ "pvt_type": "fax" })).await.status, 502);
    assert_eq!(put(&gateway, &path, json!({ "pvt_type": "media" })).await.status, 201);
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_is_sending_sees_the_refusal() {
    let (gateway, path) = with(json!({}), json!({ "attachments": { "handler": STORAGE } })).await;
    let (name, login) = authorization(&gateway.couch.admin);
    let body = vec![7; 5 << 20];
    let head = |more: &str| {
        let length = body.len();
        format!(
            "PUT /{path}/doc/a.mp3 HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    // The client only reads the response after sending everything.
    let answer = client.exchange([head("").as_bytes(), &body].concat()).await.unwrap().expect_status(502);
    assert!(answer.text().contains(STORAGE));
    let settled = tokio::time::timeout(Duration::from_secs(10), gateway.settled()).await;
    assert!(settled.is_ok(), "the rest of the body is read on although it has ended");

    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(head("Expect: 100-continue\r\n")).await.unwrap();
    let answer = client.response().await.unwrap();
    assert_eq!(answer.status, 502, "before any 100: {answer:?}");
    drop(client);
    assert_eq!(gateway.request("GET", &format!("/{path}/doc"), &[], b"").await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn so_does_one_with_an_old_revision() {
    let modb = json!({ "attachments": { "handler": "a" } });
    let (gateway, path) = with(json!({ "a": file("a") }), modb).await;
    gateway.attach("doc", "a.mp3", "", b"there").await;
    let (name, login) = authorization(&gateway.couch.admin);
    let head = format!("PUT /{path}/doc/a.mp3 HTTP/1.1\r\nHost: x\r\n{name}: {login}\r\nContent-Length: 9\r\n");
    let mut client = RawClient::connect(gateway.address).await.unwrap();
    client.send(format!("{head}Expect: 100-continue\r\n\r\n")).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 409, "before any 100");
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}
