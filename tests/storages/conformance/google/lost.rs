//! Answers that are lost at every step: what was done is found out, and never done twice.

use super::{drive, each, storage};
use crate::conformance::prelude::*;
use stowage_testing::google::{Step, Trouble};

const LARGE: usize = CHUNK_BYTES + 70_000;

#[tokio::test]
async fn a_lost_answer_is_found_out() {
    together([Trouble::LoseAnswer, Trouble::Break], async |trouble| {
        for google in each().await {
            let target = &google.target;
            google.server.plan(Step::Create, trouble.clone());
            let small = target.put(&object("a/small"), Body::full("small")).await.expect("stored");
            assert_eq!(target.read(&small.location, 5).await, b"small");
            // The first chunk, and then the last one.
            google.server.plan(Step::Chunk, trouble.clone());
            let first = target.put(&object("a/first"), Body::full(bytes(LARGE))).await.expect("stored");
            google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
            google.server.plan(Step::Chunk, trouble.clone());
            let last = target.put(&object("a/last"), Body::full(bytes(LARGE))).await.expect("stored");
            for stored in [first, last] {
                assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
            }
            assert_eq!(target.world.objects(), ["a/first", "a/last", "a/small"], "{trouble:?}");
            for step in [Step::Media, Step::Delete, Step::Look] {
                google.server.plan(step, trouble.clone());
            }
            assert_eq!(target.read(&small.location, 5).await, b"small");
            target.backend.delete(&small.location).await.expect("removed");
            target.assert_clean("after all").await;
            assert_eq!(target.world.objects(), ["a/first", "a/last"]);
        }
    })
    .await;
}

/// What a chunk's answer would have said is asked of the session, and nothing that it has is sent again.
#[tokio::test]
async fn a_session_is_asked_before_anything_is_sent_again() {
    for google in each().await {
        google.server.plan(Step::Chunk, Trouble::LoseAnswer);
        google.server.plan(Step::Status, Trouble::Refuse(503, "backendError", None));
        google.target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        let asked = google.server.asked();
        let session: Vec<_> = asked.iter().filter(|(step, _)| matches!(step, Step::Chunk | Step::Status)).collect();
        assert_eq!(session, [&(Step::Chunk, 0), &(Step::Status, 503), &(Step::Status, 308), &(Step::Chunk, 200)]);
    }
}

#[tokio::test]
async fn a_lost_beginning_leaves_a_session_and_no_object() {
    for google in each().await {
        google.server.plan(Step::Begin, Trouble::LoseAnswer);
        google.target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        google.target.idle().await;
        assert_eq!(google.target.world.objects(), ["x"]);
        // Nobody knows its URI: it ends by itself after a week.
        assert_eq!(google.server.pending().len(), 1);
    }
}

/// The connection breaks at every try: the answer is an error, and what the tries made is removed.
#[tokio::test]
async fn answers_that_are_lost_for_ever_leave_nothing() {
    for google in each().await {
        for step in [Step::Create, Step::Create, Step::Create, Step::Look, Step::Look, Step::Look] {
            google.server.plan(step, Trouble::LoseAnswer);
        }
        let error = google.target.put(&object("x"), Body::full("x")).await.expect_err("an error");
        assert_eq!(error.kind(), Kind::Passing);
        google.target.assert_empty("one request").await;
        google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
        google.server.plan(Step::Chunk, Trouble::LoseAnswer);
        (0..3).for_each(|_| google.server.plan(Step::Status, Trouble::Break));
        let error = google.target.put(&object("x"), Body::full(bytes(LARGE))).await.expect_err("an error");
        assert_eq!(error.kind(), Kind::Passing);
        google.target.assert_empty("a session").await;
    }
}

/// The repeat meets an object that somebody else made meanwhile: it is not taken for ours, and not removed.
#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let google = storage().await;
    google.server.overwrite(super::BUCKET, "x", b"theirs".to_vec());
    google.server.plan(Step::Create, Trouble::Break);
    let stored = google.target.put(&object("x"), Body::full("ours")).await.expect("stored");
    assert_eq!(stored.location["name"], "x.1f6c2a9e");
    google.server.plan(Step::Create, Trouble::Break);
    google.server.plan(Step::Create, Trouble::Break);
    google.server.plan(Step::Create, Trouble::Break);
    assert!(google.target.put(&object("x"), Body::full("ours")).await.is_err());
    google.target.idle().await;
    assert_eq!(google.target.world.objects(), ["x", "x.1f6c2a9e"]);
}

#[tokio::test]
async fn a_lost_folder_is_made_once() {
    for trouble in [Trouble::LoseAnswer, Trouble::Break] {
        let google = drive().await;
        for step in [Step::Ids, Step::List, Step::Folder] {
            google.server.plan(step, trouble.clone());
        }
        google.target.put(&object("a/b/x"), Body::full("x")).await.expect("stored");
        assert_eq!(google.server.folders(), ["a", "a/b"]);
        assert_eq!(google.target.world.objects(), ["a/b/x"]);
    }
}
