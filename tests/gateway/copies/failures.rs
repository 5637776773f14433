//! A failed copy: it is reported to the account and the operator, but not to the client.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::gate::{Act, End, answer};
use super::world::{World, bytes, copies, outcomes, plan, saved, soon};
use stowage_testing::gateway::STORAGE;
use stowage_testing::log::Log;
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::s3::{Failure, Operation};

/// Returns the newest record, which is about this document's copy.
fn record(world: &World, id: &str) -> Value {
    let records = world.gateway.app.gateway.records.last();
    let record = records.first().unwrap_or_else(|| panic!("{id}: nothing was written down")).clone();
    for (key, value) in [("operation", "put"), ("document_id", id), ("attachment_name", "call.mp3")] {
        assert_eq!(record[key], value, "{record}");
    }
    record
}

/// A PUT whose copy fails: CouchDB has the attachment, the storage does not, and the failure is recorded.
async fn fails(world: &World, id: &str, body: &[u8], reason: &str) {
    let rev = world.document(id).await;
    let began = Instant::now();
    saved(&world.gateway, id, &rev, body).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{id}: {:?}", began.elapsed());
    world.quiet().await;
    assert!(world.objects().is_empty(), "{id}: something is left");
    let record = record(world, id);
    assert_eq!((&record["reason"], &record["handler_id"]), (&json!(reason), &json!(STORAGE)), "{record}");
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("failed", 1)]), "{id}");
}

/// Whatever the storage does to its connection, at any byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_breaks_fails_only_the_copy() {
    let cases = [
        ("/", 0, 1000),
        ("/", 900, 1000),
        ("/", 100_000, 300_000),
        ("partNumber=1", 50, 6 << 20),
        ("partNumber=1", 100_000, 12 << 20),
        ("partNumber=1", (5 << 20) - 1, 12 << 20),
        ("partNumber=2", 100_000, 30 << 20),
    ];
    for end in [End::Fin, End::Reset, End::Silence] {
        let break_off = async |(part, after, length)| {
            let world = World::copying().await;
            world.bucket.rule("PUT", part, 99, Act::CutRequest(after, end));
            fails(&world, &format!("doc-{end:?}-{after}-{length}"), &bytes(length, 1), "gateway_timeout").await;
            world.stop().await;
        };
        // Only a few at a time, because a busy machine is silent, too.
        for some in cases.chunks(3) {
            join_all(some.iter().copied().map(break_off)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_down_or_refuses_fails_only_the_copy() {
    for length in [0, 1000, 30 << 20] {
        let world = World::copying().await;
        world.bucket.shut();
        fails(&world, "down", &bytes(length, 1), "gateway_timeout").await;
        world.stop().await;
    }
    for (method, part, length) in [
        ("PUT", "/", 1000),
        ("POST", "uploads", 30 << 20),
        ("PUT", "partNumber=2", 30 << 20),
        ("POST", "uploadId=", 6 << 20),
    ] {
        let world = World::copying().await;
        world.bucket.rule(method, part, 99, answer(403, "<Error><Code>AccessDenied</Code></Error>"));
        fails(&world, "refused", &bytes(length, 1), "request_error").await;
        let record = record(&world, "refused");
        assert_eq!(record["resp_code"], 403, "{record}");
        world.stop().await;
    }
    let world = World::copying().await;
    let failure = Failure { status: 503, code: "SlowDown" };
    world.s3.fail(Operation::Put, 99, failure);
    fails(&world, "busy", b"abc", "gateway_timeout").await;
    world.stop().await;
}

/// Invalid names, settings, drivers and addresses are the plan's fault, not the client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_cannot_be_used_fails_only_the_copy() {
    for (backend, handler, settings, reason) in [
        ("unknown", "nonsense", json!({}), "invalid_settings"),
        ("s3", "s3", json!({ "bucket": "b" }), "invalid_settings"),
        ("http", "http", json!({ "url": "http://169.254.169.254/x" }), "invalid_settings"),
        ("http", "http", json!({ "url": "no url" }), "invalid_settings"),
        ("file", "file", json!({ "directory": "../outside" }), "invalid_settings"),
        ("file", "file", json!({ "directory": "d", "field_list": ["..", { "arg": "id" }] }), "request_error"),
    ] {
        let world = World::copying().await;
        plan(&world.gateway, handler, settings.clone()).await;
        let rev = world.document("doc").await;
        saved(&world.gateway, "doc", &rev, &bytes(100_000, 1)).await;
        world.quiet().await;
        let record = record(&world, "doc");
        assert_eq!(
            (&record["reason"], &record["handler_id"]),
            (&json!(reason), &json!(STORAGE)),
            "{settings}: {record}"
        );
        assert_eq!(copies(&world.gateway, backend), outcomes(&[("failed", 1)]), "{settings}");
        assert!(world.gateway.stored().is_empty(), "{settings}");
        world.stop().await;
    }
}

/// The server acknowledges the body without having read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_does_not_read_what_it_acknowledges_has_no_copy() {
    let server = Recorder::start().await;
    let world = World::copying().await;
    plan(&world.gateway, "http", json!({ "url": server.url("/c") })).await;
    server.next(hyper::Method::PUT, 1, Answer::Early(Box::new(Answer::Status(201, ""))));
    let rev = world.document("doc").await;
    saved(&world.gateway, "doc", &rev, &bytes(20 << 20, 1)).await;
    world.quiet().await;
    assert_eq!(record(&world, "doc")["handler_id"], STORAGE);
    assert_eq!(copies(&world.gateway, "http"), outcomes(&[("failed", 1)]));
    world.stop().await;
}

/// Later attachments are copied again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_is_back_gets_copies_again() {
    let world = World::copying().await;
    world.bucket.shut();
    fails(&world, "down", &bytes(1000, 1), "gateway_timeout").await;
    world.bucket.open();
    let rev = world.document("up").await;
    saved(&world.gateway, "up", &rev, &bytes(1000, 2)).await;
    world.quiet().await;
    assert_eq!(world.objects(), [bytes(1000, 2)]);
    assert_eq!(copies(&world.gateway, "s3"), outcomes(&[("failed", 1), ("ok", 1)]));
    world.stop().await;
}

