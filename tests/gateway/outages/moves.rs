//! Moving attachments out of CouchDB that it kept during an outage.

use futures_util::future::join_all;
use serde_json::json;
use stowage_testing::gateway::{JSON, STORAGE, json};
use stowage_testing::upstream::until;

use super::world::{
    beside, drained, drained_by_another, is_in_couchdb, is_in_storage, jobs, plan, with_worker, without_worker,
};
use crate::faults::gate::{Act, Gate, answer};
use crate::faults::world::{BUCKET, bytes, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_the_work_and_do_nothing_twice() {
    let world = without_worker().await;
    world.bucket.shut();
    let ids: Vec<String> = (0..60).map(|index| format!("doc-{index}")).collect();
    for (index, id) in ids.iter().enumerate() {
        world.with_attachment(id, &bytes(1000 + index, 1)).await;
    }
    assert_eq!(jobs(&world).await.len(), ids.len());
    world.bucket.open();
    let others = join_all([beside(&world), beside(&world)]).await;
    drained(&world).await;
    for (index, id) in ids.iter().enumerate() {
        is_in_storage(&world, id, "call.mp3", &bytes(1000 + index, 1)).await;
        // Created, attachment put into CouchDB, moved out.
        assert!(world.stored(id).await["_rev"].as_str().unwrap().starts_with("3-"), "{id}");
    }
    world.audit(&ids).await;
    for other in others {
        other.stop().await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_does_meanwhile_stays_done() {
    let world = with_worker().await;
    world.bucket.shut();
    let before = world.document("doc").await;
    let put = world.gateway.put("doc", "call.mp3", &before, &bytes(1000, 1)).await;
    world.bucket.open();
    let mut document = json(&world.gateway.get("doc").await);
    document["heard"] = json!(true);
    // If the move was faster, it is a conflict as with any other writer.
    let saved = world.gateway.ask("PUT", "doc", &[JSON], document.to_string().as_bytes()).await;
    assert!(matches!(saved.status, 201 | 409), "{saved:?} after {put:?}");
    drained(&world).await;
    is_in_storage(&world, "doc", "call.mp3", &bytes(1000, 1)).await;
    assert_eq!(world.stored("doc").await["heard"] == json!(true), saved.status == 201);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_about_what_is_gone_is_done() {
    let world = without_worker().await;
    world.bucket.shut();
    let mut revs = Vec::new();
    for id in ["deleted", "removed", "unplanned"] {
        revs.push(world.with_attachment(id, b"bytes").await);
    }
    let path = world.gateway.path();
    for target in [format!("/{path}/deleted?rev={}", revs[0]), format!("/{path}/removed/call.mp3?rev={}", revs[1])] {
        world.gateway.request("DELETE", &target, &[], b"").await.expect_status(200);
    }
    world.bucket.open();
    plan(&world, json!({ "handler": null })).await;
    drained_by_another(&world).await;
    assert!(world.s3.objects(BUCKET).is_empty());
    is_in_couchdb(&world, "unplanned", "call.mp3", b"bytes").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_refuses_keeps_its_jobs_waiting_until_the_plan_is_another() {
    let world = with_worker().await;
    world.bucket.rule("PUT", "", 1000, answer(403, "x"));
    world.with_attachment("doc", &bytes(500, 1)).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| job["tries"] != 0)).await;
    world.bucket.relent();
    let waiting = jobs(&world).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("403"), "{waiting:?}");
    plan(&world, json!({ "params": { "folder_base_path": "mended" } })).await;
    drained(&world).await;
    is_in_storage(&world, "doc", "call.mp3", &bytes(500, 1)).await;
    world.stop().await;
}

/// The worker looks for due jobs every 20 ms. The rest of a storage that refuses, of an hour, is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_refuses_is_left_alone_while_the_jobs_of_others_are_done() {
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    let world = with_worker().await;
    let second = Gate::start(world.s3.address());
    let storage = |port| json!({ "handler": "s3", "settings": settings(port) });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: storage(world.bucket.port()), OTHER: storage(second.port()) },
        "plan": { "modb": {
            "attachments": { "handler": STORAGE },
            "types": { "fax": { "attachments": { "handler": OTHER } } },
        } },
    });
    world.gateway.save_plan(&world.gateway.account, plan).await;
    world.bucket.rule("PUT", "", 1_000_000, answer(403, "x"));
    world.with_attachment("doc", &bytes(500, 1)).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| job["tries"] != 0)).await;
    let puts = world.bucket.counted("PUT", "");
    for index in 0..10 {
        second.rule("PUT", "", 1, answer(403, "x"));
        world.gateway.attached(&format!("fax-{index}"), json!({ "pvt_type": "fax" }), "fax.pdf", b"x").await;
        until("the other storage's job is done", async || jobs(&world).await.len() == 1).await;
    }
    let waiting = jobs(&world).await;
    assert_eq!((&waiting[0]["document"], &waiting[0]["tries"]), (&json!("doc"), &json!(1)), "{waiting:?}");
    assert_eq!(world.bucket.counted("PUT", ""), puts, "it was asked again");
    world.stop().await;
}

