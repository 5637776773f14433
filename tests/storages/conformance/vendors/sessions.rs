//! The vendors' different responses about upload sessions.

use super::dropbox::{APPEND, Dropbox, FINISH, error};
use super::onedrive::{LARGE, OneDrive, refusal};
use super::start;
use crate::conformance::prelude::*;

/// The session's own offset is authoritative, whichever side lost count.
#[tokio::test]
async fn a_session_says_where_to_go_on() {
    let offset = |at: usize| error(json!({".tag": "incorrect_offset", "correct_offset": at}));
    for (at, stored) in [(2 * CHUNK_BYTES, true), (0, false), (CHUNK_BYTES - 1, false), (9 * CHUNK_BYTES, false)] {
        let (scene, target) = start::<Dropbox>().await;
        let data = bytes(2 * CHUNK_BYTES + 9);
        if stored {
            // It has the chunk, and reports this when the chunk is repeated.
            scene.plan(APPEND, 1, Trouble::FailsAfter(409, offset(at)));
        } else {
            scene.plan(APPEND, 1, Trouble::Refuses(409, offset(at), None));
        }
        let outcome = target.put(&object("x"), Body::full(data.clone())).await;
        if stored {
            assert!(target.read(&outcome.expect("stored").location, data.len()).await == data)
        } else {
            assert_eq!(kind(outcome), Some(Kind::Passing), "{at}");
            target.assert_empty("lost count").await;
        }
    }
}

#[tokio::test]
async fn a_chunk_that_was_taken_in_part_goes_on_there() {
    let (scene, target) = start::<Dropbox>().await;
    let data = bytes(3 * CHUNK_BYTES);
    scene.plan(APPEND, 1, Trouble::Keeps(4 << 20));
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(scene.count(APPEND), 4);
}

/// The name was free when it was queried: the commit finds another file, and is repeated with the same session.
#[tokio::test]
async fn a_name_taken_during_a_session_costs_nothing() {
    let (scene, target) = start::<Dropbox>().await;
    let conflict = json!({".tag": "path", "path": {".tag": "conflict", "conflict": {".tag": "file"}}});
    scene.plan(FINISH, 1, Trouble::Refuses(409, error(conflict), None));
    let data = bytes(CHUNK_BYTES + 1);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(scene.count("upload_session/start"), 1);
}

/// A fragment that the session already has, reported in each of the possible ways.
#[tokio::test]
async fn a_fragment_that_was_received_is_not_sent_again() {
    let overlap = |status: u16, code: &str, inner: &str| {
        let error = json!({"error": {"code": code, "message": "m", "innererror": {"code": inner}}});
        Trouble::FailsAfter(status, error)
    };
    together(
        [
            overlap(416, "invalidRange", "fragmentOverlap"),
            overlap(400, "invalidRequest", "fragmentOverlap"),
            overlap(409, "invalidRange", "fragmentOutOfOrder"),
            overlap(416, "", ""),
            Trouble::FailsAfter(500, json!({"error": {"code": "generalException"}})),
        ],
        async |trouble| {
            for length in [LARGE, CHUNK_BYTES + 1] {
                let (scene, target) = start::<OneDrive>().await;
                scene.plan("fragment", 1, trouble.clone());
                let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
                assert_eq!(stored.location["path"], json!("/x"), "{trouble:?}");
                assert!(target.read(&stored.location, length).await == bytes(length));
                target.assert_clean(&format!("{trouble:?}")).await;
            }
        },
    )
    .await;
}

/// Every response to the last fragment is a failure, but the file exists.
#[tokio::test]
async fn a_file_that_is_there_after_all_failures_is_found() {
    let (scene, target) = start::<OneDrive>().await;
    scene.plan("fragment", 1, Trouble::FailsAfter(503, json!({})));
    scene.plan("fragment", 2, Trouble::Says(503, ""));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
    target.assert_clean("found").await;
    // A success without a file, or an acknowledgement of the last bytes.
    for (status, answer) in [(200, json!("done")), (202, json!({"nextExpectedRanges": []})), (202, json!({}))] {
        let (scene, target) = start::<OneDrive>().await;
        scene.plan("fragment", 1, Trouble::FailsAfter(status, answer));
        let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        assert_eq!(stored.location["path"], json!("/x"));
        target.assert_clean("found").await;
    }
}

/// Of several ranges in any order, the first missing byte counts.
#[tokio::test]
async fn a_session_may_want_several_ranges_or_say_nonsense() {
    let length = 2 * CHUNK_BYTES + 9;
    for (ranges, stored) in [
        (json!([format!("{}-{}", 2 * CHUNK_BYTES, length - 1), format!("{CHUNK_BYTES}-{}", CHUNK_BYTES + 9)]), true),
        (json!([format!("{CHUNK_BYTES}-")]), true),
        (json!(["everything"]), false),
    ] {
        let (scene, target) = start::<OneDrive>().await;
        scene.plan("fragment", 1, Trouble::FailsAfter(202, json!({"nextExpectedRanges": ranges})));
        let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
        if stored {
            assert!(target.read(&outcome.expect("stored").location, length).await == bytes(length))
        } else {
            assert_eq!(kind(outcome), Some(Kind::Refused));
            target.assert_empty("nonsense").await;
        }
    }
}

/// The first fragment is all that was sent, so another session can take it.
#[tokio::test]
async fn a_session_that_is_gone_at_its_first_fragment_is_begun_anew() {
    together([(404, "itemNotFound"), (410, "gone"), (401, "unauthenticated")], async |(status, code)| {
        for length in [LARGE, CHUNK_BYTES + 1] {
            let (scene, target) = start::<OneDrive>().await;
            scene.plan("fragment", 1, refusal(status, code, None));
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            assert_eq!(scene.count("createUploadSession"), 2, "{status}");
        }
    })
    .await;
}
