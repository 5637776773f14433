//! Dropbox: its row of the table, and the `dropbox` driver's own tests.

use crate::conformance::prelude::*;
use std::net::SocketAddr;

use stowage_storage::Endpoints;

use super::{Vendor, start};
pub use stowage_testing::dropbox::Dropbox;
use stowage_testing::tokens::TokenServer;
use stowage_testing::trouble::Double as _;

const LARGE: usize = CHUNK_BYTES + 1;
pub const APPEND: &str = "upload_session/append_v2";
pub const FINISH: &str = "upload_session/finish";
const BOTH: &[&str] = &["upload", FINISH];

impl Vendor for Dropbox {
    const DRIVER: &'static str = "dropbox";
    const LARGE: usize = LARGE;
    const UPLOAD: &'static [&'static str] = &["upload"];
    const SESSION: &'static [&'static str] = &["get_metadata", "upload_session/start", APPEND, FINISH];
    const DELETE: &'static str = "delete_v2";
    const CANARIES: &'static [&'static str] = &["canary-access"];
    // Backslashes are not allowed, and names are case-insensitive.
    const UNFIT: &'static [&'static str] = &["back\\slash", "a%2fb"];
    const BUSY: &'static str = "too_many_write_operations";
    const LOST: &'static [(&'static str, usize)] = &[
        ("upload", 10),
        ("upload_session/start", CHUNK_BYTES + LARGE),
        (APPEND, CHUNK_BYTES + LARGE),
        (FINISH, CHUNK_BYTES + LARGE),
    ];
    const DOUBTED: (&'static [(&'static str, usize)], &'static [&'static str]) =
        (&[("upload", 10), (FINISH, LARGE)], &["get_metadata"]);
    const DAMAGED: &'static [(&'static str, usize)] =
        &[("upload", 10), ("upload_session/start", CHUNK_BYTES + 9), (APPEND, CHUNK_BYTES + 9)];

    async fn start(provider: &TokenServer) -> Self {
        Self::start(provider.tokens.clone()).await
    }

    fn edge(&self) -> SocketAddr {
        self.content()
    }

    fn endpoints(&self, edge: SocketAddr, endpoints: &mut Endpoints) {
        endpoints.set("dropbox_content", format!("http://{edge}"));
        endpoints.set("dropbox_api", format!("http://{}", self.rpc()));
    }

    /// As in a response to an upload.
    fn busy() -> Trouble {
        Trouble::Refuses(409, error(json!({".tag": "path", "reason": {".tag": "too_many_write_operations"}})), None)
    }

    /// `RateLimitError`
    fn too_many(pause: u32) -> Trouble {
        let error = error(json!({"reason": {".tag": "too_many_requests"}, "retry_after": pause}));
        Trouble::Refuses(429, error, Some(pause))
    }

    fn unavailable() -> Vec<Trouble> {
        vec![Trouble::Refuses(503, Value::Null, Some(0))]
    }

    fn nothing() -> Trouble {
        refuses(409, &["path", "not_found"])
    }

    fn refusals() -> Vec<(Trouble, &'static [&'static str], &'static str)> {
        let full = json!({".tag": "path", "reason": {".tag": "insufficient_space"}, "upload_session_id": "canary"});
        let words = "Dropbox refused to store an object: path/insufficient_space (status 409)";
        vec![(Trouble::Refuses(409, error(full), None), &["upload"], words)]
    }

    fn gone() -> Vec<([Trouble; 2], Option<Kind>)> {
        // The tags after `path` for a download, and after `path_lookup` for a removal.
        let tags = [
            "not_found",
            "malformed_path",
            "not_file",
            "not_folder",
            "restricted_content",
            "unsupported_content_type",
            "locked",
            "other",
        ];
        let both = |tag| [refuses(409, &["path", tag]), refuses(409, &["path_lookup", tag])];
        let tags = tags.into_iter().map(|tag| (both(tag), (tag != "not_found").then_some(Kind::Refused)));
        let others = [
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
        ];
        tags.chain(others.map(|(trouble, kind)| ([trouble.clone(), trouble], Some(kind)))).collect()
    }

    /// Only `not_found` means that the name is free.
    fn looks() -> Vec<(Trouble, Result<bool, Kind>)> {
        vec![
            (refuses(409, &["path", "not_found"]), Ok(true)),
            (refuses(409, &["path", "not_file"]), Ok(false)),
            (refuses(409, &["path", "locked"]), Ok(false)),
            (refuses(409, &["path", "restricted_content"]), Ok(false)),
            (refuses(409, &["path", "other"]), Ok(false)),
            (refuses(403, &["team_access", "not_on_team"]), Ok(false)),
            (Trouble::Says(400, "Error in call"), Ok(false)),
            (Trouble::Says(404, ""), Ok(false)),
            (Trouble::Says(500, ""), Err(Kind::Passing)),
            (Trouble::Breaks, Err(Kind::Passing)),
            (refuses(409, &["path", "malformed_path"]), Err(Kind::Refused)),
        ]
    }

    fn conflicts() -> Vec<(&'static [&'static str], Trouble, Option<Kind>)> {
        let (refused, passing) = (Some(Kind::Refused), Some(Kind::Passing));
        let answers: [(_, &[_], _); 14] = [
            (BOTH, &["path", "conflict", "file"], None),
            (BOTH, &["path", "conflict", "folder"], None),
            (BOTH, &["path", "conflict", "other"], None),
            (BOTH, &["path", "conflict", "file_ancestor"], refused),
            (BOTH, &["path", "malformed_path"], refused),
            (BOTH, &["path", "disallowed_name"], refused),
            (BOTH, &["path", "no_write_permission"], refused),
            (BOTH, &["path", "insufficient_space"], refused),
            (BOTH, &["path", "team_folder"], refused),
            (BOTH, &["path", "operation_suppressed"], refused),
            (BOTH, &["path", "too_many_write_operations"], passing),
            (BOTH, &["payload_too_large"], refused),
            (&[FINISH], &["lookup_failed", "not_found"], passing),
            (&[FINISH], &["lookup_failed", "closed"], passing),
        ];
        answers.map(|(routes, tags, failure)| (routes, refuses(409, tags), failure)).into()
    }

    /// Only an id.
    fn kazoo(location: &mut Location) {
        location.retain(|member, _| member == "id");
    }
}

