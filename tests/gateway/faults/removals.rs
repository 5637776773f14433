//! DELETE: the object is removed after the document was saved without it, never before.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, cuts};
use stowage_testing::gateway::{Setup, json, rev};
use stowage_testing::raw::RawResponse;
use stowage_testing::upstream::until;

const RECORDING: &[u8] = b"a recording";

async fn delete(world: &World, id: &str, rev: &str) -> RawResponse {
    world.gateway.delete(&format!("{id}/call.mp3?rev={rev}")).await
}

/// DELETEs an attachment for each of these faults in the save.
async fn delete_all(world: &World, acts: Vec<Act>) -> (Vec<String>, Vec<RawResponse>) {
    let ids: Vec<String> = (0..acts.len()).map(|index| format!("doc-{index:03}")).collect();
    let revs = join_all(ids.iter().map(|id| world.with_attachment(id, RECORDING))).await;
    for (id, act) in ids.iter().zip(acts) {
        world.store.rule("PUT", &format!("/{id} "), 1, act);
    }
    let answers = join_all(ids.iter().zip(&revs).map(|(id, rev)| delete(world, id, rev))).await;
    (ids, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_whose_answer_is_lost_is_found_out() {
    let world = World::start().await;
    let mut acts = Vec::new();
    for end in [End::Fin, End::Reset] {
        acts.extend(cuts(&[0, 1, 60, 250, 310]).into_iter().map(|after| Act::CutAnswer(after, end)));
        acts.extend(cuts(&[0, 1, 300]).into_iter().map(|after| Act::CutRequest(after, end)));
    }
    let (ids, answers) = delete_all(&world, acts).await;
    for (id, answer) in ids.iter().zip(&answers) {
        assert_eq!(answer.status, 200, "{id}: {answer:?}");
        assert!(!world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    world.audit(&ids).await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_removal_removes_nothing() {
    let world = World::start().await;
    let (ids, answers) = delete_all(&world, vec![answer(403, "no"), answer(409, "no")]).await;
    for (id, (answer, status)) in ids.iter().zip(answers.iter().zip([403, 409])) {
        assert_eq!((answer.status, answer.text().as_str()), (status, "no"));
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    world.audit_and_stop(&ids).await;
}

/// CouchDB fails to save the removal, and another client saves the document before it is read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_removal_of_what_hides_an_older_pointer_is_not_taken_for_done() {
    let world = World::start().await;
    let old = world.with_attachment("doc", RECORDING).await;
    let target = format!("/{}/doc/call.mp3?rev={old}", world.gateway.path());
    let native = rev(&world.gateway.couch.request("PUT", &target, "audio/mpeg", b"newer").await);
    let gate = Arc::new(Notify::new());
    world.store.rule("PUT", "/doc ", 1, answer(500, r#"{"error":"x","reason":"x"}"#));
    world.store.rule("GET", "open_revs", 1, Act::Hold(Arc::clone(&gate)));
    let (deleted, ()) = tokio::join!(delete(&world, "doc", &native), async {
        world.store.struck(2).await;
        world.touch("doc").await;
        gate.notify_one();
    });
    assert_eq!(deleted.status, 409, "{deleted:?}");
    assert_eq!(world.gateway.get("doc/call.mp3").await.body, b"newer");
    world.audit_and_stop(&["doc"]).await;
}

/// The client gets a 504; the object is removed once the document is known to be saved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_nobody_heard_of_takes_its_object_along() {
    let world = World::start().await;
    let (ids, answers) =
        delete_all(&world, vec![Act::CutAnswer(0, End::Silence), Act::CutRequest(5, End::Silence)]).await;
    for answer in &answers {
        assert_eq!(answer.status, 504, "{answer:?}");
    }
    // The second save never arrived; another client's change shows that it no longer will.
    world.touch(&ids[1]).await;
    world.gateway.settled().await;
    assert!(!world.whole_or_nothing(&ids[0], "call.mp3", RECORDING).await);
    assert!(world.whole_or_nothing(&ids[1], "call.mp3", RECORDING).await);
    world.audit_and_stop(&ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_a_while_keeps_nothing() {
    let world = World::start().await;
    let rev = world.with_attachment("doc", RECORDING).await;
    world.bucket.rule("DELETE", "doc_call", 4, answer(503, ""));
    let deleted = delete(&world, "doc", &rev).await;
    assert_eq!(deleted.status, 200, "the document is what counts");
    assert!(!world.whole_or_nothing("doc", "call.mp3", RECORDING).await);
    world.audit_and_stop(&["doc"]).await;
}

/// A save did not arrive, another gateway deletes the document, and CouchDB fails while the first one looks for that. A job finds the deletion later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deletion_keeps_stays_if_the_deletion_cannot_be_read() {
    let world = World::with(Setup::default()).await;
    let other = world.gateway.beside(Setup::default()).await;
    let first = world.with_attachment("doc", b"the old recording").await;
    world
        .overtaken_by_a_deletion(&other, &first, || {
            // The save reads the revisions with their history; only the removal of the old object reads them without it.
            world.store.rule("GET", "latest=true ", 1, answer(403, r#"{"error":"forbidden","reason":"x"}"#));
        })
        .await;
    assert!(world.store.counted("GET", "latest=true ") > 0);
    let jobs = &world.gateway.app.gateway.jobs;
    let all = format!("/{}/_all_docs?include_docs=true", jobs.config().database);
    let waiting = async || json(&world.gateway.couch.request("GET", &all, "", b"").await)["rows"].clone();
    let id = waiting().await[0]["id"].as_str().expect("a job").to_owned();
    let job = jobs.read(&id).await.unwrap().expect("the job");
    jobs.retry(job).await.unwrap();
    let working = Setup::default().set("jobs.concurrency", "4").set("jobs.poll", "20ms").set("jobs.quiet", "50ms");
    let worker = world.gateway.beside(working).await;
    until("the job is done", async || waiting().await.as_array().is_some_and(Vec::is_empty)).await;
    let old = world.gateway.get(&format!("doc/call.mp3?rev={first}")).await.expect_status(200);
    assert_eq!(&*old.body, b"the old recording");
    worker.stop().await;
    other.stop().await;
    world.stop().await;
}
