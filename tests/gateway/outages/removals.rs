//! Objects that could not be removed when their documents changed.

use serde_json::json;

use super::world::{drained, drained_by_another, is_in_storage, jobs, with_worker, without_worker};
use crate::faults::gate::answer;
use crate::faults::world::{BUCKET, bytes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_go_when_their_storage_is_back() {
    let world = with_worker().await;
    let before = world.with_attachment("doc", &bytes(100, 1)).await;
    world.bucket.rule("DELETE", "", 1000, answer(503, "x"));
    world.gateway.delete(&format!("doc/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    assert_eq!(jobs(&world).await[0]["kind"], "remove");
    world.bucket.relent();
    drained(&world).await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_a_document_names_stays_whatever_a_job_says() {
    let world = without_worker().await;
    let before = world.with_attachment("doc", &bytes(100, 1)).await;
    world.bucket.rule("DELETE", "", 1000, answer(503, "x"));
    let pointer = world.gateway.pointer("doc", "call.mp3").await;
    world.gateway.delete(&format!("doc/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    // A restored backup, for example, makes the document name the object again.
    let mut document = world.stored("doc").await;
    document["pvt_attachments"] = json!({ "call.mp3": pointer });
    world.gateway.save("doc", document).await;
    world.bucket.relent();
    drained_by_another(&world).await;
    is_in_storage(&world, "doc", "call.mp3", &bytes(100, 1)).await;
    world.stop().await;
}