pub fn error(value: Value) -> Value {
    json!({ "error_summary": "canary/..", "error": value })
}

/// Builds an error with these nested tags, as returned by the routes for reading and removing.
fn refuses(status: u16, words: &[&str]) -> Trouble {
    let mut union = Value::Null;
    for word in words.iter().rev() {
        let inner = std::mem::replace(&mut union, json!({ ".tag": word }));
        if !inner.is_null() {
            union[*word] = inner;
        }
    }
    Trouble::Refuses(status, error(union), None)
}

/// Without `strict_conflict`, Dropbox would return the first file for both.
#[tokio::test]
async fn the_same_bytes_twice_are_two_files() {
    for length in [10, CHUNK_BYTES + 1] {
        let (scene, target) = start::<Dropbox>().await;
        let first = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        let second = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert_ne!(first.location["id"], second.location["id"]);
        target.backend.delete(&second.location).await.expect("removed");
        assert!(target.read(&first.location, length).await == bytes(length));
        assert_eq!(scene.vendor.paths(), ["x"]);
    }
}

/// A file in the place of a folder: the spare name cannot be stored there, either.
#[tokio::test]
async fn a_file_is_no_folder() {
    let (scene, target) = start::<Dropbox>().await;
    scene.vendor.place("a", b"theirs");
    for length in [10, CHUNK_BYTES + 1] {
        let refused = target.put(&object("a/b"), Body::full(bytes(length))).await.expect_err("refused");
        assert_eq!(refused.kind(), Kind::Refused);
        assert!(refused.to_string().contains("path/conflict/file_ancestor"), "{refused}");
    }
    target.idle().await;
    assert_eq!(scene.vendor.paths(), ["a"]);
}

#[tokio::test]
async fn names_that_differ_in_case_are_one_name() {
    let (scene, target) = start::<Dropbox>().await;
    target.put(&object("Name"), Body::full("one")).await.expect("stored");
    let second = target.put(&object("name"), Body::full("two")).await.expect("stored");
    assert_eq!(scene.vendor.paths(), ["Name", "name.1f6c2a9e"]);
    assert_eq!(target.read(&second.location, 3).await, b"two");
    let refused = target.put(&object("back\\slash"), Body::full("x")).await.expect_err("refused");
    assert!(refused.to_string().contains("path/disallowed_name"), "{refused}");
}

/// `missing_scope` is a property of the grant: another token for it has no more scopes.
#[tokio::test]
async fn a_new_token_is_asked_for_only_where_it_may_help() {
    for (tag, asked) in
        [("missing_scope", 1), ("user_suspended", 1), ("expired_access_token", 2), ("invalid_access_token", 2)]
    {
        let (scene, target) = start::<Dropbox>().await;
        scene.plan("upload", 1, refuses(401, &[tag]));
        let outcome = target.put(&object("x"), Body::full("x")).await;
        assert_eq!(kind(outcome), (asked == 1).then_some(Kind::Refused), "{tag}");
        assert_eq!(scene.provider.tokens.asked(), asked, "{tag}");
    }
}

/// The pause is in the body if there is no header.
#[tokio::test]
async fn a_pause_in_the_words_is_respected() {
    let (scene, target) = start::<Dropbox>().await;
    let words = error(json!({"reason": {".tag": "too_many_requests"}, "retry_after": 300}));
    scene.plan("upload", 1, Trouble::Refuses(429, words, None));
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("an error");
    assert_eq!((error.kind(), error.retry_after().map(|pause| pause.as_secs())), (Kind::Passing, Some(300)));
}

/// Another client stored the same bytes under the same name, while the response to our upload was lost.
#[tokio::test]
async fn anothers_file_with_the_same_bytes_is_not_taken_for_ours() {
    for length in [10, CHUNK_BYTES + 1] {
        let (scene, target) = start::<Dropbox>().await;
        let id = scene.vendor.place("x", &bytes(length));
        scene.plan("upload", 1, Trouble::Breaks);
        if length > 10 {
            // It was created after the name was queried.
            let nothing = error(json!({".tag": "path", "path": {".tag": "not_found"}}));
            scene.plan("get_metadata", 1, Trouble::Refuses(409, nothing, None));
            scene.plan(FINISH, 1, Trouble::Breaks);
        }
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert_ne!(stored.location["id"], json!(id));
        assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
        target.backend.delete(&stored.location).await.expect("removed");
        target.assert_clean("after all").await;
        assert_eq!(scene.vendor.paths(), ["x"], "the other client's file");
    }
}
