//! A gateway whose store and S3 server can be made to fail, and the audit of what is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::gate::{Act, Gate, answer};
use stowage_testing::gateway::{Couch, Running, STORAGE, Setup, json};
use stowage_testing::is_long;
use stowage_testing::raw::RawResponse;
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::upstream::until;

/// The bucket of the plan.
pub const BUCKET: &str = "recordings";

/// A gateway between two gates.
#[derive(Debug)]
pub struct World {
    /// The gateway.
    pub gateway: Running,
    /// The server of its attachments.
    pub s3: Arc<S3Server>,
    /// The gate in front of the store.
    pub store: Gate,
    /// The gate in front of the S3 server.
    pub bucket: Gate,
}

impl World {
    /// Starts a gateway with short deadlines.
    pub async fn start() -> Self {
        Self::with(Setup::default().set("timeouts.response_head", "2s").set("timeouts.idle_body", "1s")).await
    }

    /// Starts a gateway with a plan that sends the month database's attachments to S3.
    pub async fn with(setup: Setup) -> Self {
        let world = Self::unplanned(setup).await;
        world.gateway.plan("s3", settings(world.bucket.port())).await;
        world
    }

    /// Starts a gateway without a plan.
    pub async fn unplanned(setup: Setup) -> Self {
        let couch = Couch::start().await;
        let store = Gate::start(couch.address());
        let gateway = setup.upstream(&store.url()).start_over(couch).await;
        let s3 = Arc::new(S3Server::start().await);
        s3.make_bucket(BUCKET);
        let bucket = Gate::start(s3.address());
        Self { gateway, s3, store, bucket }
    }

    /// Creates a document with an attachment `call.mp3`; returns its revision.
    pub async fn with_attachment(&self, id: &str, body: &[u8]) -> String {
        self.gateway.attached(id, json!({ "pvt_type": "call_recording" }), "call.mp3", body).await
    }

    /// PUTs a new recording in place of that of `doc`. The first save is not written, and another gateway deletes the document before the second
    /// one; then `deleted` is called.
    pub async fn overtaken_by_a_deletion(&self, other: &Running, first: &str, deleted: impl FnOnce()) {
        let gate = Arc::new(Notify::new());
        self.store.rule("PUT", "/doc ", 1, answer(500, r#"{"error":"x","reason":"x"}"#));
        self.store.rule("PUT", "/doc ", 1, Act::Hold(Arc::clone(&gate)));
        let (lost, ()) = tokio::join!(self.gateway.put("doc", "call.mp3", first, b"a recording"), async {
            self.store.struck(2).await;
            other.delete(&format!("doc?rev={first}")).await.expect_status(200);
            deleted();
            gate.notify_one();
        });
        assert_eq!((lost.status, json(&lost)["error"].as_str()), (409, Some("conflict")), "{lost:?}");
        self.gateway.settled().await;
    }

    /// Creates a document; returns its revision.
    pub async fn document(&self, id: &str) -> String {
        self.gateway.document(id, json!({ "pvt_type": "call_recording" })).await
    }

    /// Returns the document directly from the store; null if it does not exist.
    pub async fn stored(&self, id: &str) -> Value {
        let answer = self.gateway.couch.request("GET", &format!("/{}/{id}", self.gateway.path()), "", b"").await;
        if answer.status == 200 { json(&answer) } else { Value::Null }
    }

    /// Changes a document directly in the store.
    pub async fn touch(&self, id: &str) {
        let mut document = self.stored(id).await;
        document["touched"] = json!(true);
        self.gateway.save(id, document).await;
    }

    /// Waits until everything has settled, and checks that the objects are exactly those named by these documents, without pending uploads.
    pub async fn audit(&self, ids: &[impl AsRef<str>]) {
        self.gateway.settled().await;
        let mut named = BTreeSet::new();
        for id in ids {
            let document = self.stored(id.as_ref()).await;
            let pointers = document["pvt_attachments"].as_object().cloned().unwrap_or_default();
            for pointer in pointers.values() {
                named.insert(pointer["stowage"]["location"]["key"].as_str().expect("a key").to_owned());
            }
        }
        let there: BTreeSet<String> = self.s3.objects(BUCKET).into_keys().collect();
        assert_eq!(there, named, "objects, and what documents name");
        // The server removes aborted uploads itself.
        soon("pending uploads are cleared away", || self.s3.pending().is_empty()).await;
    }

    /// Checks that an attachment has exactly these bytes, or does not exist; returns whether it exists.
    pub async fn whole_or_nothing(&self, id: &str, name: &str, body: &[u8]) -> bool {
        let there = self.stored(id).await["pvt_attachments"][name].is_object();
        let got = self.gateway.get(&format!("{id}/{name}")).await;
        if there {
            assert_eq!(got.status, 200, "{id}/{name}: {got:?}");
            assert!(got.complete && got.body == body, "{id}/{name}: {} bytes", got.body.len());
        } else {
            assert_eq!(got.status, 404, "{id}/{name}: {got:?}");
        }
        there
    }

    /// Audits what is left, and stops the gateway.
    pub async fn audit_and_stop(self, ids: &[impl AsRef<str>]) {
        self.audit(ids).await;
        self.stop().await;
    }

    /// Stops the gateway; no task may be left.
    pub async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// Returns the settings of a storage on this machine.
pub fn settings(port: u16) -> Value {
    json!({
        "host": "127.0.0.1", "port": port, "scheme": "http", "bucket": BUCKET, "key": ACCESS_KEY,
        "secret": SECRET_KEY, "bucket_access_method": "path",
    })
}

/// Returns where a message is cut: at these bytes, and in `./test --long` at every fifth byte up to the last of them.
pub fn cuts(chosen: &[usize]) -> Vec<usize> {
    let last = chosen.iter().max().copied().unwrap_or_default();
    let step = if is_long() { 5 } else { last + 1 };
    let mut all: Vec<usize> = chosen.iter().copied().chain((0..=last).step_by(step)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns bytes without a pattern.
pub fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// Checks that the response is a refusal in CouchDB's form that reveals nothing about the storage except for its id and a status.
pub fn assert_refusal(answer: &RawResponse, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = json(answer);
    let members: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["error", "reason"], "{body}");
    assert_eq!(body["reason"], json!(reason.replace("{id}", STORAGE)), "{body}");
}

/// Waits until a condition holds, with a short timeout.
pub async fn soon(what: &str, condition: impl Fn() -> bool) {
    until(what, async || condition()).await;
}
