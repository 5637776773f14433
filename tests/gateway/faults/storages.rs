//! An S3 server that refuses, dies halfway, sends invalid responses or none: the client gets an error in CouchDB's form, and nothing is visible or
//! left.

use futures_util::future::join_all;

use super::gate::{Act, End, answer};
use super::world::{BUCKET, World, assert_refusal, bytes};
use stowage_testing::s3::{Failure, Operation};

/// Stores a body in one document for each act; returns the documents and the statuses.
async fn put_all(
    world: &World,
    method: &'static str,
    times: usize,
    acts: &[Act],
    body: &[u8],
) -> (Vec<String>, Vec<u16>) {
    let ids: Vec<String> = (0..acts.len()).map(|index| format!("doc-{index:03}-{}", body.len())).collect();
    let revs = join_all(ids.iter().map(|id| world.document(id))).await;
    for (id, act) in ids.iter().zip(acts) {
        world.bucket.rule(method, &format!("{id}_call"), times, act.clone());
    }
    let puts = ids.iter().zip(&revs).map(|(id, rev)| world.gateway.put(id, "call.mp3", rev, body));
    let answers = join_all(puts).await;
    let statuses = answers.iter().map(|answer| answer.status).collect();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        let text = answer.text();
        assert!(text.contains("storage 0123456789abcdef0123456789abcdef"), "{text}");
        assert!(!text.contains("canary"), "the storage's own words: {text}");
    }
    (ids, statuses)
}