/// The gateway's account may read documents, but not write them: the job fails and waits, and the storage keeps no object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_only_read_keeps_its_jobs_waiting() {
    let world = without_worker().await;
    world.bucket.shut();
    world.with_attachment("doc", &bytes(500, 1)).await;
    world.bucket.open();
    world.store.rule("PUT", "/doc ", 1000, answer(403, r#"{"error":"forbidden","reason":"read only"}"#));
    let setup = super::world::working(stowage_testing::gateway::Setup::default());
    let other = world.gateway.beside(setup.upstream(&world.store.url())).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| !job["error"].is_null())).await;
    let waiting = jobs(&world).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("403"), "{waiting:?}");
    assert_eq!(waiting[0]["tries"], 1, "it does not spin: {waiting:?}");
    other.settled().await;
    assert!(world.s3.objects(BUCKET).is_empty(), "{:?}", world.s3.objects(BUCKET));
    is_in_couchdb(&world, "doc", "call.mp3", &bytes(500, 1)).await;
    other.stop().await;
    world.stop().await;
}

/// A proxy in front of CouchDB may answer 404 for a moment: the document is not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_that_is_not_couchdbs_keeps_the_job() {
    let world = without_worker().await;
    world.bucket.shut();
    world.with_attachment("doc", &bytes(500, 1)).await;
    world.bucket.open();
    world.store.rule("GET", "/doc?", 1000, answer(404, "not here"));
    let setup = super::world::working(stowage_testing::gateway::Setup::default());
    let other = world.gateway.beside(setup.upstream(&world.store.url())).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| !job["error"].is_null())).await;
    let waiting = jobs(&world).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("404"), "{waiting:?}");
    world.store.relent();
    is_in_couchdb(&world, "doc", "call.mp3", &bytes(500, 1)).await;
    other.stop().await;
    world.stop().await;
}

/// As after a restart while CouchDB does not give the plans: nothing says that the attachment may stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_read_keeps_the_job() {
    let world = without_worker().await;
    world.bucket.shut();
    world.with_attachment("doc", &bytes(500, 1)).await;
    world.bucket.open();
    world.store.rule("GET", &format!("/{}/", world.gateway.couch.plans), 1000, answer(500, "x"));
    let setup = super::world::working(stowage_testing::gateway::Setup::default());
    let other = world.gateway.beside(setup.upstream(&world.store.url())).await;
    until("the job is tried", async || jobs(&world).await.iter().any(|job| !job["error"].is_null())).await;
    let waiting = jobs(&world).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("plans"), "{waiting:?}");
    world.store.relent();
    is_in_couchdb(&world, "doc", "call.mp3", &bytes(500, 1)).await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_has_packed_is_moved_packed_and_reads_the_same() {
    let world = without_worker().await;
    world.bucket.shut();
    let before = world.document("doc").await;
    let text = "the same line again and again\n".repeat(200).into_bytes();
    let packed = stowage_testing::gzip(&text);
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    world.gateway.ask("PUT", &format!("doc/note.txt?rev={before}"), &headers, &packed).await.expect_status(201);
    let shown = json(&world.gateway.get("doc").await)["_attachments"]["note.txt"].clone();
    world.bucket.open();
    drained_by_another(&world).await;
    super::world::comes_back(&world, "doc", "note.txt", &text).await;
    let now = json(&world.gateway.get("doc").await)["_attachments"]["note.txt"].clone();
    for member in ["content_type", "digest", "length", "revpos", "stub"] {
        assert_eq!(now[member], shown[member], "{member}: {now} was {shown}");
    }
    assert!(world.stored("doc").await["_attachments"].is_null());
    world.stop().await;
}

/// Creates a document whose attachment was moved after a client has read it; returns the document as that client knows it.
async fn moved_since(world: &crate::faults::world::World, id: &str) -> serde_json::Value {
    world.bucket.shut();
    world.with_attachment(id, &bytes(1000, 1)).await;
    let read = json(&world.gateway.get(id).await);
    world.bucket.open();
    drained_by_another(world).await;
    is_in_storage(world, id, "call.mp3", &bytes(1000, 1)).await;
    assert_ne!(world.stored(id).await["_rev"], read["_rev"]);
    read
}

