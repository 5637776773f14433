//! What Graph's answers mean: which of them say that an item is gone, that a name is taken, that something was done.

use serde_json::json;
use stowage_http::body::Body;
use stowage_storage::{CHUNK_BYTES, Kind};

use super::{LARGE, refusal, start};
use crate::conformance::bodies::bytes;
use crate::conformance::targets::{kind, object};
use stowage_testing::trouble::Trouble;

#[tokio::test]
async fn only_what_is_said_to_be_gone_is_missing_or_removed() {
    for (trouble, failure) in [
        (refusal(404, "itemNotFound", None), None),
        (refusal(410, "itemNotFound", None), None),
        (refusal(404, "ResourceNotFound", None), Some(Kind::Refused)),
        (refusal(404, "Request_ResourceNotFound", None), Some(Kind::Refused)),
        (refusal(404, "UnknownError", None), Some(Kind::Refused)),
        (Trouble::Says(404, "<html>"), Some(Kind::Refused)),
        (Trouble::Says(404, ""), Some(Kind::Refused)),
        (refusal(410, "resyncRequired", None), Some(Kind::Refused)),
        (refusal(400, "invalidRequest", None), Some(Kind::Refused)),
        (refusal(403, "accessDenied", None), Some(Kind::Refused)),
        (refusal(409, "resourceModified", None), Some(Kind::Refused)),
        (refusal(412, "preconditionFailed", None), Some(Kind::Refused)),
        (refusal(423, "resourceLocked", None), Some(Kind::Refused)),
        (refusal(507, "quotaLimitReached", None), Some(Kind::Refused)),
        (refusal(501, "notSupported", None), Some(Kind::Refused)),
        (refusal(429, "activityLimitReached", Some(0)), Some(Kind::Passing)),
        (refusal(503, "serviceNotAvailable", Some(0)), Some(Kind::Passing)),
        (refusal(509, "bandwidthLimitExceeded", Some(0)), Some(Kind::Passing)),
    ] {
        let (double, target) = start().await;
        let location = target.put(&object("x"), Body::full("x")).await.expect("stored").location;
        for route in ["download", "delete"] {
            double.vendor.troubles().plan(route, 3, trouble.clone());
        }
        let got = kind(target.get(&location, None, 1).await);
        assert_eq!(got, Some(failure.unwrap_or(Kind::Missing)), "{trouble:?}");
        assert_eq!(kind(target.backend.delete(&location).await), failure, "{trouble:?}");
        assert_eq!(double.vendor.paths(), ["x"]);
    }
}

/// What is found at the name before a session is begun: only an item that is not there is free.
#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_left_alone() {
    let spare = Ok("/x.1f6c2a9e");
    for (trouble, outcome) in [
        (refusal(404, "itemNotFound", None), Ok("/x")),
        (refusal(404, "ResourceNotFound", None), spare),
        (refusal(403, "accessDenied", None), spare),
        (refusal(423, "resourceLocked", None), spare),
        (Trouble::Says(404, "<html>"), spare),
        (Trouble::Says(200, "<html>"), spare),
        (refusal(503, "serviceNotAvailable", Some(0)), Err(Kind::Passing)),
        (Trouble::Breaks, Err(Kind::Passing)),
    ] {
        let (double, target) = start().await;
        double.vendor.troubles().plan("item", 3, trouble.clone());
        let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await;
        let path = stored.map(|stored| stored.location["path"].clone()).map_err(|error| error.kind());
        assert_eq!(path, outcome.map(|path| json!(path)), "{trouble:?}");
        target.assert_clean("after all").await;
    }
}

/// Status and code of the answer to a new item, and whether the spare name is tried.
#[tokio::test]
async fn a_name_that_may_be_taken_is_left_alone() {
    for (status, code, failure) in [
        (409, "nameAlreadyExists", None),
        (409, "upload_name_conflict", None),
        (409, "resourceModified", None),
        (409, "", None),
        (412, "preconditionFailed", None),
        (423, "resourceLocked", None),
        (403, "accessDenied", Some(Kind::Refused)),
        (404, "itemNotFound", Some(Kind::Refused)),
        (400, "invalidRequest", Some(Kind::Refused)),
        (413, "requestEntityTooLarge", Some(Kind::Refused)),
        (507, "quotaLimitReached", Some(Kind::Refused)),
    ] {
        for (route, length) in [("content", 10), ("createUploadSession", LARGE)] {
            let (double, target) = start().await;
            double.vendor.troubles().plan(route, 1, refusal(status, code, None));
            let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
            match failure {
                Some(failure) => {
                    assert_eq!(kind(outcome), Some(failure), "{status} {code}");
                    target.assert_empty(code).await;
                }
                None => assert_eq!(outcome.expect("stored").location["path"], json!("/x.1f6c2a9e"), "{status} {code}"),
            }
        }
    }
    // Where both are refused, the failure is the vendor's own word.
    let (double, target) = start().await;
    double.vendor.troubles().plan("content", 2, refusal(423, "resourceLocked", None));
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("refused");
    assert!(error.to_string().contains("resourceLocked"), "{error}");
}

