//! Lost answers, sessions that end, damage, connections that break.

use std::sync::Arc;

use serde_json::{Value, json};
use stowage_http::body::{Body, collect};
use stowage_storage::{CHUNK_BYTES, Kind};

use super::{Double, error, routes, start};
use crate::conformance::bodies::{Frames, bytes};
use crate::conformance::targets::{LIMIT, Target, kind, object};
use stowage_testing::fault::{Fault, FaultProxy, What};
use stowage_testing::trouble::Trouble;

/// A driver that reaches the content server through a proxy.
async fn behind_proxy() -> (Arc<Double>, FaultProxy, Target) {
    let double = Double::start().await;
    let proxy = FaultProxy::start(double.vendor.content()).await;
    let target = double.open(proxy.address());
    (double, proxy, target)
}

#[tokio::test]
async fn a_lost_answer_is_found_out() {
    for length in [10, 2 * CHUNK_BYTES + 1] {
        for route in routes(length).iter().filter(|route| **route != "get_metadata") {
            for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(500, Value::Null)] {
                let (double, target) = start().await;
                double.vendor.troubles().plan(route, 1, trouble);
                let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
                assert_eq!(stored.location["path"], json!("/x"), "it did not know its own: {route}");
                assert!(target.read(&stored.location, length).await == bytes(length));
                assert_eq!(double.vendor.paths(), ["x"]);
                target.backend.delete(&stored.location).await.expect("removed");
                target.assert_empty(route).await;
            }
        }
    }
}

/// Every answer is lost, and then the storage cannot be asked: what was stored goes later.
#[tokio::test]
async fn what_nobody_knows_of_is_removed_later() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let route = if length == 10 { "upload" } else { "upload_session/finish" };
        double.vendor.troubles().plan(route, 3, Trouble::LosesAnswer);
        if length > 10 {
            double.vendor.troubles().plan("get_metadata", 1, Trouble::FailsAfter(503, Value::Null));
        }
        double.vendor.troubles().plan("get_metadata", 3, Trouble::Breaks);
        let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing));
        target.assert_empty("removed later").await;
    }
}

/// Somebody else stored the same bytes under the same name, while the answer to ours was lost.
#[tokio::test]
async fn anothers_file_with_the_same_bytes_is_not_taken_for_ours() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let id = double.vendor.place("/x", bytes(length));
        double.vendor.troubles().plan("upload", 1, Trouble::Breaks);
        if length > 10 {
            // It came after the name was looked up.
            let nothing = error(json!({".tag": "path", "path": {".tag": "not_found"}}));
            double.vendor.troubles().plan("get_metadata", 1, Trouble::Refuses(409, nothing, None));
            double.vendor.troubles().plan("upload_session/finish", 1, Trouble::Breaks);
        }
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert_ne!(stored.location["id"], json!(id));
        assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
        target.backend.delete(&stored.location).await.expect("removed");
        target.assert_clean("after all").await;
        assert_eq!(double.vendor.paths(), ["x"], "somebody else's file");
    }
}

#[tokio::test]
async fn a_chunk_that_was_taken_in_part_goes_on_there() {
    let (double, target) = start().await;
    let data = bytes(3 * CHUNK_BYTES);
    double.vendor.troubles().plan("upload_session/append_v2", 1, Trouble::Keeps(4 << 20));
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(double.vendor.troubles().count("upload_session/append_v2"), 4);
}

#[tokio::test]
async fn a_session_that_has_expired_is_passing() {
    let (double, target) = start().await;
    let vendor = Arc::clone(&double);
    let mut frames = 0;
    let body = Frames::new(bytes(3 * CHUNK_BYTES)).watched(move || {
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
async fn damaged_bytes_are_noticed_and_go() {
    for (length, route) in
        [(10, "upload"), (CHUNK_BYTES + 9, "upload_session/start"), (CHUNK_BYTES + 9, "upload_session/append_v2")]
    {
        let (double, target) = start().await;
        double.vendor.troubles().plan(route, 1, Trouble::Damages);
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("damaged");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let told = error.to_string();
        assert!(told.contains("content_hash_mismatch") || told.contains("other bytes"), "{told}");
        target.assert_empty(route).await;
    }
}

/// The name was free when it was looked up: the commit meets another file, and is repeated with the same session.
#[tokio::test]
async fn a_name_taken_during_a_session_costs_nothing() {
    let (double, target) = start().await;
    let conflict = json!({".tag": "path", "path": {".tag": "conflict", "conflict": {".tag": "file"}}});
    double.vendor.troubles().plan("upload_session/finish", 1, Trouble::Refuses(409, error(conflict), None));
    let data = bytes(CHUNK_BYTES + 1);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(double.vendor.troubles().count("upload_session/start"), 1);
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_leave_nothing() {
    let length = CHUNK_BYTES + 70_000;
    for after in [0, 100, 700, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_500] {
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

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (double, proxy, target) = behind_proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let reader = double.open(proxy.address());
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(reader.read(&stored.location, data.len()).await == data);
    assert_eq!(proxy.counts().struck, 2);
    let reader = double.open(proxy.address());
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let (double, proxy, target) = behind_proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    let reader = double.open(proxy.address());
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = reader.get(&stored.location, None, 3 << 20).await.expect("an object");
    proxy.wait_until(|counts| counts.struck == 1).await;
    double.vendor.revise("/x", vec![9; 3 << 20]);
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

/// The form of KAZOO's pointers: an id and nothing else.
#[tokio::test]
async fn an_id_alone_is_a_location() {
    let (double, target) = start().await;
    let id = double.vendor.place("/old", "old");
    let location = json!({ "id": id }).as_object().expect("an object").clone();
    assert_eq!(target.read(&location, 3).await, b"old");
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}
