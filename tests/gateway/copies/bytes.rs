//! The same bytes in both places, for any length and framing.

use serde_json::{Value, json};

use super::world::{World, bytes, copies, head, in_chunks, native, outcomes, plan};
use stowage_testing::gateway::{Running, Setup, json as parsed};
use stowage_testing::raw::{RawClient, RawResponse};
use stowage_testing::recorder::Recorder;

const LENGTHS: [usize; 4] = [0, 1, (5 << 20) + 1, 20 << 20];

/// Sends a PUT with either framing.
async fn put(gateway: &Running, id: &str, rev: &str, body: &[u8], chunked: bool, encoding: &str) -> RawResponse {
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {}", body.len()) };
    let mut headers = vec![framing.as_str()];
    headers.extend((!encoding.is_empty()).then_some(encoding));
    let mut request = head(gateway, id, rev, &headers).into_bytes();
    request.extend(if chunked { in_chunks(body) } else { body.to_vec() });
    let mut client = RawClient::connect(gateway.address).await.expect("a connection");
    client.exchange(request).await.expect("an answer")
}

/// Stores all lengths with both framings; `copied` returns the one copy of a document.
async fn all_arrive(gateway: &Running, backend: &str, copied: impl Fn(&str) -> Option<Vec<u8>>) {
    let mut count = 0;
    for length in LENGTHS {
        for chunked in [false, true] {
            let (id, body) = (format!("doc-{length}-{chunked}"), bytes(length, 5));
            let rev = gateway.document(&id, json!({})).await;
            let saved = put(gateway, &id, &rev, &body, chunked, "").await;
            assert_eq!(saved.status, 201, "{id}: {saved:?}");
            gateway.settled().await;
            let kept = native(gateway, &id, "call.mp3").await;
            assert!(kept.body == body, "{id}: CouchDB has {} bytes", kept.body.len());
            let copy = copied(&id).unwrap_or_else(|| panic!("{id}: no copy"));
            assert!(copy == body, "{id}: the storage has {} bytes", copy.len());
            let document = parsed(&gateway.get(&id).await);
            assert_eq!(document["pvt_attachments"], Value::Null, "{id}");
            assert_eq!(document["_attachments"]["call.mp3"]["length"], json!(length), "{id}");
            count += 1;
            assert_eq!(copies(gateway, backend), outcomes(&[("ok", count)]), "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_and_a_directory_have_the_same_bytes() {
    let gateway = Setup::default().start().await;
    plan(&gateway, "file", json!({ "directory": "copies", "field_list": [{ "arg": "id" }] })).await;
    let folder = gateway.files().join("copies");
    all_arrive(&gateway, "file", |id| std::fs::read(folder.join(id)).ok()).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_and_a_bucket_have_the_same_bytes() {
    let world = World::copying_with(Setup::default()).await;
    all_arrive(&world.gateway, "s3", |id| world.object(id)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_and_a_web_server_have_the_same_bytes() {
    let server = Recorder::start().await;
    let gateway = Setup::default().start().await;
    plan(&gateway, "http", json!({ "url": server.url("/c"), "field_list": [{ "arg": "id" }] })).await;
    all_arrive(&gateway, "http", |id| server.object(&format!("/c/{id}")).map(Into::into)).await;
    gateway.stop().await;
}

/// gzip is stored as gzip in both places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_gzipped_is_copied_as_it_comes() {
    let gateway = Setup::default().start().await;
    plan(&gateway, "file", json!({ "directory": "copies", "field_list": [{ "arg": "id" }] })).await;
    for (id, chunked) in [("one", false), ("two", true)] {
        let body = bytes(300_000, 2).repeat(3);
        let gzip = stowage_testing::gzip(&body);
        let rev = gateway.document(id, json!({})).await;
        put(&gateway, id, &rev, &gzip, chunked, "Content-Encoding: gzip").await.expect_status(201);
        gateway.settled().await;
        assert!(std::fs::read(gateway.files().join("copies").join(id)).expect("a copy") == gzip, "{id}");
        let got = gateway.ask("GET", &format!("{id}/call.mp3"), &[], b"").await;
        assert!(got.status == 200 && got.body == body, "{id}: {} bytes", got.body.len());
    }
    gateway.ask("PUT", "x/a", &[("Content-Encoding", "br")], b"x").await.expect_status(415);
    gateway.settled().await;
    assert_eq!(gateway.stored(), ["copies/one", "copies/two"]);
    gateway.stop().await;
}

/// Reading, ranges and deletion are CouchDB's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_answers_for_what_it_keeps() {
    let world = World::copying_with(Setup::default()).await;
    let (gateway, body) = (&world.gateway, bytes(100_000, 9));
    let rev = world.document("doc").await;
    let rev = super::world::saved(gateway, "doc", &rev, &body).await;
    gateway.settled().await;
    let target = format!("/{}/doc/call.mp3", gateway.path());
    let direct = gateway.couch.request("GET", &target, "", b"").await;
    let through = gateway.request("GET", &target, &[], b"").await;
    assert!(through.body == body);
    for name in ["etag", "content-type", "content-md5", "accept-ranges", "content-length"] {
        assert_eq!(through.header(name), direct.header(name), "{name}");
    }
    let head = gateway.request("HEAD", &target, &[], b"").await;
    assert_eq!((head.status, head.header("etag")), (200, direct.header("etag")));
    let part = gateway.request("GET", &target, &[("Range", "bytes=5-9")], b"").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &body[5..10]));
    let asked = copies(gateway, "s3");
    gateway.request("DELETE", &format!("{target}?rev={rev}"), &[], b"").await.expect_status(200);
    assert_eq!(gateway.request("GET", &target, &[], b"").await.status, 404);
    gateway.settled().await;
    assert_eq!(world.objects(), [body], "the copy is not the attachment");
    assert_eq!(copies(gateway, "s3"), asked);
    world.stop().await;
}
