//! The `azure` driver: its target, and what only it does: keys, repeats, lost answers, blocks, broken downloads.

use std::time::Instant;

use serde_json::{Value, json};
use stowage::http::body::{Body, collect};
use stowage::http::range::ByteRange;
use stowage::storage::{CHUNK_BYTES, Kind};

use super::around::Around;
use super::bodies::bytes;
use super::support::azurite::{ACCOUNT, Container, Failure, Gate, KEY, Operation};
use super::support::fault::{Fault, FaultProxy, What};
use super::tamper;
use super::targets::{BUDGET, LIMIT, Target, World, kind, object};

const BUSY: Failure = Failure::Answer(503, "ServerBusy", None);

impl World for Container {
    /// By the composed names: azurite, like Azure, takes a backslash for a slash, so the driver writes it as `%5C`.
    fn objects(&self) -> Vec<String> {
        self.blobs().into_iter().map(|name| name.replace("%5C", "\\")).collect()
    }

    /// Blocks that no list named are no leftover: no reader sees them, and nothing but Azure can remove them.
    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The target of the rules: azurite itself, with the account in the path.
pub fn target() -> Target {
    let container = Container::start();
    open(&container, container.address().port(), |_| {})
}

fn open(container: &Container, port: u16, change: impl FnOnce(&mut Value)) -> Target {
    let mut settings = json!({
        "host": "localhost", "port": port, "scheme": "http", "account": ACCOUNT, "key": KEY, "container": container.name,
    });
    change(&mut settings);
    let mut target = Target::open("azure", settings, &Around::default(), BUDGET, Box::new(container.clone()));
    target.secrets = vec![KEY.to_owned()];
    target
}

/// A driver that reaches the server through a gate.
async fn gated() -> (Container, Gate, Target) {
    let container = Container::start();
    let gate = Gate::start(container.address()).await;
    let target = open(&container, gate.address().port(), |_| {});
    (container, gate, target)
}

/// A driver that reaches the server through a proxy that breaks connections.
async fn behind_proxy() -> (Container, FaultProxy, Target) {
    let container = Container::start();
    let proxy = FaultProxy::start(container.address()).await;
    let target = open(&container, proxy.address().port(), |_| {});
    (container, proxy, target)
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

#[tokio::test]
async fn only_a_missing_blob_is_missing() {
    let (container, gate, target) = gated().await;
    let stored = target.put(&object("x"), Body::full("x")).await.expect("stored");
    gate.fail(Operation::Get, 1, Failure::Answer(403, "AuthenticationFailed", None));
    let error = target.get(&stored.location, None, 1).await.expect_err("refused");
    assert_eq!(error.to_string(), "Azure refused to read an object: AuthenticationFailed (status 403)");
    gate.fail(Operation::Get, 1, Failure::Answer(404, "no code <secret>", None));
    let error = target.get(&stored.location, None, 1).await.expect_err("refused");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Refused, "Azure refused to read an object (status 404)")
    );

    let mut other = stored.location.clone();
    other.insert("container".to_owned(), json!("another"));
    let error = target.get(&other, None, 1).await.expect_err("refused");
    assert_eq!(error.to_string(), "Azure refused to read an object: ContainerNotFound (status 404)");
    target.backend.delete(&other).await.expect("gone with its container");
    assert_eq!(container.blobs(), ["x"]);
    other.remove("container");
    assert_eq!(target.read(&other, 1).await, b"x");
    gate.fail(Operation::Delete, 1, Failure::Answer(409, "SnapshotsPresent", None));
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
    gate.fail(Operation::Delete, 1, Failure::Answer(404, "ResourceNotFound", None));
    assert_eq!(kind(target.backend.delete(&stored.location).await), Some(Kind::Refused));
}

#[tokio::test]
async fn a_changed_body_is_refused() {
    let container = Container::start();
    let proxy = tamper::start(container.address(), b"canary in the coal mine", b"CANARY IN THE COAL MINE").await;
    let target = open(&container, proxy.port(), |_| {});
    let mut large = bytes(2 * CHUNK_BYTES);
    large[CHUNK_BYTES + 10..CHUNK_BYTES + 33].copy_from_slice(b"canary in the coal mine");
    for body in [b"a canary in the coal mine".to_vec(), large] {
        let error = target.put(&object("x"), Body::full(body)).await.expect_err("changed");
        assert!(error.to_string().contains("Md5Mismatch"), "{error}");
        target.assert_empty("changed on its way").await;
    }
    target.put(&object("y"), Body::full("nothing to change")).await.expect("stored");
}

