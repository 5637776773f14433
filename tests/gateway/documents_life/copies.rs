//! COPY: the copy has objects of its own, in every storage.

use serde_json::{Value, json};

use super::world::{deleting, planned, set_on_delete};
use stowage_testing::gateway::{JSON, Running, json as parsed, rev};
use stowage_testing::storages::Storage;

async fn reads(gateway: &Running, attachment: &str, body: &[u8]) {
    let got = gateway.get(attachment).await;
    assert_eq!((got.status, got.complete), (200, true), "{attachment}: {got:?}");
    assert_eq!(got.body, body, "{attachment}");
}

/// Creates a document with two attachments; returns its revision.
async fn original(gateway: &Running) -> String {
    let first = gateway.document("doc", json!({ "pvt_type": "call_recording", "n": 1.0, "text": "ü" })).await;
    let second = rev(&gateway.put("doc", "call.mp3", &first, b"recording").await);
    rev(&gateway.put("doc", "dir%2Fb%20c.mp3", &second, &[7_u8; 300_000]).await)
}

async fn outlives(handler: &'static str) {
    let storage = Storage::start(handler).await;
    let gateway = storage.gateway().await;
    gateway.plan(handler, storage.settings.clone()).await;
    let revision = original(&gateway).await;
    let copied = gateway.copy("doc", "copy").await;
    assert_eq!(copied.status, 201, "{handler}: {copied:?}");
    gateway.settled().await;
    assert_eq!(storage.objects(&gateway).len(), 4, "{handler}: {:?}", storage.objects(&gateway));

    let (from, to) = (gateway.inside("doc").await, gateway.inside("copy").await);
    for member in ["pvt_type", "n", "text"] {
        assert_eq!(to[member], from[member]);
    }
    assert_eq!(to["_rev"], rev(&copied));
    for name in ["call.mp3", "dir/b c.mp3"] {
        let (original, copied) = (&from["pvt_attachments"][name], &to["pvt_attachments"][name]);
        for member in ["content_type", "length", "digest"] {
            assert_eq!(copied[member], original[member], "{handler} {name}");
        }
        assert_eq!(copied["revpos"], original["revpos"]);
        assert_ne!(copied["stowage"]["location"], original["stowage"]["location"], "{handler} {name}");
        let owner = json!({ "database": gateway.database(), "document": "copy", "attachment": name });
        assert_eq!(copied["stowage"]["owner"], owner, "{handler} {name}");
    }

    // Changes of the original do not affect the copy, and vice versa.
    let replaced = gateway.put("doc", "call.mp3", &revision, b"another").await;
    assert_eq!(gateway.delete(&format!("doc/dir%2Fb%20c.mp3?rev={}", rev(&replaced))).await.status, 200);
    gateway.settled().await;
    reads(&gateway, "copy/call.mp3", b"recording").await;
    reads(&gateway, "copy/dir%2Fb%20c.mp3", &[7_u8; 300_000]).await;
    assert_eq!(storage.objects(&gateway).len(), 3, "{handler}: {:?}", storage.objects(&gateway));
    assert_eq!(gateway.delete(&format!("copy/call.mp3?rev={}", rev(&copied))).await.status, 200);
    gateway.settled().await;
    reads(&gateway, "doc/call.mp3", b"another").await;
    assert_eq!(storage.objects(&gateway).len(), 2, "{handler}: {:?}", storage.objects(&gateway));
    gateway.stop().await;
}

#[tokio::test]
async fn a_copy_in_a_folder_outlives_its_original() {
    outlives("file").await;
}

#[tokio::test]
async fn a_copy_in_s3_outlives_its_original() {
    outlives("s3").await;
}

#[tokio::test]
async fn a_copy_on_a_web_server_outlives_its_original() {
    outlives("http").await;
}

#[tokio::test]
async fn an_older_revision_is_copied_as_it_was() {
    let gateway = planned().await;
    let first = gateway.put("doc", "call.mp3", "", b"recording").await;
    gateway.attach("doc", "other.mp3", &rev(&first), b"other").await;
    let copied = gateway.copy(&format!("doc?rev={}", rev(&first)), "a%2Fb+c").await;
    assert_eq!(parsed(&copied)["id"], "a/b c", "{copied:?}");
    reads(&gateway, "a%2Fb%20c/call.mp3", b"recording").await;
    assert_eq!(gateway.get("a%2Fb%20c/other.mp3").await.status, 404);
    let header = format!("\"{}\"", rev(&first));
    let headers = [("Destination", "second"), ("If-Match", header.as_str())];
    gateway.ask("COPY", "doc", &headers, b"").await.expect_status(201);
    assert_eq!(gateway.get("second/other.mp3").await.status, 404);
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 4);
    gateway.stop().await;
}

/// Two copies of the replaced attachment exist: the new copy's, and the previous one's.
#[tokio::test]
async fn what_a_copy_is_written_over_goes_where_the_plan_says_so() {
    for (on_delete, left) in [("keep", 3), ("delete", 2)] {
        let gateway = planned().await;
        set_on_delete(&gateway, json!(on_delete)).await;
        gateway.attach("doc", "call.mp3", "", b"recording").await;
        let there = gateway.put("copy", "call.mp3", "", b"in the way").await;
        let copied = gateway.copy("doc", &format!("copy?rev={}", rev(&there))).await.expect_status(201);
        assert!(rev(&copied).starts_with("2-"), "{copied:?}");
        gateway.settled().await;
        reads(&gateway, "copy/call.mp3", b"recording").await;
        assert_eq!(gateway.pointer("copy", "call.mp3").await["revpos"], 1);
        assert_eq!(gateway.stored().len(), left, "{on_delete}: {:?}", gateway.stored());
        gateway.stop().await;
    }
}

