//! `?rev=` of older revisions: never other bytes under the same ETag.

use stowage_testing::gateway::{Running, planned, rev};
use stowage_testing::raw::RawResponse;

/// Reads an old revision: its own bytes, or a 404. The ETag is the old one.
async fn old(gateway: &Running, of: &str, bytes: &[u8], tag: &str) -> RawResponse {
    let got = gateway.get(&format!("doc/call.mp3?rev={of}")).await;
    match got.status {
        200 => assert_eq!((got.body.as_slice(), got.header("etag")), (bytes, Some(tag)), "{of}"),
        404 => {}
        status => panic!("{status}: {got:?}"),
    }
    got
}

#[tokio::test]
async fn an_overwritten_attachment_never_shows_the_new_bytes_as_the_old() {
    let gateway = planned().await;
    let first = gateway.put("doc", "call.mp3", "", b"first").await;
    let tag = gateway.get("doc/call.mp3").await.header("etag").unwrap().to_owned();
    let second = gateway.put("doc", "call.mp3", &rev(&first), b"other").await;
    gateway.settled().await;
    assert_eq!(second.status, 201);
    old(&gateway, &rev(&first), b"first", &tag).await;
    assert_eq!(gateway.get(&format!("doc/call.mp3?rev={}", rev(&second))).await.body, b"other");
    gateway.stop().await;
}

/// As in CouchDB: the last `rev` counts, and with `latest` the leaf that descends from it.
#[tokio::test]
async fn of_two_revisions_the_last_counts_and_its_leaf_if_wanted() {
    let gateway = planned().await;
    let first = rev(&gateway.put("doc", "call.mp3", "", b"first").await);
    let second = rev(&gateway.attach("doc", "call.mp3", &first, b"other").await);
    gateway.settled().await;
    for query in [format!("rev={first}&rev={second}"), format!("rev={first}&latest=true")] {
        let got = gateway.get(&format!("doc/call.mp3?{query}")).await;
        assert_eq!((got.status, got.body.as_slice()), (200, &b"other"[..]), "{query}: {got:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_deleted_and_made_again_has_nothing_to_do_with_the_first() {
    let gateway = planned().await;
    let first = gateway.put("doc", "call.mp3", "", b"first").await;
    let tag = gateway.get("doc/call.mp3").await.header("etag").unwrap().to_owned();
    let removed = gateway.delete(&format!("doc/call.mp3?rev={}", rev(&first))).await;
    gateway.settled().await;
    assert_eq!(old(&gateway, &rev(&first), b"first", &tag).await.status, 404, "its object is gone");
    // The composed name is free again, and a careless comparison would only check the equal length.
    gateway.attach("doc", "call.mp3", &rev(&removed), b"again").await;
    assert_eq!(gateway.stored().len(), 1);
    let got = old(&gateway, &rev(&first), b"first", &tag).await;
    assert_eq!(got.status, 404, "the object of that name is another one now: {got:?}");
    for range in ["bytes=0-1", "bytes=0-0,2-3"] {
        let got = gateway.ask("GET", &format!("doc/call.mp3?rev={}", rev(&first)), &[("Range", range)], b"").await;
        assert_eq!(got.status, 404, "{range}: {got:?}");
    }
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"again");
    gateway.stop().await;
}

#[tokio::test]
async fn the_same_bytes_again_are_the_old_revisions_bytes_too() {
    let gateway = planned().await;
    let first = gateway.put("doc", "call.mp3", "", b"first").await;
    let removed = gateway.delete(&format!("doc/call.mp3?rev={}", rev(&first))).await;
    gateway.settled().await;
    gateway.attach("doc", "call.mp3", &rev(&removed), b"first").await;
    let got = gateway.get(&format!("doc/call.mp3?rev={}", rev(&first))).await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"first"[..]), "{got:?}");
    gateway.stop().await;
}
