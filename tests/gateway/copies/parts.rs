//! Documents as multipart/related: CouchDB keeps the parts, and each has a copy.

use serde_json::{Value, json};

use super::gate::{Act, End, answer};
use super::world::{World, bytes, copies, native, outcomes};
use stowage_testing::raw::RawResponse;

/// PUTs a document with its attachments as parts.
async fn put(world: &World, id: &str, parts: &[(&str, &[u8])]) -> RawResponse {
    let entry = |bytes: &[u8]| json!({ "content_type": "audio/mpeg", "follows": true, "length": bytes.len() });
    let entries: serde_json::Map<String, Value> =
        parts.iter().map(|(name, bytes)| ((*name).to_owned(), entry(bytes))).collect();
    let document = json!({ "pvt_type": "call_recording", "_attachments": entries });
    let mut body = format!("--abc\r\nContent-Type: application/json\r\n\r\n{document}").into_bytes();
    for (_, bytes) in parts {
        body.extend_from_slice(b"\r\n--abc\r\n\r\n");
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(b"\r\n--abc--");
    let headers = [("Content-Type", "multipart/related; boundary=abc")];
    let answer = world.gateway.ask("PUT", id, &headers, &body).await;
    world.quiet().await;
    answer
}

fn three() -> [(&'static str, Vec<u8>); 3] {
    [("a.mp3", bytes((5 << 20) + 1, 1)), ("b.mp3", Vec::new()), ("c.mp3", bytes(70_000, 2))]
}

fn borrowed<'a>(parts: &'a [(&'static str, Vec<u8>)]) -> Vec<(&'a str, &'a [u8])> {
    parts.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_has_a_copy() {
    let world = World::copying().await;
    let parts = three();
    put(&world, "doc", &borrowed(&parts)).await.expect_status(201);
    let mut objects = world.objects();
    for (name, bytes) in &parts {
        assert!(native(&world.gateway, "doc", name).await.body == *bytes, "{name}");
        let at = objects.iter().position(|object| object == bytes);
        objects.remove(at.unwrap_or_else(|| panic!("{name} has no copy")));
    }
    assert_eq!(objects.len(), 0, "nothing else is stored");
    assert_eq!(world.stored("doc").await.get("pvt_attachments"), None);
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("ok", 3)]));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_without_a_copy_is_known_and_the_others_have_theirs() {
    let world = World::copying().await;
    let parts = three();
    world.bucket.rule("PUT", "a.mp3", 99, answer(403, "no"));
    put(&world, "doc", &borrowed(&parts)).await.expect_status(201);
    assert!(native(&world.gateway, "doc", "a.mp3").await.body == parts[0].1);
    assert_eq!(world.objects().len(), 2);
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("failed", 1), ("ok", 2)]));
    let records = world.gateway.app.gateway.records.last();
    assert_eq!((&records[0]["attachment_name"], &records[0]["operation"]), (&json!("a.mp3"), &json!("put")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_refuses_has_no_copies() {
    let world = World::copying().await;
    let parts = three();
    world.document("doc").await;
    put(&world, "doc", &borrowed(&parts)).await.expect_status(409);
    assert!(world.objects().is_empty());
    // Also if it has read everything.
    world.store.rule("PUT", "/other", 1, answer(403, "no"));
    assert_eq!(put(&world, "other", &borrowed(&parts)).await.status, 403);
    assert!(world.objects().is_empty(), "{:?}", copies(&world.gateway, "s3"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_takes_nothing_leaves_no_client_waiting() {
    let world = World::copying().await;
    let parts = three();
    world.bucket.rule("PUT", "a.mp3", 99, Act::CutRequest(1000, End::Silence));
    put(&world, "doc", &borrowed(&parts)).await.expect_status(201);
    for (name, bytes) in &parts {
        assert!(native(&world.gateway, "doc", name).await.body == *bytes, "{name}");
    }
    let counted = copies(&world.gateway, "s3");
    assert_eq!(counted.values().sum::<u64>(), 3, "every part is accounted for: {counted:?}");
    assert!(counted.get("failed").is_some_and(|failed| *failed > 0), "{counted:?}");
    world.stop().await;
}
