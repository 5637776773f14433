//! An attachment's life: stored, read, replaced, removed.

use serde_json::json;

use crate::support::gateway::{Setup, rev};

#[tokio::test]
async fn an_attachment_is_stored_outside_read_back_replaced_and_removed() {
    let gateway = Setup::default().start().await;
    gateway.plan("file", json!({ "directory": "voicemails" })).await;
    let first = gateway.document("doc", json!({ "pvt_type": "call_recording" })).await;

    let put = gateway.put("doc", "call.mp3", &first, b"the first recording").await;
    assert_eq!(put.status, 201, "{put:?}");
    let name = format!("voicemails/{}/doc/call.mp3", gateway.account);
    assert_eq!(gateway.stored(), std::slice::from_ref(&name));
    let got = gateway.get("doc/call.mp3").await;
    assert_eq!((got.status, got.body.as_slice()), (200, &b"the first recording"[..]));

    let second = gateway.put("doc", "call.mp3", &rev(&put), b"the second recording").await;
    assert_eq!(second.status, 201, "{second:?}");
    gateway.settled().await;
    let stored = gateway.stored();
    assert_eq!(stored.len(), 1, "the replaced object goes: {stored:?}");
    assert_ne!(stored, [name], "an object that a saved document points at is never written over");
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"the second recording");

    let target = format!("/{}/doc/call.mp3?rev={}", gateway.path(), rev(&second));
    let removed = gateway.request("DELETE", &target, &[], b"").await;
    assert_eq!(removed.status, 200, "{removed:?}");
    gateway.settled().await;
    assert!(gateway.stored().is_empty());
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404);
    gateway.stop().await;
}
