//! PUT of an attachment while its storage is down.

use serde_json::json;
use stowage_testing::gateway::{JSON, json as json_of, rev};

use super::world::{comes_back, drained, is_in_couchdb, is_in_storage, jobs, plan, with_worker, without_worker};
use crate::faults::gate::{Act, End, answer};
use crate::faults::world::{BUCKET, bytes};

/// Any failure of a storage except for invalid settings.
fn outages() -> Vec<(&'static str, Act)> {
    vec![
        ("it refuses connections", Act::Shut),
        ("it resets", Act::CutRequest(0, End::Reset)),
        ("it ends half way", Act::CutRequest(9_000, End::Fin)),
        ("it is silent", Act::CutRequest(0, End::Silence)),
        ("it fails", answer(500, "canary")),
        ("it is busy", answer(503, "canary")),
        ("it refuses", answer(403, "canary")),
        ("its bucket is gone", answer(404, "<Error><Code>NoSuchBucket</Code></Error>")),
        ("it is full", answer(507, "canary")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_keeps_it_in_the_same_request_and_a_job_moves_it_when_the_storage_is_back() {
    for (what, act) in outages() {
        let world = without_worker().await;
        world.bucket.rule("PUT", "", 1000, act);
        let body = bytes(20_000, 1);
        let before = world.document("doc").await;
        let put = world.gateway.put("doc", "call.mp3", &before, &body).await;
        assert_eq!(put.status, 201, "{what}: {put:?}");
        assert!(world.stored("doc").await["_attachments"]["call.mp3"].is_object(), "{what}");
        is_in_couchdb(&world, "doc", "call.mp3", &body).await;
        let waiting = jobs(&world).await;
        assert_eq!(waiting.len(), 1, "{what}: {waiting:?}");
        assert_eq!(waiting[0]["kind"], "move");
        assert!(!waiting[0].to_string().contains("canary"), "{what}");
        world.bucket.relent();
        world.bucket.open();
        super::world::drained_by_another(&world).await;
        is_in_storage(&world, "doc", "call.mp3", &body).await;
        world.audit(&["doc"]).await;
        let document = world.stored("doc").await;
        assert_eq!(document["pvt_type"], "call_recording", "{what}: the rest stays: {document}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_says_refuse_keeps_every_byte_out_of_couchdb() {
    let world = with_worker().await;
    plan(&world, json!({ "on_unavailable": "refuse" })).await;
    world.bucket.shut();
    let before = world.document("doc").await;
    for _ in 0..8 {
        world.gateway.put("doc", "call.mp3", &before, &bytes(20_000, 1)).await.expect_status(504);
    }
    let inline = json!({ "pvt_type": "fax", "_attachments": { "a": { "data": "AAAA" } } }).to_string();
    world.gateway.ask("PUT", "other", &[JSON], inline.as_bytes()).await.expect_status(504);
    assert_eq!(world.stored("doc").await["_rev"], before.as_str());
    assert!(world.stored("other").await.is_null());
    assert!(jobs(&world).await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replaces_an_attachment_outside_hides_it_and_the_old_object_goes_with_the_move() {
    let world = with_worker().await;
    let old = world.with_attachment("doc", &bytes(3000, 1)).await;
    world.bucket.shut();
    let new = bytes(5000, 2);
    world.gateway.put("doc", "call.mp3", &old, &new).await.expect_status(201);
    comes_back(&world, "doc", "call.mp3", &new).await;
    let shown = stowage_testing::gateway::json(&world.gateway.get("doc").await);
    assert_eq!(shown["_attachments"]["call.mp3"]["length"], 5000, "{shown}");
    world.bucket.open();
    drained(&world).await;
    is_in_storage(&world, "doc", "call.mp3", &new).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1, "the old object is gone");
    world.stop().await;
}

/// The client's document has a stub of the new attachment only, so that nothing in it names the old object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_hidden_goes_although_its_document_is_saved_meanwhile() {
    for how in ["PUT", "_bulk_docs", "DELETE"] {
        let world = with_worker().await;
        let old = world.with_attachment("doc", &bytes(3000, 1)).await;
        world.bucket.shut();
        world.gateway.put("doc", "call.mp3", &old, &bytes(5000, 2)).await.expect_status(201);
        let mut shown = json_of(&world.gateway.get("doc").await);
        shown["folder"] = json!("saved");
        let path = world.gateway.path();
        let rev = shown["_rev"].as_str().unwrap_or_default();
        let (method, target, body) = match how {
            "PUT" => ("PUT", format!("/{path}/doc"), shown.to_string()),
            "_bulk_docs" => ("POST", format!("/{path}/_bulk_docs"), json!({ "docs": [shown] }).to_string()),
            how => (how, format!("/{path}/doc/call.mp3?rev={rev}"), String::new()),
        };
        let answer = world.gateway.request(method, &target, &[JSON], body.as_bytes()).await;
        assert!(matches!(answer.status, 200 | 201), "{how}: {answer:?}");
        if how != "DELETE" {
            comes_back(&world, "doc", "call.mp3", &bytes(5000, 2)).await;
        }
        world.bucket.open();
        drained(&world).await;
        assert_eq!(world.s3.objects(BUCKET).len(), usize::from(how != "DELETE"), "{how}");
        world.audit_and_stop(&["doc"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_recording_that_was_read_too_far_is_refused_and_its_repeat_is_kept() {
    let world = without_worker().await;
    let body = bytes((6 << 20) + 7, 3);
    let before = world.document("doc").await;
    world.bucket.rule("PUT", "partNumber=2", 1000, answer(500, "x"));
    let mut statuses = Vec::new();
    let mut last = None;
    for _ in 0..8 {
        let put = world.gateway.put("doc", "call.mp3", &before, &body).await;
        statuses.push(put.status);
        if put.status == 201 {
            last = Some(put);
            break;
        }
        assert_eq!(put.status, 504, "{put:?}");
    }
    assert!(statuses.len() > 1 && last.is_some(), "{statuses:?}");
    is_in_couchdb(&world, "doc", "call.mp3", &body).await;
    world.stop().await;
}

/// A storage that refuses is not known to be down: each repeat would be refused like the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_recording_that_is_refused_before_it_flows_is_kept() {
    let world = without_worker().await;
    let body = bytes((6 << 20) + 7, 3);
    for (index, status) in [403, 413, 507].into_iter().enumerate() {
        world.bucket.rule("POST", "uploads=", 1, answer(status, "x"));
        let id = format!("doc{index}");
        world.with_attachment(&id, &body).await;
        is_in_couchdb(&world, &id, "call.mp3", &body).await;
    }
    world.bucket.shut();
    world.with_attachment("last", &body).await;
    is_in_couchdb(&world, "last", "call.mp3", &body).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_refuses_is_refused_as_couchdb_does() {
    let world = with_worker().await;
    world.bucket.shut();
    let first = world.document("doc").await;
    let put = world.gateway.put("doc", "call.mp3", &first, b"one").await.expect_status(201);
    world.gateway.put("doc", "call.mp3", &first, b"two").await.expect_status(409);
    world.gateway.put("doc", "call.mp3", &rev(&put), b"two").await.expect_status(201);
    comes_back(&world, "doc", "call.mp3", b"two").await;
    world.bucket.open();
    drained(&world).await;
    is_in_storage(&world, "doc", "call.mp3", b"two").await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    world.stop().await;
}