/// CouchDB makes this copy.
#[tokio::test]
async fn what_a_plain_document_is_copied_over_goes_where_the_plan_says_so() {
    for (on_delete, left) in [("keep", 1), ("delete", 0)] {
        let gateway = planned().await;
        set_on_delete(&gateway, json!(on_delete)).await;
        gateway.document("plain", json!({ "n": 1 })).await;
        let there = rev(&gateway.put("copy", "call.mp3", "", b"in the way").await);
        gateway.copy("plain", "copy?rev=1-00000000000000000000000000000000").await.expect_status(409);
        gateway.settled().await;
        reads(&gateway, "copy/call.mp3", b"in the way").await;
        gateway.copy("plain", &format!("copy?rev={there}")).await.expect_status(201);
        gateway.settled().await;
        assert_eq!(gateway.get("copy/call.mp3").await.status, 404);
        assert_eq!(gateway.stored().len(), left, "{on_delete}: {:?}", gateway.stored());
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_older_revision_that_is_copied_over_its_document_leaves_no_object() {
    let gateway = deleting("delete").await;
    let first = gateway.document("doc", json!({ "n": 1 })).await;
    let second = rev(&gateway.put("doc", "call.mp3", &first, b"recording").await);
    gateway.copy(&format!("doc?rev={first}"), &format!("doc?rev={second}")).await.expect_status(201);
    gateway.settled().await;
    assert_eq!(gateway.get("doc/call.mp3").await.status, 404);
    assert_eq!(gateway.stored(), [""; 0]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_copy_over_itself_keeps_its_objects() {
    for on_delete in ["keep", "delete"] {
        let gateway = deleting(on_delete).await;
        let put = gateway.put("doc", "call.mp3", "", b"recording").await;
        let copied = gateway.copy("doc", &format!("doc?rev={}", rev(&put))).await.expect_status(201);
        gateway.settled().await;
        reads(&gateway, "doc/call.mp3", b"recording").await;
        assert_eq!(gateway.stored().len(), 1, "{on_delete}");
        assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={}", rev(&copied))).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.stored(), [""; 0]);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_deleted_document_can_be_copied_over() {
    let gateway = planned().await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    let gone = gateway.document("copy", json!({})).await;
    assert_eq!(gateway.delete(&format!("copy?rev={gone}")).await.status, 200);
    gateway.copy("doc", "copy").await.expect_status(201);
    reads(&gateway, "copy/call.mp3", b"recording").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_copy_of_a_deleted_revision_outlives_it() {
    let gateway = planned().await;
    gateway.document("doc", json!({})).await;
    let gone = "2-00000000000000000000000000000003";
    let inline = json!({ "call.mp3": { "content_type": "audio/mpeg", "data": "cmVjb3JkaW5n" } });
    let document = json!({ "_id": "doc", "_rev": gone, "_deleted": true, "_attachments": inline }).to_string();
    assert_eq!(gateway.ask("PUT", "doc?new_edits=false", &[JSON], document.as_bytes()).await.status, 200);
    let copied = gateway.copy(&format!("doc?rev={gone}"), "copy").await.expect_status(201);
    let attachment = format!("copy/call.mp3?rev={}", rev(&copied));
    reads(&gateway, &attachment, b"recording").await;
    assert_eq!(gateway.get("copy").await.status, 404, "the copy is deleted like the original");
    gateway.attach("doc", "call.mp3", gone, b"another").await;
    gateway.settled().await;
    reads(&gateway, &attachment, b"recording").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_with_a_wrong_word_is_refused_by_its_place() {
    let gateway = planned().await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    let there = gateway.put("copy", "call.mp3", "", b"in the way").await;
    set_on_delete(&gateway, json!("purge")).await;
    let copied = gateway.copy("doc", &format!("copy?rev={}", rev(&there))).await;
    let deleted = gateway.delete(&format!("copy?rev={}", rev(&there))).await;
    for answer in [copied, deleted] {
        assert_eq!(answer.status, 502, "{answer:?}");
        let reason = parsed(&answer)["reason"].clone();
        assert!(reason.as_str().is_some_and(|reason| reason.contains("plan.modb.attachments.on_delete")), "{reason}");
    }
    gateway.settled().await;
    assert_eq!((gateway.stored().len(), gateway.get("copy/call.mp3").await.body), (2, b"in the way".to_vec()));
    set_on_delete(&gateway, Value::Null).await;
    assert_eq!(gateway.copy("doc", &format!("copy?rev={}", rev(&there))).await.status, 201);
    gateway.stop().await;
}

/// CouchDB supports overriding the method of a POST with a header.
#[tokio::test]
async fn a_post_that_stands_for_a_copy_is_one() {
    let gateway = planned().await;
    let second = gateway.attached("doc", json!({ "n": 1 }), "call.mp3", b"recording").await;
    let headers = [("X-HTTP-Method-Override", "COPY"), ("Destination", "copy")];
    gateway.ask("POST", "doc", &headers, b"").await.expect_status(201);
    assert_eq!(gateway.delete(&format!("doc/call.mp3?rev={second}")).await.status, 200);
    gateway.settled().await;
    reads(&gateway, "copy/call.mp3", b"recording").await;
    assert_eq!(gateway.stored().len(), 1);
    gateway.stop().await;
}
