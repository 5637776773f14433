//! What only the `onedrive` driver does.

mod answers;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use stowage_base::tasks::Tasks;
use stowage_http::body::Body;
use stowage_storage::{Budget, CHUNK_BYTES, Kind};

use crate::conformance::around::Around;
use crate::conformance::bodies::{Frames, bytes};
use crate::conformance::targets::{BUDGET, Target, World, kind, object, try_open};
use stowage_testing::gateway::Couch;
use stowage_testing::graph::Graph;
use stowage_testing::tokens::{GRANT, REFRESH, SECRET, TokenServer};
use stowage_testing::trouble::Trouble;

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
        around.endpoints.set("graph", format!("http://{graph}"));
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
