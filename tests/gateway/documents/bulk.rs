//! `_bulk_docs`.

use serde_json::{Value, json};

use super::world::{JSON, audit, audit_and_stop, both, inline, plan, planned, put, stored};
use stowage_testing::gateway::{Running, STORAGE, Setup, json as parsed, rev};
use stowage_testing::raw::RawResponse;

async fn bulk(gateway: &Running, body: &Value) -> RawResponse {
    gateway.ask("POST", "_bulk_docs", &[JSON], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn every_attachment_is_stored_and_every_row_is_couchdbs() {
    let gateway = planned().await;
    let docs = json!({ "docs": [
        { "_id": "b1", "_attachments": { "a": inline("x/y", b"one"), "b": inline("x/y", b"two") } },
        { "_id": "b2", "n": 2 },
        { "_attachments": { "a": inline("x/y", b"three") } },
    ] });
    let (saved, _) = both(&gateway, "POST", "/_bulk_docs", &[JSON], docs.to_string().as_bytes()).await;
    let rows = parsed(&saved);
    let named = rows[2]["id"].as_str().unwrap();
    assert_eq!(gateway.get("b1/b").await.body, b"two");
    assert_eq!(gateway.get(&format!("{named}/a")).await.body, b"three");
    audit(&gateway, &["b1", "b2", named]).await;
    // Conflicts only affect their own documents.
    let mixed = json!({ "docs": [
        { "_id": "b1", "_attachments": { "a": inline("x/y", b"new") } },
        { "_id": "b3", "_attachments": { "a": inline("x/y", b"four") } },
        { "_id": "b2" },
    ] });
    let (saved, _) = both(&gateway, "POST", "/_bulk_docs", &[JSON], mixed.to_string().as_bytes()).await;
    let rows = parsed(&saved);
    assert_eq!(
        (&rows[0]["error"], &rows[1]["ok"], &rows[2]["error"]),
        (&json!("conflict"), &json!(true), &json!("conflict"))
    );
    audit_and_stop(gateway, &["b1", "b2", "b3", named]).await;
}

/// Taken for something else, the documents would be forwarded, and their attachments would get past the plan.
#[tokio::test]
async fn what_couchdb_takes_for_json_is_json() {
    let gateway = planned().await;
    let kinds = ["application/json; x=ü", ";application/json", "application/json;"];
    let ids = ["doc-0", "doc-1", "doc-2"];
    for (id, kind) in ids.into_iter().zip(kinds) {
        let docs = json!({ "docs": [{ "_id": id, "_attachments": { "a": inline("x/y", b"one") } }] });
        let saved = gateway.ask("POST", "_bulk_docs", &[("Content-Type", kind)], docs.to_string().as_bytes()).await;
        assert_eq!(saved.status, 201, "{kind}: {saved:?}");
        assert!(gateway.inside(id).await["_attachments"].is_null(), "{kind}");
    }
    audit_and_stop(gateway, &ids).await;
}

#[tokio::test]
async fn what_couchdb_refuses_as_a_whole_leaves_nothing() {
    let gateway = planned().await;
    let fine = json!({ "_id": "fine", "_attachments": { "a": inline("x/y", b"one") } });
    for docs in [
        json!({ "docs": [fine, { "_id": "b7", "_attachments": { "a": { "stub": true } } }] }),
        json!({ "docs": [fine, { "_id": "b6", "_zzz": 1 }] }),
        json!({ "docs": [fine, { "_id": "b6", "_attachments": { "a": { "data": "***" } } }] }),
        json!({ "docs": [fine, { "_id": "b6", "_attachments": { "_a": { "data": "" } } }] }),
        json!({ "docs": { "_attachments": {} } }),
        json!({ "docs": [] }),
        json!({ "docs": [fine, 1] }),
        json!({ "docs": [fine, { "_id": 1 }] }),
    ] {
        both(&gateway, "POST", "/_bulk_docs", &[JSON], docs.to_string().as_bytes()).await;
    }
    both(&gateway, "POST", "/_bulk_docs", &[JSON], b"{\"docs\":[{\"_attachments\":").await;
    audit_and_stop(gateway, &[]).await;
}

#[tokio::test]
async fn a_failing_storage_refuses_all_before_anything_is_saved() {
    let gateway = Setup::default().set("limits.attachment_bytes", "4").storing_in("r").await;
    let docs = json!({ "docs": [
        { "_id": "b1", "_attachments": { "a": inline("x/y", b"one") } },
        { "_id": "b2", "_attachments": { "a": inline("x/y", b"four") } },
        { "_id": "b3", "_attachments": { "a": inline("x/y", b"three") } },
    ] });
    bulk(&gateway, &docs).await.expect_status(413);
    for id in ["b1", "b2", "b3"] {
        assert_eq!(stored(&gateway, id).await, json!(null));
    }
    audit_and_stop(gateway, &[]).await;
}

#[tokio::test]
async fn more_documents_than_there_is_memory_for_are_refused() {
    let gateway = Setup::default().set("limits.upload_buffer_bytes", "16 MiB").storing_in("r").await;
    let of = |count: usize| format!("{{\"docs\":[{{\"_attachments\":{{}}}}{}]}}", ",{}".repeat(count));
    for count in [20_000, 200_000] {
        let refused = gateway.ask("POST", "_bulk_docs", &[JSON], of(count).as_bytes()).await;
        assert_eq!((refused.status, &parsed(&refused)["error"]), (413, &json!("document_too_large")), "{count}");
    }
    gateway.ask("POST", "_bulk_docs", &[JSON], of(200).as_bytes()).await.expect_status(201);
    audit_and_stop(gateway, &[]).await;
}

/// A body of unknown length holds the memory for the longest one, which its documents may use.
#[tokio::test]
async fn a_packed_request_is_not_told_to_wait_for_memory_that_it_holds_itself() {
    let gateway = Setup::default().set("limits.upload_buffer_bytes", "64 MiB").storing_in("r").await;
    let headers = [JSON, ("Content-Encoding", "gzip")];
    let mut statuses = Vec::new();
    for count in [6_000, 9_000, 13_000, 20_000, 30_000, 45_000, 65_000, 95_000] {
        // The last one is no document, so that CouchDB does not have to save the others.
        let docs = format!("{{\"docs\":[{{\"_attachments\":{{}}}}{},1]}}", ",{\"number\":0}".repeat(count));
        let refused = gateway.ask("POST", "_bulk_docs", &headers, &stowage_testing::gzip(docs.as_bytes())).await;
        statuses.push(refused.status);
    }
    assert!(statuses.starts_with(&[400]) && statuses.ends_with(&[413]), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 400 | 413)), "{statuses:?}");
    audit_and_stop(gateway, &[]).await;
}

#[tokio::test]
async fn stubs_and_new_attachments_and_tombstones_together() {
    let gateway = planned().await;
    plan(&gateway, json!({ "attachments": { "handler": STORAGE, "on_delete": "delete" } })).await;
    let one = put(&gateway, "b1", &json!({ "_attachments": { "a": inline("x/y", b"one") } })).await;
    let two = put(&gateway, "b2", &json!({ "_attachments": { "a": inline("x/y", b"two") } })).await;
    let docs = json!({ "docs": [
        { "_id": "b1", "_rev": rev(&one), "_attachments": { "a": { "stub": true }, "b": inline("x/y", b"new") } },
        { "_id": "b2", "_rev": rev(&two), "_deleted": true },
    ] });
    bulk(&gateway, &docs).await.expect_status(201);
    assert_eq!(gateway.get("b1/a").await.body, b"one");
    assert_eq!(gateway.get("b1/b").await.body, b"new");
    audit_and_stop(gateway, &["b1"]).await;
}
