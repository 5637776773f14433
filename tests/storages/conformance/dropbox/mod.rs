//! What only the `dropbox` driver does.

mod answers;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_storage::{Budget, CHUNK_BYTES, Kind};

use crate::conformance::around::Around;
use crate::conformance::bodies::bytes;
use crate::conformance::targets::{BUDGET, Target, World, kind, object, try_open};
use stowage_testing::dropbox::Dropbox;
use stowage_testing::gateway::Couch;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use stowage_testing::trouble::Trouble;

/// The double, and what issues its tokens.
pub struct Double {
    pub vendor: Dropbox,
    pub provider: TokenServer,
    couch: Couch,
}

impl Double {
    async fn start() -> Arc<Self> {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        let vendor = Dropbox::start(provider.tokens.clone()).await;
        Arc::new(Self { vendor, provider, couch })
    }

    fn open(self: &Arc<Self>, content: std::net::SocketAddr) -> Target {
        let mut around = Around::couch(&self.couch);
        around.endpoints.set("dropbox_content", format!("http://{content}"));
        around.endpoints.set("dropbox_api", format!("http://{}", self.vendor.rpc()));
        let settings = json!({"oauth_doc_id": GRANT});
        let mut target = Target::open("dropbox", settings, &around, BUDGET, Box::new(Arc::clone(self)));
        target.secrets = vec![SECRET.to_owned(), REFRESH.to_owned(), "canary-access".to_owned()];
        // A backslash is no part of a name there, and names do not tell case apart.
        target.unfit = &["back\\slash", "a%2fb"];
        target
    }
}

impl World for Arc<Double> {
    fn objects(&self) -> Vec<String> {
        self.vendor.paths()
    }

    /// Sessions that are not finished show nowhere, and cannot be ended.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The target for the common rules.
pub async fn target() -> Target {
    let double = Double::start().await;
    double.open(double.vendor.content())
}

async fn start() -> (Arc<Double>, Target) {
    let double = Double::start().await;
    let target = double.open(double.vendor.content());
    (double, target)
}

fn error(value: Value) -> Value {
    json!({ "error_summary": "canary/..", "error": value })
}

/// "path/too_many_write_operations", as an upload has it.
fn busy() -> Trouble {
    Trouble::Refuses(409, error(json!({".tag": "path", "reason": {".tag": "too_many_write_operations"}})), None)
}

/// `RateLimitError`
fn too_many(seconds: u32) -> Trouble {
    let error = error(json!({"reason": {".tag": "too_many_requests"}, "retry_after": seconds}));
    Trouble::Refuses(429, error, Some(seconds))
}

fn unavailable() -> Trouble {
    Trouble::Refuses(503, Value::Null, Some(0))
}

/// Routes of an upload of this length.
fn routes(length: usize) -> &'static [&'static str] {
    match length {
        0..=CHUNK_BYTES => &["upload"],
        _ => &["get_metadata", "upload_session/start", "upload_session/append_v2", "upload_session/finish"],
    }
}

