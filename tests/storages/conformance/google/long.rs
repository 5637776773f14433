//! Long bodies of known length: one request, and its continuation after a break.

use crate::conformance::prelude::*;
use tokio::sync::Notify;

use super::{CloudStorage, Vendor, refusal};
use crate::conformance::bodies::End;
use crate::conformance::vendors::start;

const LONG: usize = 5 * CHUNK_BYTES + 77;

fn body() -> Body {
    Frames::new(bytes(LONG)).announcing(LONG as u64).body()
}

pub async fn a_long_body_is_one_request_inside_two_chunks_of_memory<V: Vendor>() {
    let (scene, target) = start::<V>().await;
    let budget = target.budget.clone();
    let most = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let watched = Frames::new(bytes(LONG)).announcing(LONG as u64).watched(move || {
        seen.fetch_max(budget.held(), std::sync::atomic::Ordering::Relaxed);
    });
    let stored = target.put(&object("x"), watched.body()).await.expect("stored");
    assert!(target.read(&stored.location, LONG).await == bytes(LONG));
    assert_eq!((scene.count("begin"), scene.count("chunk")), (1, 1));
    assert!(most.load(std::sync::atomic::Ordering::Relaxed) <= 2 * CHUNK_BYTES as u64);
    target.assert_clean("stored").await;
    // The memory of one chunk suffices.
    let small = scene.open(scene.vendor.edge()).with_budget(CHUNK_BYTES as u64);
    let stored = small.put(&object("y"), body()).await.expect("stored");
    assert!(small.read(&stored.location, LONG).await == bytes(LONG));
}

/// The bytes in flight when a request breaks are within the last two chunks.
pub async fn a_request_that_breaks_goes_on_where_the_session_is<V: Vendor>() {
    together([300_000, 2 << 20, 7 << 20], async |lacks| {
        let (scene, target) = start::<V>().await;
        scene.plan("chunk", 1, Trouble::Takes(LONG - lacks));
        scene.plan("chunk", 1, Trouble::Takes(lacks / 2));
        let stored = target.put(&object("x"), body()).await.expect("stored");
        assert!(target.read(&stored.location, LONG).await == bytes(LONG), "{lacks}");
        target.assert_clean("stored").await;
    })
    .await;
}

pub async fn an_answer_that_is_lost_is_asked_for<V: Vendor>() {
    together([Trouble::LosesAnswer, refusal(503, "backendError")], async |trouble| {
        let (scene, target) = start::<V>().await;
        if trouble != Trouble::LosesAnswer {
            scene.plan("chunk", 1, Trouble::Takes(LONG - (1 << 20)));
        }
        scene.plan("chunk", 1, trouble.clone());
        let stored = target.put(&object("x"), body()).await.expect("stored");
        assert!(target.read(&stored.location, LONG).await == bytes(LONG));
        target.assert_clean("stored").await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_a_range_is_asked_about() {
    let (scene, target) = start::<CloudStorage>().await;
    scene.plan("chunk", 1, Trouble::FailsAfter(308, json!({})));
    let stored = target.put(&object("x"), body()).await.expect("stored");
    assert!(target.read(&stored.location, LONG).await == bytes(LONG));
    assert_eq!((scene.count("chunk"), scene.count("status")), (1, 1));
    target.assert_clean("stored").await;
}

/// Lost bytes cannot be sent again by the driver, so the client has to.
pub async fn bytes_that_a_session_loses_are_passing_and_leave_nothing<V: Vendor>() {
    together(
        [Trouble::Breaks, Trouble::Takes(0), Trouble::Takes(CHUNK_BYTES), Trouble::Forgets(410)],
        async |trouble| {
            let (scene, target) = start::<V>().await;
            scene.plan("chunk", 1, trouble.clone());
            let error = target.put(&object("x"), body()).await.expect_err("lost");
            assert_eq!(error.kind(), Kind::Passing, "{trouble:?}: {error}");
            target.assert_empty(&format!("{trouble:?}")).await;
        },
    )
    .await;
}

pub async fn a_client_that_leaves_or_breaks_leaves_nothing<V: Vendor>() {
    together([CHUNK_BYTES + 1, 3 * CHUNK_BYTES, LONG - 1], async |sent| {
        let (_scene, target) = start::<V>().await;
        let frames = Frames::new(bytes(sent)).announcing(LONG as u64).then(End::Breaks);
        assert!(target.put(&object("x"), frames.body()).await.is_err());
        target.assert_empty("broken").await;
        let reached = Arc::new(Notify::new());
        let frames = Frames::new(bytes(sent)).announcing(LONG as u64).then(End::Waits(Arc::clone(&reached)));
        let wanted = object("x");
        tokio::select! {
            outcome = target.put(&wanted, frames.body()) => panic!("{outcome:?}"),
            () = reached.notified() => {}
        }
        target.assert_empty("left").await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_a_long_body_is_told_and_leaves_nothing() {
    together(
        [
            (403, "storageQuotaExceeded", Kind::Refused),
            (412, "conditionNotMet", Kind::Passing),
            (400, "invalid", Kind::Refused),
        ],
        async |(status, reason, expected)| {
            let (scene, target) = start::<CloudStorage>().await;
            scene.plan("chunk", 1, refusal(status, reason));
            assert_eq!(kind(target.put(&object("x"), body()).await), Some(expected), "{reason}");
            target.assert_empty(reason).await;
        },
    )
    .await;
}
