//! The `azure` driver: its target, and its own tests.

mod answers;
mod breaks;

use crate::conformance::prelude::*;
use crate::conformance::targets::World;
use futures_util::StreamExt as _;
use stowage_testing::azurite::{ACCOUNT, Container, Failure, Gate, KEY, Operation};

impl World for Container {
    /// Returns the composed names: azurite and Azure treat a backslash as a slash, so the driver encodes it as `%5C`, and a dot that
    /// Azure drops as `%2E`.
    fn objects(&self) -> Vec<String> {
        self.blobs().into_iter().map(|name| name.replace("%5C", "\\").replace("%2E", ".")).collect()
    }

    /// Uncommitted blocks do not count: they are invisible to readers, and only Azure can remove them.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The target for the rules: azurite itself, with the account in the path.
pub fn target() -> Target {
    let container = Container::start();
    open(&container, container.address().port(), |_| {})
}

pub fn open(container: &Container, port: u16, change: impl FnOnce(&mut Value)) -> Target {
    let mut settings = json!({
        "host": "localhost", "port": port, "scheme": "http", "account": ACCOUNT, "key": KEY, "container": container.name,
    });
    change(&mut settings);
    let mut target = Target::open("azure", settings, &Around::default(), BUDGET, Box::new(container.clone()));
    target.secrets = vec![KEY.to_owned()];
    target
}

/// A driver that uses the server through a gate.
pub async fn gated() -> (Container, Gate, Target) {
    let container = Container::start();
    let gate = Gate::start(container.address()).await;
    let target = open(&container, gate.address().port(), |_| {});
    (container, gate, target)
}

#[tokio::test]
async fn the_account_may_be_in_the_host() {
    let container = Container::start();
    let host = format!("{ACCOUNT}.localhost");
    let target = open(&container, container.address().port(), |settings| settings["host"] = json!(host));
    for length in [10, CHUNK_BYTES + 10] {
        let data = bytes(length);
        let stored = target.put(&object(&format!("f/{length} %2F")), Body::full(data.clone())).await.expect("stored");
        assert!(target.read(&stored.location, length).await == data);
        target.backend.delete(&stored.location).await.expect("removed");
    }
    target.assert_empty("after all").await;
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let container = Container::start();
    let wrong = "d3Jvbmcta2V5LW9mLXRoZS10ZXN0cy1vZi1zdG93YWdlLTAxMjM0NTY3ODk=";
    let target = open(&container, container.address().port(), |settings| settings["key"] = json!(wrong));
    for length in [1, CHUNK_BYTES + 1] {
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("refused");
        assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (Kind::Refused, Some(403)));
        assert!(error.to_string().contains("AuthorizationFailure") || length > 1, "{error}");
        assert!(!error.to_string().contains(wrong), "{error}");
    }
    target.assert_empty("refused").await;
}

#[tokio::test]
async fn blobs_are_as_their_writer_says() {
    let (container, gate, target) = gated().await;
    for length in [3, CHUNK_BYTES + 3] {
        let name = format!("{length}");
        let stored = target.put(&object(&name), Body::full(bytes(length))).await.expect("stored");
        let head = container.ask("HEAD", &name, "", &[], b"");
        assert_eq!(head.header("content-type"), Some("audio/mpeg"));
        assert_eq!(head.header("content-length"), Some(length.to_string().as_str()));
        assert_eq!(head.header("x-ms-blob-type"), Some("BlockBlob"));
        assert!(head.header("content-md5").is_some_and(|md5| md5.len() == 24), "{head:?}");
        assert!(head.header("x-ms-meta-stowageid").is_some_and(|id| id.len() == 32), "{head:?}");
        assert_eq!(head.header("etag").map(|tag| tag.trim_matches('"')), stored.etag.as_deref());
        assert_eq!(stored.location.keys().collect::<Vec<_>>(), ["container", "blob"]);
    }
    let operations: Vec<_> = gate.seen().into_iter().map(|seen| seen.operation).collect();
    use Operation::{Block, Head, List, Put};
    assert_eq!(operations, [Put, Head, Block, Block, List]);
}

#[tokio::test]
async fn a_backslash_is_no_slash() {
    let (container, _gate, target) = gated().await;
    let backslash = target.put(&object("a\\b"), Body::full("backslash")).await.expect("stored");
    let slash = target.put(&object("a/b"), Body::full("slash")).await.expect("stored");
    assert_eq!(container.blobs(), ["a%5Cb", "a/b"]);
    assert_eq!(target.read(&backslash.location, 9).await, b"backslash");
    assert_eq!(target.read(&slash.location, 5).await, b"slash");
    assert!(target.backend.url("a\\b").ends_with("/a%255Cb"), "{}", target.backend.url("a\\b"));
}

/// As in an account with a hierarchical namespace.
#[tokio::test]
async fn folders_are_not_listed() {
    let container = Container::start();
    let target = open(&container, container.address().port(), |_| {});
    let folder = [("x-ms-blob-type", "BlockBlob"), ("x-ms-meta-hdi_isfolder", "true")];
    assert_eq!(container.ask("PUT", "folder", "", &folder, b"").status, 201);
    target.put(&object("folder/x"), Body::full("x")).await.expect("stored");
    let listed: Vec<_> =
        target.backend.list().expect("a list").map(|listed| listed.expect("a blob").name).collect().await;
    assert_eq!(listed, ["folder/x"]);
}

#[tokio::test]
async fn two_uploads_of_blocks_of_one_name_do_not_mix() {
    let container = Container::start();
    let target = &open(&container, container.address().port(), |_| {});
    let puts = (1..4_u8).map(|number| async move {
        let data = vec![number; CHUNK_BYTES + 1000];
        let mut object = object("same");
        object.spare = format!("same.{number}");
        (target.put(&object, Body::full(data.clone())).await, data)
    });
    let mut stored = 0;
    for (outcome, data) in futures_util::future::join_all(puts).await {
        match outcome {
            Ok(kept) => {
                stored += 1;
                assert!(target.read(&kept.location, data.len()).await == data);
            }
            Err(error) => assert_eq!(error.kind(), Kind::Passing, "{error}"),
        }
    }
    assert!(stored >= 1);
    target.idle().await;
    assert_eq!(container.blobs().len(), stored);
}

#[tokio::test]
async fn what_a_dropped_upload_leaves_is_no_blob() {
    let (container, gate, target) = gated().await;
    gate.fail(Operation::List, 1, Failure::Answer(403, "AuthorizationFailure", None));
    let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
    assert_eq!(kind(outcome), Some(Kind::Refused));
    target.assert_empty("refused").await;
    assert_eq!(container.uncommitted(), ["x"], "the documentation says so");
    // Uncommitted blocks disturb neither an upload in blocks nor a small one.
    let data = bytes(CHUNK_BYTES + 9);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert_eq!(stored.location["blob"], json!("x"));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(container.uncommitted(), [""; 0]);
}

#[tokio::test]
async fn addresses_are_the_tenants() {
    // The tests' egress policy only allows 127.0.0.0/8.
    let container = Container::start();
    let target = open(&container, container.address().port(), |settings| settings["host"] = json!("10.0.0.1"));
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Settings));
}

#[tokio::test]
async fn a_key_that_is_no_base64_is_a_wrong_setting() {
    let settings = json!({"account": "acme", "container": "calls", "key": "canary, not base64"});
    let (tasks, budget) = (Default::default(), Budget::new(BUDGET));
    let error = crate::conformance::targets::try_open("azure", settings, &Around::default(), &tasks, &budget)
        .expect_err("wrong");
    assert_eq!(error.to_string(), "the setting key of storage storage1 must be base64");
}