/// Checks that acknowledged attachments exist, others do not, and no object is left.
async fn check(world: &World, ids: &[String], statuses: &[u16], body: &[u8]) {
    world.gateway.settled().await;
    for (id, status) in ids.iter().zip(statuses) {
        assert_eq!(world.whole_or_nothing(id, "call.mp3", body).await, *status == 201, "{id}");
    }
    world.audit(ids).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_break_at_any_byte_is_mended() {
    let world = World::start().await;
    let body = bytes(50_000, 1);
    let mut acts = Vec::new();
    for end in [End::Fin, End::Reset] {
        for after in [0, 1, 100, 700, 1000, 20_000, 50_000, 50_800] {
            acts.push(Act::CutRequest(after, end));
        }
        for after in [0, 1, 9, 40, 100] {
            acts.push(Act::CutAnswer(after, end));
        }
    }
    let (ids, statuses) = put_all(&world, "PUT", 1, &acts, &body).await;
    assert_eq!(statuses, vec![201; acts.len()]);
    check(&world, &ids, &statuses, &body).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_break_in_a_multipart_upload_is_mended_or_leaves_nothing() {
    let world = World::start().await;
    let body = bytes((5 << 20) + 1000, 1);
    let mut mended = 0;
    for (method, part) in
        [("POST", "?uploads"), ("PUT", "partNumber=1"), ("PUT", "partNumber=2"), ("POST", "?uploadId")]
    {
        let acts = [
            Act::CutRequest(0, End::Reset),
            Act::CutRequest(900, End::Fin),
            Act::CutAnswer(0, End::Fin),
            Act::CutAnswer(120, End::Reset),
            answer(503, "canary"),
        ];
        let name = format!("{}{}", method.to_lowercase(), part.trim_matches('?'));
        let ids: Vec<String> = (0..acts.len()).map(|index| format!("{name}-{index}")).collect();
        let revs = join_all(ids.iter().map(|id| world.document(id))).await;
        for (id, act) in ids.iter().zip(acts) {
            let id = id.replace('=', "%253D");
            world.bucket.rule(method, &format!("{id}_call*{part}"), 1, act);
        }
        let puts = ids.iter().zip(&revs).map(|(id, rev)| world.gateway.put(id, "call.mp3", rev, &body));
        let answers = join_all(puts).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| matches!(status, 201 | 504)), "{name}: {statuses:?}");
        mended += statuses.iter().filter(|status| **status == 201).count();
        world.gateway.settled().await;
        for (id, status) in ids.iter().zip(&statuses) {
            assert_eq!(world.whole_or_nothing(id, "call.mp3", &body).await, *status == 201, "{id}");
        }
    }
    assert!(mended >= 10, "only {mended} were mended");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_keeps_failing_is_504_and_leaves_nothing() {
    let world = World::start().await;
    let acts = [
        Act::CutRequest(0, End::Reset),
        Act::CutRequest(1000, End::Fin),
        Act::CutAnswer(0, End::Fin),
        Act::CutAnswer(60, End::Reset),
        Act::CutAnswer(0, End::Silence),
        answer(500, "canary"),
        answer(503, "<Error><Code>canary</Code><Message>canary</Message></Error>"),
        answer(429, "canary"),
    ];
    let body = bytes(10_000, 1);
    let (ids, statuses) = put_all(&world, "PUT", 9, &acts, &body).await;
    // Objects whose response was lost are stored, which the gateway verifies.
    let expected: Vec<u16> = (0..acts.len()).map(|index| if matches!(index, 2..5) { 201 } else { 504 }).collect();
    assert_eq!(statuses, expected);
    world.bucket.relent();
    check(&world, &ids, &statuses, &body).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_stops_reading_is_504_and_leaves_nothing() {
    let world = World::start().await;
    let body = bytes(10_000, 1);
    let (ids, statuses) = put_all(&world, "PUT", 9, &[Act::CutRequest(2000, End::Silence)], &body).await;
    assert_eq!(statuses, [504]);
    world.bucket.relent();
    check(&world, &ids, &statuses, &body).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_or_nonsense_is_502_and_leaves_nothing() {
    let world = World::start().await;
    let nonsense = |text: &str| Act::Answer(text.as_bytes().to_vec());
    let acts = [
        answer(400, "<Error><Code>canary</Code></Error>"),
        answer(403, "<Error><Code>AccessDenied</Code><Message>canary</Message></Error>"),
        answer(404, "canary"),
        answer(507, "canary"),
        nonsense("HTTP/1.1 101 Switching Protocols\r\nUpgrade: canary\r\n\r\n"),
        nonsense("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        nonsense("canary canary canary\r\n\r\n"),
    ];
    let body = bytes(10_000, 1);
    let (ids, statuses) = put_all(&world, "PUT", 9, &acts, &body).await;
    assert_eq!(statuses[..6], [502; 6]);
    assert!(matches!(statuses[6], 502 | 504), "what is no HTTP at all is a broken connection: {statuses:?}");
    world.bucket.relent();
    check(&world, &ids, &statuses, &body).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_names_the_storage_and_the_code() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    world.s3.fail(Operation::Put, 1, Failure { status: 403, code: "AccessDenied" });
    let put = world.gateway.put("doc", "call.mp3", &rev, b"x").await;
    assert_refusal(&put, 502, "storage {id} refused (403)");
    world.s3.fail(Operation::Put, 3, Failure { status: 503, code: "SlowDown" });
    let put = world.gateway.put("doc", "call.mp3", &rev, b"x").await;
    assert_refusal(&put, 504, "storage {id} cannot be used now (503)");
    world.s3.fail(Operation::Put, 2, Failure { status: 503, code: "SlowDown" });
    world.gateway.attach("doc", "call.mp3", &rev, b"x").await;
    world.audit_and_stop(&["doc"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_not_there_is_504() {
    let world = World::start().await;
    let rev = world.document("doc").await;
    world.bucket.shut();
    let put = world.gateway.put("doc", "call.mp3", &rev, b"x").await;
    assert_refusal(&put, 504, "storage {id} cannot be used now");
    assert_eq!(world.stored("doc").await["_rev"], rev);
    world.bucket.open();
    world.gateway.attach("doc", "call.mp3", &rev, b"x").await;
    world.stop().await;
}

/// A failed overwrite in the storage leaves the old attachment unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_overwrite_leaves_the_old_attachment() {
    let world = World::start().await;
    let rev = world.with_attachment("doc", b"the old recording").await;
    for act in [answer(403, "no"), Act::CutRequest(700, End::Reset), Act::CutRequest(700, End::Silence)] {
        world.bucket.rule("PUT", "doc_call", 9, act);
        let put = world.gateway.put("doc", "call.mp3", &rev, &bytes(10_000, 1)).await;
        assert!(matches!(put.status, 502 | 504), "{put:?}");
        world.bucket.relent();
        assert!(world.whole_or_nothing("doc", "call.mp3", b"the old recording").await);
    }
    world.audit(&["doc"]).await;
    assert_eq!(world.s3.objects(BUCKET).len(), 1);
    world.stop().await;
}
