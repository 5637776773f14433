//! COPY with failures: the copy is complete, or does not exist at all.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

use super::faulty::{BUCKET, World, assert_refusal, bytes};
use super::gate::{Act, End, answer};
use stowage_testing::gateway::{authorization, json as parsed, rev};
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::upstream::until;

const BIG: usize = 11 << 20;

/// Creates a document with two attachments in S3, the second in several parts: the latest is listed, and copied, first.
async fn world() -> World {
    let world = World::start().await;
    let mut last = world.document("doc").await;
    for (name, body) in [("two.mp3", &bytes(BIG, 3)[..]), ("call.mp3", b"recording")] {
        let put = world.gateway.attach("doc", name, &last, body).await;
        last = rev(&put);
    }
    world
}

async fn make(world: &World) -> RawResponse {
    world.gateway.copy("doc", "copy").await
}

/// Checks that there is no trace of the copy, and the original is complete.
async fn nothing(world: &World) {
    world.audit(&["doc"]).await;
    assert_eq!(world.stored("copy").await, Value::Null);
    assert!(world.whole_or_nothing("doc", "call.mp3", b"recording").await);
    assert!(world.whole_or_nothing("doc", "two.mp3", &bytes(BIG, 3)).await);
}

/// Checks that the copy is complete.
async fn all(world: &World) {
    world.audit(&["doc".to_owned(), "copy".to_owned()]).await;
    assert!(world.whole_or_nothing("copy", "call.mp3", b"recording").await);
    assert!(world.whole_or_nothing("copy", "two.mp3", &bytes(BIG, 3)).await);
    assert_eq!(world.s3.objects(BUCKET).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_at_the_second_attachment_leaves_nothing() {
    let world = world().await;
    for (method, part) in [("POST", "copy_two"), ("PUT", "copy_two"), ("GET", "doc_two")] {
        world.bucket.rule(method, part, 40, answer(503, ""));
        let copied = make(&world).await;
        assert_eq!(copied.status, 504, "{method}: {copied:?}");
        world.bucket.relent();
        nothing(&world).await;
    }
    world.bucket.rule("POST", "copy_two", 1, answer(403, ""));
    assert_eq!(make(&world).await.status, 502);
    world.bucket.relent();
    nothing(&world).await;
    assert_eq!(make(&world).await.status, 201);
    all(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_breaks_off_leaves_nothing() {
    let world = world().await;
    world.bucket.rule("GET", "doc_two", 40, Act::CutAnswer(3 << 20, End::Fin));
    let copied = make(&world).await;
    // A broken download is resumed twice, which is not enough here.
    assert_refusal(&copied, 504, "storage {id} cannot be used now");
    world.bucket.relent();
    nothing(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_gone_or_another_one_leaves_nothing() {
    let world = world().await;
    let document = world.stored("doc").await;
    let key = document["pvt_attachments"]["two.mp3"]["stowage"]["location"]["key"].as_str().unwrap().to_owned();
    world.s3.meddle(BUCKET, &key, Some(&bytes(BIG, 4)));
    make(&world).await.expect_status(404);
    world.s3.meddle(BUCKET, &key, None);
    make(&world).await.expect_status(404);
    world.gateway.settled().await;
    assert_eq!(world.stored("copy").await, Value::Null);
    assert_eq!(world.s3.objects(BUCKET).len(), 1, "{:?}", world.s3.objects(BUCKET));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_answer_is_lost_is_found_out() {
    for act in [Act::CutAnswer(0, End::Reset), Act::CutAnswer(60, End::Fin), Act::CutRequest(300, End::Reset)] {
        let world = world().await;
        world.store.rule("PUT", "/copy ", 1, act.clone());
        let copied = make(&world).await;
        assert_eq!(copied.status, 201, "{act:?}: {copied:?}");
        assert_eq!(world.stored("copy").await["_rev"], rev(&copied), "{act:?}");
        assert_eq!(copied.header("etag"), Some(format!("\"{}\"", rev(&copied)).as_str()), "{act:?}");
        let location = copied.header("location").unwrap_or_default().to_owned();
        assert!(location.ends_with(&format!("/{}/copy", world.gateway.path())), "{act:?}: {location}");
        all(&world).await;
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_nobody_heard_of_is_settled_later() {
    for (act, saved) in [(Act::CutAnswer(0, End::Silence), true), (Act::CutRequest(5, End::Silence), false)] {
        let world = world().await;
        world.store.rule("PUT", "/copy ", 1, act);
        make(&world).await.expect_status(504);
        if saved {
            all(&world).await;
        } else {
            // Another client's document shows that the save will no longer arrive.
            world.document("copy").await;
            world.audit(&["doc".to_owned(), "copy".to_owned()]).await;
            assert_eq!(world.s3.objects(BUCKET).len(), 2);
        }
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_couchdb_refuses_leaves_nothing() {
    let world = world().await;
    for (status, text) in [(403, "no"), (409, "conflict")] {
        world.store.rule("PUT", "/copy ", 1, answer(status, text));
        let copied = make(&world).await;
        assert_eq!((copied.status, copied.text().as_str()), (status, text));
        nothing(&world).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_client_leaves_is_whole() {
    let world = world().await;
    let held = Arc::new(Notify::new());
    world.bucket.rule("GET", "doc_two", 1, Act::Hold(Arc::clone(&held)));
    let before = world.s3.objects(BUCKET).len();
    let (name, value) = authorization(&world.gateway.couch.admin);
    let path = world.gateway.path();
    let request = format!("COPY /{path}/doc HTTP/1.1\r\nHost: x\r\nDestination: copy\r\n{name}: {value}\r\n\r\n");
    let mut client = RawClient::connect(world.gateway.address).await.unwrap();
    client.send(request).await.unwrap();
    world.bucket.struck(1).await;
    assert_eq!(world.s3.objects(BUCKET).len(), before + 1, "the first one has been copied");
    client.reset().unwrap();
    held.notify_one();
    // This client is indistinguishable from one that closed its half of the connection and still waits for the response.
    until("the copy is made", async || !world.stored("copy").await.is_null()).await;
    all(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_make_one_copy() {
    let world = world().await;
    let answers = futures_util::future::join_all((0..4).map(|_| make(&world))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status, &parsed(refused)["error"]), (409, &Value::from("conflict")), "{refused:?}");
    }
    all(&world).await;
    world.stop().await;
}

/// CouchDB makes the copy of what the gateway has seen, and not of what came a moment later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_that_comes_meanwhile_is_not_shared_with_the_copy() {
    let world = World::start().await;
    let before = world.document("plain").await;
    let held = Arc::new(Notify::new());
    world.store.rule("COPY", "/plain", 1, Act::Hold(Arc::clone(&held)));
    let attached = async {
        world.store.struck(1).await;
        world.gateway.attach("plain", "call.mp3", &before, b"recording").await;
        held.notify_one();
    };
    let (copied, ()) = tokio::join!(world.gateway.copy("plain", "copy"), attached);
    assert_eq!(copied.status, 201, "{copied:?}");
    let copied = world.stored("copy").await;
    assert!(copied["pvt_attachments"].is_null(), "{copied}");
    world.audit(&["plain".to_owned()]).await;
    world.stop().await;
}
