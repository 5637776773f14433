//! The queue is read once, and then followed through its changes; it is polled if that is impossible.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stowage_testing::gateway::Setup;
use stowage_testing::upstream::until;
use tokio::sync::Notify;

use super::world::{beside, drained, drained_by_another, is_in_storage, jobs, without_worker, working};
use crate::faults::gate::{Act, End, answer};
use crate::faults::world::{BUCKET, World, bytes};

/// Creates documents whose attachments CouchDB keeps because their storage is shut off, with a job for each.
async fn outage(world: &World, ids: &[&str]) {
    world.bucket.shut();
    for id in ids {
        world.with_attachment(id, &bytes(1000, 1)).await;
    }
}

/// Starts a gateway that does the jobs of this world, behind the same gate.
async fn worker(world: &World, more: &[(&str, &str)]) -> stowage_testing::gateway::Running {
    let setup = working(Setup::default()).upstream(&world.store.url());
    let setup = more.iter().fold(setup, |setup, (key, value)| setup.set(key, value));
    world.gateway.beside(setup).await
}

/// Waits until a worker has tried a job.
async fn tried(world: &World) {
    until("a job is tried", async || jobs(world).await.iter().any(|job| job["tries"] != 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_gateway_adds_is_seen_at_once() {
    let world = without_worker().await;
    super::world::plan(&world, json!({ "stub": true })).await;
    let database = world.gateway.app.gateway.jobs.config().database.clone();
    world.gateway.couch.request("PUT", &format!("/{database}"), "", b"").await.expect_status(201);
    // A worker that only polls its queue would take an hour.
    let other = worker(&world, &[("jobs.poll", "1h")]).await;
    for id in ["one", "two"] {
        world.bucket.rule("PUT", "", 1, answer(403, "x"));
        world.with_attachment(id, &bytes(1000, 1)).await;
        world.gateway.settled().await;
        drained(&world).await;
    }
    assert_eq!(world.s3.objects(BUCKET).len(), 2);
    other.stop().await;
    world.stop().await;
}

/// The storage refuses the copy before CouchDB has saved the attachment: a worker that looked now would find nothing to copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_failed_early_is_made_once_couchdb_has_the_attachment() {
    let world = without_worker().await;
    super::world::plan(&world, json!({ "stub": true })).await;
    let rev = world.document("one").await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "", 1, answer(403, "x"));
    world.store.rule("PUT", "/one/call.mp3", 1, Act::Hold(Arc::clone(&gate)));
    let body = bytes(1000, 1);
    let (put, ()) = tokio::join!(world.gateway.put("one", "call.mp3", &rev, &body), async {
        world.bucket.struck(1).await;
        world.store.struck(1).await;
        let early = async || !jobs(&world).await.is_empty();
        let early = tokio::time::timeout(Duration::from_millis(300), until("a job is there", early)).await;
        assert!(early.is_err(), "a job came before the attachment");
        gate.notify_one();
    });
    assert_eq!(put.status, 201, "{put:?}");
    world.gateway.settled().await;
    drained_by_another(&world).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_costs_couchdb_nothing() {
    let world = without_worker().await;
    outage(&world, &["one", "two", "three"]).await;
    let other = worker(&world, &[]).await;
    tried(&world).await;
    let database = other.app.gateway.jobs.config().database.clone();
    // Other jobs may still be running.
    other.settled().await;
    let asks = world.store.counted("GET", &database);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let more = world.store.counted("GET", &database) - asks;
    // `jobs.poll` would read it every 20 ms; the storage rests for five seconds.
    assert!(more <= 3, "{more} requests for jobs that wait");
    world.bucket.open();
    drained(&world).await;
    for id in ["one", "two", "three"] {
        is_in_storage(&world, id, "call.mp3", &bytes(1000, 1)).await;
    }
    other.stop().await;
    world.stop().await;
}

/// The next one would fail in the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_claimed_holds_up_all_jobs() {
    let world = without_worker().await;
    let ids: Vec<String> = (0..20).map(|index| format!("doc-{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    outage(&world, &ids).await;
    world.bucket.open();
    let claims = || world.store.counted("PUT", "-jobs/move-");
    let before = claims();
    world.store.rule("PUT", "-jobs/move-", 1_000_000, answer(403, "x"));
    let other = worker(&world, &[("jobs.poll", "3s")]).await;
    world.store.struck(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let more = claims() - before;
    // Those of the four places of `jobs.concurrency`.
    assert!(more <= 8, "{more} of 20 jobs were tried");
    world.store.relent();
    drained(&world).await;
    for id in ids {
        is_in_storage(&world, id, "call.mp3", &bytes(1000, 1)).await;
    }
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_alone_cannot_be_saved_holds_up_no_other() {
    let world = without_worker().await;
    super::world::plan(&world, json!({ "stub": true })).await;
    world.bucket.rule("PUT", "", 3, answer(403, "x"));
    for id in ["one", "two", "three"] {
        world.with_attachment(id, &bytes(1000, 1)).await;
    }
    world.gateway.settled().await;
    assert_eq!(jobs(&world).await.len(), 3);
    world.store.rule("PUT", "-jobs/copy-", 1, answer(413, "x"));
    // A halt would last an hour.
    let other = worker(&world, &[("jobs.poll", "1h"), ("jobs.concurrency", "1")]).await;
    until("the others are done", async || jobs(&world).await.len() <= 1).await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_goes_on_after_a_job_that_could_not_be_claimed() {
    let world = without_worker().await;
    let ids: Vec<String> = (0..20).map(|index| format!("doc-{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    outage(&world, &ids).await;
    world.bucket.open();
    let saves = || world.store.counted("PUT", "-jobs/move-");
    let before = saves();
    world.store.rule("PUT", "-jobs/move-", 1, answer(403, "x"));
    let other = worker(&world, &[("jobs.poll", "1s"), ("jobs.held_in_memory", "0"), ("jobs.concurrency", "1")]).await;
    // The first read finds the queue too long, the second one is the walk's.
    until("the next walk", async || world.store.counted("GET", "-jobs/_all_docs") >= 3).await;
    assert!(saves() - before > ids.len() / 2, "{} saves", saves() - before);
    other.stop().await;
    world.stop().await;
}

/// CouchDB saves the renewal, and its answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_goes_on_after_a_renewal_without_an_answer() {
    let world = without_worker().await;
    outage(&world, &["one"]).await;
    world.bucket.open();
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "", 1, Act::Hold(Arc::clone(&gate)));
    let uploads = || world.bucket.counted("PUT", "");
    let before = uploads();
    let patient = [("timeouts.response_head", "60s"), ("timeouts.answer", "60s"), ("jobs.lease", "3s")];
    let other = worker(&world, &patient).await;
    until("the upload", async || uploads() > before).await;
    let renewals = || world.store.counted("PUT", "-jobs/move-");
    let told = renewals();
    world.store.rule("PUT", "-jobs/move-", 1, Act::CutAnswer(0, End::Reset));
    // The first one is lost.
    until("the lease is renewed", async || renewals() >= told + 3).await;
    gate.notify_one();
    drained(&world).await;
    assert_eq!(uploads(), before + 1);
    is_in_storage(&world, "one", "call.mp3", &bytes(1000, 1)).await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_an_outage_is_two_saves_and_nothing_else() {
    let world = without_worker().await;
    // The first one makes the database.
    outage(&world, &["one"]).await;
    let database = world.gateway.app.gateway.jobs.config().database.clone();
    let asked = || ["PUT", "GET"].map(|method| world.store.counted(method, &database));
    let before = asked();
    outage(&world, &["two", "three"]).await;
    assert_eq!(asked(), [before[0] + 4, before[1]], "saves and reads of jobs");
    assert_eq!(jobs(&world).await.len(), 3);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_cannot_be_followed_is_read_again_and_again() {
    let world = without_worker().await;
    world.store.rule("GET", "-jobs/_changes?feed=continuous", 1_000_000, answer(500, "x"));
    let other = worker(&world, &[]).await;
    for id in ["one", "two"] {
        outage(&world, &[id]).await;
        world.bucket.open();
        drained(&world).await;
        is_in_storage(&world, id, "call.mp3", &bytes(1000, 1)).await;
    }
    world.store.struck(2).await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_breaks_hides_nothing() {
    let world = without_worker().await;
    let other = worker(&world, &[]).await;
    for round in 0..5 {
        let id = format!("doc-{round}");
        outage(&world, &[&id]).await;
        world.bucket.open();
        world.store.shut();
        world.store.open();
        drained(&world).await;
        is_in_storage(&world, &id, "call.mp3", &bytes(1000, 1)).await;
    }
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_longer_than_what_is_held_in_memory_is_done_all_the_same() {
    let world = without_worker().await;
    let ids: Vec<String> = (0..9).map(|index| format!("doc-{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let (before, after) = ids.split_at(5);
    outage(&world, before).await;
    let others =
        [worker(&world, &[("jobs.held_in_memory", "3")]).await, worker(&world, &[("jobs.held_in_memory", "0")]).await];
    outage(&world, after).await;
    world.bucket.open();
    drained(&world).await;
    for id in ids {
        is_in_storage(&world, id, "call.mp3", &bytes(1000, 1)).await;
    }
    for other in others {
        other.stop().await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_and_made_again_is_followed_anew() {
    let world = without_worker().await;
    let other = beside(&world).await;
    for id in ["one", "two", "three"] {
        outage(&world, &[id]).await;
        world.bucket.open();
        drained(&world).await;
        is_in_storage(&world, id, "call.mp3", &bytes(1000, 1)).await;
        let database = world.gateway.app.gateway.jobs.config().database.clone();
        world.gateway.couch.request("DELETE", &format!("/{database}"), "", b"").await.expect_status(200);
    }
    other.stop().await;
    world.stop().await;
}
