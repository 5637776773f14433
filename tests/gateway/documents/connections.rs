//! Documents of types with a CouchDB of their own.

use serde_json::{Value, json};

use super::world::{JSON, inline, multipart, planned, put, stored};
use stowage_testing::gateway::{Couch, Running, STORAGE, json as parsed, rev};

const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// Sets up the month database on two stores: calls are on the other one.
async fn two() -> (Running, Couch) {
    let gateway = planned().await;
    let other = Couch::embedded(gateway.couch.admin.clone()).await;
    other.request("PUT", &format!("/{}", gateway.path()), "", b"").await.expect_status(201);
    let port: u16 = other.url.rsplit(':').next().unwrap().parse().unwrap();
    let plan = json!({
        "pvt_type": "storage",
        "connections": { OTHER: { "driver": "kazoo_couch", "settings": { "ip": "127.0.0.1", "port": port } } },
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "r" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE }, "types": { "call": { "connection": OTHER } } } },
    });
    gateway.save_plan(&gateway.account.clone(), plan).await;
    (gateway, other)
}

async fn there(gateway: &Running, other: &Couch, id: &str) -> Value {
    let answer = other.request("GET", &format!("/{}/{id}", gateway.path()), "", b"").await;
    if answer.status == 200 { parsed(&answer) } else { Value::Null }
}

#[tokio::test]
async fn a_document_goes_where_its_type_is_and_stays_there() {
    let (gateway, other) = two().await;
    let call = json!({ "pvt_type": "call", "k": 1 });
    put(&gateway, "plain", &call).await.expect_status(201);
    assert_eq!(there(&gateway, &other, "plain").await["k"], 1);
    assert_eq!(stored(&gateway, "plain").await, Value::Null);
    let carrying = json!({ "pvt_type": "call", "_attachments": { "a": inline("x/y", b"one") } });
    let saved = put(&gateway, "call", &carrying).await.expect_status(201);
    assert!(there(&gateway, &other, "call").await["pvt_attachments"]["a"].is_object());
    assert_eq!(gateway.get("call/a").await.body, b"one");
    // Existing documents stay there, whatever their new type.
    let next = json!({ "_rev": rev(&saved), "pvt_type": "note", "_attachments": { "a": { "stub": true } } });
    let second = put(&gateway, "call", &next).await.expect_status(201);
    assert_eq!(there(&gateway, &other, "call").await["_rev"], rev(&second));
    assert_eq!(gateway.get("call/a").await.body, b"one");
    let tombstone = json!({ "_rev": rev(&second), "_deleted": true });
    assert_eq!(put(&gateway, "call", &tombstone).await.status, 200);
    assert_eq!(gateway.get("call").await.status, 404);
    // And a note stays on the class's server.
    let note = put(&gateway, "note", &json!({ "pvt_type": "note" })).await;
    let next = json!({ "_rev": rev(&note), "pvt_type": "call" });
    assert_eq!(put(&gateway, "note", &next).await.status, 201);
    assert_eq!(stored(&gateway, "note").await["pvt_type"], "call");
    // Also as multipart, and by POST.
    let entry = json!({ "pvt_type": "call", "_attachments": { "a": { "follows": true, "length": 3 } } });
    let kind = ("Content-Type", "multipart/related; boundary=\"b\"");
    gateway.ask("PUT", "related", &[kind], &multipart("b", &entry, &[b"two"])).await.expect_status(201);
    assert!(there(&gateway, &other, "related").await["pvt_attachments"]["a"].is_object());
    let posted = json!({ "pvt_type": "call", "_id": "posted" }).to_string();
    gateway.request("POST", &format!("/{}", gateway.path()), &[JSON], posted.as_bytes()).await;
    assert!(there(&gateway, &other, "posted").await.is_object());
    gateway.stop().await;
}

#[tokio::test]
async fn bulk_documents_are_split_and_their_rows_keep_their_order() {
    let (gateway, other) = two().await;
    let old = put(&gateway, "old", &json!({ "pvt_type": "call" })).await;
    let docs = json!({ "docs": [
        { "_id": "c1", "pvt_type": "call", "_attachments": { "a": inline("x/y", b"one") } },
        { "_id": "n1", "pvt_type": "note" },
        { "_id": "old", "pvt_type": "note", "_attachments": { "a": inline("x/y", b"lost") } },
        { "_id": "old", "_rev": rev(&old), "pvt_type": "note" },
        { "_id": "n2", "_attachments": { "a": inline("x/y", b"two") } },
        { "_id": "c2", "pvt_type": "call" },
    ] });
    let saved = gateway.ask("POST", "_bulk_docs", &[JSON], docs.to_string().as_bytes()).await.expect_status(201);
    let rows = parsed(&saved);
    let said: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| (row["id"].as_str().unwrap(), row["ok"] == true)).collect();
    assert_eq!(said, [("c1", true), ("n1", true), ("old", false), ("old", true), ("n2", true), ("c2", true)]);
    assert_eq!(saved.header("content-length").unwrap(), saved.body.len().to_string());
    for (id, elsewhere) in [("c1", true), ("c2", true), ("old", true), ("n1", false), ("n2", false)] {
        assert_eq!(there(&gateway, &other, id).await.is_object(), elsewhere, "{id}");
        assert_eq!(stored(&gateway, id).await.is_object(), !elsewhere, "{id}");
    }
    assert_eq!(gateway.get("c1/a").await.body, b"one");
    assert_eq!(gateway.get("n2/a").await.body, b"two");
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 2, "{:?}", gateway.stored());
    // An unknown stub anywhere refuses all documents.
    let docs = json!({ "docs": [
        { "_id": "x1", "_attachments": { "a": inline("x/y", b"one") } },
        { "_id": "x2", "pvt_type": "call", "_attachments": { "a": { "stub": true } } },
    ] });
    let refused = gateway.ask("POST", "_bulk_docs", &[JSON], docs.to_string().as_bytes()).await;
    assert_eq!(
        (refused.status, parsed(&refused)["reason"].as_str()),
        (412, Some("Invalid attachment stub in x2 for a"))
    );
    assert_eq!(stored(&gateway, "x1").await, Value::Null);
    gateway.stop().await;
}
