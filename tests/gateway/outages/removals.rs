//! Objects that could not be removed when their documents changed.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use stowage::jobs::HELD_AT_ONCE;
use stowage_testing::gateway::{Setup, exchange, json};
use stowage_testing::log::Log;
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::upstream::until;
use tokio::sync::Notify;
use tracing::Level;

use super::world::{
    drained, drained_by_another, falling_back, is_in_storage, jobs, plan, with_worker, without_worker, working,
};
use crate::faults::gate::{Act, End, answer};
use crate::faults::world::{BUCKET, World, bytes, settings};

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

/// CouchDB saves a renewal, and its answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_on_a_removal_lasts_until_its_document_is_saved() {
    let patient = falling_back(Setup::default()).set("timeouts.response_head", "60s").set("timeouts.answer", "60s");
    let world = World::with(patient.set("jobs.lease", "3s")).await;
    let before = world.with_attachment("doc", &bytes(100, 1)).await;
    let gate = Arc::new(Notify::new());
    world.store.rule("PUT", "/doc", 1, Act::Hold(Arc::clone(&gate)));
    let renewed = async {
        world.store.struck(1).await;
        let renewals = || world.store.counted("PUT", "-jobs/remove-");
        let told = renewals();
        world.store.rule("PUT", "-jobs/remove-", 1, Act::CutAnswer(0, End::Reset));
        // The first one is lost, and the second one meets it.
        until("the lease is renewed", async || renewals() >= told + 3).await;
        gate.notify_one();
    };
    let target = format!("doc/call.mp3?rev={before}");
    let (deleted, ()) = tokio::join!(world.gateway.delete(&target), renewed);
    deleted.expect_status(200);
    world.gateway.settled().await;
    assert!(jobs(&world).await.is_empty(), "{:#?}", jobs(&world).await);
    world.audit_and_stop(&["doc"]).await;
}

/// One `_bulk_docs` may delete thousands of documents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_removals_of_a_batch_are_recorded_a_few_at_a_time() {
    let world = World::with(Setup::default()).await;
    plan(&world, json!({ "on_delete": "delete" })).await;
    let mut docs = Vec::new();
    for index in 0..HELD_AT_ONCE + 4 {
        let id = format!("doc-{index:03}");
        let rev = world.with_attachment(&id, &bytes(100, 1)).await;
        docs.push(json!({ "_id": id, "_rev": rev, "_deleted": true }));
    }
    let gate = Arc::new(Notify::new());
    world.store.rule("PUT", "-jobs/remove-", 1000, Act::Hold(Arc::clone(&gate)));
    let (docs, is_saved) = (json!({ "docs": docs }).to_string(), Cell::new(false));
    let saving = async {
        let kind = [("Content-Type", "application/json")];
        let saved = world.gateway.ask("POST", "_bulk_docs", &kind, docs.as_bytes()).await;
        is_saved.set(true);
        saved
    };
    let (saved, ()) = tokio::join!(saving, async {
        world.store.struck(HELD_AT_ONCE).await;
        // Any more would have come by now.
        world.document("other").await;
        assert_eq!(world.store.counted("PUT", "-jobs/remove-"), HELD_AT_ONCE);
        world.store.relent();
        until("the batch is saved", async || {
            gate.notify_waiters();
            is_saved.get()
        })
        .await;
    });
    saved.expect_status(201);
    world.gateway.settled().await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

/// CouchDB is slow to take the last job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leases_of_a_batch_are_renewed_while_its_last_removals_are_recorded() {
    let patient = falling_back(Setup::default()).set("timeouts.response_head", "60s").set("timeouts.answer", "60s");
    let world = World::with(patient.set("jobs.lease", "3s")).await;
    plan(&world, json!({ "on_delete": "delete" })).await;
    let mut docs = Vec::new();
    for index in 0..=HELD_AT_ONCE {
        let id = format!("doc-{index:03}");
        let rev = world.with_attachment(&id, &bytes(100, 1)).await;
        docs.push(json!({ "_id": id, "_rev": rev, "_deleted": true }));
    }
    let [first, last] = [(); 2].map(|()| Arc::new(Notify::new()));
    world.store.rule("PUT", "-jobs/remove-", HELD_AT_ONCE, Act::Hold(Arc::clone(&first)));
    world.store.rule("PUT", "-jobs/remove-", 1, Act::Hold(Arc::clone(&last)));
    let (docs, kind) = (json!({ "docs": docs }).to_string(), [("Content-Type", "application/json")]);
    let recorded = || world.store.counted("PUT", "-jobs/remove-");
    let (saved, ()) = tokio::join!(world.gateway.ask("POST", "_bulk_docs", &kind, docs.as_bytes()), async {
        until("the last one is recorded", async || {
            first.notify_waiters();
            recorded() > HELD_AT_ONCE
        })
        .await;
        until("the leases on the first ones are renewed", async || recorded() > HELD_AT_ONCE + 1).await;
        last.notify_one();
    });
    saved.expect_status(201);
    world.gateway.settled().await;
    assert!(jobs(&world).await.is_empty(), "{:#?}", jobs(&world).await);
    world.stop().await;
}

