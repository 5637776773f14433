//! Responses for entries of KAZOO's that contain less than CouchDB knows, or cannot be parsed.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{BYTES, NAME};
use stowage_testing::gateway::{Running, Setup, rev as revision};
use stowage_testing::nginx::Nginx;
use stowage_testing::raw::RawResponse;
use stowage_testing::recorder::Recorder;

async fn with_entry(entry: Value) -> (Running, String) {
    let gateway = Setup::default().start().await;
    gateway.make_database().await;
    let rev = gateway.save("doc", json!({"pvt_attachments": { NAME: entry }})).await;
    (gateway, rev)
}

async fn ask(gateway: &Running, method: &str, headers: &[(&str, &str)]) -> RawResponse {
    gateway.ask(method, &format!("doc/{NAME}"), headers, b"").await
}

#[tokio::test]
async fn a_length_that_the_entry_lacks_is_the_storages() {
    let nginx = Nginx::start().await;
    fs::write(nginx.files().join("doc.mp3"), BYTES).unwrap();
    let url = format!("http://{}/doc.mp3", nginx.address());
    let (gateway, _) = with_entry(json!({"handler": {"kz_att_http": {"url": url}}})).await;
    let got = ask(&gateway, "GET", &[]).await;
    assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{got:?}");
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    let head = ask(&gateway, "HEAD", &[]).await;
    assert_eq!(head.header("content-length"), Some(&*BYTES.len().to_string()), "{head:?}");
    let part = ask(&gateway, "GET", &[("Range", "bytes=5-9")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &BYTES[5..10]), "{part:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_length_that_nobody_knows_is_not_told() {
    let server = Recorder::start().await;
    server.store("/doc.mp3", BYTES);
    server.set(|settings| settings.chunked = true);
    let (gateway, _) = with_entry(json!({"handler": {"kz_att_http": {"url": server.url("/doc.mp3")}}})).await;
    let got = ask(&gateway, "GET", &[("Range", "bytes=5-9")]).await;
    assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{got:?}");
    assert_eq!((got.header("content-length"), got.header("accept-ranges")), (None, Some("none")));
    assert_eq!(ask(&gateway, "HEAD", &[]).await.header("content-length"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn base64_that_kazoo_stored_is_decoded() {
    let nginx = Nginx::start().await;
    fs::write(nginx.files().join("doc.mp3"), STANDARD.encode(BYTES)).unwrap();
    let url = format!("http://{}/doc.mp3", nginx.address());
    let hinted = json!({"kz_att_http": {"url": url, "base64_encode_data": true}});
    let entries = [
        json!({"length": BYTES.len(), "handler": {"kz_att_http": {"url": url}}}),
        json!({"length": BYTES.len(), "handler": hinted}),
        json!({ "handler": hinted }),
    ];
    for entry in entries {
        let (gateway, _) = with_entry(entry.clone()).await;
        let got = ask(&gateway, "GET", &[]).await;
        assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{entry}: {got:?}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_nothing_is_lost() {
    let entries = [
        json!({"length": 3, "handler": {"kz_att_s3": {"S3": "g2oAAA=="}}}),
        json!({"length": 3, "handler": {"kz_att_unheard_of": {"url": "http://127.0.0.1/"}}}),
        json!({"length": 3, "handler": {"kz_att_http": {"url": "http://h/"}, "kz_att_ftp": {"url": "ftp://h/"}}}),
    ];
    for entry in entries {
        let (gateway, rev) = with_entry(entry.clone()).await;
        for method in ["GET", "HEAD"] {
            assert_eq!(ask(&gateway, method, &[]).await.status, 502, "{method} {entry}");
        }
        assert_eq!(gateway.delete(&format!("doc/{NAME}?rev={rev}")).await.status, 502, "{entry}");
        assert_eq!(gateway.inside("doc").await["pvt_attachments"][NAME], entry);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_attachment_of_couchdb_is_deleted_beside_what_cannot_be_read() {
    let (gateway, rev) = with_entry(json!({"length": 3, "handler": {"kz_att_s3": {"S3": "g2oAAA=="}}})).await;
    let target = format!("/{}/doc/{NAME}", gateway.path());
    let put = gateway.couch.request("PUT", &format!("{target}?rev={rev}"), "audio/mpeg", BYTES).await;
    let unknown = format!("{target}?rev=9-967a00dff5e02add41819138abb3284d");
    let (answer, couchs) =
        (gateway.request("DELETE", &unknown, &[], b"").await, gateway.couch.request("DELETE", &unknown, "", b"").await);
    assert_eq!((answer.status, answer.text()), (couchs.status, couchs.text()));
    gateway.delete(&format!("doc/{NAME}?rev={}", revision(&put))).await.expect_status(200);
    assert_eq!(gateway.inside("doc").await.get("_attachments"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn an_object_that_is_gone_is_missing() {
    let nginx = Nginx::start().await;
    let url = format!("http://{}/doc.mp3", nginx.address());
    let (gateway, rev) = with_entry(json!({"length": 3, "handler": {"kz_att_http": {"url": url}}})).await;
    assert_eq!(ask(&gateway, "GET", &[]).await.status, 404);
    assert_eq!(gateway.delete(&format!("doc/{NAME}?rev={rev}")).await.status, 200);
    gateway.stop().await;
}
