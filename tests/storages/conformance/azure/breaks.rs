//! Broken connections and changed bytes.

use super::{gated, open};
use crate::conformance::prelude::*;
use stowage_testing::azurite::Container;
use stowage_testing::fault::{Fault, FaultProxy, What};

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
    target.assert_empty("no server there").await;
}

#[tokio::test]
async fn a_download_is_compared_with_the_checksum_of_its_writer() {
    let (container, _gate, target) = gated().await;
    // Another client writes other bytes, but keeps our mark and our checksum.
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
    // Without our mark, the checksum is ignored.
    container.ask("PUT", "x", "comp=block&blockid=YQ%3D%3D", &[], b"abd");
    assert_eq!(container.ask("PUT", "x", "comp=blocklist", &ours[..1], list).status, 201);
    assert_eq!(target.read(&stored.location, 3).await, b"abd");
}