/// A fragment that the session has already, told in each of the ways.
#[tokio::test]
async fn a_fragment_that_was_received_is_not_sent_again() {
    let overlap = |status: u16, code: &str, inner: &str| {
        let error = json!({"error": {"code": code, "message": "m", "innererror": {"code": inner}}});
        Trouble::FailsAfter(status, error)
    };
    for trouble in [
        overlap(416, "invalidRange", "fragmentOverlap"),
        overlap(400, "invalidRequest", "fragmentOverlap"),
        overlap(409, "invalidRange", "fragmentOutOfOrder"),
        overlap(416, "", ""),
        Trouble::FailsAfter(500, json!({"error": {"code": "generalException"}})),
    ] {
        for length in [LARGE, CHUNK_BYTES + 1] {
            let (double, target) = start().await;
            double.vendor.troubles().plan("fragment", 1, trouble.clone());
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(stored.location["path"], json!("/x"), "{trouble:?}");
            assert!(target.read(&stored.location, length).await == bytes(length));
            target.assert_clean(&format!("{trouble:?}")).await;
        }
    }
}

/// Every answer to the last fragment is a failure, and the file is there.
#[tokio::test]
async fn a_file_that_is_there_after_all_failures_is_found() {
    let (double, target) = start().await;
    double.vendor.troubles().plan("fragment", 1, Trouble::FailsAfter(503, json!({})));
    double.vendor.troubles().plan("fragment", 2, Trouble::Says(503, ""));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert!(target.read(&stored.location, LARGE).await == bytes(LARGE));
    target.assert_clean("found").await;
    // A success without a file, or a receipt for the last bytes.
    for (status, answer) in [(200, json!("done")), (202, json!({"nextExpectedRanges": []})), (202, json!({}))] {
        let (double, target) = start().await;
        double.vendor.troubles().plan("fragment", 1, Trouble::FailsAfter(status, answer));
        let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
        assert_eq!(stored.location["path"], json!("/x"));
        target.assert_clean("found").await;
    }
}

/// Several ranges: the first byte that is missing counts, in whatever order they stand.
#[tokio::test]
async fn a_session_may_want_several_ranges_or_say_nonsense() {
    let length = 2 * CHUNK_BYTES + 9;
    for (ranges, stored) in [
        (json!([format!("{}-{}", 2 * CHUNK_BYTES, length - 1), format!("{CHUNK_BYTES}-{}", CHUNK_BYTES + 9)]), true),
        (json!([format!("{CHUNK_BYTES}-")]), true),
        (json!(["everything"]), false),
    ] {
        let (double, target) = start().await;
        double.vendor.troubles().plan("fragment", 1, Trouble::FailsAfter(202, json!({"nextExpectedRanges": ranges})));
        let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
        match stored {
            true => assert!(target.read(&outcome.expect("stored").location, length).await == bytes(length)),
            false => {
                assert_eq!(kind(outcome), Some(Kind::Refused));
                target.assert_empty("nonsense").await;
            }
        }
    }
}

/// The first fragment is all that was ever sent, so another session can take it.
#[tokio::test]
async fn a_session_that_is_gone_at_its_first_fragment_is_begun_anew() {
    for (status, code) in [(404, "itemNotFound"), (410, "gone"), (401, "unauthenticated")] {
        for length in [LARGE, CHUNK_BYTES + 1] {
            let (double, target) = start().await;
            double.vendor.troubles().plan("fragment", 1, refusal(status, code, None));
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            assert_eq!(double.vendor.troubles().count("createUploadSession"), 2, "{status}");
        }
    }
}

/// An address is good for a short time; that it is over says nothing about the item.
#[tokio::test]
async fn an_address_that_is_over_is_asked_for_once_more() {
    for status in [401, 403, 404, 410] {
        let (double, target) = start().await;
        let location = target.put(&object("x"), Body::full("x")).await.expect("stored").location;
        double.vendor.troubles().plan("bytes", 1, refusal(status, "itemNotFound", None));
        assert_eq!(target.read(&location, 1).await, b"x", "{status}");
        double.vendor.troubles().plan("bytes", 2, refusal(status, "itemNotFound", None));
        assert_eq!(kind(target.get(&location, None, 1).await), Some(Kind::Refused), "{status}");
        assert_eq!(double.vendor.troubles().count("download"), 4);
    }
    // Graph may give the bytes itself.
    let (double, target) = start().await;
    let location = target.put(&object("x"), Body::full("hello")).await.expect("stored").location;
    double.vendor.troubles().plan("download", 1, Trouble::Says(200, "hello"));
    assert_eq!(target.read(&location, 5).await, b"hello");
    assert_eq!(double.vendor.troubles().count("bytes"), 0);
}
