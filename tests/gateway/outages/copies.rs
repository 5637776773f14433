//! COPY while a storage is down, and after.

use serde_json::{Value, json};
use stowage_testing::gateway::{JSON, json as parsed, rev};

use super::world::{
    beside, comes_back, drained, drained_by_another, is_in_couchdb, is_in_storage, jobs, plan, with_worker,
    without_worker,
};
use crate::faults::gate::answer;
use crate::faults::world::{BUCKET, World, bytes};

/// A document with `call.mp3` in CouchDB, where it waits, and then `fax.pdf` in the storage.
async fn mixed(world: &World, id: &str) -> String {
    world.bucket.shut();
    let before = world.with_attachment(id, &bytes(3000, 1)).await;
    world.bucket.open();
    rev(&world.gateway.attach(id, "fax.pdf", &before, &bytes(500, 2)).await)
}

/// What clients see of the attachments, in their order.
async fn listed(world: &World, id: &str) -> String {
    parsed(&world.gateway.get(id).await)["_attachments"].to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_stored_at_once_although_its_original_waits_in_couchdb() {
    let world = without_worker().await;
    mixed(&world, "doc").await;
    let waiting = jobs(&world).await.len();
    assert_eq!(world.gateway.copy("doc", "copy").await.status, 201);
    is_in_storage(&world, "copy", "call.mp3", &bytes(3000, 1)).await;
    is_in_storage(&world, "copy", "fax.pdf", &bytes(500, 2)).await;
    assert_eq!(jobs(&world).await.len(), waiting);
    let original = world.stored("doc").await;
    let pointers = world.stored("copy").await["pvt_attachments"].clone();
    assert_eq!(pointers["call.mp3"]["revpos"], original["_attachments"]["call.mp3"]["revpos"]);
    assert_eq!(pointers["fax.pdf"]["revpos"], original["pvt_attachments"]["fax.pdf"]["revpos"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_in_couchdb_is_refused_where_the_law_says_so() {
    let world = without_worker().await;
    world.bucket.shut();
    world.with_attachment("doc", &bytes(3000, 1)).await;
    plan(&world, json!({ "on_unavailable": "refuse" })).await;
    world.gateway.copy("doc", "copy").await.expect_status(504);
    assert_eq!(world.stored("copy").await, Value::Null);
    world.bucket.open();
    let mut copied = world.gateway.copy("doc", "copy").await;
    while copied.status == 504 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        copied = world.gateway.copy("doc", "copy").await;
    }
    assert_eq!(copied.status, 201, "{copied:?}");
    is_in_storage(&world, "copy", "call.mp3", &bytes(3000, 1)).await;
    world.stop().await;
}

/// A copy's attachments are older than the copy, as CouchDB counts: what CouchDB keeps for it is newer all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replaces_an_attachment_of_a_copy_counts() {
    let world = without_worker().await;
    let mut last = world.document("doc").await;
    for _ in 0..4 {
        last = rev(&world.gateway.put("doc", "call.mp3", &last, &bytes(1000, 1)).await);
    }
    let copied = world.gateway.copy("doc", "copy").await;
    assert_eq!(world.gateway.pointer("copy", "call.mp3").await["revpos"], 5);
    world.bucket.shut();
    let put = world.gateway.put("copy", "call.mp3", &rev(&copied), &bytes(3000, 2)).await;
    assert_eq!((put.status, rev(&put).starts_with("2-")), (201, true), "{put:?}");
    is_in_couchdb(&world, "copy", "call.mp3", &bytes(3000, 2)).await;
    assert_eq!(parsed(&world.gateway.get("copy").await)["_attachments"]["call.mp3"]["length"], 3000);
    world.bucket.open();
    drained_by_another(&world).await;
    is_in_storage(&world, "copy", "call.mp3", &bytes(3000, 2)).await;
    world.audit(&["doc".to_owned(), "copy".to_owned()]).await;
    world.stop().await;
}

/// The same, where a replicator brought the attachment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replaces_an_attachment_of_a_replicated_copy_counts() {
    let world = without_worker().await;
    let entry = json!({ "content_type": "audio/mpeg", "revpos": 7, "data": "cmVjb3JkaW5n" });
    let document = json!({ "_id": "copy", "_rev": "1-0123456789abcdef0123456789abcdef", "pvt_type": "fax",
        "_attachments": { "call.mp3": entry } });
    let brought = world.gateway.ask("PUT", "copy?new_edits=false", &[JSON], document.to_string().as_bytes()).await;
    assert_eq!(brought.status, 201, "{brought:?}");
    assert_eq!(world.gateway.pointer("copy", "call.mp3").await["revpos"], 7);
    world.bucket.shut();
    world.gateway.put("copy", "call.mp3", &rev(&brought), &bytes(3000, 2)).await.expect_status(201);
    comes_back(&world, "copy", "call.mp3", &bytes(3000, 2)).await;
    world.stop().await;
}

/// The client has read what the copy replaces before a move made another revision of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_over_a_document_that_was_moved_meets_no_conflict() {
    let world = without_worker().await;
    world.document("plain").await;
    world.with_attachment("stored", &bytes(700, 3)).await;
    world.bucket.shut();
    let mut before = Vec::new();
    for id in ["one", "two", "three"] {
        before.push(world.with_attachment(id, &bytes(1000, 1)).await);
    }
    world.bucket.open();
    let other = beside(&world).await;
    drained(&world).await;
    comes_back(&world, "stored", "call.mp3", &bytes(700, 3)).await;
    for (from, to, rev) in [("plain", "one", &before[0]), ("stored", "two", &before[1])] {
        assert_ne!(world.stored(to).await["_rev"], rev.as_str());
        let copied = world.gateway.copy(from, &format!("{to}?rev={rev}")).await;
        assert_eq!(copied.status, 201, "{from}: {copied:?}");
    }
    assert_eq!(world.gateway.get("one/call.mp3").await.status, 404);
    comes_back(&world, "two", "call.mp3", &bytes(700, 3)).await;
    world.touch("three").await;
    world.gateway.copy("plain", &format!("three?rev={}", before[2])).await.expect_status(409);
    other.stop().await;
    world.stop().await;
}

