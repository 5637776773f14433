//! `couchdb.present_stubs`: clients send stubs back, and attachments that they omit are removed.

use serde_json::json;

use super::world::{audit_and_stop, inline, planned, put, stored};
use stowage_testing::gateway::{JSON, Running, Setup, json as parsed, rev};

async fn plain() -> Running {
    Setup::default().set("couchdb.present_stubs", "false").storing_in("r").await
}

/// Creates a document with two outside attachments; returns its revision.
async fn with_two(gateway: &Running) -> String {
    let document = json!({ "_attachments": { "a": inline("x/y", b"one"), "b": inline("x/y", b"two") } });
    let saved = put(gateway, "doc", &document).await.expect_status(201);
    rev(&saved)
}

#[tokio::test]
async fn stubs_keep_their_pointers_whoever_presents_them() {
    for gateway in [plain().await, planned().await] {
        let first = with_two(&gateway).await;
        let before = stored(&gateway, "doc").await["pvt_attachments"].clone();
        let next = json!({ "_rev": first, "k": 2, "_attachments": {
            "b": { "stub": true, "revpos": 1 }, "a": { "stub": true, "content_type": "other/type", "length": 9 } } });
        let second = put(&gateway, "doc", &next).await.expect_status(201);
        let there = stored(&gateway, "doc").await;
        assert_eq!((&there["pvt_attachments"]["a"], &there["k"]), (&before["a"], &json!(2)), "as they were");
        assert_eq!(there.get("_attachments"), None);
        assert_eq!(gateway.get("doc/b").await.body, b"two");
        // A stub of another generation does not match this revision.
        let wrong = json!({ "_rev": rev(&second), "_attachments": { "a": { "stub": true, "revpos": 2 } } });
        let refused = put(&gateway, "doc", &wrong).await;
        assert_eq!((refused.status, parsed(&refused)["error"].as_str()), (412, Some("missing_stub")), "{refused:?}");
        let unknown =
            json!({ "_rev": rev(&second), "_attachments": { "z": { "stub": true }, "n": inline("x/y", b"n") } });
        let refused = put(&gateway, "doc", &unknown).await;
        assert_eq!(parsed(&refused)["reason"], "Invalid attachment stub in doc for z");
        audit_and_stop(gateway, &["doc"]).await;
    }
}

#[tokio::test]
async fn stubs_keep_their_pointers_where_no_plan_is_left() {
    let gateway = Setup::default().set("couchdb.present_stubs", "true").storing_in("r").await;
    with_two(&gateway).await;
    let before = stored(&gateway, "doc").await["pvt_attachments"].clone();
    gateway.plan_as("file", json!({ "directory": "r" }), json!({})).await;
    let mut document = parsed(&gateway.get("doc").await);
    assert_eq!(document["_attachments"]["a"]["stub"], true, "{document}");
    document["k"] = json!(2);
    let saved = put(&gateway, "doc", &document).await.expect_status(201);
    assert_eq!(stored(&gateway, "doc").await["pvt_attachments"], before);
    document["_rev"] = json!(rev(&saved));
    document["k"] = json!(3);
    let batch = json!({ "docs": [document] }).to_string();
    let rows = parsed(&gateway.ask("POST", "_bulk_docs", &[JSON], batch.as_bytes()).await);
    assert_eq!(rows[0]["ok"], true, "{rows}");
    let there = stored(&gateway, "doc").await;
    assert_eq!((&there["pvt_attachments"], &there["k"]), (&before, &json!(3)));
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_left_out_is_dropped_where_stubs_are_shown() {
    let gateway = planned().await;
    let first = with_two(&gateway).await;
    let next = json!({ "_rev": first, "_attachments": { "a": { "stub": true } } });
    let second = put(&gateway, "doc", &next).await;
    assert_eq!(gateway.get("doc/b").await.status, 404);
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    // Pointers from a client that read the document before stubs were presented are kept, as are new ones.
    let pointer = stored(&gateway, "doc").await["pvt_attachments"]["a"].clone();
    let kazoo =
        json!({ "content_type": "audio/wav", "handler": { "kz_att_link": { "att_dbname": "db", "att_docid": "d" } } });
    let next =
        json!({ "_rev": rev(&second), "pvt_attachments": { "a": pointer, "new": kazoo, "note": { "length": 1 } } });
    let third = put(&gateway, "doc", &next).await.expect_status(201);
    assert_eq!(
        stored(&gateway, "doc").await["pvt_attachments"],
        json!({ "a": pointer, "new": kazoo, "note": { "length": 1 } })
    );
    put(&gateway, "doc", &json!({ "_rev": rev(&third), "k": 1 })).await.expect_status(201);
    assert_eq!(stored(&gateway, "doc").await.get("pvt_attachments"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn a_kazoo_that_stores_anew_what_it_was_shown_is_believed() {
    let gateway = planned().await;
    with_two(&gateway).await;
    let before = stored(&gateway, "doc").await["pvt_attachments"].clone();
    // `kzs_attachments:external_attachment`: the document as it was read, with one of its stubs replaced by a pointer of KAZOO's.
    let mut document = parsed(&gateway.get("doc").await);
    let anew = json!({ "content_type": "audio/mpeg", "length": 9, "stub": false,
        "handler": { "kz_att_http": { "url": "http://h/b", "base64_encode_data": false } } });
    document["pvt_attachments"] = json!({ "b": anew });
    put(&gateway, "doc", &document).await.expect_status(201);
    let after = stored(&gateway, "doc").await;
    assert_eq!(after["pvt_attachments"], json!({ "a": before["a"], "b": anew }));
    assert_eq!(after.get("_attachments"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn elsewhere_pointers_are_taken_as_they_are_sent() {
    let gateway = plain().await;
    let first = with_two(&gateway).await;
    let mut document = stored(&gateway, "doc").await;
    document["k"] = json!(1);
    document["pvt_attachments"].as_object_mut().unwrap().remove("b");
    let second = put(&gateway, "doc", &document).await;
    assert_eq!(second.status, 201, "{second:?} after {first}");
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    assert_eq!(gateway.get("doc/b").await.status, 404);
    // A new attachment together with pointers that are sent back.
    let mut document = stored(&gateway, "doc").await;
    document["_attachments"] = json!({ "c": inline("x/y", b"three"), "a": inline("x/y", b"new one") });
    put(&gateway, "doc", &document).await.expect_status(201);
    assert_eq!(gateway.get("doc/a").await.body, b"new one");
    assert_eq!(gateway.get("doc/c").await.body, b"three");
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_client_read_it_can_write_back() {
    let gateway = planned().await;
    with_two(&gateway).await;
    let mut read = parsed(&gateway.get("doc").await);
    if read.get("_attachments").is_none() {
        // With stubs, as it will be presented.
        read["_attachments"] = json!({ "a": { "stub": true }, "b": { "stub": true } });
        read.as_object_mut().unwrap().remove("pvt_attachments");
    }
    read["k"] = json!(2);
    put(&gateway, "doc", &read).await.expect_status(201);
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    assert_eq!(gateway.get("doc/b").await.body, b"two");
    audit_and_stop(gateway, &["doc"]).await;
}
