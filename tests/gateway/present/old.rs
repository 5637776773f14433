//! KAZOO's entries and links: presented as stubs or inlined, without revealing their contents.

use serde_json::json;

use crate::present::twins::Twins;
use stowage_testing::gateway::{JSON, authorization, exchange, json as parsed, rev};
use stowage_testing::recorder::Recorder;

async fn save(twins: &Twins, path: &str, document: &serde_json::Value) {
    twins.couch("PUT", &format!("/{path}"), &[JSON], document.to_string().as_bytes()).await.expect_status(201);
}

#[tokio::test]
async fn old_entries_and_links_are_shown_and_inlined() {
    let twins = Twins::start().await;
    let storage = Recorder::start().await;
    storage.store("/far/old.mp3", "old sound");
    storage.store("/far/bare.mp3", "bare");
    let path = twins.gateway.path();
    let native = format!("/{}/far/linked.mp3", twins.native);
    twins.couch("PUT", &native, &[("Content-Type", "audio/mpeg")], b"linked sound").await;
    let url = |name: &str| storage.url(&format!("/far/{name}")).replace("http://", "http://me:canary@");
    let link = json!({"att_dbname": twins.native, "att_docid": "far", "att_name": "linked.mp3"});
    let entries = json!({
        "bare.mp3": {"handler": {"kz_att_http": {"url": url("bare.mp3")}}},
        "link.mp3": {"content_type": "kazoo/dblink", "length": 0, "handler": {"kz_att_link": link}},
        "old.mp3": {"content_type": "audio/mpeg", "length": 9, "handler": {"kz_att_http": {"url": url("old.mp3")}}},
    });
    save(&twins, &format!("{path}/doc"), &json!({ "pvt_attachments": entries })).await;
    let get = async |rest: &str, accept: &str| {
        let shown = twins
            .gateway
            .request("GET", &format!("/{path}/{rest}"), &[("Accept", accept)], b"")
            .await
            .expect_status(200);
        assert!(!shown.text().contains("canary") && !shown.text().contains("pvt_attachments"), "{}", shown.text());
        shown
    };
    let stubs = parsed(&get("doc", "*/*").await)["_attachments"].clone();
    assert_eq!(stubs["old.mp3"], json!({"content_type": "audio/mpeg", "revpos": 1, "length": 9, "stub": true}));
    assert_eq!(stubs["bare.mp3"], json!({"content_type": "application/octet-stream", "revpos": 1, "stub": true}));
    assert_eq!(stubs["link.mp3"], json!({"content_type": "kazoo/dblink", "revpos": 1, "stub": true}));
    let inline = parsed(&get("doc?attachments=true", "application/json").await)["_attachments"].clone();
    let data = |name: &str| inline[name]["data"].as_str().unwrap().to_owned();
    assert_eq!(
        (data("old.mp3"), data("bare.mp3"), data("link.mp3")),
        ("b2xkIHNvdW5k".into(), "YmFyZQ==".into(), "bGlua2VkIHNvdW5k".into())
    );
    let parts = get("doc?attachments=true", "multipart/related").await;
    assert_eq!(parts.header("content-length"), Some(&*parts.body.len().to_string()));
    for part in [
        "Content-Length: 9\r\n\r\nold sound\r\n",
        "Content-Length: 4\r\n\r\nbare\r\n",
        "Content-Length: 12\r\n\r\nlinked sound\r\n",
    ] {
        assert!(parts.text().contains(part), "{}", parts.text());
    }
    let rows = get("_all_docs?include_docs=true&attachments=true", "*/*").await;
    assert_eq!(parsed(&rows)["rows"][0]["doc"]["_attachments"]["link.mp3"]["data"], "bGlua2VkIHNvdW5k");
    twins.stop().await;
}

