//! Saving the pointer: conflicts, refusals, lost responses, and a store that fails halfway.

use std::sync::Arc;

use futures_util::future::join_all;
use stowage::metrics::Levels;
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, bytes, cuts};
use stowage_testing::gateway::{Setup, json, rev};
use stowage_testing::raw::RawResponse;

const RECORDING: &[u8] = b"a recording";

/// PUTs a new attachment to each document concurrently.
async fn put_all(world: &World, ids: &[String], revs: &[String]) -> Vec<RawResponse> {
    let puts = ids.iter().zip(revs).map(|(id, rev)| world.gateway.put(id, "call.mp3", rev, RECORDING));
    join_all(puts).await
}

/// Creates a document for each fault, and plans the fault for its save.
async fn planned(world: &World, acts: Vec<Act>) -> (Vec<String>, Vec<String>) {
    let ids: Vec<String> = (0..acts.len()).map(|index| format!("doc-{index:03}")).collect();
    let revs = join_all(ids.iter().map(|id| world.document(id))).await;
    for (id, act) in ids.iter().zip(acts) {
        world.store.rule("PUT", &format!("/{id} "), 1, act);
    }
    (ids, revs)
}

/// CouchDB obeys `w` for attachments too.
#[tokio::test]
async fn the_number_of_replicas_to_write_reaches_couchdb() {
    let world = World::start().await;
    let first = world.document("doc").await;
    let kind = [("Content-Type", "audio/mpeg")];
    let put = world.gateway.ask("PUT", &format!("doc/call.mp3?rev={first}&w=1"), &kind, RECORDING).await;
    assert_eq!((put.status, world.store.counted("PUT", "/doc?w=1 ")), (201, 1), "{put:?}");
    world.gateway.delete(&format!("doc/call.mp3?w=1&rev={}", rev(&put))).await.expect_status(200);
    assert_eq!(world.store.counted("PUT", "/doc?w=1 "), 2);
    world.audit_and_stop(&["doc"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_whose_answer_is_lost_is_found_out_and_acknowledged() {
    let world = World::start().await;
    let mut acts = Vec::new();
    for end in [End::Fin, End::Reset] {
        for after in cuts(&[0, 1, 12, 60, 150, 250, 300, 320]) {
            acts.push(Act::CutAnswer(after, end));
        }
    }
    let (ids, revs) = planned(&world, acts).await;
    let answers = put_all(&world, &ids, &revs).await;
    for (id, answer) in ids.iter().zip(&answers) {
        assert_eq!(answer.status, 201, "{id}: {answer:?}");
        assert_eq!(world.stored(id).await["_rev"], rev(answer), "the revision that was acknowledged is the one");
        assert!(rev(answer).starts_with("2-"), "{answer:?}");
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    world.store.struck(ids.len()).await;
    world.audit_and_stop(&ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_did_not_arrive_is_sent_again() {
    let world = World::start().await;
    let mut acts = Vec::new();
    for end in [End::Fin, End::Reset] {
        for after in cuts(&[0, 1, 40, 300, 600, 900]) {
            acts.push(Act::CutRequest(after, end));
        }
    }
    acts.push(answer(500, r#"{"error":"internal_server_error","reason":"passing"}"#));
    acts.push(answer(503, "not JSON at all"));
    let (ids, revs) = planned(&world, acts).await;
    let answers = put_all(&world, &ids, &revs).await;
    for (id, answer) in ids.iter().zip(&answers) {
        assert_eq!(answer.status, 201, "{id}: {answer:?}");
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await);
        assert_eq!(world.stored(id).await["_rev"], rev(answer));
    }
    world.audit_and_stop(&ids).await;
}

/// The client gets a 504, since the outcome is unknown; it is determined in the background.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_falls_silent_costs_no_attachment() {
    let world = World::start().await;
    let silent = [0, 30, 200].map(|after| Act::CutAnswer(after, End::Silence));
    let (ids, revs) = planned(&world, silent.into()).await;
    for (id, answer) in ids.iter().zip(put_all(&world, &ids, &revs).await) {
        assert_eq!(answer.status, 504, "{id}: {answer:?}");
        assert_eq!(json(&answer)["error"], "gateway_timeout");
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await, "it had been saved");
    }
    world.audit_and_stop(&ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_save_is_passed_on_and_its_object_goes() {
    let world = World::start().await;
    let refusals = [
        (401, r#"{"error":"unauthorized","reason":"not you"}"#),
        (403, r#"{"error":"forbidden","reason":"not today"}"#),
        (404, r#"{"error":"not_found","reason":"no_db_file"}"#),
        (412, r#"{"error":"missing_stub","reason":"a stub"}"#),
        (413, r#"{"error":"document_too_large","reason":"doc"}"#),
    ];
    let (ids, revs) = planned(&world, refusals.map(|(status, body)| answer(status, body)).into()).await;
    for ((status, body), got) in refusals.iter().zip(put_all(&world, &ids, &revs).await) {
        assert_eq!((got.status, got.text().as_str()), (*status, *body));
    }
    world.gateway.settled().await;
    for id in &ids {
        assert!(!world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    world.audit(&ids).await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

/// The first save was written and its response lost; the response to the second one says nothing about the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_after_a_lost_answer_takes_nothing_away() {
    let world = World::start().await;
    let (ids, revs) = planned(&world, vec![Act::CutAnswer(0, End::Fin); 3]).await;
    for (id, status) in ids.iter().zip([403, 404, 500]) {
        // The two checks after the lost response are lost as well, so the save is repeated.
        world.store.rule("GET", &format!("/{id}?*revs=true"), 2, Act::CutRequest(0, End::Reset));
        world.store.rule("PUT", &format!("/{id} "), 1, answer(status, r#"{"error":"x","reason":"x"}"#));
    }
    for (id, answer) in ids.iter().zip(put_all(&world, &ids, &revs).await) {
        assert_eq!(answer.status, 201, "{id}: {answer:?}");
        assert!(world.whole_or_nothing(id, "call.mp3", RECORDING).await);
    }
    world.store.struck(4 * ids.len()).await;
    world.audit_and_stop(&ids).await;
}

/// The first save was written and its response lost; another gateway's save replaces it before the second one, which meets a conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_overtaken_save_had_replaced_goes() {
    let world = World::with(Setup::default()).await;
    let other = world.gateway.beside(Setup::default()).await;
    for (index, id) in ["put", "deleted"].into_iter().enumerate() {
        let first = world.with_attachment(id, b"the old recording").await;
        let gate = Arc::new(Notify::new());
        world.store.rule("PUT", &format!("/{id} "), 1, Act::CutAnswer(0, End::Fin));
        world.store.rule("GET", &format!("/{id}?*revs=true"), 1, Act::CutRequest(0, End::Reset));
        world.store.rule("PUT", &format!("/{id} "), 1, Act::Hold(Arc::clone(&gate)));
        let losing = async {
            match id {
                "put" => world.gateway.put(id, "call.mp3", &first, RECORDING).await,
                _ => world.gateway.delete(&format!("{id}/call.mp3?rev={first}")).await,
            }
        };
        let (lost, ()) = tokio::join!(losing, async {
            world.store.struck(3 * (index + 1)).await;
            let now = world.stored(id).await["_rev"].as_str().expect("a revision").to_owned();
            other.attach(id, "call.mp3", &now, b"the newest").await;
            gate.notify_one();
        });
        assert_eq!((lost.status, json(&lost)["error"].as_str()), (409, Some("conflict")), "{id}: {lost:?}");
        assert!(world.whole_or_nothing(id, "call.mp3", b"the newest").await);
    }
    other.stop().await;
    world.audit_and_stop(&["put", "deleted"]).await;
}

/// The first save was not written, and another gateway deletes the document before the second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deletion_keeps_stays_if_it_overtakes_a_save() {
    let world = World::with(Setup::default()).await;
    let other = world.gateway.beside(Setup::default()).await;
    let first = world.with_attachment("doc", b"the old recording").await;
    world.overtaken_by_a_deletion(&other, &first, || {}).await;
    let old = world.gateway.get(&format!("doc/call.mp3?rev={first}")).await.expect_status(200);
    assert_eq!(&*old.body, b"the old recording");
    assert_eq!(world.s3.objects(BUCKET).len(), 1, "the new object goes");
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_overtaken_gets_409_and_the_old_attachment_stays() {
    let world = World::start().await;
    let old = bytes(10_000, 1);
    let mut rev = world.with_attachment("doc", &old).await;
    for size in [10, 6 << 20] {
        let gate = Arc::new(Notify::new());
        world.store.rule("PUT", "/doc ", 1, Act::Hold(Arc::clone(&gate)));
        let new = bytes(size, 2);
        let (put, ()) = tokio::join!(world.gateway.put("doc", "call.mp3", &rev, &new), async {
            world.store.struck(if size == 10 { 1 } else { 2 }).await;
            world.touch("doc").await;
            gate.notify_one();
        });
        assert_eq!((put.status, json(&put)["error"].as_str()), (409, Some("conflict")), "{put:?}");
        rev = world.stored("doc").await["_rev"].as_str().expect("a revision").to_owned();
        assert!(world.whole_or_nothing("doc", "call.mp3", &old).await);
        world.audit(&["doc"]).await;
    }
    world.stop().await;
}

/// The save is written, then the store is gone: the outcome is unknown, so the object is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_stays_while_nobody_knows_whether_it_was_saved() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    world.store.rule("PUT", "/doc ", 1, Act::AnswerAndShut);
    world.gateway.put("doc", "call.mp3", &rev, RECORDING).await.expect_status(504);
    assert_eq!(world.s3.objects(BUCKET).len(), 1, "it may have been saved, and it was");
    world.store.open();
    world.gateway.settled().await;
    assert!(world.whole_or_nothing("doc", "call.mp3", RECORDING).await);
    world.audit_and_stop(&["doc"]).await;
}

/// The save never arrived, and then the document has changed: the object is removed once the store reports this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_once_it_is_known_that_it_was_not_saved() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    world.store.rule("PUT", "/doc ", 1, Act::CutRequest(10, End::Reset));
    world.store.rule("GET", "/doc?*revs=true", 1, Act::Shut);
    world.gateway.put("doc", "call.mp3", &rev, RECORDING).await.expect_status(504);
    assert_eq!(world.s3.objects(BUCKET).len(), 1, "it is not known yet");
    world.touch("doc").await;
    world.store.open();
    world.gateway.settled().await;
    assert!(!world.whole_or_nothing("doc", "call.mp3", RECORDING).await);
    world.audit(&["doc"]).await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

/// A store that refuses connections has not seen the save; a connection that breaks at that moment is inconclusive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_never_left_takes_its_object_along() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "_call", 1, Act::Hold(Arc::clone(&gate)));
    let (put, ()) = tokio::join!(world.gateway.put("doc", "call.mp3", &rev, RECORDING), async {
        world.bucket.struck(1).await;
        world.store.shut();
        gate.notify_one();
    });
    assert_eq!(put.status, 504, "{put:?}");
    world.touch("doc").await;
    world.store.open();
    world.gateway.settled().await;
    assert!(world.s3.objects(BUCKET).is_empty());
    assert!(!world.whole_or_nothing("doc", "call.mp3", RECORDING).await);
    world.audit_and_stop(&["doc"]).await;
}

/// An overwrite with a lost response: saved or not, one object is left, and the document names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overwrite_that_nobody_heard_of_leaves_one_object() {
    let world = World::start().await;
    let ids = ["saved".to_owned(), "replaced".to_owned(), "lost".to_owned()];
    let revs = join_all(ids.iter().map(|id| world.with_attachment(id, b"the old recording"))).await;
    for id in &ids {
        let act = if id == "lost" { Act::CutRequest(9, End::Silence) } else { Act::CutAnswer(0, End::Silence) };
        world.store.rule("PUT", &format!("/{id} "), 1, act);
    }
    for answer in put_all(&world, &ids, &revs).await {
        assert_eq!(answer.status, 504, "{answer:?}");
    }
    let newer = world.stored("replaced").await["_rev"].as_str().expect("a revision").to_owned();
    world.gateway.attach("replaced", "call.mp3", &newer, b"the newest").await;
    world.touch("lost").await;
    world.gateway.settled().await;
    assert!(world.whole_or_nothing("saved", "call.mp3", RECORDING).await);
    assert!(world.whole_or_nothing("replaced", "call.mp3", b"the newest").await);
    assert!(world.whole_or_nothing("lost", "call.mp3", b"the old recording").await);
    world.audit_and_stop(&ids).await;
}

/// The revision is a leaf, but not the winning one: the save's outcome is determined on its own branch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_on_a_losing_branch_is_found_out() {
    let world = World::start().await;
    let target = format!("/{}/_bulk_docs", world.gateway.path());
    let branch = |rev: &str| format!(r#"{{"_id":"doc","_rev":"{rev}","pvt_type":"call_recording"}}"#);
    let (loser, winner) = ("1-11111111111111111111111111111111", "1-99999999999999999999999999999999");
    let text = format!(r#"{{"new_edits":false,"docs":[{},{}]}}"#, branch(loser), branch(winner));
    world.gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    // The winning branch is longer than the other one will be.
    world.touch("doc").await;
    world.touch("doc").await;
    world.store.rule("PUT", "/doc ", 1, Act::CutAnswer(0, End::Fin));
    let put = world.gateway.attach("doc", "call.mp3", loser, RECORDING).await;
    let saved = rev(&put);
    let got = world.gateway.get(&format!("doc/call.mp3?rev={saved}")).await;
    assert_eq!((got.status, got.body.as_slice()), (200, RECORDING));
    world.gateway.settled().await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    world.stop().await;
}

/// The end of the program drops unfinished work anywhere: it logs what it leaves behind, and ends.
#[test]
fn a_program_that_ends_during_a_save_leaves_an_object_and_ends() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (s3, metrics) = runtime.block_on(async {
        let world = World::start().await;
        let rev = world.document("doc").await;
        world.store.rule("PUT", "/doc ", 1, Act::Hold(Arc::new(Notify::new())));
        tokio::select! {
            put = world.gateway.put("doc", "call.mp3", &rev, RECORDING) => panic!("it waits: {put:?}"),
            () = world.store.struck(1) => {}
        }
        let kept = (Arc::clone(&world.s3), world.gateway.app.gateway.metrics.clone());
        // Do not stop the gateway properly: it is still working when the runtime ends.
        std::mem::forget(world);
        kept
    });
    drop(runtime);
    assert_eq!(s3.objects(BUCKET).len(), 1);
    let metrics = String::from_utf8(metrics.text(Levels::default())).expect("text");
    assert!(metrics.contains("\nstowage_objects_left_total 1\n"), "{metrics}");
}
