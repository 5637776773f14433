//! Long bodies of known length: one request, and what comes of it when it breaks.

use crate::conformance::prelude::*;
use tokio::sync::Notify;

use super::super::bodies::End;
use super::{each, storage};
use stowage_testing::google::{Step, Trouble};

const LONG: usize = 5 * CHUNK_BYTES + 77;

fn body() -> Body {
    Frames::new(bytes(LONG)).announcing(LONG as u64).body()
}

#[tokio::test]
async fn a_long_body_is_one_request_inside_two_chunks_of_memory() {
    for google in each().await {
        let budget = google.target.budget.clone();
        let most = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let seen = Arc::clone(&most);
        let watched = Frames::new(bytes(LONG)).announcing(LONG as u64).watched(move || {
            seen.fetch_max(budget.held(), std::sync::atomic::Ordering::Relaxed);
        });
        let stored = google.target.put(&object("x"), watched.body()).await.expect("stored");
        assert!(google.target.read(&stored.location, LONG).await == bytes(LONG));
        assert_eq!((google.server.count(Step::Begin), google.server.count(Step::Chunk)), (1, 1));
        assert!(most.load(std::sync::atomic::Ordering::Relaxed) <= 2 * CHUNK_BYTES as u64);
        google.target.assert_clean("stored").await;
        // One chunk's memory is enough.
        let small = google.again_with(CHUNK_BYTES as u64);
        let stored = small.target.put(&object("y"), body()).await.expect("stored");
        assert!(small.target.read(&stored.location, LONG).await == bytes(LONG));
    }
}

/// What is still on its way when a request breaks is inside the last two chunks.
#[tokio::test]
async fn a_request_that_breaks_goes_on_where_the_session_is() {
    together([300_000, 2 << 20, 7 << 20], async |lacks| {
        for google in each().await {
            google.server.plan(Step::Chunk, Trouble::Take(LONG - lacks));
            google.server.plan(Step::Chunk, Trouble::Take(lacks / 2));
            let stored = google.target.put(&object("x"), body()).await.expect("stored");
            assert!(google.target.read(&stored.location, LONG).await == bytes(LONG), "{lacks}");
            google.target.assert_clean("stored").await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for() {
    together([Trouble::LoseAnswer, Trouble::Refuse(503, "backendError", None)], async |trouble| {
        for google in each().await {
            if trouble != Trouble::LoseAnswer {
                google.server.plan(Step::Chunk, Trouble::Take(LONG - (1 << 20)));
            }
            google.server.plan(Step::Chunk, trouble.clone());
            let stored = google.target.put(&object("x"), body()).await.expect("stored");
            assert!(google.target.read(&stored.location, LONG).await == bytes(LONG));
            google.target.assert_clean("stored").await;
        }
    })
    .await;
}

/// What is gone cannot be sent again: the client does.
#[tokio::test]
async fn bytes_that_a_session_loses_are_passing_and_leave_nothing() {
    together([Trouble::Break, Trouble::Take(0), Trouble::Take(CHUNK_BYTES), Trouble::Forget(410)], async |trouble| {
        for google in each().await {
            google.server.plan(Step::Chunk, trouble.clone());
            let error = google.target.put(&object("x"), body()).await.expect_err("lost");
            assert_eq!(error.kind(), Kind::Passing, "{trouble:?}: {error}");
            google.target.assert_empty(&format!("{trouble:?}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_or_breaks_leaves_nothing() {
    together([CHUNK_BYTES + 1, 3 * CHUNK_BYTES, LONG - 1], async |sent| {
        for google in each().await {
            let frames = Frames::new(bytes(sent)).announcing(LONG as u64).then(End::Breaks);
            assert!(google.target.put(&object("x"), frames.body()).await.is_err());
            google.target.assert_empty("broken").await;
            let reached = Arc::new(Notify::new());
            let frames = Frames::new(bytes(sent)).announcing(LONG as u64).then(End::Waits(Arc::clone(&reached)));
            let wanted = object("x");
            tokio::select! {
                outcome = google.target.put(&wanted, frames.body()) => panic!("{outcome:?}"),
                () = reached.notified() => {}
            }
            google.target.assert_empty("left").await;
        }
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
            let google = storage().await;
            google.server.plan(Step::Chunk, Trouble::Refuse(status, reason, None));
            assert_eq!(kind(google.target.put(&object("x"), body()).await), Some(expected), "{reason}");
            google.target.assert_empty(reason).await;
        },
    )
    .await;
}
