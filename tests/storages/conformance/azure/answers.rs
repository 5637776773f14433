//! Azure's error responses, lost responses, and responses that differ from what was sent.

use crate::conformance::prelude::*;
use std::time::Instant;

use super::gated;
use stowage_testing::azurite::{Failure, Operation};

const BUSY: Failure = Failure::Answer(503, "ServerBusy", None);

#[tokio::test]
async fn busy_twice_is_no_failure() {
    let (_container, gate, target) = gated().await;
    for operation in [Operation::Head, Operation::Put, Operation::Block, Operation::List] {
        gate.fail(operation, 2, BUSY);
    }
    let (small, large) = (bytes(10), bytes(CHUNK_BYTES + 1));
    let stored = [
        (target.put(&object("small"), Body::full(small.clone())).await.expect("stored"), small),
        (target.put(&object("large"), Body::full(large.clone())).await.expect("stored"), large),
    ];
    for (stored, data) in stored {
        gate.fail(Operation::Get, 2, BUSY);
        assert!(target.read(&stored.location, data.len()).await == data);
        gate.fail(Operation::Delete, 2, BUSY);
        target.backend.delete(&stored.location).await.expect("removed");
    }
    target.assert_empty("after all").await;
}

#[tokio::test]
async fn busy_for_ever_is_passing_and_leaves_nothing() {
    let passing = [(500, "InternalError"), (503, "ServerBusy"), (429, "TooManyRequests"), (500, "OperationTimedOut")];
    let operations = [Operation::Head, Operation::Put, Operation::Block, Operation::List];
    together(operations.into_iter().zip(passing), async |(operation, (status, code))| {
        let (_container, gate, target) = gated().await;
        gate.fail(operation, 3, Failure::Answer(status, code, None));
        let length = if operation == Operation::Put { 10 } else { CHUNK_BYTES + 1 };
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
        assert_eq!(error.kind(), Kind::Passing, "{operation:?}");
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(gate.count(operation), 3, "{operation:?}");
        target.assert_empty(&format!("{operation:?}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_made_and_every_try_is_signed_afresh() {
    let (_container, gate, target) = gated().await;
    gate.fail(Operation::Put, 1, Failure::Answer(503, "ServerBusy", Some(2)));
    let began = Instant::now();
    target.put(&object("x"), Body::full("x")).await.expect("stored");
    assert!(began.elapsed().as_millis() >= 2000, "{:?}", began.elapsed());
    let seen = gate.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].date, seen[1].date);
    assert_ne!(seen[0].signature, seen[1].signature);
}

#[tokio::test]
async fn a_pause_that_is_too_long_ends_it_at_once() {
    let (_container, gate, target) = gated().await;
    gate.fail(Operation::Put, 1, Failure::Answer(503, "ServerBusy", Some(3600)));
    let began = Instant::now();
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("an error");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(error.kind(), Kind::Passing);
    assert_eq!(error.retry_after().map(|pause| pause.as_secs()), Some(3600));
    assert!(error.to_string().contains("ServerBusy"), "{error}");
    assert_eq!(gate.count(Operation::Put), 1);
    target.assert_empty("not stored").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_out() {
    for failure in [Failure::Lose, Failure::Hide] {
        for (operation, length) in
            [(Operation::Put, 10), (Operation::Block, CHUNK_BYTES + 1), (Operation::List, CHUNK_BYTES + 1)]
        {
            let (container, gate, target) = gated().await;
            gate.fail(operation, 1, failure);
            let data = bytes(length);
            let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
            assert_eq!(stored.location["blob"], json!("x"), "the spare would mean that it did not know its own");
            assert!(stored.etag.is_some());
            assert!(target.read(&stored.location, length).await == data);
            target.idle().await;
            assert_eq!(container.blobs(), ["x"], "{failure:?} {operation:?}");
        }
    }
}

#[tokio::test]
async fn a_blob_whose_answers_are_all_lost_is_removed_or_taken() {
    let (container, gate, target) = gated().await;
    gate.fail(Operation::Put, 3, Failure::Lose);
    let stored = target.put(&object("x"), Body::full("x")).await.expect("found out by a look");
    assert_eq!(target.read(&stored.location, 1).await, b"x");
    // If the check fails, too, the result is an error; once checks succeed, nothing is left.
    gate.fail(Operation::Put, 3, Failure::Lose);
    gate.fail(Operation::Head, 3, BUSY);
    assert_eq!(kind(target.put(&object("y"), Body::full("y")).await), Some(Kind::Passing));
    target.idle().await;
    assert_eq!(container.blobs(), ["x"]);
}

#[tokio::test]
async fn somebody_elses_blob_is_never_removed() {
    let (container, gate, target) = gated().await;
    let theirs = container.ask("PUT", "x", "", &[("x-ms-blob-type", "BlockBlob")], b"theirs");
    assert_eq!(theirs.status, 201, "{theirs:?}");
    gate.fail(Operation::Put, 1, Failure::Hide);
    let stored = target.put(&object("x"), Body::full("ours")).await.expect("stored");
    assert_eq!(stored.location["blob"], json!("x.1f6c2a9e"));
    gate.fail(Operation::List, 3, Failure::Answer(500, "InternalError", None));
    assert_eq!(kind(target.put(&object("y"), Body::full(bytes(CHUNK_BYTES + 1))).await), Some(Kind::Passing));
    target.idle().await;
    assert_eq!(container.blobs(), ["x", "x.1f6c2a9e"]);
    assert_eq!(container.ask("GET", "x", "", &[], b"").body, b"theirs");
}

#[tokio::test]
async fn another_checksum_in_the_answer_is_an_error_and_the_blob_goes() {
    for (operation, length) in
        [(Operation::Put, 10), (Operation::Block, CHUNK_BYTES + 1), (Operation::List, CHUNK_BYTES + 1)]
    {
        let (_container, gate, target) = gated().await;
        gate.fail(operation, 1, Failure::Header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="));
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("another checksum");
        assert!(error.to_string().contains("other bytes"), "{operation:?}: {error}");
        target.assert_empty(&format!("{operation:?}")).await;
    }
}

#[tokio::test]
async fn a_name_taken_during_an_upload_of_blocks_is_passing() {
    for code in ["BlobAlreadyExists", "InvalidBlockList"] {
        let (_container, gate, target) = gated().await;
        let status = if code == "InvalidBlockList" { 400 } else { 409 };
        gate.fail(Operation::List, 1, Failure::Answer(status, code, None));
        let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing), "{code}");
        target.assert_empty(code).await;
    }
}

#[tokio::test]
async fn only_a_missing_blob_is_missing() {
    let (container, gate, target) = gated().await;
    let stored = target.put(&object("x"), Body::full("x")).await.expect("stored");
    gate.fail(Operation::Get, 1, Failure::Answer(403, "AuthenticationFailed", None));
    let error = target.get(&stored.location, None, 1).await.expect_err("refused");
    assert_eq!(error.to_string(), "Azure refused to read an object: AuthenticationFailed (status 403)");
    gate.fail(Operation::Get, 1, Failure::Answer(404, "no code <secret>", None));
    let error = target.get(&stored.location, None, 1).await.expect_err("refused");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Refused, "Azure refused to read an object (status 404)")
    );

    let mut other = stored.location.clone();
    other.insert("container".to_owned(), json!("another"));
    let error = target.get(&other, None, 1).await.expect_err("refused");
    assert_eq!(error.to_string(), "Azure refused to read an object: ContainerNotFound (status 404)");
    target.backend.delete(&other).await.expect("gone with its container");
    assert_eq!(container.blobs(), ["x"]);
    other.remove("container");
    assert_eq!(target.read(&other, 1).await, b"x");
    gate.fail(Operation::Delete, 1, Failure::Answer(409, "SnapshotsPresent", None));
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
    gate.fail(Operation::Delete, 1, Failure::Answer(404, "ResourceNotFound", None));
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
}
