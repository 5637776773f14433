//! The world of the fault tests, with a plan that says `stub`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use stowage::metrics::Levels;

use crate::faults::world::BUCKET;
pub use crate::faults::world::{World, bytes, settings, soon};
use stowage_testing::gateway::{Running, STORAGE, Setup, authorization, rev};
use stowage_testing::raw::RawResponse;
pub use stowage_testing::raw::in_chunks;
use stowage_testing::s3::S3Server;

impl World {
    /// Starts a gateway whose plan keeps attachments in CouchDB and copies them to S3, with short deadlines.
    pub async fn copying() -> Self {
        Self::copying_with(Setup::default().set("timeouts.response_head", "4s").set("timeouts.idle_body", "5s")).await
    }

    pub async fn copying_with(setup: Setup) -> Self {
        let world = Self::unplanned(setup).await;
        plan(&world.gateway, "s3", settings(world.bucket.port())).await;
        world
    }

    /// Returns every object of the bucket.
    pub fn objects(&self) -> Vec<Vec<u8>> {
        objects_of(&self.s3)
    }

    /// Returns the object of a document's `call.mp3`.
    pub fn object(&self, id: &str) -> Option<Vec<u8>> {
        let keys = self.s3.objects(BUCKET).into_keys();
        let mut of_document = keys.filter(|key| key.ends_with(&format!("{id}_call.mp3")));
        let key = of_document.next()?;
        assert_eq!(of_document.next(), None, "one object");
        self.s3.object(BUCKET, &key)
    }

    /// Waits until everything has settled, including the storage.
    pub async fn quiet(&self) {
        self.gateway.settled().await;
        soon("pending uploads are cleared away", || self.s3.pending().is_empty()).await;
    }

    /// Checks that the document is still at its first revision, and the storage empty.
    pub async fn is_untouched(&self, id: &str, rev: &str) {
        self.quiet().await;
        let document = self.stored(id).await;
        assert_eq!((&document["_rev"], &document["_attachments"]), (&json!(rev), &Value::Null), "{id}: {document}");
        assert!(self.objects().is_empty(), "{id}: a copy stays");
    }
}

/// Returns every object of the bucket.
pub fn objects_of(s3: &S3Server) -> Vec<Vec<u8>> {
    s3.objects(BUCKET).keys().map(|key| s3.object(BUCKET, key).expect("an object")).collect()
}

/// Plans that the month database's attachments stay in CouchDB, and are copied to one storage.
pub async fn plan(gateway: &Running, handler: &str, settings: Value) {
    gateway.make_database().await;
    gateway
        .plan_as(handler, settings, json!({ "modb": { "attachments": { "handler": STORAGE, "stub": true } } }))
        .await;
}

/// Returns the attachment directly from CouchDB.
pub async fn native(gateway: &Running, id: &str, name: &str) -> RawResponse {
    gateway.couch.request("GET", &format!("/{}/{id}/{name}", gateway.path()), "", b"").await
}

/// PUTs `call.mp3`, and checks that CouchDB has saved exactly these bytes; returns the revision.
pub async fn saved(gateway: &Running, id: &str, rev_before: &str, body: &[u8]) -> String {
    let put = gateway.attach(id, "call.mp3", rev_before, body).await;
    let kept = native(gateway, id, "call.mp3").await;
    assert!(kept.status == 200 && kept.complete && kept.body == body, "{id}: {} bytes", kept.body.len());
    rev(&put)
}

/// Returns the counts of the copies' outcomes for a kind of storage, without zeros.
pub fn copies(gateway: &Running, backend: &str) -> BTreeMap<String, u64> {
    let text = String::from_utf8(gateway.app.gateway.metrics.text(Levels::default())).expect("a text");
    let start = format!("stowage_copies_total{{backend=\"{backend}\",outcome=\"");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    let counted = lines.map(|(outcome, count)| (outcome.to_owned(), count.parse().expect("a number")));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// Builds expected counts of outcomes.
pub fn outcomes(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().filter(|(_, count)| *count > 0).map(|(outcome, count)| ((*outcome).to_owned(), *count)).collect()
}

/// Returns the head of a PUT of `call.mp3`, including the empty line.
pub fn head(gateway: &Running, id: &str, rev: &str, headers: &[&str]) -> String {
    let (name, value) = authorization(&gateway.couch.admin);
    let target = format!("/{}/{id}/call.mp3?rev={rev}", gateway.path());
    let mut head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\nContent-Type: audio/mpeg\r\n");
    for header in headers {
        write!(head, "{header}\r\n").expect("a text");
    }
    head + "\r\n"
}
