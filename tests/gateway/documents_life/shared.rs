//! Copies made by clients, including pointers: their attachments can be read, but are never removed through them.

use serde_json::{Value, json};

use super::world::deleting;
use stowage_testing::gateway::{JSON, Running, rev};

/// Returns another database of the same account.
fn other_month(gateway: &Running) -> String {
    gateway.path().replace("-202411", "-202412")
}

/// Reads the stored `doc`, and saves it under another id or in another database; returns target and revision.
async fn take(gateway: &Running, database: &str, id: &str) -> (String, String) {
    let mut document = gateway.inside("doc").await;
    for member in ["_id", "_rev"] {
        document.as_object_mut().unwrap().remove(member);
    }
    let target = format!("/{database}/{id}");
    let text = document.to_string();
    let saved = gateway.request("PUT", &target, &[JSON], text.as_bytes()).await.expect_status(201);
    (target, rev(&saved))
}

async fn ask(gateway: &Running, method: &str, target: &str, body: &[u8]) -> stowage_testing::raw::RawResponse {
    let answer = gateway.request(method, target, &[("Content-Type", "audio/mpeg")], body).await;
    gateway.settled().await;
    answer
}

/// Checks that no operation on a copy removes the original's object.
async fn leaves_the_original(gateway: &Running, database: &str) {
    let undisturbed = async |what: &str| {
        assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording", "{what}");
    };
    let (copy, revision) = take(gateway, database, "deleted").await;
    assert_eq!(ask(gateway, "GET", &format!("{copy}/call.mp3"), b"").await.body, b"recording");
    assert_eq!(ask(gateway, "DELETE", &format!("{copy}/call.mp3?rev={revision}"), b"").await.status, 200);
    assert_eq!(ask(gateway, "GET", &format!("{copy}/call.mp3"), b"").await.status, 404);
    undisturbed("its attachment was deleted").await;

    let (copy, revision) = take(gateway, database, "replaced").await;
    assert_eq!(ask(gateway, "PUT", &format!("{copy}/call.mp3?rev={revision}"), b"another").await.status, 201);
    assert_eq!(ask(gateway, "GET", &format!("{copy}/call.mp3"), b"").await.body, b"another");
    undisturbed("its attachment was replaced").await;

    let (copy, revision) = take(gateway, database, "gone").await;
    assert_eq!(ask(gateway, "DELETE", &format!("{copy}?rev={revision}"), b"").await.status, 200);
    undisturbed("it was deleted").await;
}

#[tokio::test]
async fn a_copy_under_another_id_leaves_the_original() {
    let gateway = deleting("delete").await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    leaves_the_original(&gateway, &gateway.path()).await;
    assert_eq!(gateway.stored().len(), 2, "the original's, and what replaced a copy's");
    gateway.stop().await;
}

#[tokio::test]
async fn so_does_a_copy_in_another_database() {
    let gateway = deleting("delete").await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    let database = other_month(&gateway);
    assert_eq!(gateway.couch.request("PUT", &format!("/{database}"), "", b"").await.status, 201);
    leaves_the_original(&gateway, &database).await;
    // The same id in another database is a different document.
    let (copy, revision) = take(&gateway, &database, "doc").await;
    assert_eq!(ask(&gateway, "DELETE", &format!("{copy}/call.mp3?rev={revision}"), b"").await.status, 200);
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording");
    gateway.stop().await;
}

#[tokio::test]
async fn a_second_name_in_the_same_document_does_not_own_the_object() {
    let gateway = deleting("keep").await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    let mut document = gateway.inside("doc").await;
    let pointer: Value = document["pvt_attachments"]["call.mp3"].clone();
    document["pvt_attachments"]["again.mp3"] = pointer;
    let revision = gateway.document("doc", document).await;
    let deleted = gateway.delete(&format!("doc/call.mp3?rev={revision}")).await;
    gateway.settled().await;
    assert_eq!(gateway.get("doc/again.mp3").await.body, b"recording", "one entry names it still");
    assert_eq!(gateway.delete(&format!("doc/again.mp3?rev={}", rev(&deleted))).await.status, 200);
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 1, "what is not its own is left");
    assert_eq!(json!(gateway.get("doc/again.mp3").await.status), 404);
    gateway.stop().await;
}
