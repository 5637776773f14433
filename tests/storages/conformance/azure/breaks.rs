//! Connections that break, bytes that change.

use stowage_http::body::{Body, collect};
use stowage_http::range::ByteRange;
use stowage_storage::{CHUNK_BYTES, Kind};

use super::{behind_proxy, gated, open};
use crate::conformance::bodies::bytes;
use crate::conformance::tamper;
use crate::conformance::targets::{LIMIT, kind, object};
use stowage_testing::azurite::Container;
use stowage_testing::fault::{Fault, FaultProxy, What};

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
