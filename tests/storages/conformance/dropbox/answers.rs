//! What Dropbox's answers mean: which of them say that a file is gone, that a name is taken, that something was done.

use serde_json::{Value, json};
use stowage_http::body::Body;
use stowage_storage::{CHUNK_BYTES, Kind};

use super::{Double, error, start};
use crate::conformance::bodies::bytes;
use crate::conformance::targets::{Target, kind, object};
use stowage_testing::trouble::Trouble;

/// An error with these tags, one inside the other, as the routes of reading and removing have them.
fn tags(words: &[&str]) -> Value {
    let mut union = Value::Null;
    for word in words.iter().rev() {
        let inner = std::mem::replace(&mut union, json!({ ".tag": word }));
        if !inner.is_null() {
            union[*word] = inner;
        }
    }
    error(union)
}

fn refuses(status: u16, words: &[&str]) -> Trouble {
    Trouble::Refuses(status, tags(words), None)
}

async fn stored() -> (std::sync::Arc<Double>, Target, stowage_storage::Location) {
    let (double, target) = start().await;
    let location = target.put(&object("x"), Body::full("x")).await.expect("stored").location;
    (double, target, location)
}

#[tokio::test]
async fn only_what_is_said_to_be_gone_is_missing_or_removed() {
    // The tags behind `path` of a download and behind `path_lookup` of a removal, and whether they say so.
    for (inner, gone) in [
        ("not_found", true),
        ("malformed_path", false),
        ("not_file", false),
        ("not_folder", false),
        ("restricted_content", false),
        ("unsupported_content_type", false),
        ("locked", false),
        ("other", false),
    ] {
        let (double, target, location) = stored().await;
        double.vendor.troubles().plan("download", 1, refuses(409, &["path", inner]));
        let expected = if gone { Kind::Missing } else { Kind::Refused };
        assert_eq!(kind(target.get(&location, None, 1).await), Some(expected), "{inner}");
        double.vendor.troubles().plan("delete_v2", 1, refuses(409, &["path_lookup", inner]));
        assert_eq!(kind(target.backend.delete(&location).await).is_none(), gone, "{inner}");
    }
    for (trouble, failure) in [
        (refuses(409, &["path_write", "no_write_permission"]), Kind::Refused),
        (refuses(409, &["path_write", "access_restricted"]), Kind::Refused),
        (refuses(409, &["too_many_files"]), Kind::Refused),
        (refuses(409, &["unsupported_file"]), Kind::Refused),
        (refuses(409, &["too_many_write_operations"]), Kind::Passing),
        (refuses(401, &["missing_scope"]), Kind::Refused),
        (refuses(403, &["team_access", "not_on_team"]), Kind::Refused),
        (Trouble::Says(400, "Error in call to API function \"files/x\": path/not_found"), Kind::Refused),
        (Trouble::Says(404, "path/not_found"), Kind::Refused),
        (Trouble::Says(409, "<html>path/not_found"), Kind::Refused),
        (Trouble::Says(410, ""), Kind::Refused),
        (Trouble::Says(429, "slow down"), Kind::Passing),
        (Trouble::Says(520, "<html>"), Kind::Passing),
    ] {
        let (double, target, location) = stored().await;
        for route in ["download", "delete_v2"] {
            double.vendor.troubles().plan(route, 3, trouble.clone());
        }
        assert_eq!(kind(target.get(&location, None, 1).await), Some(failure), "{trouble:?}");
        assert_eq!(kind(target.backend.delete(&location).await), Some(failure), "{trouble:?}");
        assert_eq!(double.vendor.paths(), ["x"]);
    }
}

/// What is found at the name before a session is begun: only `not_found` says that it is free.
#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_left_alone() {
    let spare = Ok("/x.1f6c2a9e");
    for (trouble, outcome) in [
        (refuses(409, &["path", "not_found"]), Ok("/x")),
        (refuses(409, &["path", "not_file"]), spare),
        (refuses(409, &["path", "locked"]), spare),
        (refuses(409, &["path", "restricted_content"]), spare),
        (refuses(409, &["path", "other"]), spare),
        (refuses(403, &["team_access", "not_on_team"]), spare),
        (Trouble::Says(400, "Error in call"), spare),
        (Trouble::Says(404, ""), spare),
        (Trouble::Says(500, ""), Err(Kind::Passing)),
        (Trouble::Breaks, Err(Kind::Passing)),
        (refuses(409, &["path", "malformed_path"]), Err(Kind::Refused)),
    ] {
        let (double, target) = start().await;
        double.vendor.troubles().plan("get_metadata", 3, trouble.clone());
        let stored = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
        let path = stored.map(|stored| stored.location["path"].clone()).map_err(|error| error.kind());
        assert_eq!(path, outcome.map(|path| json!(path)), "{trouble:?}");
        target.assert_clean("after all").await;
    }
}