/// CouchDB makes both copies. The first is refused, so that nothing is to be copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_what_couchdb_keeps_beside_a_storage_has_copies_of_its_own() {
    let world = with_worker().await;
    plan(&world, json!({ "stub": true })).await;
    world.with_attachment("doc", &bytes(2500, 4)).await;
    world.gateway.settled().await;
    let there = world.document("over").await;
    assert_eq!(world.gateway.copy("doc", "over").await.status, 409);
    world.gateway.settled().await;
    assert!(jobs(&world).await.is_empty());
    assert_eq!(world.gateway.copy("doc", &format!("over?rev={there}")).await.status, 201);
    world.gateway.settled().await;
    drained(&world).await;
    let objects = world.s3.objects(BUCKET);
    assert_eq!(objects.values().copied().collect::<Vec<u64>>(), [2500, 2500], "{objects:?}");
    assert!(objects.keys().any(|key| key.ends_with("over_call.mp3")), "{objects:?}");
    // A copy of a copy that waits, and is gone when it is its turn.
    world.bucket.rule("PUT", "again_call", 1000, answer(503, ""));
    let copied = world.gateway.copy("over", "again").await.expect_status(201);
    world.gateway.settled().await;
    assert_eq!(world.gateway.delete(&format!("again?rev={}", rev(&copied))).await.status, 200);
    world.bucket.relent();
    drained(&world).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 2);
    world.stop().await;
}

/// An older plan sent the attachments away: the gateway puts them into the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_copied_into_couchdb_beside_a_storage_has_a_copy_there() {
    let world = with_worker().await;
    world.with_attachment("doc", &bytes(1500, 5)).await;
    plan(&world, json!({ "stub": true })).await;
    assert_eq!(world.gateway.copy("doc", "copy").await.status, 201);
    world.gateway.settled().await;
    drained(&world).await;
    is_in_couchdb(&world, "copy", "call.mp3", &bytes(1500, 5)).await;
    let objects = world.s3.objects(BUCKET);
    assert!(objects.keys().any(|key| key.ends_with("copy_call.mp3")), "{objects:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_keep_their_order_wherever_they_are() {
    let world = without_worker().await;
    mixed(&world, "doc").await;
    let before = listed(&world, "doc").await;
    let names = |text: &str| -> Vec<String> {
        serde_json::from_str::<Value>(text).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(&before), ["fax.pdf", "call.mp3"], "the newest first, as KAZOO wants it");
    drained_by_another(&world).await;
    assert_eq!(listed(&world, "doc").await, before);
    world.stop().await;
}
