//! What Google's answers mean: which of them say that an object is gone, that a name is taken, that something was done.

use super::{Google, LARGE, drive, each, storage};
use crate::conformance::prelude::*;
use stowage_testing::google::{Step, Trouble};

/// An answer of the JSON API with this code and reason.
macro_rules! envelope {
    ($code:literal, $reason:literal, $message:literal) => {
        concat!(
            r#"{"error":{"code":"#,
            $code,
            r#","message":""#,
            $message,
            r#"","errors":[{"message":""#,
            $message,
            r#"","domain":"global","reason":""#,
            $reason,
            r#""}]}}"#
        )
    };
}

const HTML: &str = "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>";

/// Status and text, and whether the object is gone by it; else what kind of failure it is.
const ANSWERS: [(u16, &str, Option<Kind>); 22] = [
    (404, envelope!("404", "notFound", "No such object: b/x"), None),
    (404, r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#, None),
    (404, "", None),
    (404, envelope!("404", "notFound", "The specified bucket does not exist."), Some(Kind::Refused)),
    (404, HTML, Some(Kind::Refused)),
    (400, envelope!("400", "invalid", "m"), Some(Kind::Refused)),
    (401, envelope!("401", "authError", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "forbidden", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "retentionPolicyNotMet", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "objectUnderActiveHold", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "accountDisabled", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "dailyLimitExceeded", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "storageQuotaExceeded", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "appNotAuthorizedToFile", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "cannotDownloadAbusiveFile", "m"), Some(Kind::Refused)),
    (403, envelope!("403", "userRateLimitExceeded", "m"), Some(Kind::Passing)),
    (405, "", Some(Kind::Refused)),
    (409, envelope!("409", "conflict", "m"), Some(Kind::Refused)),
    (410, HTML, Some(Kind::Refused)),
    (412, envelope!("412", "orgPolicyConstraintFailed", "m"), Some(Kind::Refused)),
    (429, "", Some(Kind::Passing)),
    (599, HTML, Some(Kind::Passing)),
];

async fn stored(google: &Google) -> Location {
    google.target.put(&object("x"), Body::full("x")).await.expect("stored").location
}

fn plan(google: &Google, step: Step, status: u16, text: &'static str) {
    // As often as it may be asked for.
    (0..3).for_each(|_| google.server.plan(step, Trouble::Says(status, text)));
}

#[tokio::test]
async fn only_what_is_said_to_be_gone_is_missing_or_removed() {
    together(ANSWERS, async |(status, text, failure)| {
        for google in each().await {
            let location = stored(&google).await;
            plan(&google, Step::Media, status, text);
            let got = kind(google.target.get(&location, None, 1).await);
            assert_eq!(got, Some(failure.unwrap_or(Kind::Missing)), "{status} {text}");
            plan(&google, Step::Delete, status, text);
            let removed = kind(google.target.backend.delete(&location).await);
            assert_eq!(removed, failure, "{status} {text}");
            assert_eq!(google.target.world.objects(), ["x"]);
        }
    })
    .await;
}

/// Of another generation is gone; without a generation it is nothing that was asked for.
#[tokio::test]
async fn a_condition_that_does_not_hold_is_one_that_was_made() {
    let google = storage().await;
    let mut location = stored(&google).await;
    let condition = envelope!("412", "conditionNotMet", "m");
    for (step, text) in
        [(Step::Media, "At least one of the pre-conditions you specified did not hold."), (Step::Media, condition)]
    {
        google.server.plan(step, Trouble::Says(412, text));
        assert_eq!(kind(google.target.get(&location, None, 1).await), Some(Kind::Missing), "{text}");
    }
    google.server.plan(Step::Delete, Trouble::Says(412, condition));
    google.target.backend.delete(&location).await.expect("another generation");
    location.remove("generation");
    google.server.plan(Step::Media, Trouble::Says(412, condition));
    assert_eq!(kind(google.target.get(&location, None, 1).await), Some(Kind::Refused));
    google.server.plan(Step::Delete, Trouble::Says(412, condition));
    assert_eq!(kind(google.target.backend.delete(&location).await), Some(Kind::Refused));
}

/// Status and text of the answer to a new object, and whether the spare name is tried.
#[tokio::test]
async fn a_name_that_may_be_taken_is_left_alone() {
    together(
        [
            (412, envelope!("412", "conditionNotMet", "m"), None),
            (412, "", None),
            (409, envelope!("409", "conflict", "m"), None),
            (403, envelope!("403", "retentionPolicyNotMet", "m"), None),
            (403, envelope!("403", "objectUnderActiveHold", "m"), None),
            (412, envelope!("412", "orgPolicyConstraintFailed", "m"), Some(Kind::Refused)),
            (403, envelope!("403", "forbidden", "m"), Some(Kind::Refused)),
            (404, envelope!("404", "notFound", "The specified bucket does not exist."), Some(Kind::Refused)),
            (404, HTML, Some(Kind::Refused)),
            (413, "", Some(Kind::Refused)),
        ],
        async |(status, text, failure)| {
            for (step, length) in [(Step::Create, 10), (Step::Begin, LARGE)] {
                let google = storage().await;
                google.server.plan(step, Trouble::Says(status, text));
                let outcome = google.target.put(&object("x"), Body::full(bytes(length))).await;
                match failure {
                    Some(failure) => {
                        assert_eq!(kind(outcome), Some(failure), "{status} {text}");
                        google.target.assert_empty(text).await;
                    }
                    None => {
                        assert_eq!(outcome.expect("stored").location["name"], "x.1f6c2a9e", "{status} {text}");
                        google.target.assert_clean(text).await;
                    }
                }
            }
        },
    )
    .await;
}

/// A list that fails, is none, is not complete or goes on says nothing about a folder: no second one is made.
#[tokio::test]
async fn a_folder_that_cannot_be_looked_for_is_not_made() {
    together(
        [
            (503, "", Kind::Passing),
            (403, envelope!("403", "forbidden", "m"), Kind::Refused),
            (404, HTML, Kind::Refused),
            (200, "{}", Kind::Refused),
            (200, HTML, Kind::Refused),
            (200, r#"{"files":[],"incompleteSearch":true}"#, Kind::Passing),
        ],
        async |(status, text, failure)| {
            let google = drive().await;
            google.server.make_folder("calls");
            plan(&google, Step::List, status, text);
            assert_eq!(
                kind(google.target.put(&object("calls/x"), Body::full("x")).await),
                Some(failure),
                "{status} {text}"
            );
            assert_eq!((google.server.folders(), google.server.count(Step::Folder)), (vec!["calls".to_owned()], 0));
        },
    )
    .await;
    let google = drive().await;
    google.server.make_folder("calls");
    google.server.plan(Step::List, Trouble::EmptyPage);
    google.server.plan(Step::List, Trouble::EmptyPage);
    google.target.put(&object("calls/x"), Body::full("x")).await.expect("stored");
    assert_eq!((google.target.world.objects(), google.server.count(Step::Folder)), (vec!["calls/x".to_owned()], 0));
}
