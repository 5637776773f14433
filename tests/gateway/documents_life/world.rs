//! A gateway with a storage, and what these tests ask of both.

use serde_json::{Value, json};

use stowage_testing::gateway::{Running, STORAGE, Setup, json as parsed, rev};
use stowage_testing::raw::RawResponse;

/// A gateway whose plan sends the month database's attachments to a folder.
pub async fn planned() -> Running {
    let gateway = Setup::default().start().await;
    gateway.plan("file", json!({ "directory": "recordings" })).await;
    gateway
}

/// The same; `on_delete` says so.
pub async fn deleting(on_delete: &str) -> Running {
    let gateway = planned().await;
    set_on_delete(&gateway, json!(on_delete)).await;
    gateway
}

/// Changes what the plan says about deletions.
pub async fn set_on_delete(gateway: &Running, on_delete: Value) {
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "recordings" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE, "on_delete": on_delete } } },
    });
    gateway.save_plan(&gateway.account.clone(), plan).await;
}

/// DELETEs something of the month database, `doc/name?rev=...`.
pub async fn delete(gateway: &Running, rest: &str) -> RawResponse {
    gateway.request("DELETE", &format!("/{}/{rest}", gateway.path()), &[], b"").await
}

/// Gives a document another branch, as a replicator does, with these members; gives its revision.
pub async fn branch(gateway: &Running, id: &str, generation: u64, members: &Value) -> String {
    let rev = format!("{generation}-{}", uuid::Uuid::new_v4().simple());
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
    let first = gateway.put(id, "call.mp3", "", b"recording").await;
    assert_eq!(first.status, 201, "{first:?}");
    let pointers = gateway.inside(id).await["pvt_attachments"].clone();
    let generation = if wins { 5 } else { 1 };
    // Of two revisions of one generation the greater wins.
    let rev_of = |rev: String| if wins { rev } else { format!("1-0{}", rev.get(3..).unwrap()) };
    let other = rev_of(format!("{generation}-{}", uuid::Uuid::new_v4().simple()));
    let document = json!({ "_id": id, "_rev": other, "pvt_attachments": pointers });
    let body = json!({ "new_edits": false, "docs": [document] }).to_string();
    let target = format!("/{}/_bulk_docs", gateway.path());
    let saved = gateway.couch.request("POST", &target, "application/json", body.as_bytes()).await;
    assert_eq!((saved.status, parsed(&saved)), (201, json!([])), "{saved:?}");
    (rev(&first), other)
}

/// COPYs a document of the month database; the destination stands in the header as it is given.
pub async fn copy(gateway: &Running, rest: &str, destination: &str) -> RawResponse {
    gateway.request("COPY", &format!("/{}/{rest}", gateway.path()), &[("Destination", destination)], b"").await
}
