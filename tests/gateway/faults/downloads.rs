//! Downloads: a truncated body never looks complete, wherever it broke, and the storage is not asked for what the document knows.

use futures_util::future::join_all;
use md5::{Digest, Md5};

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, assert_refusal, bytes};
use stowage_testing::gateway::authorization;
use stowage_testing::raw::{RawClient, RawResponse};

/// Sends a GET; status 0 means that the connection ended before a head, because the body broke at its first byte.
async fn get(world: &World, rest: &str) -> RawResponse {
    let (name, value) = authorization(&world.gateway.couch.admin);
    let target = format!("/{}/{rest}", world.gateway.path());
    let mut client = RawClient::connect(world.gateway.address).await.expect("a connection");
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n");
    client.exchange(request).await.unwrap_or_default()
}

/// Stores a body in a document for each act, and GETs all of them concurrently.
async fn get_all(world: &World, body: &[u8], times: usize, acts: &[Act]) -> Vec<RawResponse> {
    let ids: Vec<String> = (0..acts.len()).map(|index| format!("doc-{index:03}-{}", body.len())).collect();
    join_all(ids.iter().map(|id| world.with_attachment(id, body))).await;
    for (id, act) in ids.iter().zip(acts) {
        world.bucket.rule("GET", &format!("{id}_call"), times, act.clone());
    }
    let targets: Vec<String> = ids.iter().map(|id| format!("{id}/call.mp3")).collect();
    let answers = join_all(targets.iter().map(|target| get(world, target))).await;
    world.bucket.relent();
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_once_goes_on_where_it_broke() {
    let world = World::start().await;
    let body = bytes(1 << 20, 1);
    let mut acts = Vec::new();
    for end in [End::Fin, End::Reset] {
        // A reset may overtake data, so its position is not exact; a head is about 300 bytes.
        acts.extend(
            [0, 1, 50, 300, 500, 1000, 100_000, 1 << 20, (1 << 20) + 200].map(|after| Act::CutAnswer(after, end)),
        );
    }
    for (index, got) in get_all(&world, &body, 1, &acts).await.into_iter().enumerate() {
        assert_eq!(got.status, 200, "{:?}: {}", acts[index], got.text());
        assert!(got.complete && got.body == body, "{:?}: {} bytes", acts[index], got.body.len());
    }
    world.store.relent();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_keeps_breaking_never_looks_whole() {
    let world = World::start().await;
    let body = bytes(300_000, 1);
    let acts = [0, 100, 310, 350, 1000, 60_000].map(|after| Act::CutAnswer(after, End::Fin));
    let silent = [0, 1000, 60_000].map(|after| Act::CutAnswer(after, End::Silence));
    let acts = [&acts[..], &silent[..]].concat();
    for (index, got) in get_all(&world, &body, 9, &acts).await.into_iter().enumerate() {
        match got.status {
            200 => assert!(!got.complete && body.starts_with(&got.body), "{:?}", acts[index]),
            _ => assert_refusal(&got, 504, "storage {id} cannot be used now"),
        }
    }
    world.stop().await;
}

/// With the same ETag and another length, the difference only shows in the bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_another_length_never_looks_whole() {
    let world = World::start().await;
    // S3's ETag of an object is its MD5 in hex.
    let lie = |body: &[u8], framing: &str, sent: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nETag: \"{}\"\r\n{framing}\r\n\r\n", hex::encode(Md5::digest(body)));
        Act::Answer([head.as_bytes(), sent].concat())
    };
    let chunked = |body: &[u8]| [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    let body = bytes(1000, 1);
    let told = [
        lie(&body, "Content-Length: 0", b""),
        lie(&body, "Content-Length: 999", &body[..999]),
        lie(&body, "Content-Length: 1001", &[&body[..], b"!"].concat()),
    ];
    for got in get_all(&world, &body, 9, &told).await {
        assert_refusal(&got, 502, "storage {id} refused");
    }
    let body = bytes(1001, 1);
    let acts = [
        lie(&body, "Content-Length: 1001", &body[..1000]),
        lie(&body, "Connection: close", &body[..500]),
        lie(&body, "Transfer-Encoding: chunked", &chunked(&body[..1000])),
        lie(&body, "Transfer-Encoding: chunked", &chunked(&[&body[..], b"!"].concat())),
    ];
    for (index, got) in get_all(&world, &body, 9, &acts).await.into_iter().enumerate() {
        let whole = got.status == 200 && got.complete;
        assert!(!whole, "{index}: {} bytes look whole", got.body.len());
        assert!(matches!(got.status, 0 | 200 | 502 | 504), "{index}: {got:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_removed_or_replaced_is_404() {
    let world = World::start().await;
    let body = bytes(1000, 1);
    world.with_attachment("gone", &body).await;
    let pointer = world.gateway.pointer("gone", "call.mp3").await;
    world.s3.meddle(BUCKET, pointer["stowage"]["location"]["key"].as_str().expect("a key"), None);
    assert_refusal(&world.gateway.get("gone/call.mp3").await, 404, "the attachment is gone from storage {id} (404)");
    // With another ETag, the bytes are read and compared before any is passed on.
    world.with_attachment("replaced", &body).await;
    let other =
        [b"HTTP/1.1 200 OK\r\nETag: \"other\"\r\nContent-Length: 1000\r\n\r\n".as_slice(), &bytes(1000, 2)].concat();
    world.bucket.rule("GET", "replaced_call", 9, Act::Answer(other));
    assert_refusal(&world.gateway.get("replaced/call.mp3").await, 404, "the attachment is gone from storage {id}");
    world.stop().await;
}

/// If the storage breaks during the comparison, nothing is known about the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_while_an_object_is_compared_is_not_404() {
    let world = World::start().await;
    let body = bytes(1000, 1);
    world.with_attachment("broken", &body).await;
    let head = b"HTTP/1.1 200 OK\r\nETag: \"other\"\r\nContent-Length: 1000\r\n\r\n".as_slice();
    world.bucket.rule("GET", "broken_call", 2, Act::Answer([head, &body[..500]].concat()));
    world.bucket.rule("GET", "broken_call", 9, answer(503, ""));
    assert_refusal(&world.gateway.get("broken/call.mp3").await, 504, "storage {id} cannot be used now (503)");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_a_read_have_their_status() {
    let world = World::start().await;
    let acts = [
        answer(403, "<Error><Code>AccessDenied</Code><Message>canary</Message></Error>"),
        answer(503, "canary"),
        Act::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\ncanary".to_vec()),
    ];
    let answers = get_all(&world, b"x", 9, &acts).await;
    assert_refusal(&answers[0], 502, "storage {id} refused (403)");
    assert_refusal(&answers[1], 504, "storage {id} cannot be used now (503)");
    assert!(matches!(answers[2].status, 502 | 504), "{:?}", answers[2]);
    assert!(answers.iter().all(|answer| !answer.text().contains("canary")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_knows_is_not_asked_of_the_storage() {
    let world = World::start().await;
    world.with_attachment("doc", b"a recording").await;
    let before = world.s3.answered().len();
    world.bucket.shut();
    let target = format!("/{}/doc/call.mp3", world.gateway.path());
    let head = world.gateway.request("HEAD", &target, &[], b"").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("11")));
    let tag = head.header("etag").expect("a tag").to_owned();
    let unchanged = world.gateway.request("GET", &target, &[("If-None-Match", &tag)], b"").await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(tag.as_str())));
    world.gateway.request("GET", &target, &[("Range", "bytes=11-")], b"").await.expect_status(416);
    assert_eq!(world.s3.answered().len(), before);
    world.stop().await;
}
