//! What only the `dropbox` driver does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stowage::http::body::{Body, collect};
use stowage::storage::{Budget, CHUNK_BYTES, Kind};
use stowage::tasks::Tasks;

use super::around::Around;
use super::bodies::{Frames, bytes};
use super::support::dropbox::Dropbox;
use super::support::fault::{Fault, FaultProxy, What};
use super::support::gateway::Couch;
use super::support::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use super::support::trouble::Trouble;
use super::targets::{BUDGET, LIMIT, Target, World, kind, object, try_open};

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
        around.endpoints.dropbox_content = format!("http://{content}");
        around.endpoints.dropbox_api = format!("http://{}", self.vendor.rpc());
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

/// A driver that reaches the content server through a proxy.
async fn behind_proxy() -> (Arc<Double>, FaultProxy, Target) {
    let double = Double::start().await;
    let proxy = FaultProxy::start(double.vendor.content()).await;
    let target = double.open(proxy.address());
    (double, proxy, target)
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

#[tokio::test]
async fn a_lost_answer_is_found_out() {
    for length in [10, 2 * CHUNK_BYTES + 1] {
        for route in routes(length).iter().filter(|route| **route != "get_metadata") {
            for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(500, Value::Null)] {
                let (double, target) = start().await;
                double.vendor.troubles().plan(route, 1, trouble);
                let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
                assert_eq!(stored.location["path"], json!("/x"), "it did not know its own: {route}");
                assert!(target.read(&stored.location, length).await == bytes(length));
                assert_eq!(double.vendor.paths(), ["x"]);
                target.backend.delete(&stored.location).await.expect("removed");
                target.assert_empty(route).await;
            }
        }
    }
}

/// Every answer is lost, and then the storage cannot be asked: what was stored goes later.
#[tokio::test]
async fn what_nobody_knows_of_is_removed_later() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let route = if length == 10 { "upload" } else { "upload_session/finish" };
        double.vendor.troubles().plan(route, 3, Trouble::LosesAnswer);
        if length > 10 {
            double.vendor.troubles().plan("get_metadata", 1, Trouble::FailsAfter(503, Value::Null));
        }
        double.vendor.troubles().plan("get_metadata", 3, Trouble::Breaks);
        let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing));
        target.assert_empty("removed later").await;
    }
}

/// Somebody else stored the same bytes under the same name, while the answer to ours was lost.
#[tokio::test]
async fn anothers_file_with_the_same_bytes_is_not_taken_for_ours() {
    for length in [10, CHUNK_BYTES + 1] {
        let (double, target) = start().await;
        let id = double.vendor.place("/x", bytes(length));
        double.vendor.troubles().plan("upload", 1, Trouble::Breaks);
        if length > 10 {
            // It came after the name was looked up.
            let nothing = error(json!({".tag": "path", "path": {".tag": "not_found"}}));
            double.vendor.troubles().plan("get_metadata", 1, Trouble::Refuses(409, nothing, None));
            double.vendor.troubles().plan("upload_session/finish", 1, Trouble::Breaks);
        }
        let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
        assert_ne!(stored.location["id"], json!(id));
        assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
        target.backend.delete(&stored.location).await.expect("removed");
        target.assert_clean("after all").await;
        assert_eq!(double.vendor.paths(), ["x"], "somebody else's file");
    }
}

#[tokio::test]
async fn a_chunk_that_was_taken_in_part_goes_on_there() {
    let (double, target) = start().await;
    let data = bytes(3 * CHUNK_BYTES);
    double.vendor.troubles().plan("upload_session/append_v2", 1, Trouble::Keeps(4 << 20));
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(double.vendor.troubles().count("upload_session/append_v2"), 4);
}

#[tokio::test]
async fn a_session_that_has_expired_is_passing() {
    let (double, target) = start().await;
    let vendor = Arc::clone(&double);
    let mut frames = 0;
    let body = Frames::new(bytes(3 * CHUNK_BYTES)).watched(move || {
        frames += 1;
        if frames > 2 * (CHUNK_BYTES >> 16) + 10 {
            vendor.vendor.expire_sessions();
        }
    });
    let error = target.put(&object("x"), body.body()).await.expect_err("expired");
    assert_eq!(error.kind(), Kind::Passing, "{error}");
    target.assert_empty("expired").await;
}

#[tokio::test]
async fn damaged_bytes_are_noticed_and_go() {
    for (length, route) in
        [(10, "upload"), (CHUNK_BYTES + 9, "upload_session/start"), (CHUNK_BYTES + 9, "upload_session/append_v2")]
    {
        let (double, target) = start().await;
        double.vendor.troubles().plan(route, 1, Trouble::Damages);
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("damaged");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        let told = error.to_string();
        assert!(told.contains("content_hash_mismatch") || told.contains("other bytes"), "{told}");
        target.assert_empty(route).await;
    }
}

/// The name was free when it was looked up: the commit meets another file, and is repeated with the same session.
#[tokio::test]
async fn a_name_taken_during_a_session_costs_nothing() {
    let (double, target) = start().await;
    let conflict = json!({".tag": "path", "path": {".tag": "conflict", "conflict": {".tag": "file"}}});
    double.vendor.troubles().plan("upload_session/finish", 1, Trouble::Refuses(409, error(conflict), None));
    let data = bytes(CHUNK_BYTES + 1);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(double.vendor.troubles().count("upload_session/start"), 1);
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_leave_nothing() {
    let length = CHUNK_BYTES + 70_000;
    for after in [0, 100, 700, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_500] {
        for what in [What::Cut, What::Reset] {
            let (_double, proxy, target) = behind_proxy().await;
            proxy.plan(Fault::to_server(after, what));
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            target.assert_clean(&format!("{what:?} after {after}")).await;
            assert_eq!(target.world.objects(), ["x"]);
        }
    }
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (double, proxy, target) = behind_proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let reader = double.open(proxy.address());
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(reader.read(&stored.location, data.len()).await == data);
    assert_eq!(proxy.counts().struck, 2);
    let reader = double.open(proxy.address());
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let (double, proxy, target) = behind_proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    let reader = double.open(proxy.address());
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = reader.get(&stored.location, None, 3 << 20).await.expect("an object");
    proxy.wait_until(|counts| counts.struck == 1).await;
    double.vendor.revise("/x", vec![9; 3 << 20]);
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

/// The form of KAZOO's pointers: an id and nothing else.
#[tokio::test]
async fn an_id_alone_is_a_location() {
    let (double, target) = start().await;
    let id = double.vendor.place("/old", "old");
    let location = json!({ "id": id }).as_object().expect("an object").clone();
    assert_eq!(target.read(&location, 3).await, b"old");
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}
