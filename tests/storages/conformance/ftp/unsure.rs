//! Inconclusive replies: a file that may exist is never treated as absent, nor its name as free.

use super::{Gated, gated};
use crate::conformance::prelude::*;
use stowage_testing::ftp::gate::Act;

/// Replies to a query about an existing file.
const UNSURE: [&str; 11] = [
    "550 Permission denied.",
    "550 Could not get file size.",
    "550 Can't check for file existence",
    "550 x: Operation not permitted",
    "550 Access is denied.",
    "553 not that name",
    "450 busy, try later: file not found or in use",
    "451 trouble",
    "425 no",
    "530 no access",
    "500 what",
];
const QUESTIONS: [&str; 3] = ["SIZE", "MLST", "NLST"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_known_takes_the_spare_name() {
    for answer in UNSURE {
        let Gated { gate, target } = gated().await;
        let first = target.put(&object("x"), Body::full(bytes(1000))).await.expect("stored");
        for question in QUESTIONS {
            gate.plan(question, Act::Answer(answer), 99);
        }
        let second = target.put(&object("x"), Body::full(bytes(2000))).await.expect(answer);
        gate.forget();
        assert_eq!(target.world.objects(), ["x", "x.1f6c2a9e"], "{answer}");
        assert!(target.read(&first.location, 1000).await == bytes(1000), "{answer}");
        assert!(target.read(&second.location, 2000).await == bytes(2000), "{answer}");
        target.assert_clean(answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_known_to_be_gone_is_not_missing() {
    for answer in UNSURE {
        let Gated { gate, target } = gated().await;
        let stored = target.put(&object("No such file.mp3"), Body::full("x")).await.expect("stored");
        // Queries fail, but the file can be read.
        for question in QUESTIONS {
            gate.plan(question, Act::Answer(answer), 99);
        }
        assert!(is_read(&target, &stored.location).await, "{answer}");
        gate.plan("RETR", Act::Answer(answer), 99);
        gate.plan("DELE", Act::Answer(answer), 99);
        let read = kind(target.get(&stored.location, None, 1).await);
        assert!(matches!(read, Some(Kind::Refused | Kind::Passing)), "{answer}: {read:?}");
        let removed = kind(target.backend.delete(&stored.location).await);
        assert!(matches!(removed, Some(Kind::Refused | Kind::Passing)), "{answer}: {removed:?}");
        gate.forget();
        assert!(is_read(&target, &stored.location).await, "{answer}");
    }
}

/// Returns whether the object is readable. For each query answered by the gate instead, libunftp has an open data connection, to which it may send
/// the next file: then the driver gets too little, reports that, and is called again.
async fn is_read(target: &Target, location: &Location) -> bool {
    for _ in 0..10 {
        let Ok(download) = target.get(location, None, 1).await else { continue };
        if collect(download.body, 1).await.is_ok_and(|bytes| bytes == "x") {
            return true;
        }
    }
    false
}

/// vsftpd: an uninformative text, no MLST, and an empty listing for a missing folder.
#[tokio::test]
async fn a_listing_without_the_name_says_that_it_is_gone() {
    let Gated { gate, target } = gated().await;
    let gone = target.put(&object("a/gone"), Body::full("x")).await.expect("stored");
    target.put(&object("b"), Body::full("x")).await.expect("stored");
    target.backend.delete(&gone.location).await.expect("removed");
    gate.plan("SIZE", Act::Answer("550 Could not get file size."), 99);
    gate.plan("MLST", Act::Answer("500 Unknown command."), 99);
    gate.plan("DELE", Act::Answer("550 Delete operation failed."), 99);
    gate.plan("RETR", Act::Answer("550 Failed to open file."), 99);
    assert_eq!(kind(target.get(&gone.location, None, 1).await), Some(Kind::Missing));
    target.backend.delete(&gone.location).await.expect("gone");
    let stored = target.put(&object("a/new"), Body::full("x")).await.expect("stored");
    assert!(stored.location["path"].as_str().is_some_and(|path| path.ends_with("/a/new")), "{:?}", stored.location);
}
