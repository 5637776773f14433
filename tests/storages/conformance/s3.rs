//! The `s3` driver's own tests: signatures, retries, lost responses, failing multipart uploads, broken downloads.

use futures_util::StreamExt as _;
use http::StatusCode;

use super::targets::s3_settings;
use crate::conformance::prelude::*;
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::s3::{Failure, Operation, S3Server};
use stowage_testing::upstream::until;

const SLOW_DOWN: Failure = Failure { status: 503, code: "SlowDown" };

/// Starts a server, and a driver with changed settings.
pub async fn start(change: impl FnOnce(&mut Value)) -> (Arc<S3Server>, Target) {
    let server = Arc::new(S3Server::start().await);
    server.make_bucket(super::targets::BUCKET);
    let target = open(&server, change);
    (server, target)
}

/// Starts a server, and a driver behind a proxy.
async fn behind_proxy() -> (Arc<S3Server>, FaultProxy, Target) {
    let (server, _) = start(|_| {}).await;
    let proxy = FaultProxy::start(server.address()).await;
    let target = open(&server, |settings| settings["port"] = json!(proxy.address().port()));
    (server, proxy, target)
}

/// Opens a driver with changed settings.
pub fn open(server: &Arc<S3Server>, change: impl FnOnce(&mut Value)) -> Target {
    let mut settings = s3_settings(server, "path");
    change(&mut settings);
    Target::open("s3", settings, &Around::default(), BUDGET, Box::new(Arc::clone(server)))
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let (_server, target) = start(|settings| settings["secret"] = json!("wrong")).await;
    for length in [1, CHUNK_BYTES + 1] {
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("refused");
        assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (Kind::Refused, Some(403)));
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
    target.assert_empty("refused").await;
}

#[tokio::test]
async fn the_code_of_a_refusal_is_told_and_nothing_else() {
    let (server, target) = start(|_| {}).await;
    server.fail(Operation::Get, 1, Failure { status: 403, code: "AccessDenied" });
    let stored = target.put(&object("x"), Body::full("x")).await.expect("stored");
    let error = target.get(&stored.location, None, 1).await.expect_err("refused");
    assert_eq!(error.to_string(), "S3 refused to read an object: AccessDenied (status 403)");
    server.fail(Operation::Get, 1, Failure { status: 404, code: "NoSuchBucket" });
    assert_eq!(kind(target.get(&stored.location, None, 1).await), Some(Kind::Refused));
}

#[tokio::test]
async fn slow_down_twice_is_no_failure() {
    let (server, target) = start(|_| {}).await;
    let operations = [Operation::Head, Operation::Put, Operation::Begin, Operation::Part, Operation::Complete];
    for operation in operations {
        server.fail(operation, 2, SLOW_DOWN);
    }
    let (small, large) = (bytes(10), bytes(CHUNK_BYTES + 1));
    let stored = [
        (target.put(&object("small"), Body::full(small.clone())).await.expect("stored"), small),
        (target.put(&object("large"), Body::full(large.clone())).await.expect("stored"), large),
    ];
    for (stored, data) in stored {
        server.fail(Operation::Get, 2, SLOW_DOWN);
        assert!(target.read(&stored.location, data.len()).await == data);
        server.fail(Operation::Delete, 2, SLOW_DOWN);
        target.backend.delete(&stored.location).await.expect("removed");
    }
    target.assert_empty("after all").await;
}

