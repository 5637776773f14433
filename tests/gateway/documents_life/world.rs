//! A gateway with a storage, and helpers for both.

use serde_json::{Value, json};

pub use stowage_testing::gateway::planned;
use stowage_testing::gateway::{Running, STORAGE, json as parsed, rev};

/// Starts a gateway that stores the month database's attachments in a folder, with this `on_delete`.
pub async fn deleting(on_delete: &str) -> Running {
    let gateway = planned().await;
    set_on_delete(&gateway, json!(on_delete)).await;
    gateway
}

/// Changes `on_delete` in the plan.
pub async fn set_on_delete(gateway: &Running, on_delete: Value) {
    gateway
        .plan_as(
            "file",
            json!({ "directory": "recordings" }),
            json!({ "modb": { "attachments": { "handler": STORAGE, "on_delete": on_delete } } }),
        )
        .await;
}

/// Adds a branch with these members to a document, as a replicator does; returns its revision.
pub async fn branch(gateway: &Running, id: &str, generation: u64, members: &Value) -> String {
    branch_at(gateway, id, format!("{generation}-{}", uuid::Uuid::new_v4().simple()), members).await
}

/// Adds a branch with this revision.
async fn branch_at(gateway: &Running, id: &str, rev: String, members: &Value) -> String {
    let mut document = members.clone();
    document["_id"] = json!(id);
    document["_rev"] = json!(rev);
    let body = json!({ "new_edits": false, "docs": [document] }).to_string();
    let target = format!("/{}/_bulk_docs", gateway.path());
    let saved = gateway.couch.request("POST", &target, "application/json", body.as_bytes()).await;
    assert_eq!((saved.status, parsed(&saved)), (201, json!([])), "{saved:?}");
    rev
}

/// Creates a document with an attachment `call.mp3`, and a second branch that names the same object; returns both revisions. With `wins`, CouchDB
/// shows the new branch.
pub async fn conflict(gateway: &Running, id: &str, wins: bool) -> (String, String) {
    let first = gateway.attach(id, "call.mp3", "", b"recording").await;
    let pointers = gateway.inside(id).await["pvt_attachments"].clone();
    let generation = if wins { 5 } else { 1 };
    // Of two revisions of one generation, the greater one wins.
    let rev_of = |rev: String| if wins { rev } else { format!("1-0{}", rev.get(3..).unwrap()) };
    let other = rev_of(format!("{generation}-{}", uuid::Uuid::new_v4().simple()));
    let other = branch_at(gateway, id, other, &json!({ "pvt_attachments": pointers })).await;
    (rev(&first), other)
}