#[tokio::test]
async fn a_failed_copy_is_one_line_that_names_the_request() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::INFO);
    let world = World::copying().await;
    world.bucket.shut();
    fails(&world, "doc", &bytes(1000, 1), "gateway_timeout").await;
    world.stop().await;
    drop(guard);
    let lines = log.lines(STORAGE);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let (failed, access) = if lines[0].contains("WARN") { (&lines[0], &lines[1]) } else { (&lines[1], &lines[0]) };
    assert!(failed.contains("WARN") && failed.contains("an attachment has no copy"), "{failed}");
    assert!(access.contains("status=201") && access.contains("outcome=\"ok\""), "{access}");
    let request = |line: &str| line.split("request=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
    assert!(request(failed).is_some_and(|id| id.len() > 5));
    assert_eq!(request(failed), request(access));
}

/// CouchDB's silence is logged with the place of the remaining copy.
#[tokio::test]
async fn a_doubtful_copy_is_one_line_that_names_its_place() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::INFO);
    let world = World::copying().await;
    let rev = world.document("doc").await;
    world.store.rule("PUT", "/call.mp3?rev=", 1, Act::CutAnswer(0, End::Fin));
    assert_eq!(world.gateway.put("doc", "call.mp3", &rev, b"abc").await.status, 504);
    soon("the copy", || copies(&world.gateway, "s3") == outcomes(&[("unknown", 1)])).await;
    world.stop().await;
    drop(guard);
    let lines = log.lines("its copy stays in the storage");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("request=") && lines[0].contains("doc_call.mp3"), "{lines:?}");
}
