//! An attachment is stored, read, replaced and removed, in every storage.

use stowage_testing::gateway::rev;
use stowage_testing::storages::{ALL, Storage};

/// Larger than a single request to any storage.
const LARGE: usize = (11 << 20) + 4321;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_is_stored_outside_read_back_replaced_and_removed() {
    for handler in ALL {
        let storage = Storage::start(handler).await;
        life(&storage, &[1, 2, 3].map(|seed| bytes(1000, seed))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_attachment_too() {
    for handler in ALL {
        let storage = Storage::start(handler).await;
        life(&storage, &[bytes(LARGE, 1), bytes(LARGE + 1, 2), bytes(10, 3)]).await;
    }
}

/// Stores the first body, and replaces it with the others.
async fn life(storage: &Storage, bodies: &[Vec<u8>]) {
    let handler = storage.handler;
    let gateway = storage.gateway().await;
    gateway.plan(handler, storage.settings.clone()).await;
    let mut revision = gateway.document("doc", serde_json::json!({ "pvt_type": "call_recording" })).await;
    let target = format!("/{}/doc/call.mp3", gateway.path());
    let mut before = Vec::new();
    for body in bodies {
        let put = gateway.attach("doc", "call.mp3", &revision, body).await;
        revision = rev(&put);
        gateway.settled().await;
        let objects = storage.objects(&gateway);
        assert_eq!(objects.len(), 1, "{handler}: one object, and what was replaced goes: {objects:?}");
        if handler != "google_drive" {
            assert_ne!(objects, before, "{handler}: an object that a saved document points at is never written over");
        }
        before = objects;

        let got = gateway.get("doc/call.mp3").await;
        assert_eq!((got.status, got.complete), (200, true), "{handler}");
        assert!(got.body == *body, "{handler}: {} bytes", got.body.len());
        let part = gateway.request("GET", &target, &[("Range", "bytes=3-8")], b"").await;
        assert_eq!((part.status, part.body.as_slice()), (206, &body[3..9]), "{handler}: {part:?}");
        let head = gateway.request("HEAD", &target, &[], b"").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some(&*body.len().to_string())), "{handler}");
        assert_eq!(head.header("etag"), got.header("etag"), "{handler}");
        assert!(got.header("etag").is_some(), "{handler}");
        let document = gateway.get("doc").await.text();
        assert!(document.contains("call.mp3"), "{handler}: {document}");
        for secret in &storage.secrets {
            assert!(!document.contains(secret), "{handler}: {secret} in {document}");
        }
    }
    let removed = gateway.request("DELETE", &format!("{target}?rev={revision}"), &[], b"").await;
    assert_eq!(removed.status, 200, "{handler}: {removed:?}");
    gateway.settled().await;
    assert_eq!(storage.objects(&gateway), [""; 0], "{handler}: nothing is left");
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404, "{handler}");
    gateway.stop().await;
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ seed).collect()
}
