//! Branches: an object is kept as long as a leaf of its document names it.

use serde_json::json;

use super::world::{branch, conflict, deleting, planned};
use stowage_testing::gateway::rev;

#[tokio::test]
async fn what_one_branch_replaces_another_still_has() {
    for wins in [true, false] {
        let gateway = planned().await;
        let (first, other) = conflict(&gateway, "doc", wins).await;
        let put = gateway.attach("doc", "call.mp3", &first, b"replaced").await;
        gateway.settled().await;
        let got = gateway.get(&format!("doc/call.mp3?rev={other}")).await;
        assert_eq!((got.status, got.body.as_slice()), (200, &b"recording"[..]), "{wins}: {got:?}");
        let got = gateway.get(&format!("doc/call.mp3?rev={}", rev(&put))).await;
        assert_eq!(got.body, b"replaced", "{wins}");
        assert_eq!(gateway.stored().len(), 2);
        // The object is removed with the last branch that names it.
        gateway.attach("doc", "call.mp3", &other, b"replaced too").await;
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), 2, "{wins}: {:?}", gateway.stored());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_one_branch_deletes_another_still_has() {
    for wins in [true, false] {
        let gateway = planned().await;
        let (first, other) = conflict(&gateway, "doc", wins).await;
        gateway.delete(&format!("doc/call.mp3?rev={first}")).await.expect_status(200);
        gateway.settled().await;
        let got = gateway.get(&format!("doc/call.mp3?rev={other}")).await;
        assert_eq!((got.status, got.body.as_slice()), (200, &b"recording"[..]), "{wins}: {got:?}");
        assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={other}")).await.status, 200);
        gateway.settled().await;
        assert!(gateway.stored().is_empty(), "{wins}: {:?}", gateway.stored());
        gateway.stop().await;
    }
}

/// A deleted branch can still be read with `?rev=`, as CouchDB's own attachments of deleted revisions can.
#[tokio::test]
async fn a_deleted_branch_counts_only_where_the_plan_keeps_what_is_deleted() {
    for (on_delete, left) in [("keep", 2), ("delete", 1)] {
        let gateway = deleting(on_delete).await;
        let first = gateway.put("doc", "call.mp3", "", b"recording").await;
        let pointers = gateway.inside("doc").await["pvt_attachments"].clone();
        let members = json!({ "_deleted": true, "pvt_attachments": pointers });
        let tombstone = branch(&gateway, "doc", 5, &members).await;
        gateway.attach("doc", "call.mp3", &rev(&first), b"replaced").await;
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), left, "{on_delete}: {:?}", gateway.stored());
        let got = gateway.get(&format!("doc/call.mp3?rev={tombstone}")).await;
        assert_eq!(got.status, if left == 2 { 200 } else { 404 }, "{on_delete}: {got:?}");
        assert_eq!(gateway.get("doc/call.mp3").await.body, b"replaced");
        gateway.stop().await;
    }
}
