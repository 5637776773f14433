//! Lost answers, sessions that end, damage, connections that break.

use std::sync::Arc;

use serde_json::{Value, json};
use stowage_http::body::{Body, collect};
use stowage_storage::{CHUNK_BYTES, Kind};

use super::{Double, LARGE, refusal, start};
use crate::conformance::bodies::{Frames, bytes};
use crate::conformance::targets::{LIMIT, Target, kind, object};
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::trouble::Trouble;

/// Sessions and downloads go through a proxy.
async fn behind_proxy() -> (Arc<Double>, FaultProxy, Target) {
    let (double, target) = start().await;
    let proxy = FaultProxy::start(double.vendor.edge()).await;
    double.vendor.give(proxy.address());
    (double, proxy, target)
}

/// Under a name that is its own, a lost answer is found out.
#[tokio::test]
async fn a_lost_answer_for_a_unique_name_is_found_out() {
    for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(503, Value::Null)] {
        let (double, target) = start().await;
        let mut object = object("x");
        object.taken = true;
        double.vendor.troubles().plan("content", 1, trouble);
        let stored = target.put(&object, Body::full(bytes(10))).await.expect("stored");
        assert_eq!(target.read(&stored.location, 10).await, bytes(10));
        assert_eq!(double.vendor.paths(), ["x.1f6c2a9e"]);
        // Nobody answers any more: what was stored goes later.
        object.spare = "x.2".to_owned();
        double.vendor.troubles().plan("content", 3, Trouble::LosesAnswer);
        double.vendor.troubles().plan("item", 3, Trouble::Breaks);
        assert_eq!(kind(target.put(&object, Body::full(bytes(10))).await), Some(Kind::Passing));
        target.assert_clean("later").await;
        assert_eq!(double.vendor.paths(), ["x.1f6c2a9e"]);
    }
}

/// Under the composed name, it cannot be known whose a file with our bytes is: it stays, and ours gets a name of its own.
#[tokio::test]
async fn a_file_that_may_be_anothers_is_left_alone() {
    let (double, target) = start().await;
    double.vendor.troubles().plan("content", 1, Trouble::LosesAnswer);
    let stored = target.put(&object("x"), Body::full(bytes(10))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert_eq!(double.vendor.paths(), ["x", "x.1f6c2a9e"]);
    target.backend.delete(&stored.location).await.expect("removed");
    target.assert_clean("after all").await;
    assert_eq!(double.vendor.paths(), ["x"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_fragment_is_found_out() {
    for length in [LARGE, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(503, Value::Null)] {
            let (double, target) = start().await;
            double.vendor.troubles().plan("fragment", 1, trouble.clone());
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(stored.location["path"], json!("/x"));
            assert!(target.read(&stored.location, length).await == bytes(length));
            assert_eq!(double.vendor.paths(), ["x"]);
            target.assert_clean(&format!("{length} {trouble:?}")).await;
        }
    }
}

/// Every answer to the last fragment is lost, and the session cannot be asked: the file that it made goes later.
#[tokio::test]
async fn what_nobody_knows_of_is_removed_later() {
    let (double, target) = start().await;
    double.vendor.troubles().plan("fragment", 3, Trouble::LosesAnswer);
    double.vendor.troubles().plan("status", 3, Trouble::Breaks);
    let nothing = refusal(404, "itemNotFound", None);
    double.vendor.troubles().plan("item", 1, nothing);
    double.vendor.troubles().plan("item", 3, Trouble::Breaks);
    assert_eq!(kind(target.put(&object("x"), Body::full(bytes(LARGE))).await), Some(Kind::Passing));
    target.assert_empty("removed later").await;
}

#[tokio::test]
async fn a_session_that_has_expired_is_passing() {
    let (double, target) = start().await;
    let vendor = Arc::clone(&double);
    let (length, mut frames) = (3 * CHUNK_BYTES, 0);
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
        frames += 1;
        if frames > 2 * (CHUNK_BYTES >> 16) + 10 {
            vendor.vendor.expire_sessions();
        }
    });
    let error = target.put(&object("x"), body.body()).await.expect_err("expired");
    assert_eq!(error.kind(), Kind::Passing, "{error}");
    target.assert_empty("expired").await;
}

#[tokio::test]
async fn a_name_taken_before_or_during_a_session_is_left_alone() {
    let (double, target) = start().await;
    // After it was looked up: the session itself is refused.
    double.vendor.troubles().plan("createUploadSession", 1, refusal(409, "nameAlreadyExists", None));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    target.backend.delete(&stored.location).await.expect("removed");
    // During the upload: the last fragment meets it.
    let vendor = Arc::clone(&double);
    let mut frames = 0;
    let length = 2 * CHUNK_BYTES;
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
        frames += 1;
        if frames == (CHUNK_BYTES >> 16) + 60 {
            vendor.vendor.place("y", "somebody's");
        }
    });
    assert_eq!(kind(target.put(&object("y"), body.body()).await), Some(Kind::Passing));
    target.assert_clean("the session is ended").await;
    assert_eq!(double.vendor.paths(), ["y"]);
}

#[tokio::test]
async fn damaged_bytes_are_noticed_and_go() {
    for (length, route) in [(10, "content"), (LARGE, "fragment"), (CHUNK_BYTES + 1, "fragment")] {
        let (double, target) = start().await;
        double.vendor.troubles().plan(route, 1, Trouble::Damages);
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("damaged");
        assert!(error.kind() == Kind::Refused && error.to_string().contains("other bytes"), "{error}");
        target.assert_empty(route).await;
    }
    let (double, target) = start().await;
    double.vendor.without_hashes();
    for length in [10, LARGE] {
        target.put(&object(&length.to_string()), Body::full(bytes(length))).await.expect("stored");
    }
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_leave_nothing() {
    let length = CHUNK_BYTES + 70_000;
    for after in [0, 100, 700, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_000] {
        for what in [What::Cut, What::Reset] {
            let (_double, proxy, target) = behind_proxy().await;
            proxy.plan(Fault::to_server(after, what));
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            target.assert_clean(&format!("{what:?} after {after}")).await;
            assert_eq!(target.world.objects(), ["x"]);
        }
    }
}

/// Each address is good once: the rest comes from a new one.
#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (double, proxy, target) = behind_proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!((proxy.counts().struck, double.vendor.troubles().count("download")), (2, 3));
    let reader = double.open(double.vendor.address());
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let (double, proxy, target) = behind_proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = target.get(&stored.location, None, 3 << 20).await.expect("an object");
    proxy.wait_until(|counts| counts.struck == 1).await;
    double.vendor.revise("x", vec![9; 3 << 20]);
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

/// The form of KAZOO's pointers: drive and item, and nothing else.
#[tokio::test]
async fn ids_alone_are_a_location() {
    let (_double, target) = start().await;
    let mut location = target.put(&object("x"), Body::full("old")).await.expect("stored").location;
    location.remove("path");
    assert_eq!(target.read(&location, 3).await, b"old");
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}
