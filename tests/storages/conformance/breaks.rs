//! Rules 1 and 4: an unfinished put leaves nothing.

use crate::conformance::prelude::*;
use std::future::poll_fn;
use std::task::Poll;

use stowage_http::body::{TooLarge, cause};
use stowage_storage::Upload;
use tokio::sync::Notify;

use super::bodies::End;

/// Where a body stops: around all lengths at which the behavior changes.
const POSITIONS: [usize; 8] =
    [0, 1, 65_536, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 77];

/// Longer than all of these.
const WHOLE: usize = 2 * CHUNK_BYTES + 78;

pub async fn a_dropped_put_leaves_nothing(target: Target) {
    for position in POSITIONS {
        for announced in [None, Some(WHOLE as u64)] {
            let reached = Arc::new(Notify::new());
            let mut frames = Frames::new(bytes(position)).then(End::Waits(Arc::clone(&reached)));
            if let Some(length) = announced {
                frames = frames.announcing(length);
            }
            let object = object("dropped/here.mp3");
            tokio::select! {
                outcome = target.put(&object, frames.body()) => panic!("{outcome:?}"),
                () = reached.notified() => {}
            }
            target.assert_empty(&format!("dropped after {position} bytes of {announced:?}")).await;
        }
    }
}

/// Drops the future after a few polls, so that every step is interrupted once; it may also complete.
pub async fn a_put_dropped_at_any_poll_leaves_nothing(target: Target) {
    for length in [1000, CHUNK_BYTES + 1000] {
        let data = bytes(length);
        for polls in 1..40 {
            let object = object("polled/here.mp3");
            let stored = {
                let mut put = std::pin::pin!(target.put(&object, Body::full(data.clone())));
                let mut left = polls;
                poll_fn(|cx| {
                    let polled = put.as_mut().poll(cx);
                    left -= 1;
                    match polled {
                        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                        Poll::Pending if left == 0 => Poll::Ready(None),
                        Poll::Pending => Poll::Pending,
                    }
                })
                .await
            };
            let Some(outcome) = stored else {
                target.assert_empty(&format!("{length} bytes, dropped at poll {polls}")).await;
                continue;
            };
            let stored = outcome.expect("stored");
            assert!(target.read(&stored.location, length).await == data);
            target.backend.delete(&stored.location).await.expect("removed");
            target.assert_empty("after all").await;
            break;
        }
    }
}

pub async fn a_broken_body_leaves_nothing(target: Target) {
    for position in POSITIONS {
        let body = Frames::new(bytes(position)).then(End::Breaks).body();
        let error = target.put(&object("broken"), body).await.expect_err("an error");
        let mut chain = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(link) = cause {
            chain.push_str(&link.to_string());
            cause = link.source();
        }
        assert!(chain.contains("the client is gone"), "{chain}");
        target.assert_empty(&format!("broken after {position} bytes")).await;
    }
}

pub async fn a_short_body_leaves_nothing(target: Target) {
    for position in POSITIONS {
        let body = Frames::new(bytes(position)).announcing(WHOLE as u64).body();
        assert_eq!(kind(target.put(&object("short"), body).await), Some(Kind::Interrupted), "{position}");
        target.assert_empty(&format!("short after {position} bytes")).await;
    }
}

pub async fn a_body_over_the_limit_leaves_nothing(target: Target) {
    for limit in [10, CHUNK_BYTES, CHUNK_BYTES + 10] {
        let upload = |length| Upload::new(Body::full(bytes(length)), limit as u64, target.budget.clone());
        let error = target.backend.put(&object("over"), upload(limit + 1)).await.expect_err("an error");
        assert_eq!(error.kind(), Kind::TooLarge);
        assert!(cause::<TooLarge>(&error).is_some());
        target.assert_empty(&format!("over {limit} bytes")).await;
        let stored = target.backend.put(&object("exactly"), upload(limit)).await.expect("exactly the limit");
        target.backend.delete(&stored.location).await.expect("removed");
    }
    const { assert!(BUDGET > 2 * CHUNK_BYTES as u64) };
}
