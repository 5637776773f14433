//! COPY of documents with attachments in several places, or that the plan now keeps in CouchDB.

use serde_json::{Value, json};

use super::world::planned;
use stowage_testing::gateway::{Running, STORAGE, Setup, json as parsed, rev};

/// Puts an attachment directly into CouchDB; returns the revision.
async fn put_native(gateway: &Running, id: &str, name: &str, before: &str, body: &[u8]) -> String {
    let target = format!("/{}/{id}/{name}?rev={before}", gateway.path());
    let put = gateway.couch.request("PUT", &target, "audio/mpeg", body).await.expect_status(201);
    rev(&put)
}

/// Keeps the storage defined, but stores nothing new there.
async fn send_to_couchdb(gateway: &Running, plan: Value) {
    gateway.plan_as("file", json!({ "directory": "recordings" }), plan).await;
}

#[tokio::test]
async fn attachments_of_couchdb_are_copied_too() {
    let gateway = planned().await;
    let first = rev(&gateway.put("doc", "call.mp3", "", b"recording").await);
    let second = put_native(&gateway, "doc", "native.mp3", &first, b"native").await;
    // Newer than the gateway's attachment, which must not reappear in the copy.
    let third = rev(&gateway.put("doc", "both.mp3", &second, b"older").await);
    put_native(&gateway, "doc", "both.mp3", &third, b"newer").await;
    gateway.copy("doc", "copy").await.expect_status(201);
    for (name, body) in [("call.mp3", "recording"), ("native.mp3", "native"), ("both.mp3", "newer")] {
        let got = gateway.get(&format!("copy/{name}")).await;
        assert_eq!((got.status, got.text().as_str()), (200, body), "{got:?}");
        assert_eq!(got.header("content-type"), Some("audio/mpeg"));
    }
    let document = gateway.inside("copy").await;
    assert!(document["_attachments"].is_null(), "{document}");
    assert_eq!(document["pvt_attachments"].as_object().unwrap().len(), 3, "{document}");
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 5, "the two of the original, and three");
    gateway.stop().await;
}

