//! Links to attachments of other documents.

use serde_json::{Value, json};

use stowage_testing::gateway::{Couch, Running, Setup, authorization, exchange, json};
use stowage_testing::raw::RawResponse;

const BYTES: &[u8] = b"what was recorded once";

fn link(database: &str, document: &str, name: Option<&str>) -> Value {
    // As written by the migration of voicemails: without the attachment's name or length.
    let props = json!({"att_dbname": database, "att_docid": document, "att_name": name});
    json!({"content_type": "kazoo/dblink", "length": 0, "stub": false, "handler": {"kz_att_link": props}})
}

/// Creates two databases: the account's month, and one without a plan.
async fn start() -> (Running, String) {
    let gateway = Setup::default().start().await;
    gateway.make_database().await;
    let plain = format!("plain_{}", gateway.account);
    assert_eq!(gateway.couch.request("PUT", &format!("/{plain}"), "", b"").await.status, 201);
    (gateway, plain)
}

async fn save(couch: &Couch, path: &str, document: &Value) -> String {
    couch.save(&format!("/{path}"), document).await
}

/// Puts an attachment into CouchDB.
async fn native(gateway: &Running, path: &str, name: &str) {
    gateway.couch.request("PUT", &format!("/{path}/{name}"), "audio/mpeg", BYTES).await.expect_status(201);
}

async fn links(gateway: &Running, id: &str, entries: Value) -> String {
    save(&gateway.couch, &format!("{}/{id}", gateway.path()), &json!({ "pvt_attachments": entries })).await
}