/// The answers to a commit, and whether the name that is the object's own is tried.
#[tokio::test]
async fn only_another_file_at_the_name_is_a_conflict() {
    for (words, failure) in [
        (&["path", "conflict", "file"][..], None),
        (&["path", "conflict", "folder"], None),
        (&["path", "conflict", "other"], None),
        (&["path", "conflict", "file_ancestor"], Some(Kind::Refused)),
        (&["path", "malformed_path"], Some(Kind::Refused)),
        (&["path", "disallowed_name"], Some(Kind::Refused)),
        (&["path", "no_write_permission"], Some(Kind::Refused)),
        (&["path", "insufficient_space"], Some(Kind::Refused)),
        (&["path", "team_folder"], Some(Kind::Refused)),
        (&["path", "operation_suppressed"], Some(Kind::Refused)),
        (&["path", "too_many_write_operations"], Some(Kind::Passing)),
        (&["payload_too_large"], Some(Kind::Refused)),
        (&["lookup_failed", "not_found"], Some(Kind::Passing)),
        (&["lookup_failed", "closed"], Some(Kind::Passing)),
    ] {
        for (route, length) in [("upload", 10), ("upload_session/finish", CHUNK_BYTES + 1)] {
            if route == "upload" && words[0] == "lookup_failed" {
                continue;
            }
            let (double, target) = start().await;
            double.vendor.troubles().plan(
                route,
                if failure == Some(Kind::Passing) { 3 } else { 1 },
                refuses(409, words),
            );
            let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
            match failure {
                Some(failure) => {
                    assert_eq!(kind(outcome), Some(failure), "{route} {words:?}");
                    target.assert_empty(&format!("{words:?}")).await;
                }
                None => {
                    assert_eq!(outcome.expect("stored").location["path"], json!("/x.1f6c2a9e"), "{route} {words:?}")
                }
            }
        }
    }
}

/// What a session has is what it says, whoever lost count.
#[tokio::test]
async fn a_session_says_where_to_go_on() {
    let offset = |at: usize| error(json!({".tag": "incorrect_offset", "correct_offset": at}));
    for (at, stored) in [(2 * CHUNK_BYTES, true), (0, false), (CHUNK_BYTES - 1, false), (9 * CHUNK_BYTES, false)] {
        let (double, target) = start().await;
        let data = bytes(2 * CHUNK_BYTES + 9);
        if stored {
            // It has the chunk, and says so to the one that comes again.
            double.vendor.troubles().plan("upload_session/append_v2", 1, Trouble::FailsAfter(409, offset(at)));
        } else {
            double.vendor.troubles().plan("upload_session/append_v2", 1, Trouble::Refuses(409, offset(at), None));
        }
        let outcome = target.put(&object("x"), Body::full(data.clone())).await;
        match stored {
            true => assert!(target.read(&outcome.expect("stored").location, data.len()).await == data),
            false => {
                assert_eq!(kind(outcome), Some(Kind::Passing), "{at}");
                target.assert_empty("lost count").await;
            }
        }
    }
}

/// `missing_scope` is of the grant: another token of it has no more scopes.
#[tokio::test]
async fn a_new_token_is_asked_for_only_where_it_may_help() {
    for (tag, asked) in
        [("missing_scope", 1), ("user_suspended", 1), ("expired_access_token", 2), ("invalid_access_token", 2)]
    {
        let (double, target) = start().await;
        double.vendor.troubles().plan("upload", 1, refuses(401, &[tag]));
        let outcome = target.put(&object("x"), Body::full("x")).await;
        assert_eq!(kind(outcome), (asked == 1).then_some(Kind::Refused), "{tag}");
        assert_eq!(double.provider.tokens.asked(), asked, "{tag}");
    }
}

/// The pause stands in the words where no header says it.
#[tokio::test]
async fn a_pause_in_the_words_is_respected() {
    let (double, target) = start().await;
    let words = error(json!({"reason": {".tag": "too_many_requests"}, "retry_after": 300}));
    double.vendor.troubles().plan("upload", 1, Trouble::Refuses(429, words, None));
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("an error");
    assert_eq!((error.kind(), error.retry_after().map(|pause| pause.as_secs())), (Kind::Passing, Some(300)));
}
