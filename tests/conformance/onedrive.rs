//! What only the `onedrive` driver does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stowage::http::body::{Body, collect};
use stowage::storage::{Budget, CHUNK_BYTES, Kind};
use stowage::tasks::Tasks;

use super::around::Around;
use super::bodies::{Frames, bytes};
use super::support::fault::{Fault, FaultProxy, What};
use super::support::gateway::Couch;
use super::support::graph::Graph;
use super::support::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use super::support::trouble::Trouble;
use super::targets::{BUDGET, LIMIT, Target, World, kind, object, try_open};

/// The double, and what issues its tokens.
pub struct Double {
    pub vendor: Graph,
    pub provider: TokenServer,
    couch: Couch,
}

impl Double {
    async fn start() -> Arc<Self> {
        let (provider, couch) = (TokenServer::start().await, Couch::start().await);
        provider.documents(&couch).await;
        let vendor = Graph::start(provider.tokens.clone()).await;
        Arc::new(Self { vendor, provider, couch })
    }

    fn open(self: &Arc<Self>, graph: std::net::SocketAddr) -> Target {
        let mut around = Around::couch(&self.couch);
        around.endpoints.graph = format!("http://{graph}");
        let settings = json!({"oauth_doc_id": GRANT});
        let mut target = Target::open("onedrive", settings, &around, BUDGET, Box::new(Arc::clone(self)));
        let canaries = ["canary-access", "canary-upload", "canary-download", "canary message"];
        target.secrets = [SECRET, REFRESH].into_iter().chain(canaries).map(str::to_owned).collect();
        // Characters that no name there may have, a dot at the end, and names that differ in case only.
        target.unfit = &["a\"b'c", "a?b=c&d", "a;b,c:d@e!$*()", "[x]{y}|~^`", "back\\slash", "..dots..", "a%2fb"];
        target
    }
}

impl World for Arc<Double> {
    fn objects(&self) -> Vec<String> {
        self.vendor.paths()
    }

    fn leftovers(&self) -> Vec<String> {
        self.vendor.sessions()
    }
}

/// The target for the common rules.
pub async fn target() -> Target {
    let double = Double::start().await;
    double.open(double.vendor.address())
}

/// The smallest body that goes in a session.
const LARGE: usize = 4_000_001;

async fn start() -> (Arc<Double>, Target) {
    let double = Double::start().await;
    let target = double.open(double.vendor.address());
    (double, target)
}

/// Sessions and downloads go through a proxy.
async fn behind_proxy() -> (Arc<Double>, FaultProxy, Target) {
    let (double, target) = start().await;
    let proxy = FaultProxy::start(double.vendor.edge()).await;
    double.vendor.give(proxy.address());
    (double, proxy, target)
}

fn refusal(status: u16, code: &str, retry_after: Option<u32>) -> Trouble {
    Trouble::Refuses(status, json!({ "error": {"code": code, "message": "canary message"} }), retry_after)
}

fn busy() -> Trouble {
    refusal(503, "serviceNotAvailable", Some(0))
}

/// Routes of an upload of this length.
fn routes(length: usize) -> &'static [&'static str] {
    match length {
        0..LARGE => &["content"],
        _ => &["item", "createUploadSession", "fragment"],
    }
}