#[tokio::test]
async fn an_older_attachment_of_couchdb_does_not_come_back_in_the_copy() {
    let gateway = planned().await;
    let first = gateway.document("doc", json!({})).await;
    let second = put_native(&gateway, "doc", "call.mp3", &first, b"older").await;
    let third = rev(&gateway.put("doc", "other.mp3", &second, b"other").await);
    let document = gateway.inside("doc").await;
    // As written by a gateway that does not know of the native attachment.
    let mut pointers = document["pvt_attachments"].clone();
    pointers["call.mp3"] = pointers["other.mp3"].clone();
    let both = json!({ "_rev": third, "_attachments": document["_attachments"], "pvt_attachments": pointers });
    gateway.document("doc", both).await;
    assert_eq!(gateway.get("doc/call.mp3").await.body, b"other");
    assert_eq!(gateway.copy("doc", "copy").await.status, 201);
    assert_eq!(gateway.get("copy/call.mp3").await.body, b"other");
    assert_eq!(gateway.inside("copy").await.get("_attachments"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn what_the_plan_sends_to_couchdb_now_is_copied_into_it() {
    let stub = json!({ "modb": { "attachments": { "handler": STORAGE, "stub": true } } });
    for plan in [json!({}), stub] {
        let gateway = planned().await;
        let first = rev(&gateway.put("doc", "call.mp3", "", b"recording").await);
        let second = rev(&gateway.put("doc", "other.mp3", &first, b"other").await);
        send_to_couchdb(&gateway, plan).await;
        let copied = gateway.copy("doc", "copy").await.expect_status(201);
        assert!(rev(&copied).starts_with("1-"));
        let document = gateway.inside("copy").await;
        assert_eq!(document.get("pvt_attachments"), None, "{document}");
        assert_eq!(document["_attachments"].as_object().unwrap().len(), 2, "{document}");
        assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={second}")).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.get("copy/call.mp3").await.body, b"recording");
        assert_eq!(gateway.get("copy/other.mp3").await.body, b"other");
        assert_eq!(gateway.stored().len(), 1);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn what_does_not_fit_into_a_document_is_refused_and_nothing_is_saved() {
    let gateway = Setup::default().set("limits.document_bytes", "64 KiB").storing_in("recordings").await;
    let put = gateway.put("doc", "call.mp3", "", &[1; 60_000]).await;
    assert_eq!(gateway.copy("doc", "fits").await.status, 201, "objects of any length are copied");
    let too_large = |answer: stowage_testing::raw::RawResponse| {
        assert_eq!(answer.status, 413, "{answer:?}");
        assert_eq!(parsed(&answer)["error"], "document_too_large", "{answer:?}");
    };
    put_native(&gateway, "doc", "native.mp3", &rev(&put), &[1; 60_000]).await;
    assert_eq!(gateway.copy("doc", "both").await.status, 201, "also from CouchDB");
    // Each fits by itself, but not both together in base64.
    send_to_couchdb(&gateway, json!({})).await;
    too_large(gateway.copy("doc", "copy").await);
    gateway.attach("plain", "call.mp3", "", b"x").await;
    too_large(gateway.copy("fits", "copy").await);
    gateway.settled().await;
    assert_eq!(gateway.get("copy").await.status, 404);
    assert_eq!(gateway.stored().len(), 4);
    gateway.stop().await;
}

#[tokio::test]
async fn gzip_stays_gzip_in_a_storage_and_is_unpacked_for_couchdb() {
    let gateway = planned().await;
    let packed = stowage_testing::gzip(b"a text that was packed");
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    assert_eq!(gateway.ask("PUT", "doc/a.txt", &headers, &packed).await.status, 201);
    assert_eq!(gateway.copy("doc", "copy").await.status, 201);
    send_to_couchdb(&gateway, json!({})).await;
    assert_eq!(gateway.copy("doc", "inside").await.status, 201);
    for id in ["copy", "inside"] {
        let got = gateway.get(&format!("{id}/a.txt")).await;
        assert_eq!(got.text(), "a text that was packed", "{id}: {got:?}");
    }
    assert_eq!(gateway.ask("GET", "copy/a.txt", &[("Accept-Encoding", "gzip")], b"").await.body, packed);
    gateway.stop().await;
}

#[tokio::test]
async fn links_and_entries_of_others_are_copied_as_they_are() {
    let gateway = planned().await;
    let entries = json!({
        "theirs.mp3": { "handler": { "kz_att_future": { "x": 1.5 } } },
        "note.mp3": { "length": 1 },
        "link.mp3": { "handler": { "kz_att_link": { "att_dbname": gateway.database(), "att_docid": "doc", "att_name": "call.mp3" } } },
    });
    gateway.attached("doc", json!({ "pvt_attachments": entries }), "call.mp3", b"recording").await;
    assert_eq!(gateway.copy("doc", "copy").await.status, 201);
    let copied = gateway.inside("copy").await["pvt_attachments"].clone();
    for (name, entry) in entries.as_object().unwrap() {
        assert_eq!(copied[name], *entry, "{name}");
    }
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 2);
    gateway.stop().await;
}

/// As where CouchDB makes the copy.
#[tokio::test]
async fn a_copy_has_the_generations_and_the_order_of_its_original() {
    let gateway = Setup::default().set("couchdb.present_stubs", "true").storing_in("recordings").await;
    let mut last = gateway.document("doc", json!({})).await;
    last = rev(&gateway.put("doc", "first.mp3", &last, b"1").await);
    last = put_native(&gateway, "doc", "second.mp3", &last, b"22").await;
    last = rev(&gateway.put("doc", "third.mp3", &last, b"333").await);
    put_native(&gateway, "doc", "fourth.mp3", &last, b"4444").await;
    assert_eq!(gateway.copy("doc", "copy").await.status, 201);
    let there = gateway.document("over", json!({})).await;
    assert_eq!(gateway.copy("doc", &format!("over?rev={there}")).await.status, 201);
    let [original, copied, over] = ["doc", "copy", "over"];
    let listed = async |id: &str| parsed(&gateway.get(id).await)["_attachments"].to_string();
    assert_eq!(listed(copied).await, listed(original).await);
    assert_eq!(listed(over).await, listed(original).await);
    let names: Vec<String> =
        serde_json::from_str::<Value>(&listed(copied).await).unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["fourth.mp3", "third.mp3", "second.mp3", "first.mp3"]);
    gateway.stop().await;
}