#[tokio::test]
async fn slow_down_for_ever_is_passing_and_leaves_nothing() {
    together(
        [Operation::Head, Operation::Put, Operation::Begin, Operation::Part, Operation::Complete],
        async |operation| {
            let (server, target) = start(|_| {}).await;
            server.fail(operation, 3, SLOW_DOWN);
            let length = if operation == Operation::Put { 10 } else { CHUNK_BYTES + 1 };
            let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!(error.kind(), Kind::Passing, "{operation:?}");
            assert!(error.to_string().contains("SlowDown") || operation == Operation::Head, "{error}");
            target.assert_empty(&format!("{operation:?}")).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_completion_that_fails_with_status_200_is_a_failure() {
    let (server, target) = start(|_| {}).await;
    server.fail(Operation::Complete, 1, Failure { status: 200, code: "InvalidPart" });
    let data = bytes(CHUNK_BYTES + 1);
    let outcome = target.put(&object("x"), Body::full(data.clone())).await;
    assert_eq!(kind(outcome), Some(Kind::Refused));
    target.assert_empty("invalid part").await;
    server.fail(Operation::Complete, 2, Failure { status: 200, code: "InternalError" });
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert!(target.read(&stored.location, data.len()).await == data);
}

#[tokio::test]
async fn a_name_taken_during_a_multipart_upload_is_passing() {
    let (server, target) = start(|_| {}).await;
    server.fail(Operation::Complete, 1, Failure { status: 412, code: "PreconditionFailed" });
    let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
    assert_eq!(kind(outcome), Some(Kind::Passing));
    target.assert_empty("aborted").await;
}

#[tokio::test]
async fn a_server_without_conditions_is_asked_first() {
    let (server, target) = start(|_| {}).await;
    for length in [10, CHUNK_BYTES + 1] {
        let operation = if length == 10 { Operation::Put } else { Operation::Complete };
        server.fail(operation, 1, NOT_IMPLEMENTED);
        let object = object(&length.to_string());
        let first = target.put(&object, Body::full(bytes(length))).await.expect("stored");
        let second = target.put(&object, Body::full(vec![1; length])).await.expect("stored");
        assert_eq!(first.location["key"], json!(object.name));
        assert_eq!(second.location["key"], json!(object.spare));
        assert!(target.read(&first.location, length).await == bytes(length));
    }
    target.assert_clean("after all").await;
}

const NOT_IMPLEMENTED: Failure = Failure { status: 501, code: "NotImplemented" };

/// The response to the PUT is lost: the repeated request finds the object of the first one, and recognizes it.
#[tokio::test]
async fn a_lost_answer_is_found_out() {
    for after in [0, 20] {
        let (server, proxy, target) = behind_proxy().await;
        // The first connection carries the HEAD and the PUT, whose response is to break.
        let head = target.get(&json!({"key": "none"}).as_object().expect("object").clone(), None, 1).await;
        assert_eq!(kind(head), Some(Kind::Missing));
        let before = proxy.counts().to_client;
        target.put(&object("before"), Body::full("x")).await.expect("stored");
        let one_put = proxy.counts().to_client - before;
        drop((server, proxy, target));

        let (server, proxy, target) = behind_proxy().await;
        // About as long as the response to HEAD, so that the response to PUT is cut in its head.
        proxy.plan(Fault::to_client(one_put - 60 + after, What::Cut));
        let data = bytes(1000);
        let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
        assert_eq!(stored.location["key"], json!("x"), "the spare would mean that it did not know its own");
        assert!(target.read(&stored.location, data.len()).await == data);
        assert_eq!(proxy.counts().struck, 1);
        target.idle().await;
        let puts: Vec<_> =
            server.answered().into_iter().filter(|(operation, _)| *operation == Operation::Put).collect();
        let statuses: Vec<_> = puts.iter().map(|(_, status)| status.as_u16()).collect();
        assert_eq!(statuses, [200, 412]);
        assert_eq!(server.objects(super::targets::BUCKET).len(), 1);
    }
}

/// Once an attempt may have removed the object, another gateway may store a new one under its name.
#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_not_repeated() {
    let (server, proxy, target) = behind_proxy().await;
    let stored = open(&server, |_| {}).put(&object("x"), Body::full("old")).await.expect("stored");
    proxy.plan(Fault::to_client(10, What::Cut));
    let error = target.backend.delete(&stored.location).await.expect_err("no answer");
    assert_eq!(
        (error.kind(), proxy.counts().struck, server.count(Operation::Delete)),
        (Kind::Passing, 1, 1),
        "{error}"
    );
    assert!(server.objects(super::targets::BUCKET).is_empty());
}

/// An aborted first attempt is still running on the server, and completes after the repeated request was told that the name is taken.
#[tokio::test]
async fn a_try_that_ends_late_leaves_nothing() {
    let (server, target) = start(|_| {}).await;
    let release = server.late(Operation::Put);
    server.fail(Operation::Put, 1, Failure { status: 412, code: "PreconditionFailed" });
    let stored = target.put(&object("x"), Body::full("abc")).await.expect("stored");
    assert_eq!(stored.location["key"], json!("x.1f6c2a9e"));
    release.send(()).expect("the server waits for it");
    let is_stored = |(operation, status): &(Operation, StatusCode)| *operation == Operation::Put && status.is_success();
    until("the first try arrives", async || server.answered().iter().filter(|put| is_stored(put)).count() == 2).await;
    target.assert_clean("late").await;
    assert_eq!(target.world.objects(), ["x.1f6c2a9e"]);
}

#[tokio::test]
async fn a_location_names_its_own_bucket() {
    let (server, target) = start(|_| {}).await;
    server.make_bucket("other");
    let stored = target.put(&object("x"), Body::full("plan")).await.expect("stored");
    assert_eq!(stored.location["bucket"], json!("recordings"));
    let mut other = stored.location.clone();
    other.insert("bucket".to_owned(), json!("other"));
    assert_eq!(kind(target.get(&other, None, 4).await), Some(Kind::Missing));
    other.remove("bucket");
    assert_eq!(target.read(&other, 4).await, b"plan");
}

#[tokio::test]
async fn addresses_are_the_tenants() {
    // The tests' egress policy only allows 127.0.0.0/8.
    let (_server, target) = start(|settings| settings["host"] = json!("10.0.0.1")).await;
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Settings));
}

/// What a gateway that was killed has begun, under the name that the repeat took: to remove it is not to remove the object.
#[tokio::test]
async fn an_unfinished_upload_is_removed_without_the_object_of_its_name() {
    let (server, target) = start(|_| {}).await;
    server.fail(Operation::Part, 1, Failure { status: 403, code: "AccessDenied" });
    // As often as the driver tries to clear up after itself.
    server.fail(Operation::Abort, 3, Failure { status: 403, code: "AccessDenied" });
    target.put(&object("x"), Body::full(bytes(2 * CHUNK_BYTES))).await.expect_err("refused");
    target.idle().await;
    let target = open(&server, |_| {});
    let stored = target.put(&object("x"), Body::full(bytes(10))).await.expect("stored");
    assert!(!server.pending().is_empty());
    let listed: Vec<_> = target.backend.list().expect("a list").map(|listed| listed.expect("an entry")).collect().await;
    let [object, upload] = &*listed else { panic!("{listed:?}") };
    assert_eq!((object.length, &object.location), (Some(10), &stored.location));
    assert_eq!((upload.length, &upload.name), (None, &object.name));
    target.backend.delete(&upload.location).await.expect("removed");
    assert!(server.pending().is_empty());
    assert!(target.read(&stored.location, 10).await == bytes(10));
}