#[tokio::test]
async fn another_checksum_in_the_answer_is_an_error_and_the_blob_goes() {
    for (operation, length) in
        [(Operation::Put, 10), (Operation::Block, CHUNK_BYTES + 1), (Operation::List, CHUNK_BYTES + 1)]
    {
        let (_container, gate, target) = gated().await;
        gate.fail(operation, 1, Failure::Header("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="));
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("another checksum");
        assert!(error.to_string().contains("other bytes"), "{operation:?}: {error}");
        target.assert_empty(&format!("{operation:?}")).await;
    }
}

#[tokio::test]
async fn a_download_is_compared_with_the_checksum_of_its_writer() {
    let (container, _gate, target) = gated().await;
    // Somebody writes other bytes, and keeps our mark and our checksum.
    let stored = target.put(&object("x"), Body::full("abc")).await.expect("stored");
    let head = container.ask("HEAD", "x", "", &[], b"");
    let (md5, id) = (head.header("content-md5").expect("MD5"), head.header("x-ms-meta-stowageid").expect("id"));
    let block = container.ask("PUT", "x", "comp=block&blockid=YQ%3D%3D", &[], b"abd");
    assert_eq!(block.status, 201, "{block:?}");
    let list = b"<?xml version=\"1.0\"?><BlockList><Latest>YQ==</Latest></BlockList>";
    let ours = [("x-ms-blob-content-md5", md5), ("x-ms-meta-stowageid", id)];
    assert_eq!(container.ask("PUT", "x", "comp=blocklist", &ours, list).status, 201);
    let download = target.get(&stored.location, None, 3).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
    // Without our mark nobody knows what the checksum is worth.
    container.ask("PUT", "x", "comp=block&blockid=YQ%3D%3D", &[], b"abd");
    assert_eq!(container.ask("PUT", "x", "comp=blocklist", &ours[..1], list).status, 201);
    assert_eq!(target.read(&stored.location, 3).await, b"abd");
}

#[tokio::test]
async fn busy_twice_is_no_failure() {
    let (_container, gate, target) = gated().await;
    for operation in [Operation::Head, Operation::Put, Operation::Block, Operation::List] {
        gate.fail(operation, 2, BUSY);
    }
    let (small, large) = (bytes(10), bytes(CHUNK_BYTES + 1));
    let stored = [
        (target.put(&object("small"), Body::full(small.clone())).await.expect("stored"), small),
        (target.put(&object("large"), Body::full(large.clone())).await.expect("stored"), large),
    ];
    for (stored, data) in stored {
        gate.fail(Operation::Get, 2, BUSY);
        assert!(target.read(&stored.location, data.len()).await == data);
        gate.fail(Operation::Delete, 2, BUSY);
        target.backend.delete(&stored.location).await.expect("removed");
    }
    target.assert_empty("after all").await;
}

#[tokio::test]
async fn busy_for_ever_is_passing_and_leaves_nothing() {
    let passing = [(500, "InternalError"), (503, "ServerBusy"), (429, "TooManyRequests"), (500, "OperationTimedOut")];
    let operations = [Operation::Head, Operation::Put, Operation::Block, Operation::List];
    for (operation, (status, code)) in operations.into_iter().zip(passing) {
        let (_container, gate, target) = gated().await;
        gate.fail(operation, 3, Failure::Answer(status, code, None));
        let length = if operation == Operation::Put { 10 } else { CHUNK_BYTES + 1 };
        let error = target.put(&object("x"), Body::full(bytes(length))).await.expect_err("an error");
        assert_eq!(error.kind(), Kind::Passing, "{operation:?}");
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(gate.count(operation), 3, "{operation:?}");
        target.assert_empty(&format!("{operation:?}")).await;
    }
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_made_and_every_try_is_signed_afresh() {
    let (_container, gate, target) = gated().await;
    gate.fail(Operation::Put, 1, Failure::Answer(503, "ServerBusy", Some(2)));
    let began = Instant::now();
    target.put(&object("x"), Body::full("x")).await.expect("stored");
    assert!(began.elapsed().as_millis() >= 2000, "{:?}", began.elapsed());
    let seen = gate.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].date, seen[1].date);
    assert_ne!(seen[0].signature, seen[1].signature);
}

