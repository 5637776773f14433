//! Limits and invalid plans: nothing is stored anywhere.

use serde_json::json;

use super::world::{World, bytes, copies, head, in_chunks, native, outcomes, saved};
use stowage_testing::gateway::{STORAGE, Setup, json as parsed};
use stowage_testing::raw::RawClient;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_kept_nowhere() {
    let world = World::copying_with(Setup::default().set("limits.attachment_bytes", "6291456")).await;
    let rev = world.document("doc").await;
    for (length, chunked) in [((6 << 20) + 1, false), ((6 << 20) + 1, true), (30 << 20, false), (30 << 20, true)] {
        let body = bytes(length, 1);
        let framing =
            if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {length}") };
        let mut request = head(&world.gateway, "doc", &rev, &[&framing]).into_bytes();
        request.extend(if chunked { in_chunks(&body) } else { body });
        let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
        let answer = client.exchange(request).await.expect("an answer");
        assert_eq!(answer.status, 413, "{length} {chunked}: {answer:?}");
        assert_eq!(parsed(&answer), json!({ "error": "attachment_too_large", "reason": "call.mp3" }));
        world.is_untouched("doc", &rev).await;
    }
    // Copies were only begun for bodies without a length.
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("discarded", 2)]));
    saved(&world.gateway, "doc", &rev, &bytes(6 << 20, 1)).await;
    world.stop().await;
}

/// The plan is invalid, not the copy, and its intention is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_names_no_storage_is_refused() {
    let world = World::copying().await;
    let rev = world.document("doc").await;
    for (place, attachments) in [
        ("unknown", json!({ "handler": "gone", "stub": true })),
        ("nonsense", json!({ "handler": STORAGE, "stub": "perhaps" })),
    ] {
        world
            .gateway
            .plan_as("file", json!({ "directory": "d" }), json!({ "modb": { "attachments": attachments } }))
            .await;
        let put = world.gateway.put("doc", "call.mp3", &rev, b"abc").await;
        assert_eq!(put.status, 502, "{place}: {put:?}");
        world.is_untouched("doc", &rev).await;
        assert!(world.gateway.stored().is_empty());
    }
    world.stop().await;
}

/// A client that waits for `100 Continue` gets it once CouchDB wants the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_to_go_on_where_couchdb_is() {
    let world = World::copying().await;
    let (old, body) = (world.document("doc").await, bytes(100_000, 4));
    let length = format!("Content-Length: {}", body.len());
    let headers = [length.as_str(), "Expect: 100-continue"];
    let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
    client.send(head(&world.gateway, "doc", &old, &headers)).await.expect("sent");
    assert_eq!(client.response().await.expect("an interim answer").status, 100);
    client.send(&body).await.expect("sent");
    assert_eq!(client.response().await.expect("an answer").status, 201);
    world.quiet().await;
    assert!(native(&world.gateway, "doc", "call.mp3").await.body == body);
    assert_eq!(world.objects(), [body]);

    let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
    client.send(head(&world.gateway, "doc", &old, &headers)).await.expect("sent");
    assert_eq!(client.response().await.expect("an answer").status, 409, "without an interim answer");
    world.stop().await;
}