#[tokio::test]
async fn a_grant_is_needed() {
    for settings in [json!({}), json!({"oauth_doc_id": 7})] {
        let around = Around::default();
        let opened = try_open("onedrive", settings, &around, &Tasks::default(), &Budget::new(BUDGET));
        let error = opened.expect_err("an error");
        assert!(error.kind() == Kind::Settings && error.to_string().contains("oauth_doc_id"), "{error}");
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    for length in [10, LARGE] {
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

/// 4 MB may be 4,000,000 bytes; fragments are whole multiples of 320 KiB, in order, with the total: the double sees to it.
#[tokio::test]
async fn small_bodies_are_one_request_and_large_ones_a_session() {
    let (double, target) = start().await;
    for (length, content, fragments) in
        [(0, 1, 0), (LARGE - 1, 1, 0), (LARGE, 0, 1), (CHUNK_BYTES, 0, 1), (2 * CHUNK_BYTES + 1, 0, 3)]
    {
        for announced in [true, false] {
            let before = ["content", "fragment"].map(|route| double.vendor.troubles().count(route));
            let frames = Frames::new(bytes(length));
            let frames = if announced { frames.announcing(length as u64) } else { frames };
            let stored = target.put(&object(&format!("{length}{announced}")), frames.body()).await.expect("stored");
            assert!(target.read(&stored.location, length).await == bytes(length));
            let after = ["content", "fragment"].map(|route| double.vendor.troubles().count(route));
            assert_eq!([after[0] - before[0], after[1] - before[1]], [content, fragments], "{length} {announced}");
        }
    }
    target.assert_clean("after all").await;
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let troubles = [busy(), refusal(429, "activityLimitReached", Some(1)), refusal(509, "", None), Trouble::Breaks];
    for trouble in troubles {
        let (double, target) = start().await;
        for length in [10, LARGE] {
            let name = length.to_string();
            for route in routes(length) {
                double.vendor.troubles().plan(route, 1, trouble.clone());
            }
            let stored = target.put(&object(&name), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(stored.location["path"], json!(format!("/{name}")), "{trouble:?}");
            double.vendor.troubles().plan("download", 1, trouble.clone());
            assert!(target.read(&stored.location, length).await == bytes(length));
            double.vendor.troubles().plan("delete", 1, trouble.clone());
            target.backend.delete(&stored.location).await.expect("removed");
        }
        target.assert_empty(&format!("{trouble:?}")).await;
    }
}

#[tokio::test]
async fn what_does_not_pass_in_time_is_told_as_passing() {
    for length in [10, LARGE] {
        for route in routes(length) {
            let (double, target) = start().await;
            double.vendor.troubles().plan(route, 3, busy());
            let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!(error.kind(), Kind::Passing, "{route}: {error}");
            assert!(error.to_string().contains("serviceNotAvailable"), "{error}");
            double.vendor.troubles().plan(route, 1, refusal(429, "activityLimitReached", Some(300)));
            let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
            assert_eq!((error.kind(), error.retry_after()), (Kind::Passing, Some(Duration::from_secs(300))));
            target.assert_empty(route).await;
        }
    }
}

#[tokio::test]
async fn a_real_refusal_is_not_repeated() {
    for (length, route) in [(10, "content"), (LARGE, "createUploadSession"), (LARGE, "fragment")] {
        let (double, target) = start().await;
        double.vendor.troubles().plan(route, 9, refusal(507, "quotaLimitReached", None));
        let refused = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("refused");
        assert_eq!(refused.kind(), Kind::Refused);
        assert!(refused.to_string().ends_with(": quotaLimitReached (status 507)"), "{refused}");
        assert_eq!(double.vendor.troubles().count(route), 1);
        target.assert_empty("refused").await;
    }
}

#[tokio::test]
async fn names_that_the_service_refuses_are_refused_in_words() {
    let (double, target) = start().await;
    for name in ["a:b", "x/CON/y", "dot.", " a", "~$x"] {
        let refused = target.put(&object(name), Body::full("x")).await.expect_err("refused");
        assert!(
            refused.kind() == Kind::Refused && refused.to_string().contains("OneDrive takes no object"),
            "{refused}"
        );
    }
    assert_eq!(double.vendor.troubles().asked(), [""; 0], "nobody is asked");
}

/// Under a name that is its own, a lost answer is found out.
#[tokio::test]
async fn a_lost_answer_for_a_unique_name_is_found_out() {
    for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(503, Value::Null)] {
        let (double, target) = start().await;
        let mut object = object("x");
        object.taken = true;
        double.vendor.troubles().plan("content", 1, trouble);
        let stored = target.put(&object, Body::full(bytes(10))).await.expect("stored");
        assert_eq!(target.read(&stored.location, 10).await, bytes(10));
        assert_eq!(double.vendor.paths(), ["x.1f6c2a9e"]);
        // Nobody answers any more: what was stored goes later.
        object.spare = "x.2".to_owned();
        double.vendor.troubles().plan("content", 3, Trouble::LosesAnswer);
        double.vendor.troubles().plan("item", 3, Trouble::Breaks);
        assert_eq!(kind(target.put(&object, Body::full(bytes(10))).await), Some(Kind::Passing));
        target.assert_clean("later").await;
        assert_eq!(double.vendor.paths(), ["x.1f6c2a9e"]);
    }
}

/// Under the composed name, it cannot be known whose a file with our bytes is: it stays, and ours gets a name of its own.
#[tokio::test]
async fn a_file_that_may_be_anothers_is_left_alone() {
    let (double, target) = start().await;
    double.vendor.troubles().plan("content", 1, Trouble::LosesAnswer);
    let stored = target.put(&object("x"), Body::full(bytes(10))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    assert_eq!(double.vendor.paths(), ["x", "x.1f6c2a9e"]);
    target.backend.delete(&stored.location).await.expect("removed");
    target.assert_clean("after all").await;
    assert_eq!(double.vendor.paths(), ["x"]);
}

#[tokio::test]
async fn a_lost_answer_to_a_fragment_is_found_out() {
    for length in [LARGE, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        for trouble in [Trouble::LosesAnswer, Trouble::FailsAfter(503, Value::Null)] {
            let (double, target) = start().await;
            double.vendor.troubles().plan("fragment", 1, trouble.clone());
            let stored = target.put(&object("x"), Body::full(bytes(length))).await.expect("stored");
            assert_eq!(stored.location["path"], json!("/x"));
            assert!(target.read(&stored.location, length).await == bytes(length));
            assert_eq!(double.vendor.paths(), ["x"]);
            target.assert_clean(&format!("{length} {trouble:?}")).await;
        }
    }
}

/// Every answer to the last fragment is lost, and the session cannot be asked: the file that it made goes later.
#[tokio::test]
async fn what_nobody_knows_of_is_removed_later() {
    let (double, target) = start().await;
    double.vendor.troubles().plan("fragment", 3, Trouble::LosesAnswer);
    double.vendor.troubles().plan("status", 3, Trouble::Breaks);
    let nothing = refusal(404, "itemNotFound", None);
    double.vendor.troubles().plan("item", 1, nothing);
    double.vendor.troubles().plan("item", 3, Trouble::Breaks);
    assert_eq!(kind(target.put(&object("x"), Body::full(bytes(LARGE))).await), Some(Kind::Passing));
    target.assert_empty("removed later").await;
}

#[tokio::test]
async fn a_session_that_has_expired_is_passing() {
    let (double, target) = start().await;
    let vendor = Arc::clone(&double);
    let (length, mut frames) = (3 * CHUNK_BYTES, 0);
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
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
async fn a_name_taken_before_or_during_a_session_is_left_alone() {
    let (double, target) = start().await;
    // After it was looked up: the session itself is refused.
    double.vendor.troubles().plan("createUploadSession", 1, refusal(409, "nameAlreadyExists", None));
    let stored = target.put(&object("x"), Body::full(bytes(LARGE))).await.expect("stored");
    assert_eq!(stored.location["path"], json!("/x.1f6c2a9e"));
    target.backend.delete(&stored.location).await.expect("removed");
    // During the upload: the last fragment meets it.
    let vendor = Arc::clone(&double);
    let mut frames = 0;
    let length = 2 * CHUNK_BYTES;
    let body = Frames::new(bytes(length)).announcing(length as u64).watched(move || {
        frames += 1;
        if frames == (CHUNK_BYTES >> 16) + 60 {
            vendor.vendor.place("y", "somebody's");
        }
    });
    assert_eq!(kind(target.put(&object("y"), body.body()).await), Some(Kind::Passing));
    target.assert_clean("the session is ended").await;
    assert_eq!(double.vendor.paths(), ["y"]);
}

#[tokio::test]
async fn damaged_bytes_are_noticed_and_go() {
    for (length, route) in [(10, "content"), (LARGE, "fragment"), (CHUNK_BYTES + 1, "fragment")] {
        let (double, target) = start().await;
        double.vendor.troubles().plan(route, 1, Trouble::Damages);
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("damaged");
        assert!(error.kind() == Kind::Refused && error.to_string().contains("other bytes"), "{error}");
        target.assert_empty(route).await;
    }
    let (double, target) = start().await;
    double.vendor.without_hashes();
    for length in [10, LARGE] {
        target.put(&object(&length.to_string()), Body::full(bytes(length))).await.expect("stored");
    }
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_leave_nothing() {
    let length = CHUNK_BYTES + 70_000;
    for after in [0, 100, 700, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_000] {
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

/// Each address is good once: the rest comes from a new one.
#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (double, proxy, target) = behind_proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!((proxy.counts().struck, double.vendor.troubles().count("download")), (2, 3));
    let reader = double.open(double.vendor.address());
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let (double, proxy, target) = behind_proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = target.get(&stored.location, None, 3 << 20).await.expect("an object");
    proxy.wait_until(|counts| counts.struck == 1).await;
    double.vendor.revise("x", vec![9; 3 << 20]);
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

/// The form of KAZOO's pointers: drive and item, and nothing else.
#[tokio::test]
async fn ids_alone_are_a_location() {
    let (_double, target) = start().await;
    let mut location = target.put(&object("x"), Body::full("old")).await.expect("stored").location;
    location.remove("path");
    assert_eq!(target.read(&location, 3).await, b"old");
    target.backend.delete(&location).await.expect("removed");
    target.assert_empty("removed").await;
}