fn is_recording(answer: &RawResponse) {
    assert_eq!((answer.status, answer.body.as_slice()), (200, BYTES), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
    assert!(answer.header("etag").is_some());
    assert_eq!(answer.header("content-length"), Some(&*BYTES.len().to_string()));
}

#[tokio::test]
async fn a_native_attachment_is_read_through_a_link() {
    let (gateway, plain) = start().await;
    let planned = gateway.path();
    for path in [format!("{plain}/far"), format!("{planned}/far")] {
        native(&gateway, &path, "call.mp3").await;
    }
    let entries = json!({
        "plain.mp3": link(&plain, "far", Some("call.mp3")),
        "decoded.mp3": link(&gateway.database(), "far", Some("call.mp3")),
        "encoded.mp3": link(&planned, "far", Some("call.mp3")),
        "first.mp3": link(&planned, "far", None),
        "call.mp3": link(&planned, "far", None),
    });
    links(&gateway, "near", entries.clone()).await;
    for name in entries.as_object().unwrap().keys() {
        let target = format!("/{planned}/near/{name}");
        is_recording(&gateway.request("GET", &target, &[], b"").await);
        let head = gateway.request("HEAD", &target, &[], b"").await;
        assert_eq!(head.header("content-length"), Some(&*BYTES.len().to_string()), "{name}");
        let part = gateway.request("GET", &target, &[("Range", "bytes=5-7")], b"").await;
        assert_eq!((part.status, part.body.as_slice()), (206, &BYTES[5..8]), "{name}");
        let tag = head.header("etag").unwrap();
        assert_eq!(gateway.request("GET", &target, &[("If-None-Match", tag)], b"").await.status, 304, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_outside_is_read_through_a_chain_of_links() {
    let (gateway, _) = start().await;
    gateway.plan("file", json!({"directory": "recordings"})).await;
    gateway.attached("far", json!({}), "call.mp3", BYTES).await;
    for step in 1..=9 {
        let (to, name) =
            if step == 1 { ("far".to_owned(), "call.mp3") } else { (format!("link{}", step - 1), "x.mp3") };
        links(&gateway, &format!("link{step}"), json!({"x.mp3": link(&gateway.path(), &to, Some(name))})).await;
    }
    is_recording(&gateway.get("link1/x.mp3").await);
    is_recording(&gateway.get("link8/x.mp3").await);
    let long = gateway.get("link9/x.mp3").await.expect_status(502);
    assert!(json(&long)["reason"].as_str().unwrap().contains("too many"), "{long:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_circle_of_links_is_refused() {
    let (gateway, _) = start().await;
    let path = gateway.path();
    links(&gateway, "a", json!({"x.mp3": link(&path, "b", Some("y.mp3"))})).await;
    links(&gateway, "b", json!({"y.mp3": link(&gateway.database(), "a", Some("x.mp3"))})).await;
    links(&gateway, "self", json!({"x.mp3": link(&path, "self", None)})).await;
    for target in ["a/x.mp3", "b/y.mp3", "self/x.mp3"] {
        for method in ["GET", "HEAD"] {
            let answer = gateway.request(method, &format!("/{path}/{target}"), &[], b"").await;
            assert_eq!(answer.status, 502, "{method} {target}: {answer:?}");
            assert!(method == "HEAD" || answer.text().contains("leads back to itself"), "{answer:?}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_link_to_nowhere_is_missing() {
    let (gateway, plain) = start().await;
    let path = gateway.path();
    native(&gateway, &format!("{path}/far"), "call.mp3").await;
    save(&gateway.couch, &format!("{path}/bare"), &json!({})).await;
    let entries = json!({
        "document.mp3": link(&path, "none", Some("call.mp3")),
        "nameless.mp3": link(&path, "none", None),
        "attachment.mp3": link(&path, "far", Some("other.mp3")),
        "bare.mp3": link(&path, "bare", None),
        "plain.mp3": link(&plain, "none", Some("call.mp3")),
        "database.mp3": link("no_such_database", "none", Some("call.mp3")),
    });
    links(&gateway, "near", entries.clone()).await;
    for name in entries.as_object().unwrap().keys() {
        let got = gateway.get(&format!("near/{name}")).await;
        assert_eq!((got.status, &json(&got)["error"]), (404, &json!("not_found")), "{name}: {got:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn who_may_not_read_the_other_document_gets_couchdbs_refusal() {
    let (gateway, plain) = start().await;
    let path = gateway.path();
    for database in [&path, &plain] {
        native(&gateway, &format!("{database}/far"), "call.mp3").await;
    }
    let third = format!("third_{}", gateway.account);
    assert_eq!(gateway.couch.request("PUT", &format!("/{third}"), "", b"").await.status, 201);
    let entries = json!({"call.mp3": link(&plain, "far", Some("call.mp3")), "any.mp3": link(&plain, "far", None)});
    links(&gateway, "near", entries).await;
    // The user may read the month database, but not the other one.
    let user = gateway.couch.user().await;
    let members = json!({"admins": {"names": [], "roles": []}, "members": {"names": [user.0], "roles": []}});
    let target = format!("/{path}/_security");
    gateway.couch.request("PUT", &target, "application/json", members.to_string().as_bytes()).await.expect_status(200);
    let user = authorization(&user);
    for name in ["call.mp3", "any.mp3"] {
        let got =
            exchange(gateway.address, "GET", &format!("/{path}/near/{name}"), std::slice::from_ref(&user), b"").await;
        let direct =
            exchange(gateway.address, "GET", &format!("/{plain}/far/call.mp3"), std::slice::from_ref(&user), b"").await;
        assert_eq!((got.status, got.text()), (403, direct.text()), "{got:?}");
        is_recording(&gateway.get(&format!("near/{name}")).await);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_removal_takes_only_the_link() {
    let (gateway, _) = start().await;
    let path = gateway.path();
    native(&gateway, &format!("{path}/far"), "call.mp3").await;
    let old = links(&gateway, "near", json!({"x.mp3": link(&path, "far", None)})).await;
    gateway.request("DELETE", &format!("/{path}/near/x.mp3?rev={old}"), &[], b"").await.expect_status(200);
    assert_eq!(gateway.get("near/x.mp3").await.status, 404);
    is_recording(&gateway.get("far/call.mp3").await);
    gateway.stop().await;
}

#[tokio::test]
async fn an_attachment_stored_over_a_link_leaves_the_other_document_alone() {
    let (gateway, _) = start().await;
    gateway.plan("file", json!({"directory": "recordings"})).await;
    let path = gateway.path();
    native(&gateway, &format!("{path}/far"), "call.mp3").await;
    let old = links(&gateway, "near", json!({"x.mp3": link(&path, "far", None)})).await;
    gateway.attach("near", "x.mp3", &old, b"new").await;
    gateway.settled().await;
    assert_eq!(gateway.get("near/x.mp3").await.body, b"new");
    assert!(gateway.pointer("near", "x.mp3").await["stowage"].is_object());
    is_recording(&gateway.get("far/call.mp3").await);
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_can_be_sent_to_a_link() {
    let (gateway, _) = start().await;
    gateway.plan("link", json!({"att_dbname": "db", "att_docid": "d"})).await;
    let first = gateway.document("doc", json!({})).await;
    let put = gateway.put("doc", "call.mp3", &first, BYTES).await.expect_status(502);
    assert!(put.text().contains("nothing can be stored in one"), "{put:?}");
    assert_eq!(json(&gateway.get("doc").await)["_rev"], json!(first));
    gateway.stop().await;
}
