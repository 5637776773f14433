//! What both drivers do: limits, tokens, chunks, hashes, broken downloads.

use super::{Google, LARGE, drive, each, storage};
use crate::conformance::prelude::*;
use stowage_testing::google::{Step, Trouble};

const UNIT: usize = 256 << 10;
/// Failures that pass, as both services answer them.
const LIMITS: [(u16, &str); 4] =
    [(403, "userRateLimitExceeded"), (403, "rateLimitExceeded"), (429, "rateLimitExceeded"), (503, "backendError")];

/// Every step of a put in one request, of a larger one, of reading and of removing.
fn steps(google: &Google) -> Vec<Step> {
    let mut steps = vec![Step::Create, Step::Begin, Step::Chunk, Step::Media, Step::Delete];
    if google.is_drive {
        steps.extend([Step::Ids, Step::List, Step::Folder, Step::Look]);
    }
    steps
}

#[tokio::test]
async fn rate_limits_that_pass_are_no_failure() {
    together(LIMITS, async |(status, reason)| {
        for google in each().await {
            for step in steps(&google) {
                google.server.plan(step, Trouble::Refuse(status, reason, None));
                google.server.plan(step, Trouble::Refuse(status, reason, None));
            }
            let target = &google.target;
            for length in [10, LARGE] {
                let data = bytes(length);
                let stored = target.put(&object("folder/x"), Frames::new(data.clone()).body()).await.expect("stored");
                assert!(target.read(&stored.location, length).await == data);
                target.backend.delete(&stored.location).await.expect("removed");
            }
            target.assert_empty(reason).await;
            for step in steps(&google) {
                let refused = google.server.asked().iter().filter(|asked| **asked == (step, status)).count();
                assert_eq!(refused, 2, "{step:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn limits_for_ever_are_passing_and_leave_nothing() {
    together([Step::Create, Step::Begin, Step::Chunk], async |step| {
        for google in each().await {
            for _ in 0..3 {
                google.server.plan(step, Trouble::Refuse(403, "userRateLimitExceeded", None));
            }
            let length = if step == Step::Create { 10 } else { LARGE };
            let error = google.target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!(error.kind(), Kind::Passing, "{step:?}");
            assert!(error.to_string().contains("userRateLimitExceeded"), "{error}");
            assert_eq!(google.server.count(step), 3);
            google.target.assert_empty(&format!("{step:?}")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_respected() {
    for google in each().await {
        let began = tokio::time::Instant::now();
        google.server.plan(Step::Create, Trouble::Refuse(429, "rateLimitExceeded", Some(2)));
        google.target.put(&object("x"), Body::full("x")).await.expect("stored");
        assert!(began.elapsed().as_millis() >= 2000, "{:?}", began.elapsed());
        google.server.plan(Step::Chunk, Trouble::Refuse(503, "backendError", Some(60)));
        let error = google.target.put(&object("y"), Body::full(bytes(LARGE))).await.expect_err("an error");
        assert_eq!((error.kind(), error.retry_after().map(|pause| pause.as_secs())), (Kind::Passing, Some(60)));
        google.target.assert_clean("a long pause").await;
    }
}

#[tokio::test]
async fn real_refusals_are_told_once_and_leave_nothing() {
    together(["dailyLimitExceeded", "storageQuotaExceeded", "forbidden"], async |reason| {
        for step in [Step::Create, Step::Begin, Step::Chunk] {
            for google in each().await {
                google.server.plan(step, Trouble::Refuse(403, reason, None));
                let length = if step == Step::Create { 10 } else { LARGE };
                let error = google.target.put(&object("x"), Body::full(bytes(length))).await.expect_err("refused");
                assert_eq!(error.kind(), Kind::Refused);
                let text = error.to_string();
                assert!(text.contains(reason) && !text.contains("canary"), "{text}");
                assert_eq!(google.server.count(step), 1, "{step:?}");
                google.target.assert_empty(reason).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_is_refreshed_once() {
    together([Step::Create, Step::Begin, Step::Media, Step::Delete], async |step| {
        for google in each().await {
            let target = &google.target;
            google.server.plan(step, Trouble::Expire);
            let length = if step == Step::Begin { LARGE } else { 10 };
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            target.backend.delete(&stored.location).await.expect("removed");
            assert_eq!(google.tokens.tokens.asked(), 2, "{step:?}");
            target.assert_empty("expired").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_revoked_grant_is_a_refusal() {
    for google in each().await {
        google.tokens.tokens.revoke();
        let error = google.target.put(&object("x"), Body::full("x")).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("invalid_grant"), "{error}");
    }
}

#[tokio::test]
async fn what_a_session_did_not_take_is_sent_again() {
    for google in each().await {
        for (number, takes) in [vec![0], vec![UNIT], vec![UNIT, 0, 7 * UNIT], vec![4 << 20]].into_iter().enumerate() {
            for announced in [false, true] {
                takes.iter().for_each(|most| google.server.plan(Step::Chunk, Trouble::Take(*most)));
                let data = bytes(LARGE);
                let mut frames = Frames::new(data.clone());
                if announced {
                    frames = frames.announcing(LARGE as u64);
                }
                let name = format!("{number}-{announced}");
                let stored = google.target.put(&object(&name), frames.body()).await.expect("stored");
                assert!(google.target.read(&stored.location, LARGE).await == data, "{name}");
            }
        }
        assert!(google.server.asked().iter().all(|(_, status)| *status != 400), "{:?}", google.server.asked());
        google.target.assert_clean("partly taken").await;
    }
}

#[tokio::test]
async fn a_session_that_takes_nothing_is_given_up() {
    for google in each().await {
        (0..3).for_each(|_| google.server.plan(Step::Chunk, Trouble::Take(0)));
        assert_eq!(kind(google.target.put(&object("x"), Body::full(bytes(LARGE))).await), Some(Kind::Passing));
        assert_eq!(google.server.count(Step::Chunk), 3);
        google.target.assert_empty("given up").await;
    }
}

/// The first chunk is all that was ever sent, so another session can take it.
#[tokio::test]
async fn a_session_that_is_gone_at_its_first_chunk_is_begun_anew() {
    for status in [404, 410] {
        for google in each().await {
            google.server.plan(Step::Chunk, Trouble::Forget(status));
            let stored = google.target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect("stored");
            assert!(google.target.read(&stored.location, LARGE).await == bytes(LARGE));
            assert_eq!(google.server.count(Step::Begin), 2);
            google.target.assert_clean("begun anew").await;
            (0..9).for_each(|_| google.server.plan(Step::Chunk, Trouble::Forget(status)));
            let error = google.target.put(&object("a/y"), Body::full(bytes(LARGE))).await.expect_err("for ever");
            assert_eq!(error.kind(), Kind::Passing, "{error}");
            google.target.assert_clean("for ever").await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_gone_later_is_passing() {
    for status in [404, 410] {
        for google in each().await {
            google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
            google.server.plan(Step::Chunk, Trouble::Forget(status));
            let error = google.target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect_err("gone");
            assert_eq!(error.kind(), Kind::Passing, "{error}");
            google.target.assert_empty("gone").await;
            google.target.put(&object("a/x"), Body::full(bytes(LARGE))).await.expect("a new session");
        }
    }
}

/// A session's URI is enough, but where its server says otherwise: then it gets the token, once.
#[tokio::test]
async fn a_session_that_wants_the_token_gets_it() {
    for google in each().await {
        google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
        google.server.plan(Step::Chunk, Trouble::Refuse(401, "authError", None));
        let stored = google.target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        assert!(google.target.read(&stored.location, LARGE).await == bytes(LARGE));
        google.target.backend.delete(&stored.location).await.expect("removed");
        (0..9).for_each(|_| google.server.plan(Step::Chunk, Trouble::Refuse(401, "authError", None)));
        assert_eq!(kind(google.target.put(&object("y"), Body::full(bytes(LARGE))).await), Some(Kind::Refused));
        google.target.assert_empty("refused").await;
    }
}

#[tokio::test]
async fn another_hash_is_an_error_and_the_object_goes() {
    for google in each().await {
        google.server.plan(Step::Create, Trouble::WrongHash);
        let error = google.target.put(&object("x"), Body::full("x")).await.expect_err("other bytes");
        assert!(error.to_string().contains("other bytes"), "{error}");
        google.target.assert_empty("one request").await;
        google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
        google.server.plan(Step::Chunk, Trouble::Take(usize::MAX));
        google.server.plan(Step::Chunk, Trouble::WrongHash);
        let error = google.target.put(&object("x"), Body::full(bytes(LARGE))).await.expect_err("other bytes");
        assert!(error.to_string().contains("other bytes"), "{error}");
        google.target.assert_empty("a session").await;
    }
}

#[tokio::test]
async fn a_broken_download_goes_on_under_the_same_version() {
    for google in each().await {
        let data = bytes(3 << 20);
        let stored = google.target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
        google.server.plan(Step::Media, Trouble::Short(1_000_000));
        google.server.plan(Step::Media, Trouble::Short(500_000));
        assert!(google.target.read(&stored.location, data.len()).await == data);
        assert_eq!(google.server.count(Step::Media), 3);
        // A third break is one too many: an error, never a short body.
        (0..3).for_each(|_| google.server.plan(Step::Media, Trouble::Short(1000)));
        let download = google.target.get(&stored.location, None, data.len() as u64).await.expect("an object");
        assert!(collect(download.body, LIMIT).await.is_err());
    }
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    for google in [storage().await, drive().await] {
        let stored = google.target.put(&object("x"), Body::full(bytes(1 << 20))).await.expect("stored");
        let mut location = stored.location.clone();
        // As in KAZOO's pointers: then it is not the location that tells the versions apart.
        location.remove("generation");
        google.server.plan(Step::Media, Trouble::Short(100_000));
        let download = google.target.get(&location, None, 1 << 20).await.expect("an object");
        assert_eq!(download.etag, stored.etag);
        match location.get("id").and_then(|id| id.as_str()) {
            Some(id) => google.server.change(id, vec![9; 1 << 20]),
            None => google.server.overwrite(super::BUCKET, "x", vec![9; 1 << 20]),
        }
        let outcome = collect(download.body, LIMIT).await;
        let error = outcome.map(|bytes| bytes.len()).expect_err("a mixture");
        assert!(error.to_string().contains("another version"), "{error}");
        let fresh = google.target.get(&location, None, 1 << 20).await.expect("an object");
        assert_ne!(fresh.etag, stored.etag);
    }
}
