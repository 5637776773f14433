//! The slower of both sets the pace; a client does not wait for the copy after CouchDB's response.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::gate::Act;
use super::world::{World, bytes, copies, head, native, objects_of, outcomes, saved};
use stowage_testing::gateway::Setup;
use stowage_testing::raw::RawClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_storage_slows_the_client_and_gets_everything() {
    let world = World::copying_with(Setup::default()).await;
    let (rev, body) = (world.document("doc").await, bytes(64 << 20, 6));
    let hold = Arc::new(Notify::new());
    world.bucket.rule("PUT", "partNumber=1", 1, Act::Hold(Arc::clone(&hold)));
    let mut client = TcpStream::connect(world.gateway.address).await.expect("a connection");
    let head = head(&world.gateway, "doc", &rev, &[&format!("Content-Length: {}", body.len())]);
    client.write_all(head.as_bytes()).await.expect("sent");
    let mut sent = 0;
    while let Ok(count) = tokio::time::timeout(Duration::from_secs(1), client.write(&body[sent..])).await {
        sent += count.expect("sent");
        assert!(sent < body.len(), "the client does not wait for the storage");
    }
    // Two chunks for the storage, a few frames, and socket buffers.
    assert!(sent < 32 << 20, "{sent} bytes were taken");
    world.bucket.struck(1).await;
    assert_eq!(world.stored("doc").await["_rev"], rev);

    hold.notify_one();
    client.write_all(&body[sent..]).await.expect("sent");
    RawClient::over(client).response().await.expect("an answer").expect_status(201);
    world.quiet().await;
    assert!(native(&world.gateway, "doc", "call.mp3").await.body == body);
    assert!(world.objects() == [body]);
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("ok", 1)]));
    world.stop().await;
}

/// After CouchDB's response, the client does not wait for the copy, but the shutdown does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_has_its_answer_before_the_copy_is_made_and_the_end_waits_for_that() {
    let world = World::copying_with(Setup::default()).await;
    let (rev, body) = (world.document("doc").await, bytes(1000, 6));
    let hold = Arc::new(Notify::new());
    world.bucket.rule("PUT", "call.mp3", 1, Act::Hold(Arc::clone(&hold)));
    saved(&world.gateway, "doc", &rev, &body).await;
    assert!(native(&world.gateway, "doc", "call.mp3").await.body == body);
    world.bucket.struck(1).await;
    assert!(world.objects().is_empty());
    let World { gateway, s3, .. } = world;
    let mut stopping = Box::pin(gateway.app.stop());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut stopping).await.is_err(), "it does not wait");
    hold.notify_one();
    assert_eq!(stopping.await, 0, "something was cut off");
    assert_eq!(objects_of(&s3), [body]);
}