#[tokio::test]
async fn a_grant_is_needed() {
    for (settings, what) in [(json!({}), "is required"), (json!({"oauth_doc_id": 7}), "must be a text")] {
        let around = Around::default();
        let opened = try_open("dropbox", settings, &around, &Tasks::default(), &Budget::new(BUDGET));
        let error = opened.expect_err("an error");
        assert!(error.kind() == Kind::Settings && error.to_string().contains("oauth_doc_id"), "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains("storage1"), "{error}");
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        double.provider.tokens.expire();
        assert!(target.read(&stored.location, length).await == bytes(length));
        double.provider.tokens.expire();
        target.put(&object("y"), Body::full(bytes(length))).await.expect("stored");
        double.provider.tokens.expire();
        target.backend.delete(&stored.location).await.expect("removed");
        assert_eq!(double.provider.tokens.asked(), 4);
        double.provider.tokens.revoke();
        assert_eq!(kind(target.put(&object("z"), Body::full("x")).await), Some(Kind::Refused));
        assert_eq!(double.vendor.paths(), ["y"]);
    }
}

/// Without `strict_conflict` Dropbox would give the first file to both.
#[tokio::test]
async fn the_same_bytes_twice_are_two_files() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let first = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        let second = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert_ne!(first.location["id"], second.location["id"]);
        target.backend.delete(&second.location).await.expect("removed");
        assert!(target.read(&first.location, length).await == bytes(length));
        assert_eq!(double.vendor.paths(), ["x"]);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for trouble in [busy(), too_many(1), unavailable(), Trouble::Breaks] {
        let (double, target) = start().await;
        for length in [10, CHUNK_BYTES + 1] {
            let name = length.to_string();
            for route in routes(length) {
                double.vendor.troubles().plan(route, 1, trouble.clone());
            }
            let stored = target.put(&object(&name), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(stored.location["path"], json!(format!("/{name}")), "{trouble:?}");
            double.vendor.troubles().plan("download", 1, trouble.clone());
            assert!(target.read(&stored.location, length).await == bytes(length));
            double.vendor.troubles().plan("delete_v2", 1, trouble.clone());
            target.backend.delete(&stored.location).await.expect("removed");
        }
        target.assert_empty(&format!("{trouble:?}")).await;
    }
}

#[tokio::test]
async fn what_does_not_pass_in_time_is_told_as_passing() {
    for length in [10, CHUNK_BYTES + 1] {
        for route in routes(length) {
            let (double, target) = start().await;
            double.vendor.troubles().plan(route, 3, busy());
            let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!(error.kind(), Kind::Passing, "{route}: {error}");
            assert!(error.to_string().contains("too_many_write_operations"), "{error}");
            double.vendor.troubles().plan(route, 1, too_many(300));
            let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!((error.kind(), error.retry_after()), (Kind::Passing, Some(Duration::from_secs(300))));
            assert_eq!(double.vendor.troubles().count(route), 4, "nobody waits for 300 s");
            target.assert_empty(route).await;
        }
    }
}

#[tokio::test]
async fn a_real_refusal_is_not_repeated() {
    let (double, target) = start().await;
    let full = json!({".tag": "path", "reason": {".tag": "insufficient_space"}, "upload_session_id": "canary"});
    double.vendor.troubles().plan("upload", 9, Trouble::Refuses(409, error(full), None));
    let refused = target.put(&object("x"), Body::full("x")).await.expect_err("refused");
    assert_eq!(refused.kind(), Kind::Refused);
    assert_eq!(refused.to_string(), "Dropbox refused to store an object: path/insufficient_space (status 409)");
    assert_eq!(double.vendor.troubles().count("upload"), 1);
    target.assert_empty("refused").await;
}

/// A file where a folder would have to be: the spare has no place there either.
#[tokio::test]
async fn a_file_is_no_folder() {
    let (double, target) = start().await;
    double.vendor.place("/a", "somebody's");
    for length in [10, CHUNK_BYTES + 1] {
        let refused = target.put(&object("a/b"), Body::full(bytes(length))).await.expect_err("refused");
        assert_eq!(refused.kind(), Kind::Refused);
        assert!(refused.to_string().contains("path/conflict/file_ancestor"), "{refused}");
    }
    target.idle().await;
    assert_eq!(double.vendor.paths(), ["a"]);
}

#[tokio::test]
async fn names_that_differ_in_case_are_one_name() {
    let (double, target) = start().await;
    target.put(&object("Name"), Body::full("one")).await.expect("stored");
    let second = target.put(&object("name"), Body::full("two")).await.expect("stored");
    assert_eq!(double.vendor.paths(), ["Name", "name.1f6c2a9e"]);
    assert_eq!(target.read(&second.location, 3).await, b"two");
    let refused = target.put(&object("back\\slash"), Body::full("x")).await.expect_err("refused");
    assert!(refused.to_string().contains("path/disallowed_name"), "{refused}");
}
