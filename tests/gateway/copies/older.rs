//! Existing objects of the same name: older copies, and objects of an older plan.

use serde_json::{Value, json};

use super::world::{World, bytes, copies, outcomes, saved, settings};
use stowage_testing::gateway::{Setup, json as parsed, rev as rev_of};
use stowage_testing::recorder::{Answer, Recorder};

/// Every copy gets a unique name; replacing and deleting the attachment keep all copies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_never_written_over() {
    let world = World::copying_with(Setup::default()).await;
    let mut rev = world.document("doc").await;
    let mut all = Vec::new();
    for version in 0..3 {
        all.push(bytes(1000, version));
        rev = saved(&world.gateway, "doc", &rev, &bytes(1000, version)).await;
        world.quiet().await;
    }
    let gone = world.gateway.delete(&format!("doc/call.mp3?rev={rev}")).await.expect_status(200);
    all.push(bytes(1000, 9));
    saved(&world.gateway, "doc", &rev_of(&gone), &bytes(1000, 9)).await;
    world.quiet().await;
    let mut objects = world.objects();
    objects.sort();
    all.sort();
    assert!(objects == all, "{} objects", objects.len());
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("ok", 4)]));
    world.stop().await;
}

/// A web server that does not reveal what exists: every copy gets a certainly unused name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_tells_nothing_keeps_the_older_copy() {
    let server = Recorder::start().await;
    server.next(hyper::Method::HEAD, 99, Answer::Status(405, ""));
    let gateway = Setup::default().start().await;
    super::world::plan(&gateway, "http", json!({ "url": server.url("/c"), "field_list": [{ "arg": "id" }] })).await;
    let mut rev = gateway.document("doc", json!({})).await;
    for body in ["one", "two", "three"] {
        rev = saved(&gateway, "doc", &rev, body.as_bytes()).await;
        gateway.settled().await;
    }
    assert_eq!(server.object("/c/doc"), None, "a name that may be taken is left alone");
    assert_eq!(server.stored().len(), 3, "{:?}", server.stored());
    gateway.stop().await;
}

/// The plan sent the attachment outside, and then says `stub`: CouchDB's newer attachment counts, and when that is deleted, the older one does not
/// reappear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_pointer_of_that_name_is_hidden_and_goes_with_the_attachment() {
    let world = World::copying_with(Setup::default()).await;
    let gateway = &world.gateway;
    gateway.plan("s3", settings(world.bucket.port())).await;
    let rev = world.document("doc").await;
    let put = gateway.attach("doc", "call.mp3", &rev, b"outside").await;
    assert_eq!(world.objects(), [b"outside"]);

    super::world::plan(gateway, "s3", settings(world.bucket.port())).await;
    let rev = saved(gateway, "doc", &rev_of(&put), b"inside").await;
    world.quiet().await;
    assert_eq!(gateway.get("doc/call.mp3").await.text(), "inside");
    assert_eq!(gateway.ask("HEAD", "doc/call.mp3", &[], b"").await.header("content-length"), Some("6"));
    let mut objects = world.objects();
    objects.sort();
    assert_eq!(objects, [&b"inside"[..], b"outside"]);

    let gone = gateway.delete(&format!("doc/call.mp3?rev={rev}")).await.expect_status(200);
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404);
    let document = parsed(&gateway.get("doc").await);
    assert_eq!((&document["_attachments"], &document["pvt_attachments"]), (&Value::Null, &Value::Null), "{document}");
    world.quiet().await;
    assert_eq!(world.objects(), [b"inside"], "the object goes, the copy stays");

    // And back again: an outside attachment hides nothing.
    gateway.plan("s3", settings(world.bucket.port())).await;
    gateway.attach("doc", "call.mp3", &rev_of(&gone), b"outside again").await;
    assert_eq!(gateway.get("doc/call.mp3").await.text(), "outside again");
    assert_eq!(gateway.inside("doc").await["_attachments"], json!(null));
    world.stop().await;
}