/// The move created a revision unknown to the client, without any other visible change, so the client gets no conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_a_move_is_saved_after_it() {
    let world = without_worker().await;
    let path = world.gateway.path();
    for how in ["body", "query", "header", "post", "batch"] {
        let mut document = moved_since(&world, how).await;
        let rev = document["_rev"].as_str().unwrap().to_owned();
        document["heard"] = json!(true);
        if matches!(how, "query" | "header") {
            document.as_object_mut().unwrap().remove("_rev");
        }
        let tag = format!("\"{rev}\"");
        let (method, target, more, text) = match how {
            "query" => ("PUT", format!("/{path}/{how}?rev={rev}"), None, document.to_string()),
            "header" => ("PUT", format!("/{path}/{how}"), Some(("If-Match", tag.as_str())), document.to_string()),
            "post" => ("POST", format!("/{path}"), None, document.to_string()),
            "batch" => ("POST", format!("/{path}/_bulk_docs"), None, json!({ "docs": [document] }).to_string()),
            _ => ("PUT", format!("/{path}/{how}"), None, document.to_string()),
        };
        let headers: Vec<_> = [JSON].into_iter().chain(more).collect();
        let saved = world.gateway.request(method, &target, &headers, text.as_bytes()).await;
        assert_eq!(saved.status, 201, "{how}: {saved:?}");
        assert!(!saved.text().contains("conflict"), "{how}: {saved:?}");
        is_in_storage(&world, how, "call.mp3", &bytes(1000, 1)).await;
        assert_eq!(world.stored(how).await["heard"], true, "{how}");
        // Over the same revision again: now the client itself has written since.
        let again = world.gateway.request("PUT", &format!("/{path}/{how}?rev={rev}"), &headers[..1], b"{}").await;
        assert_eq!(again.status, 409, "{how}: {again:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_and_deletions_meet_no_conflict_with_a_move_either() {
    let world = without_worker().await;
    let read = moved_since(&world, "more").await;
    world.gateway.put("more", "other.mp3", read["_rev"].as_str().unwrap(), &bytes(700, 2)).await.expect_status(201);
    is_in_storage(&world, "more", "call.mp3", &bytes(1000, 1)).await;
    is_in_storage(&world, "more", "other.mp3", &bytes(700, 2)).await;
    let read = moved_since(&world, "kept").await;
    world.bucket.shut();
    let put = world.gateway.put("kept", "other.mp3", read["_rev"].as_str().unwrap(), &bytes(700, 2)).await;
    assert_eq!(put.status, 201, "{put:?}");
    is_in_couchdb(&world, "kept", "other.mp3", &bytes(700, 2)).await;
    world.bucket.open();
    let read = moved_since(&world, "gone").await;
    world.gateway.delete(&format!("gone?rev={}", read["_rev"].as_str().unwrap())).await.expect_status(200);
    // Another client's write since then is a conflict, even of an identical document.
    let mut read = moved_since(&world, "changed").await;
    let now = json(&world.gateway.get("changed").await);
    world.gateway.ask("PUT", "changed", &[JSON], now.to_string().as_bytes()).await.expect_status(201);
    read["heard"] = json!(true);
    world.gateway.ask("PUT", "changed", &[JSON], read.to_string().as_bytes()).await.expect_status(409);
    world.gateway.delete(&format!("changed?rev={}", read["_rev"].as_str().unwrap())).await.expect_status(409);
    world.gateway.put("changed", "x", read["_rev"].as_str().unwrap(), b"x").await.expect_status(409);
    world.stop().await;
}

/// The save is on its way to CouchDB when the move finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_overtakes_a_save_is_no_conflict() {
    let world = without_worker().await;
    world.bucket.shut();
    world.with_attachment("doc", &bytes(1000, 1)).await;
    let mut document = json(&world.gateway.get("doc").await);
    document["heard"] = json!(true);
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    world.store.rule("PUT", "/doc ", 1, Act::Hold(std::sync::Arc::clone(&go)));
    let (target, text) = (format!("/{}/doc", world.gateway.path()), document.to_string());
    let saving = world.gateway.request("PUT", &target, &[JSON], text.as_bytes());
    let moving = async {
        world.store.struck(1).await;
        world.bucket.open();
        let other = beside(&world).await;
        until("it is moved", async || !world.stored("doc").await["_attachments"].is_object()).await;
        other.stop().await;
        go.notify_one();
    };
    let (saved, ()) = tokio::join!(saving, moving);
    assert_eq!(saved.status, 201, "{saved:?}");
    assert_eq!(world.stored("doc").await["heard"], true);
    is_in_storage(&world, "doc", "call.mp3", &bytes(1000, 1)).await;
    world.stop().await;
}
