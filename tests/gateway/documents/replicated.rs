//! `new_edits=false`: documents with their own revisions and ancestors.

use serde_json::{Value, json};

use super::world::{JSON, audit, audit_and_stop, both, inline, planned, stored};
use stowage_testing::gateway::{Running, json as parsed};
use stowage_testing::raw::RawResponse;

const ONE: &str = "11111111111111111111111111111111";
const TWO: &str = "22222222222222222222222222222222";
const THREE: &str = "33333333333333333333333333333333";
const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn replicate(gateway: &Running, id: &str, document: &Value) -> RawResponse {
    gateway.ask("PUT", &format!("{id}?new_edits=false"), &[JSON], document.to_string().as_bytes()).await
}

#[tokio::test]
async fn attachments_are_stored_with_the_revisions_own_numbers() {
    let gateway = planned().await;
    let mut entry = inline("x/y", b"one");
    entry["revpos"] = json!(2);
    let document = json!({ "_rev": format!("3-{THREE}"), "_revisions": { "start": 3, "ids": [THREE, TWO, ONE] },
        "_attachments": { "a": entry } });
    let rest = "/doc?new_edits=false";
    both(&gateway, "PUT", rest, &[JSON], document.to_string().as_bytes()).await;
    let there = stored(&gateway, "doc").await;
    assert_eq!(there["_rev"], format!("3-{THREE}"));
    assert_eq!(there["pvt_attachments"]["a"]["revpos"], 2);
    audit(&gateway, &["doc"]).await;
    // A repetition stores nothing, since the revision exists already.
    both(&gateway, "PUT", rest, &[JSON], document.to_string().as_bytes()).await;
    audit(&gateway, &["doc"]).await;
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    gateway.stop().await;
}

#[tokio::test]
async fn stubs_are_of_the_nearest_ancestor_that_is_there() {
    let gateway = planned().await;
    let first = json!({ "_rev": format!("1-{ONE}"), "_attachments": { "a": inline("x/y", b"one") } });
    assert_eq!(replicate(&gateway, "doc", &first).await.status, 201);
    let next = json!({ "_rev": format!("3-{THREE}"), "_revisions": { "start": 3, "ids": [THREE, TWO, ONE] },
        "_attachments": { "a": { "stub": true }, "b": inline("x/y", b"two") } });
    assert_eq!(replicate(&gateway, "doc", &next).await.status, 201);
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    assert_eq!(gateway.get("doc/b").await.body, b"two");
    // A separate branch has no ancestor here.
    let stranger = json!({ "_rev": format!("2-{OTHER}"), "_attachments": { "a": { "stub": true } } });
    let refused = replicate(&gateway, "doc", &stranger).await;
    assert_eq!((refused.status, parsed(&refused)["error"].as_str()), (412, Some("missing_stub")), "{refused:?}");
    audit_and_stop(gateway, &["doc"]).await;
}

/// CouchDB considers all ancestors.
#[tokio::test]
async fn an_ancestor_may_be_far_away() {
    let gateway = planned().await;
    let hash = |generation: u64| format!("{generation:032x}");
    let first = json!({ "_rev": format!("1-{}", hash(1)), "_attachments": { "a": inline("x/y", b"one") } });
    assert_eq!(replicate(&gateway, "doc", &first).await.status, 201);
    let ids: Vec<String> = (1..=161).rev().map(hash).collect();
    let next = json!({ "_revisions": { "start": 161, "ids": ids },
        "_attachments": { "a": { "stub": true, "revpos": 1 }, "b": inline("x/y", b"two") } });
    replicate(&gateway, "doc", &next).await.expect_status(201);
    assert_eq!(gateway.get("doc/a").await.body, b"one");
    assert_eq!(gateway.get("doc/b").await.body, b"two");
    audit_and_stop(gateway, &["doc"]).await;
}

#[tokio::test]
async fn branches_have_objects_of_their_own() {
    let gateway = planned().await;
    for (hash, bytes) in [(ONE, &b"one"[..]), (OTHER, b"other")] {
        let document = json!({ "_rev": format!("1-{hash}"), "_attachments": { "a": inline("x/y", bytes) } });
        assert_eq!(replicate(&gateway, "doc", &document).await.status, 201);
    }
    assert_eq!(gateway.stored().len(), 2, "{:?}", gateway.stored());
    for (hash, bytes) in [(ONE, &b"one"[..]), (OTHER, b"other")] {
        assert_eq!(gateway.get(&format!("doc/a?rev=1-{hash}")).await.body, bytes);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn in_bulk_only_refusals_have_rows() {
    let gateway = planned().await;
    let docs = json!({ "new_edits": false, "docs": [
        { "_id": "b1", "_rev": format!("1-{ONE}"), "_attachments": { "a": inline("x/y", b"one") } },
        { "_id": "b2", "_rev": format!("1-{TWO}") },
        { "_id": "b3", "_rev": format!("2-{THREE}"), "_revisions": { "start": 2, "ids": [THREE, TWO] },
          "_attachments": { "a": inline("x/y", b"three") } },
    ] });
    for _ in 0..2 {
        let (saved, _) = both(&gateway, "POST", "/_bulk_docs", &[JSON], docs.to_string().as_bytes()).await;
        assert_eq!((saved.status, saved.text().as_str()), (201, "[]\n"));
        audit(&gateway, &["b1", "b3"]).await;
    }
    let next = json!({ "new_edits": false, "docs": [
        { "_id": "b1", "_rev": format!("2-{OTHER}"), "_revisions": { "start": 2, "ids": [OTHER, ONE] },
          "_attachments": { "a": { "stub": true }, "b": inline("x/y", b"more") } },
    ] });
    let (name, target) = (JSON, format!("/{}/_bulk_docs", gateway.path()));
    let saved = gateway.request("POST", &target, &[name], next.to_string().as_bytes()).await;
    assert_eq!(saved.text(), "[]\n");
    assert_eq!(gateway.get("b1/a").await.body, b"one");
    assert_eq!(gateway.get("b1/b").await.body, b"more");
    audit_and_stop(gateway, &["b1", "b3"]).await;
}

#[tokio::test]
async fn without_a_revision_it_is_couchdbs_to_judge() {
    let gateway = planned().await;
    let document = json!({ "_attachments": { "a": inline("x/y", b"one") } });
    let saved = replicate(&gateway, "doc", &document).await;
    let named =
        json!({ "_rev": format!("1-{ONE}"), "_revisions": { "start": 2, "ids": [TWO, ONE] }, "_attachments": {} });
    replicate(&gateway, "other", &named).await;
    assert!(gateway.stored().is_empty(), "{saved:?}");
    gateway.stop().await;
}