#[tokio::test]
async fn a_link_is_followed_with_the_clients_rights_only() {
    let twins = Twins::start().await;
    let path = twins.gateway.path();
    let target = format!("/{}/far/linked.mp3", twins.native);
    twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"secret sound").await;
    let link = json!({"att_dbname": twins.native, "att_docid": "far", "att_name": "linked.mp3"});
    save(&twins, &format!("{path}/doc"), &json!({"pvt_attachments": {"link.mp3": {"handler": {"kz_att_link": link}}}}))
        .await;
    let user = twins.gateway.couch.user().await;
    let anybody = json!({"admins": {"names": [], "roles": []}, "members": {"names": [user.0], "roles": []}});
    twins.couch("PUT", &format!("/{path}/_security"), &[], anybody.to_string().as_bytes()).await.expect_status(200);
    for accept in ["application/json", "multipart/related"] {
        let headers = [authorization(&user), ("Accept".to_owned(), accept.to_owned())];
        let target = format!("/{path}/doc?attachments=true");
        let shown = exchange(twins.gateway.address, "GET", &target, &headers, b"").await;
        assert!(matches!(shown.status, 401 | 403), "{shown:?}");
        assert!(!shown.text().contains("sound"));
    }
    twins.stop().await;
}

#[tokio::test]
async fn what_nobody_can_read_is_shown_and_refused_with_its_bytes() {
    let twins = Twins::start().await;
    let path = twins.gateway.path();
    let entry = json!({"content_type": "audio/mpeg", "length": 3, "handler": {"kz_att_future": {"key": "canary"}}});
    save(&twins, &format!("{path}/doc"), &json!({"n": 1, "pvt_attachments": {"a.mp3": entry}})).await;
    let shown = twins.gateway.get("doc").await;
    assert!(!shown.text().contains("canary"));
    assert_eq!(parsed(&shown)["_attachments"]["a.mp3"]["length"], 3);
    for accept in ["application/json", "multipart/related"] {
        let target = format!("/{path}/doc?attachments=true");
        twins.gateway.request("GET", &target, &[("Accept", accept)], b"").await.expect_status(502);
    }
    twins.stop().await;
}

/// CouchDB keeps an attachment while the storage is down, also over an entry that cannot be read.
#[tokio::test]
async fn a_newer_attachment_of_couchdb_outlives_a_save_beside_an_entry_that_cannot_be_read() {
    let twins = Twins::start().await;
    let path = twins.gateway.path();
    let entry = json!({"content_type": "audio/mpeg", "length": 3, "handler": {"kz_att_future": {"key": "canary"}}});
    save(&twins, &format!("{path}/doc"), &json!({"n": 1, "pvt_attachments": {"a.mp3": entry}})).await;
    let first = parsed(&twins.gateway.get("doc").await)["_rev"].as_str().unwrap().to_owned();
    let target = format!("/{path}/doc/a.mp3?rev={first}");
    twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"newer").await.expect_status(201);
    assert_eq!(twins.gateway.get("doc/a.mp3").await.text(), "newer");
    let document = parsed(&twins.gateway.get("doc").await);
    assert_eq!(document["_attachments"]["a.mp3"]["revpos"], 2);
    let saved = twins.gateway.ask("PUT", "doc", &[JSON], document.to_string().as_bytes()).await;
    saved.expect_status(201);
    assert_eq!(twins.gateway.get("doc/a.mp3").await.text(), "newer");
    assert_eq!(twins.stored("doc").await["pvt_attachments"]["a.mp3"], entry);
    twins.stop().await;
}

/// The older entry goes as well, or it would take the place of the attachment.
#[tokio::test]
async fn a_newer_attachment_of_couchdb_is_deleted_together_with_an_entry_that_cannot_be_read() {
    let twins = Twins::start().await;
    let path = twins.gateway.path();
    let entry = json!({"revpos": 1, "handler": {"kz_att_future": {"key": "canary"}}});
    save(&twins, &format!("{path}/doc"), &json!({"n": 1, "pvt_attachments": {"a.mp3": entry}})).await;
    let first = parsed(&twins.gateway.get("doc").await)["_rev"].as_str().unwrap().to_owned();
    let target = format!("/{path}/doc/a.mp3?rev={first}");
    let newer = rev(&twins.couch("PUT", &target, &[("Content-Type", "audio/mpeg")], b"newer").await);
    twins.gateway.delete("doc/a.mp3").await.expect_status(409);
    twins.gateway.delete(&format!("doc/a.mp3?rev={newer}")).await.expect_status(200);
    assert_eq!(twins.gateway.get("doc/a.mp3").await.status, 404);
    let stored = twins.stored("doc").await;
    assert!(stored["pvt_attachments"].is_null() && stored["_attachments"].is_null(), "{stored}");
    twins.stop().await;
}
