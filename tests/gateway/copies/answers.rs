//! CouchDB refuses or fails: a copy is removed if CouchDB certainly lacks the attachment, otherwise it is kept.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use super::gate::{Act, End, answer, early};
use super::world::{World, bytes, copies, native, outcomes, soon};
use stowage_testing::gateway::{authorization, exchange};

/// Matches PUTs to the store.
const PUTS: &str = "/call.mp3?rev=";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_refuses_has_no_copy() {
    let world = World::copying().await;
    let mut count = 0;
    for status in [401, 403, 404, 409, 412, 413, 415] {
        for length in [0, 1000, 6 << 20] {
            let id = format!("doc-{status}-{length}");
            let (rev, text) = (world.document(&id).await, format!(r#"{{"error":"e{status}","reason":"r"}}"#));
            world.store.rule("PUT", PUTS, 1, answer(status, &text));
            let put = world.gateway.put(&id, "call.mp3", &rev, &bytes(length, 1)).await;
            assert_eq!((put.status, put.text()), (status, text), "{id}");
            count += 1;
            world.is_untouched(&id, &rev).await;
            assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("discarded", count)]), "{id}");
        }
    }
    assert!(world.gateway.app.gateway.records.last().is_empty(), "a refusal is no failure of a storage");
    world.stop().await;
}

/// The client gets the refusal immediately, not after sending everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_refuses_early_has_no_copy() {
    let world = World::copying().await;
    let (rev, text) = (world.document("doc").await, r#"{"error":"conflict","reason":"Document update conflict."}"#);
    world.store.rule("PUT", PUTS, 1, early(409, text));
    let put = world.gateway.put("doc", "call.mp3", &rev, &bytes(30 << 20, 1)).await;
    assert_eq!((put.status, put.text().as_str()), (409, text));
    world.is_untouched("doc", &rev).await;
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("discarded", 1)]));
    world.stop().await;
}

/// Another client changes the document meanwhile; the copy is complete before CouchDB responds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_there_already_goes_when_couchdb_refuses() {
    let world = World::copying().await;
    let rev = world.document("doc").await;
    let hold = Arc::new(Notify::new());
    world.store.rule("PUT", PUTS, 1, Act::Hold(Arc::clone(&hold)));
    let (body, gateway) = (bytes(1000, 1), &world.gateway);
    let put = gateway.put("doc", "call.mp3", &rev, &body);
    let meanwhile = async {
        soon("the copy", || world.objects() == [bytes(1000, 1)]).await;
        gateway.save("doc", json!({ "_rev": rev, "changed": true })).await;
        hold.notify_one();
    };
    let (put, ()) = tokio::join!(put, meanwhile);
    assert_eq!(put.status, 409, "{put:?}");
    world.quiet().await;
    assert!(world.objects().is_empty());
    assert_eq!(copies(gateway, "s3"), outcomes(&[("discarded", 1)]));
    world.stop().await;
}

/// An old revision or an unauthorized client is refused before anything is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_copies_nothing() {
    let world = World::copying().await;
    let old = world.document("doc").await;
    let rev = super::world::saved(&world.gateway, "doc", &old, b"first").await;
    world.gateway.put("doc", "call.mp3", &old, b"second").await.expect_status(409);
    let nobody = ("nobody".to_owned(), "nothing".to_owned());
    let target = format!("/{}/doc/call.mp3?rev={rev}", world.gateway.path());
    exchange(world.gateway.address, "PUT", &target, &[authorization(&nobody)], b"third").await.expect_status(401);
    world.quiet().await;
    assert_eq!(world.objects(), [b"first"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_may_have_saved_it() {
    let world = World::copying().await;
    for (index, status) in [500, 503].into_iter().enumerate() {
        let id = format!("doc-{status}");
        let rev = world.document(&id).await;
        world.store.rule("PUT", PUTS, 1, answer(status, "{}"));
        let put = world.gateway.put(&id, "call.mp3", &rev, b"abc").await;
        assert_eq!(put.status, status, "{put:?}");
        world.quiet().await;
        assert_eq!(world.object(&id).as_deref(), Some(&b"abc"[..]));
        assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("unknown", index as u64 + 1)]));
    }
    world.stop().await;
}

/// CouchDB cannot have received the complete body, so it lacks the attachment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_couchdb_that_breaks_in_the_body_leaves_no_copy() {
    let world = World::copying().await;
    let body = bytes(30 << 20, 1);
    let mut count = 0;
    for after in [0, 10, 100_000, 3 << 20, 12 << 20] {
        let id = format!("doc-{after}");
        let rev = world.document(&id).await;
        world.store.rule("PUT", PUTS, 1, Act::CutRequest(after, End::Reset));
        let put = world.gateway.put(&id, "call.mp3", &rev, &body).await;
        assert_eq!(put.status, 504, "{id}: {put:?}");
        count += 1;
        world.is_untouched(&id, &rev).await;
        assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("discarded", count)]), "{id}");
    }
    world.stop().await;
}

/// The outcome is unknown to the gateway; in this test, CouchDB has saved the attachment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_stays_where_couchdbs_answer_is_lost() {
    let world = World::copying().await;
    let mut count = 0;
    for (after, end) in [(0, End::Fin), (0, End::Reset), (0, End::Silence), (9, End::Fin), (40, End::Reset)] {
        for length in [1000, 6 << 20] {
            let (id, body) = (format!("doc-{after}-{end:?}-{length}"), bytes(length, 1));
            let rev = world.document(&id).await;
            world.store.rule("PUT", PUTS, 1, Act::CutAnswer(after, end));
            let put = world.gateway.put(&id, "call.mp3", &rev, &body).await;
            assert_eq!(put.status, 504, "{id}: {put:?}");
            world.quiet().await;
            assert!(native(&world.gateway, &id, "call.mp3").await.body == body, "{id}");
            assert!(world.object(&id) == Some(body), "{id}");
            count += 1;
            assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("unknown", count)]), "{id}");
        }
    }
    world.stop().await;
}