#[tokio::test]
async fn a_pause_that_is_too_long_ends_it_at_once() {
    let (_container, gate, target) = gated().await;
    gate.fail(Operation::Put, 1, Failure::Answer(503, "ServerBusy", Some(3600)));
    let began = Instant::now();
    let error = target.put(&object("x"), Body::full("x")).await.expect_err("an error");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(error.kind(), Kind::Passing);
    assert_eq!(error.retry_after().map(|pause| pause.as_secs()), Some(3600));
    assert!(error.to_string().contains("ServerBusy"), "{error}");
    assert_eq!(gate.count(Operation::Put), 1);
    target.assert_empty("not stored").await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_out() {
    for failure in [Failure::Lose, Failure::Hide] {
        for (operation, length) in
            [(Operation::Put, 10), (Operation::Block, CHUNK_BYTES + 1), (Operation::List, CHUNK_BYTES + 1)]
        {
            let (container, gate, target) = gated().await;
            gate.fail(operation, 1, failure);
            let data = bytes(length);
            let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
            assert_eq!(stored.location["blob"], json!("x"), "the spare would mean that it did not know its own");
            assert!(stored.etag.is_some());
            assert!(target.read(&stored.location, length).await == data);
            target.idle().await;
            assert_eq!(container.blobs(), ["x"], "{failure:?} {operation:?}");
        }
    }
}

#[tokio::test]
async fn a_blob_whose_answers_are_all_lost_is_removed_or_taken() {
    let (container, gate, target) = gated().await;
    gate.fail(Operation::Put, 3, Failure::Lose);
    let stored = target.put(&object("x"), Body::full("x")).await.expect("found out by a look");
    assert_eq!(target.read(&stored.location, 1).await, b"x");
    // Nobody can look either: an error, and once somebody can, nothing is left.
    gate.fail(Operation::Put, 3, Failure::Lose);
    gate.fail(Operation::Head, 3, BUSY);
    assert_eq!(kind(target.put(&object("y"), Body::full("y")).await), Some(Kind::Passing));
    target.idle().await;
    assert_eq!(container.blobs(), ["x"]);
}

#[tokio::test]
async fn somebody_elses_blob_is_never_removed() {
    let (container, gate, target) = gated().await;
    let theirs = container.ask("PUT", "x", "", &[("x-ms-blob-type", "BlockBlob")], b"theirs");
    assert_eq!(theirs.status, 201, "{theirs:?}");
    gate.fail(Operation::Put, 1, Failure::Hide);
    let stored = target.put(&object("x"), Body::full("ours")).await.expect("stored");
    assert_eq!(stored.location["blob"], json!("x.1f6c2a9e"));
    gate.fail(Operation::List, 3, Failure::Answer(500, "InternalError", None));
    assert_eq!(kind(target.put(&object("y"), Body::full(bytes(CHUNK_BYTES + 1))).await), Some(Kind::Passing));
    target.idle().await;
    assert_eq!(container.blobs(), ["x", "x.1f6c2a9e"]);
    assert_eq!(container.ask("GET", "x", "", &[], b"").body, b"theirs");
}

#[tokio::test]
async fn a_name_taken_during_an_upload_of_blocks_is_passing() {
    for code in ["BlobAlreadyExists", "InvalidBlockList"] {
        let (_container, gate, target) = gated().await;
        let status = if code == "InvalidBlockList" { 400 } else { 409 };
        gate.fail(Operation::List, 1, Failure::Answer(status, code, None));
        let outcome = target.put(&object("x"), Body::full(bytes(CHUNK_BYTES + 1))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing), "{code}");
        target.assert_empty(code).await;
    }
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
    // They are in nobody's way: neither in that of an upload of blocks nor in that of a small one.
    let data = bytes(CHUNK_BYTES + 9);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    assert_eq!(stored.location["blob"], json!("x"));
    assert!(target.read(&stored.location, data.len()).await == data);
    assert_eq!(container.uncommitted(), [""; 0]);
}

