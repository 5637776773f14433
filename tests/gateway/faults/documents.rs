//! Documents with several attachments: after any failure, all or none of them exist.

use serde_json::{Value, json};

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, soon};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stowage_testing::gateway::{JSON, authorization, exchange, json, rev};
use stowage_testing::log::Log;
use stowage_testing::raw::RawResponse;

const NAMES: [&str; 3] = ["one.mp3", "two.mp3", "three.mp3"];

/// Returns a document with three attachments, each with its name as its bytes.
fn carrying() -> Value {
    let entry = |name: &str| json!({ "content_type": "audio/mpeg", "data": STANDARD.encode(name) });
    json!({ "_attachments": NAMES.iter().map(|name| ((*name).to_owned(), entry(name))).collect::<serde_json::Map<_, _>>() })
}

async fn put(world: &World, id: &str, document: &Value) -> RawResponse {
    world.gateway.ask("PUT", id, &[JSON], document.to_string().as_bytes()).await
}

async fn bulk(world: &World, docs: &Value) -> RawResponse {
    world.gateway.ask("POST", "_bulk_docs", &[JSON], json!({ "docs": docs }).to_string().as_bytes()).await
}

fn named(id: &str) -> Value {
    let mut document = carrying();
    document["_id"] = json!(id);
    document
}

