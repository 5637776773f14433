//! A gateway with a storage, and what these tests ask of both.

use serde_json::{Value, json};

pub use stowage_testing::gateway::planned;
use stowage_testing::gateway::{Running, STORAGE, json as parsed, rev};
use stowage_testing::raw::RawResponse;

/// A gateway whose plan sends the month database's attachments to a folder; `on_delete` says so.
pub async fn deleting(on_delete: &str) -> Running {
    let gateway = planned().await;
    set_on_delete(&gateway, json!(on_delete)).await;
    gateway
}

/// Changes what the plan says about deletions.
pub async fn set_on_delete(gateway: &Running, on_delete: Value) {
    gateway
        .plan_as(
            "file",
            json!({ "directory": "recordings" }),
            json!({ "modb": { "attachments": { "handler": STORAGE, "on_delete": on_delete } } }),
        )
        .await;
}

/// Gives a document another branch, as a replicator does, with these members; gives its revision.
pub async fn branch(gateway: &Running, id: &str, generation: u64, members: &Value) -> String {
    branch_at(gateway, id, format!("{generation}-{}", uuid::Uuid::new_v4().simple()), members).await
}

/// The same at a certain revision.
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

/// A document with an attachment `call.mp3` and a second branch that names the same object; gives both revisions. With
/// `wins` the new branch is the one that CouchDB shows.
pub async fn conflict(gateway: &Running, id: &str, wins: bool) -> (String, String) {
    let first = gateway.attach(id, "call.mp3", "", b"recording").await;
    let pointers = gateway.inside(id).await["pvt_attachments"].clone();
    let generation = if wins { 5 } else { 1 };
    // Of two revisions of one generation the greater wins.
    let rev_of = |rev: String| if wins { rev } else { format!("1-0{}", rev.get(3..).unwrap()) };
    let other = rev_of(format!("{generation}-{}", uuid::Uuid::new_v4().simple()));
    let other = branch_at(gateway, id, other, &json!({ "pvt_attachments": pointers })).await;
    (rev(&first), other)
}

/// COPYs a document of the month database; the destination stands in the header as it is given.
pub async fn copy(gateway: &Running, rest: &str, destination: &str) -> RawResponse {
    gateway.request("COPY", &format!("/{}/{rest}", gateway.path()), &[("Destination", destination)], b"").await
}
