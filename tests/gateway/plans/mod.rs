//! Storage plans end to end: the effect of the plans database's documents on a PUT.

mod cache;
mod classes;
mod feed;
mod merge;
mod names;
mod refusals;
mod unread;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use stowage_testing::gateway::{JSON, Running, Setup, json as parsed};
use stowage_testing::raw::RawResponse;

/// A `file` storage in `directory`.
fn file(directory: &str) -> Value {
    json!({ "handler": "file", "settings": { "directory": directory } })
}

/// A plan of the system, an account or a user.
fn storage(attachments: Value, plan: Value) -> Value {
    json!({ "pvt_type": "storage", "attachments": attachments, "plan": plan })
}

/// A plan of the system or of an account that stores the month databases' attachments in `directory`.
fn modb_plan(directory: &str) -> Value {
    storage(json!({ "a": file(directory) }), json!({ "modb": { "attachments": { "handler": "a" } } }))
}

/// Starts a gateway; also returns the path of its month database.
async fn start(setup: Setup) -> (Running, String) {
    let gateway = setup.start().await;
    let path = database(&gateway, &gateway.database()).await;
    (gateway, path)
}

/// Saves a document of the plans database, which the gateway learns about from the feed.
async fn save(gateway: &Running, id: &str, mut document: Value) {
    let target = format!("/{}/{id}", gateway.couch.plans);
    let old = gateway.couch.request("GET", &target, "", b"").await;
    if old.status == 200 {
        document["_rev"] = parsed(&old)["_rev"].clone();
    }
    gateway.couch.save(&target, document).await;
}

/// Creates a database; returns its name as in a path.
async fn database(gateway: &Running, name: &str) -> String {
    let path = name.replace('/', "%2F").replace('+', "%2B");
    let made = gateway.couch.request("PUT", &format!("/{path}"), "", b"").await;
    assert!(matches!(made.status, 201 | 412), "{name}: {made:?}");
    path
}

/// Creates a document and PUTs an attachment; returns the response.
async fn put_as(gateway: &Running, path: &str, id: &str, name: &str, members: Value) -> RawResponse {
    let target = format!("/{path}/{id}");
    let made = gateway.request("PUT", &target, &[JSON], members.to_string().as_bytes()).await.expect_status(201);
    let rev = parsed(&made)["rev"].as_str().unwrap().to_owned();
    gateway.request("PUT", &format!("{target}/{name}?rev={rev}"), &[("Content-Type", "audio/mpeg")], b"bytes").await
}

/// Returns where a new document's attachment is stored: the first folder below the root, or `None` for CouchDB.
async fn goes_to(gateway: &Running, path: &str, members: Value) -> Option<String> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    put_as(gateway, path, &id, "call.mp3", members).await.expect_status(201);
    let got = gateway.request("GET", &format!("/{path}/{id}/call.mp3"), &[], b"").await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"bytes"[..]), "{got:?}");
    let found = gateway.stored().into_iter().find(|stored| stored.contains(&id));
    let document = parsed(&gateway.couch.request("GET", &format!("/{path}/{id}"), "", b"").await);
    assert_eq!(document["_attachments"].is_null(), found.is_some(), "{document}");
    found.map(|stored| stored.split('/').next().unwrap_or_default().to_owned())
}

/// Polls until the condition holds; a changed plan has to apply within a second.
async fn within_a_second(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(1), "{what}: not within a second");
        tokio::task::yield_now().await;
    }
}

fn object(members: &[(&str, Value)]) -> Value {
    Value::Object(members.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>())
}