/// Returns whether all three exist; panics if only some do.
async fn all_or_none(world: &World, id: &str) -> bool {
    let mut there = Vec::new();
    for name in NAMES {
        there.push(world.whole_or_nothing(id, name, name.as_bytes()).await);
    }
    assert!(there.iter().all(|one| *one == there[0]), "{id}: {there:?}");
    there[0]
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_in_the_middle_leaves_nothing() {
    let world = World::start().await;
    let refused = || answer(403, "<Error><Code>AccessDenied</Code></Error>");
    for name in NAMES {
        world.bucket.rule("PUT", name, 1, refused());
        put(&world, "doc", &carrying()).await.expect_status(502);
        world.bucket.rule("PUT", name, 1, refused());
        bulk(&world, &json!([{ "_id": "plain" }, named("first"), named("second")])).await.expect_status(502);
    }
    world.audit(&[""; 0]).await;
    for id in ["doc", "plain", "first", "second"] {
        assert_eq!(world.stored(id).await, Value::Null, "{id}");
    }
    assert_eq!(put(&world, "doc", &carrying()).await.status, 201);
    assert!(all_or_none(&world, "doc").await);
    world.audit_and_stop(&owned(&["doc"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_one_document_is_found_out() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for (index, act) in [
        Act::CutAnswer(0, End::Fin),
        Act::CutAnswer(60, End::Reset),
        Act::CutAnswer(250, End::Fin),
        Act::CutRequest(40, End::Reset),
        Act::CutRequest(900, End::Fin),
        answer(503, "not JSON at all"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("doc-{index}");
        world.store.rule("PUT", &format!("/{id} "), 1, act);
        let saved = put(&world, &id, &carrying()).await;
        assert_eq!(saved.status, 201, "{id}: {saved:?}");
        assert_eq!(world.stored(&id).await["_rev"], rev(&saved));
        assert_eq!(saved.header("etag"), Some(format!("\"{}\"", rev(&saved)).as_str()));
        assert!(saved.header("location").is_some_and(|location| location.ends_with(&format!("/{id}"))), "{saved:?}");
        assert!(all_or_none(&world, &id).await);
        ids.push(id);
    }
    world.audit_and_stop(&ids).await;
}

/// CouchDB answers `batch=ok` before it saves the document, and may fail to save it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_write_that_comes_to_nothing_leaves_no_object() {
    let world = World::start().await;
    let mut document = carrying();
    document["_rev"] = json!(world.document("doc").await);
    world.store.rule("PUT", "/doc?batch=ok ", 1, answer(202, r#"{"ok":true,"id":"doc"}"#));
    let told = put(&world, "doc?batch=ok", &document).await;
    assert_eq!((told.status, json(&told)), (202, json!({ "ok": true, "id": "doc" })));
    // Another revision took its place: it will never be saved.
    world.touch("doc").await;
    world.audit_and_stop(&["doc"]).await;
}

#[tokio::test]
async fn a_batch_write_that_is_saved_is_no_news_in_the_log() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::INFO);
    let world = World::start().await;
    put(&world, "doc?batch=ok", &carrying()).await.expect_status(202);
    world.gateway.settled().await;
    assert!(all_or_none(&world, "doc").await);
    world.audit_and_stop(&["doc"]).await;
    drop(guard);
    assert!(log.lines("after all").is_empty(), "{}", log.text());
}

/// The document was saved without an answer, and one of its attachments was replaced before the gateway found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_later_revision_still_names_stays() {
    let world = World::start().await;
    world.store.rule("PUT", "/doc ", 1, Act::CutAnswer(0, End::Silence));
    assert_eq!(put(&world, "doc", &carrying()).await.status, 504);
    let before = world.stored("doc").await["_rev"].as_str().expect("a revision").to_owned();
    world.gateway.attach("doc", "one.mp3", &before, b"another").await;
    world.gateway.settled().await;
    world.audit_and_stop(&["doc"]).await;
}

/// Returns the leaves of a document, including tombstones, directly from the store.
async fn leaves(world: &World, id: &str) -> Vec<Value> {
    let target = format!("/{}/{id}?open_revs=all", world.gateway.path());
    let headers = [authorization(&world.gateway.couch.admin), ("Accept".to_owned(), "application/json".to_owned())];
    let got = exchange(world.gateway.couch.address(), "GET", &target, &headers, b"").await;
    json(&got).as_array().expect("leaves").iter().map(|leaf| leaf["ok"].clone()).collect()
}

/// A new document and a replaced one become tombstones with attachments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_tombstone_is_found_out() {
    let world = World::start().await;
    for (index, act) in [Act::CutAnswer(0, End::Fin), Act::CutAnswer(60, End::Reset)].into_iter().enumerate() {
        for is_new in [true, false] {
            let id = format!("doc-{index}-{is_new}");
            let mut document = carrying();
            document["_deleted"] = json!(true);
            if !is_new {
                document["_rev"] = json!(rev(&put(&world, &id, &json!({})).await));
            }
            world.store.rule("PUT", &format!("/{id} "), 1, act.clone());
            let saved = put(&world, &id, &document).await;
            assert_eq!(saved.status, 200, "{id}: {saved:?}");
            let leaves = leaves(&world, &id).await;
            assert_eq!((leaves.len(), &leaves[0]["_rev"]), (1, &json!(rev(&saved))), "{id}");
            assert_eq!(leaves[0]["pvt_attachments"].as_object().map(|pointers| pointers.len()), Some(NAMES.len()));
        }
    }
    world.gateway.settled().await;
    assert_eq!(world.s3.objects(BUCKET).len(), 4 * NAMES.len());
    world.stop().await;
}

/// A tombstone that loses against another leaf is replaced, with or without attachments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_on_a_losing_tombstone_is_found_out() {
    let world = World::start().await;
    let tombstone = "1-11111111111111111111111111111111";
    let docs = json!([
        { "_id": "doc", "_rev": tombstone, "_deleted": true, "pvt_type": "call_recording" },
        { "_id": "doc", "_rev": "1-99999999999999999999999999999999", "pvt_type": "call_recording" },
    ]);
    let target = format!("/{}/_bulk_docs", world.gateway.path());
    let text = json!({ "new_edits": false, "docs": docs }).to_string();
    world.gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    world.store.rule("PUT", "/doc ", 1, Act::CutAnswer(0, End::Fin));
    let put = world.gateway.attach("doc", "call.mp3", tombstone, b"a recording").await;
    let is_tombstone = |leaf: &&Value| leaf["_deleted"] == json!(true);
    let found = leaves(&world, "doc").await;
    assert_eq!(found.iter().find(is_tombstone).unwrap()["_rev"], rev(&put));
    world.gateway.settled().await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    world.store.rule("PUT", "/doc ", 1, Act::CutAnswer(0, End::Fin));
    let gone = world.gateway.delete(&format!("doc/call.mp3?rev={}", rev(&put))).await.expect_status(200);
    let found = leaves(&world, "doc").await;
    let left = found.iter().find(is_tombstone).unwrap();
    assert_eq!((&left["_rev"], &left["pvt_attachments"]), (&json!(rev(&gone)), &Value::Null));
    world.gateway.settled().await;
    assert!(world.s3.objects(BUCKET).is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_conflicts_take_all_objects_along() {
    let world = World::start().await;
    let first = put(&world, "doc", &json!({})).await;
    for (status, body) in
        [(403, r#"{"error":"forbidden","reason":"not today"}"#), (412, r#"{"error":"missing_stub","reason":"x"}"#)]
    {
        world.store.rule("PUT", "/doc ", 1, answer(status, body));
        let mut document = carrying();
        document["_rev"] = json!(rev(&first));
        let refused = put(&world, "doc", &document).await;
        assert_eq!((refused.status, refused.text().as_str()), (status, body));
        world.store.rule("POST", "/_bulk_docs", 1, answer(status, body));
        let refused = bulk(&world, &json!([named("first"), named("second")])).await;
        assert_eq!((refused.status, refused.text().as_str()), (status, body));
    }
    // The document changes between the check and the save.
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    world.store.rule("PUT", "/doc ", 1, Act::Hold(std::sync::Arc::clone(&gate)));
    let mut document = carrying();
    document["_rev"] = json!(rev(&first));
    let (refused, ()) = tokio::join!(put(&world, "doc", &document), async {
        world.store.struck(5).await;
        world.touch("doc").await;
        gate.notify_one();
    });
    assert_eq!((refused.status, json(&refused)["error"].as_str()), (409, Some("conflict")), "{refused:?}");
    // In a batch, only that document's objects are removed.
    let gate = std::sync::Arc::new(tokio::sync::Notify::new());
    world.store.rule("POST", "/_bulk_docs", 1, Act::Hold(std::sync::Arc::clone(&gate)));
    let mut moving = named("doc");
    moving["_rev"] = world.stored("doc").await["_rev"].clone();
    let docs = json!([named("first"), moving]);
    let (mixed, ()) = tokio::join!(bulk(&world, &docs), async {
        world.store.struck(6).await;
        world.touch("doc").await;
        gate.notify_one();
    });
    assert_eq!(mixed.status, 201, "{mixed:?}");
    assert_eq!((&json(&mixed)[0]["ok"], &json(&mixed)[1]["error"]), (&json!(true), &json!("conflict")));
    world.audit(&owned(&["first", "doc"])).await;
    assert!(all_or_none(&world, "first").await);
    assert!(!all_or_none(&world, "doc").await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_batch_is_found_out_for_each_document() {
    let world = World::start().await;
    for (index, act) in [Act::CutAnswer(0, End::Fin), Act::CutAnswer(100, End::Reset), Act::CutAnswer(0, End::Silence)]
        .into_iter()
        .enumerate()
    {
        world.store.rule("POST", "/_bulk_docs", 1, act);
        let (first, second) = (format!("first-{index}"), format!("second-{index}"));
        let old = put(&world, &second, &json!({ "k": 1 })).await;
        let mut moving = named(&second);
        moving["_rev"] = json!(rev(&old));
        bulk(&world, &json!([named(&first), moving, { "_id": format!("plain-{index}") }])).await.expect_status(504);
        world.gateway.settled().await;
        assert!(all_or_none(&world, &first).await, "it had been saved");
        assert!(all_or_none(&world, &second).await, "it had been saved");
    }
    // The batch never arrived, and one of its documents changes: its objects are removed.
    let old = put(&world, "moved", &json!({ "k": 1 })).await;
    let mut moving = named("moved");
    moving["_rev"] = json!(rev(&old));
    world.store.rule("POST", "/_bulk_docs", 1, Act::CutRequest(10, End::Reset));
    bulk(&world, &json!([moving])).await.expect_status(504);
    assert!(!world.s3.objects(BUCKET).is_empty(), "it is not known yet");
    world.touch("moved").await;
    world.gateway.settled().await;
    assert!(!all_or_none(&world, "moved").await);
    let ids = (0..3).flat_map(|index| [format!("first-{index}"), format!("second-{index}")]).collect::<Vec<_>>();
    world.audit_and_stop(&ids).await;
}

/// The store goes down once all objects are stored: no document is saved, and no object is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_never_left_takes_all_objects_along() {
    let world = World::start().await;
    for (id, is_bulk) in [("one", false), ("many", true)] {
        let gate = std::sync::Arc::new(tokio::sync::Notify::new());
        world.bucket.rule("PUT", "three.mp3", 1, Act::Hold(std::sync::Arc::clone(&gate)));
        let (document, batch) = (carrying(), json!([named(id)]));
        let write = async { if is_bulk { bulk(&world, &batch).await } else { put(&world, id, &document).await } };
        let (failed, ()) = tokio::join!(write, async {
            world.bucket.struck(if is_bulk { 2 } else { 1 }).await;
            world.store.shut();
            gate.notify_one();
        });
        assert_eq!(failed.status, 504, "{failed:?}");
        world.store.open();
        // A kept connection that breaks at that moment leaves the save in doubt, until there is another document in its place.
        world.document(id).await;
        world.audit(&[id]).await;
    }
    world.stop().await;
}

/// The client leaves while the last object is being sent: a complete request is saved completely, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_costs_nobody_anything() {
    let world = World::start().await;
    for name in NAMES {
        let gate = std::sync::Arc::new(tokio::sync::Notify::new());
        world.bucket.rule("PUT", name, 1, Act::Hold(std::sync::Arc::clone(&gate)));
        let struck = 1 + NAMES.iter().position(|other| *other == name).expect("one of them");
        let target = format!("/{}/doc", world.gateway.path());
        let body = carrying().to_string();
        let (key, login) = authorization(&world.gateway.couch.admin);
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\n{key}: {login}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut client = stowage_testing::raw::RawClient::connect(world.gateway.address).await.expect("a connection");
        client.send(format!("{head}{body}")).await.expect("sent");
        world.bucket.struck(struck).await;
        client.reset().expect("reset");
        soon("the client is gone", || world.gateway.app.admission.in_flight() == 0).await;
        gate.notify_one();
        world.audit(&[""; 0]).await;
        assert_eq!(world.stored("doc").await, Value::Null);
    }
    world.stop().await;
}