#[tokio::test]
async fn connections_that_break_anywhere_lose_and_leave_nothing() {
    let length = CHUNK_BYTES + 70_000;
    let data = bytes(length);
    for after in [0, 100, 700, 3000, 1 << 20, 5 << 20, (5 << 20) + 40_000, (5 << 20) + 72_500] {
        for what in [What::Cut, What::Reset] {
            let (_container, proxy, target) = behind_proxy().await;
            proxy.plan(Fault::to_server(after, what));
            match target.put(&object("x"), Body::full(data.clone())).await {
                Ok(stored) => {
                    assert!(target.read(&stored.location, length).await == data);
                    target.assert_clean(&format!("{what:?} after {after}")).await;
                }
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Passing, "{error}");
                    target.assert_empty(&format!("{what:?} after {after}")).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_passing() {
    let container = Container::start();
    let proxy = FaultProxy::start(container.address()).await;
    proxy.otherwise(Fault { what: What::Refuse, ..Fault::PASS });
    let target = open(&container, proxy.address().port(), |_| {});
    for length in [1, CHUNK_BYTES + 1] {
        let outcome = target.put(&object("x"), Body::full(bytes(length))).await;
        assert_eq!(kind(outcome), Some(Kind::Passing));
    }
    target.assert_empty("nobody there").await;
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let (container, proxy, target) = behind_proxy().await;
    let data = bytes(3 << 20);
    let stored = target.put(&object("x"), Body::full(data.clone())).await.expect("stored");
    let fresh = || open(&container, proxy.address().port(), |_| {});
    let reader = fresh();
    proxy.plan(Fault::to_client(1_000_000, What::Cut));
    proxy.plan(Fault::to_client(500_000, What::Reset));
    assert!(reader.read(&stored.location, data.len()).await == data);
    assert_eq!(proxy.counts().struck, 2);
    let reader = fresh();
    proxy.plan(Fault::to_client(300_000, What::Cut));
    let range = ByteRange { first: 1000, last: 2_000_000 };
    let download = reader.get(&stored.location, Some(range), 3 << 20).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.expect("its bytes") == data[1000..=2_000_000]);
    // A third break is one too many: an error, never a short body.
    let reader = fresh();
    proxy.otherwise(Fault::to_client(400_000, What::Cut));
    let download = reader.get(&stored.location, None, data.len() as u64).await.expect("an object");
    assert!(collect(download.body, LIMIT).await.is_err());
}

#[tokio::test]
async fn another_version_is_never_mixed_in() {
    let (container, proxy, target) = behind_proxy().await;
    let stored = target.put(&object("x"), Body::full(bytes(3 << 20))).await.expect("stored");
    let reader = open(&container, proxy.address().port(), |_| {});
    // Little enough to wait in the sockets: the break has happened before anything is read.
    proxy.plan(Fault::to_client(100_000, What::Cut));
    let download = reader.get(&stored.location, None, 3 << 20).await.expect("an object");
    proxy.wait_until(|counts| counts.struck == 1).await;
    let other = container.ask("PUT", "x", "", &[("x-ms-blob-type", "BlockBlob")], &vec![9; 3 << 20]);
    assert_eq!(other.status, 201);
    let error = collect(download.body, LIMIT).await.map(|bytes| bytes.len()).expect_err("a mixture");
    assert!(error.to_string().contains("another version"), "{error}");
}

#[tokio::test]
async fn addresses_are_the_tenants() {
    // The tests' egress rule allows 127.0.0.0/8 only.
    let container = Container::start();
    let target = open(&container, container.address().port(), |settings| settings["host"] = json!("10.0.0.1"));
    assert_eq!(kind(target.put(&object("x"), Body::full("x")).await), Some(Kind::Settings));
}

#[tokio::test]
async fn a_key_that_is_no_base64_is_a_wrong_setting() {
    let settings = json!({"account": "acme", "container": "calls", "key": "canary, not base64"});
    let (tasks, budget) = (Default::default(), stowage::storage::Budget::new(BUDGET));
    let error = super::targets::try_open("azure", settings, &Around::default(), &tasks, &budget).expect_err("wrong");
    assert_eq!(error.to_string(), "the setting key of storage storage1 must be base64");
}