/// A wrong password for each job could lock the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_refused_are_sent_for_one_removal_only() {
    let world = without_worker().await;
    world.bucket.rule("DELETE", "", 1000, answer(500, "x"));
    for id in ["one", "two", "three"] {
        let before = world.with_attachment(id, &bytes(100, 1)).await;
        world.gateway.delete(&format!("{id}/call.mp3?rev={before}")).await.expect_status(200);
    }
    world.gateway.settled().await;
    world.bucket.relent();
    let wrong = "<Error><Code>InvalidAccessKeyId</Code></Error>";
    for method in ["GET", "DELETE"] {
        world.bucket.rule(method, "", 1000, answer(403, wrong));
    }
    let sent = || world.bucket.counted("GET", "") + world.bucket.counted("DELETE", "");
    let before = sent();
    let other = world.gateway.beside(working(Setup::default()).set("jobs.concurrency", "1")).await;
    until("a job fails", async || jobs(&world).await.iter().any(|job| job["tries"] != 0)).await;
    other.settled().await;
    assert_eq!(sent() - before, 1, "{:#?}", jobs(&world).await);
    other.stop().await;
    world.stop().await;
}

/// The operator has to read the document before removing anything by hand.
#[tokio::test]
async fn one_without_a_job_is_in_the_log_with_its_document() {
    let world = without_worker().await;
    let before = world.with_attachment("doc", &bytes(100, 1)).await;
    world.bucket.rule("DELETE", "", 1000, answer(403, "x"));
    world.store.rule("PUT", "-jobs/remove-", 1000, answer(403, "x"));
    let log = Log::default();
    let _guard = log.begin(Level::ERROR);
    world.gateway.delete(&format!("doc/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    let lines = log.lines("an object stays in its storage, perhaps without a document");
    let names = |line: &String| line.contains(" document=doc ") && line.contains(" attachment=call.mp3 ");
    assert!(lines.len() == 1 && lines.iter().all(names), "{}", log.text());
    world.stop().await;
}

/// Leaves a removal job for an object, which the document then names again, as a restored backup makes it.
async fn named_again(world: &World) {
    let before = world.with_attachment("doc", &bytes(100, 1)).await;
    world.bucket.rule("DELETE", "", 1000, answer(503, "x"));
    let pointer = world.gateway.pointer("doc", "call.mp3").await;
    world.gateway.delete(&format!("doc/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    let mut document = world.stored("doc").await;
    document["pvt_attachments"] = json!({ "call.mp3": pointer });
    world.gateway.save("doc", document).await;
    world.bucket.relent();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_a_document_names_stays_whatever_a_job_says() {
    let world = without_worker().await;
    named_again(&world).await;
    drained_by_another(&world).await;
    is_in_storage(&world, "doc", "call.mp3", &bytes(100, 1)).await;
    world.stop().await;
}

/// The entry, of a newer version, may name any object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_stays_while_a_losing_leaf_has_an_entry_that_cannot_be_read() {
    let world = without_worker().await;
    let loses = async |id: &str| {
        let entries = json!({ "call.mp3": { "stowage": { "v": 2 } } });
        let leaf = json!({ "_id": id, "_rev": "1-aaaa", "pvt_type": "fax", "pvt_attachments": entries });
        let text = json!({ "new_edits": false, "docs": [leaf] }).to_string();
        let target = format!("/{}/_bulk_docs", world.gateway.path());
        world.gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    };
    // The request leaves its object to a job, which is not due yet.
    let before = world.with_attachment("one", &bytes(100, 1)).await;
    loses("one").await;
    world.gateway.delete(&format!("one/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    // The job finds the leaf.
    let before = world.with_attachment("two", &bytes(100, 2)).await;
    world.bucket.rule("DELETE", "", 1000, answer(503, "x"));
    world.gateway.delete(&format!("two/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    loses("two").await;
    world.bucket.relent();
    let other = world.gateway.beside(working(Setup::default())).await;
    let says_why =
        |job: &serde_json::Value| job["error"].as_str().is_some_and(|error| error.contains("cannot be read"));
    until("the job says why", async || jobs(&world).await.iter().any(says_why)).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 2);
    other.stop().await;
    world.stop().await;
}

/// A proxy in front of CouchDB may answer 404 for a moment, which does not tell what the document names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_that_is_not_couchdbs_removes_nothing() {
    let world = without_worker().await;
    named_again(&world).await;
    world.store.rule("GET", "/doc?", 1000, answer(404, "not here"));
    let other = world.gateway.beside(working(Setup::default()).upstream(&world.store.url())).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| !job["error"].is_null())).await;
    world.store.relent();
    is_in_storage(&world, "doc", "call.mp3", &bytes(100, 1)).await;
    other.stop().await;
    world.stop().await;
}

/// The plan gives both attachments the same name, and the first one's removal took effect although it was answered with a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_another_document_has_stored_since_stays() {
    let world = without_worker().await;
    let mut named = settings(world.bucket.port());
    named["field_list"] = json!([{ "arg": "attachment" }]);
    world.gateway.plan("s3", named).await;
    let before = world.with_attachment("one", &bytes(100, 1)).await;
    world.bucket.rule("DELETE", "", 1000, answer(500, "x"));
    world.gateway.delete(&format!("one/call.mp3?rev={before}")).await.expect_status(200);
    world.gateway.settled().await;
    let key = world.s3.objects(BUCKET).into_keys().next().expect("the object");
    world.s3.meddle(BUCKET, &key, None);
    world.with_attachment("other", &bytes(100, 2)).await;
    assert_eq!(world.s3.objects(BUCKET).into_keys().collect::<Vec<_>>(), [key]);
    world.bucket.relent();
    drained_by_another(&world).await;
    is_in_storage(&world, "other", "call.mp3", &bytes(100, 2)).await;
    world.stop().await;
}

/// Neither the upload nor the removal of what it has left is answered: the client may repeat it through another gateway, so only a job that knows the
/// document may remove anything later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_upload_leaves_at_a_web_server_is_removed_by_a_job() {
    let server = Recorder::start().await;
    let gateway = falling_back(Setup::default()).start().await;
    gateway.plan("http", json!({ "url": server.url("/recordings") })).await;
    let rev = gateway.document("doc", json!({ "pvt_type": "fax" })).await;
    for method in [Method::PUT, Method::DELETE] {
        server.next(method, 9, Answer::Bytes(Vec::new()));
    }
    // The name is free at first. Later, the server has the object all the same.
    let there = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 4\r\n\r\n";
    server.next(Method::HEAD, 1, Answer::Normal);
    server.next(Method::HEAD, 9, Answer::Bytes(there.to_vec()));
    gateway.put("doc", "call.mp3", &rev, b"kept by CouchDB").await.expect_status(201);
    gateway.settled().await;
    server.reset_rules();
    let jobs = &gateway.app.gateway.jobs;
    let all = format!("/{}/_all_docs?include_docs=true", jobs.config().database);
    let waiting = async || json(&gateway.couch.request("GET", &all, "", b"").await)["rows"].as_array().unwrap().clone();
    let removal = waiting().await.into_iter().find(|row| row["doc"]["kind"] == "remove").expect("a removal");
    let url: url::Url = removal["doc"]["object"]["location"]["url"].as_str().expect("a URL").parse().unwrap();
    assert!(url.path().ends_with("call.mp3"), "{url}");
    exchange(server.address(), "PUT", url.path(), &[], b"left").await.expect_status(201);
    let job = jobs.read(removal["id"].as_str().unwrap()).await.unwrap().expect("the job");
    jobs.retry(job).await.unwrap();

    let other = gateway.beside(working(Setup::default())).await;
    let drained = async {
        while !waiting().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let drained = tokio::time::timeout(Duration::from_secs(60), drained).await;
    assert!(drained.is_ok(), "{:#?}", waiting().await);
    let got = other.get("doc/call.mp3").await;
    assert_eq!((got.status, &*got.body), (200, &b"kept by CouchDB"[..]));
    assert_eq!(server.stored().len(), 1, "{:?}", server.stored());
    other.stop().await;
    gateway.stop().await;
}
