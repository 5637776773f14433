//! DELETE and changes of branches with failures: an object is only removed once it is certain that no document names it.

use serde_json::json;

use super::faulty::{BUCKET, World, settings};
use super::gate::{Act, End, answer};
use crate::outages::world::jobs;
use stowage_testing::gateway::STORAGE;
use stowage_testing::raw::RawResponse;

const RECORDING: &[u8] = b"a recording";

/// The plan removes objects with their documents.
async fn world() -> World {
    let world = World::start().await;
    let gateway = &world.gateway;
    gateway
        .plan_as(
            "s3",
            json!(settings(world.bucket.port())),
            json!({ "modb": { "attachments": { "handler": STORAGE, "on_delete": "delete" } } }),
        )
        .await;
    world
}

/// Returns the number of objects with a pending removal job.
async fn left(world: &World) -> usize {
    jobs(world).await.iter().filter(|job| job["kind"] == "remove").count()
}

/// Deletes the document, with this fault in the request.
async fn deleted(world: &World, id: &str, act: Act) -> RawResponse {
    let revision = world.with_attachment(id, RECORDING).await;
    world.store.rule("DELETE", &format!("/{id}?"), 1, act);
    world.gateway.delete(&format!("{id}?rev={revision}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_whose_answer_is_lost_takes_its_objects_along() {
    let world = world().await;
    for (id, act) in [
        ("fin", Act::CutAnswer(0, End::Fin)),
        ("reset", Act::CutAnswer(40, End::Reset)),
        ("silent", Act::CutAnswer(0, End::Silence)),
    ] {
        let answer = deleted(&world, id, act).await;
        assert_eq!(answer.status, 504, "{id}: {answer:?}");
        world.audit(&[id.to_owned()]).await;
        assert_eq!(world.s3.objects(BUCKET).len(), 0, "{id}");
    }
    assert_eq!(left(&world).await, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_did_not_happen_takes_nothing() {
    let world = world().await;
    for (id, act, status) in [("refused", answer(403, "no"), 403), ("conflict", answer(409, "no"), 409)] {
        let answer = deleted(&world, id, act).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, "no"), "{id}");
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    // The request never arrived; after another client's change, the document still names the object.
    deleted(&world, "silent", Act::CutRequest(5, End::Silence)).await.expect_status(504);
    world.touch("silent").await;
    world.audit(&["refused", "conflict", "silent"].map(str::to_owned)).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_branches_name_has_to_be_known() {
    for act in [answer(403, "no"), answer(503, "no"), answer(200, "[]x"), answer(200, r#"[{"missing":"1-a"}]"#)] {
        let world = world().await;
        let first = world.with_attachment("doc", RECORDING).await;
        world.store.rule("GET", "open_revs=all", 40, act.clone());
        world.gateway.attach("doc", "call.mp3", &first, b"another").await;
        world.gateway.settled().await;
        assert_eq!((world.s3.objects(BUCKET).len(), left(&world).await), (2, 1), "{act:?}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_once_is_taken_again() {
    let world = world().await;
    let first = world.with_attachment("doc", RECORDING).await;
    world.store.rule("GET", "open_revs=all", 1, answer(503, "no"));
    world.store.rule("GET", "open_revs=all", 1, Act::CutAnswer(0, End::Reset));
    world.gateway.attach("doc", "call.mp3", &first, b"another").await;
    world.audit(&["doc"]).await;
    assert_eq!(left(&world).await, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_does_not_keep_the_objects() {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use stowage_testing::gateway::authorization;
    use stowage_testing::raw::RawClient;

    let world = world().await;
    let revision = world.with_attachment("doc", RECORDING).await;
    let held = Arc::new(Notify::new());
    world.store.rule("DELETE", "/doc?", 1, Act::Hold(Arc::clone(&held)));
    let (name, value) = authorization(&world.gateway.couch.admin);
    let path = world.gateway.path();
    let request = format!("DELETE /{path}/doc?rev={revision} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n");
    let mut client = RawClient::connect(world.gateway.address).await.unwrap();
    client.send(request).await.unwrap();
    world.store.struck(1).await;
    client.reset().unwrap();
    held.notify_one();
    world.audit(&["doc"]).await;
    assert_eq!(world.stored("doc").await, serde_json::Value::Null);
    assert_eq!(world.s3.objects(BUCKET).len(), 0);
    world.stop().await;
}

/// What it names is not known, so nothing is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_cannot_be_read_is_not_deleted() {
    let world = world().await;
    let revision = world.with_attachment("doc", RECORDING).await;
    // The 404 is a proxy's.
    for status in [503, 404] {
        world.store.rule("GET", "/doc?", 1, answer(status, "no"));
        world.gateway.delete(&format!("doc?rev={revision}")).await.expect_status(502);
        assert!(world.whole_or_nothing("doc", "call.mp3", RECORDING).await);
    }
    let never = world.gateway.delete("doc?rev=1-00000000000000000000000000000000").await;
    assert_eq!(never.status, 409, "CouchDB's own answer: {never:?}");
    assert_eq!(world.gateway.delete(&format!("doc?rev={revision}")).await.status, 200);
    world.gateway.settled().await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}
