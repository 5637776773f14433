//! DELETE of a document: its objects are kept or removed, according to the plan.

use serde_json::json;

use super::world::{branch, conflict, deleting, set_on_delete};
use stowage_testing::gateway::{JSON, Running, STORAGE, rev};
use stowage_testing::storages::Storage;

async fn with_two(gateway: &Running, id: &str) -> String {
    let first = rev(&gateway.put(id, "one.mp3", "", b"one").await);
    rev(&gateway.put(id, "two.mp3", &first, b"two").await)
}

#[tokio::test]
async fn objects_go_with_their_document_where_the_plan_says_so() {
    for (handler, on_delete, left) in
        [("file", "keep", 2), ("file", "delete", 0), ("s3", "delete", 0), ("http", "delete", 0)]
    {
        let storage = Storage::start(handler).await;
        let gateway = storage.gateway().await;
        gateway
            .plan_as(
                handler,
                json!(storage.settings),
                json!({ "modb": { "attachments": { "handler": STORAGE, "on_delete": on_delete } } }),
            )
            .await;
        let revision = with_two(&gateway, "doc").await;
        assert_eq!(storage.objects(&gateway).len(), 2);
        gateway.delete(&format!("doc?rev={revision}")).await.expect_status(200);
        gateway.settled().await;
        assert_eq!(storage.objects(&gateway).len(), left, "{handler} {on_delete}: {:?}", storage.objects(&gateway));
        let got = gateway.get(&format!("doc/one.mp3?rev={revision}")).await;
        assert_eq!(got.status, if left == 0 { 404 } else { 200 }, "{handler} {on_delete}: {got:?}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn the_type_of_the_document_decides() {
    let gateway = deleting("keep").await;
    gateway
        .plan_as(
            "file",
            json!({ "directory": "recordings" }),
            json!({ "modb": { "attachments": { "handler": STORAGE }, "types": {
            "fax": { "attachments": { "on_delete": "delete" } },
            "media": { "on_delete": "delete", "attachments": {} },
        } } }),
        )
        .await;
    for (kind, left) in [("fax", 0), ("media", 0), ("call_recording", 1)] {
        let rev = gateway.attached(kind, json!({ "pvt_type": kind }), "a.mp3", b"recording").await;
        assert_eq!(gateway.delete(&format!("{kind}?rev={rev}")).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), left, "{kind}");
    }
    gateway.stop().await;
}

/// Whatever it becomes.
#[tokio::test]
async fn the_type_before_a_save_decides() {
    let gateway = deleting("keep").await;
    let types = json!({ "fax": { "attachments": { "handler": STORAGE, "on_delete": "delete" } } });
    gateway
        .plan_as(
            "file",
            json!({ "directory": "recordings" }),
            json!({ "modb": { "attachments": { "handler": STORAGE }, "types": types } }),
        )
        .await;
    let new = json!({ "b.mp3": { "content_type": "audio/mpeg", "data": "eA==" } });
    let mut expected = 0;
    for (before, after, left) in [("fax", "media", 0), ("media", "fax", 1)] {
        for (attachments, added) in [(json!({}), 0), (new.clone(), 1)] {
            let id = format!("{before}-{added}");
            let rev = gateway.attached(&id, json!({ "pvt_type": before }), "a.mp3", b"recording").await;
            gateway.document(&id, json!({ "_rev": rev, "pvt_type": after, "_attachments": attachments })).await;
            gateway.settled().await;
            expected += left + added;
            assert_eq!(gateway.stored().len(), expected, "{id}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_plan_of_the_documents_owner_decides() {
    let gateway = deleting("keep").await;
    gateway.followed().await;
    let user = format!("user_{}", gateway.account);
    let modb = json!({ "modb": { "attachments": { "on_delete": "delete" } } });
    let plan = json!({ "pvt_type": "storage", "pvt_account_id": gateway.account, "attachments": {}, "plan": modb });
    gateway.save_plan(&user, plan).await;
    for (owner, left) in [("another", 2), (user.as_str(), 2)] {
        let ids = [format!("put-{owner}"), format!("bulk-{owner}")];
        let mut tombstones = Vec::new();
        for id in &ids {
            let rev = gateway.attached(id, json!({ "owner_id": owner }), "a.mp3", b"recording").await;
            tombstones.push(json!({ "_id": id, "_rev": rev, "_deleted": true }));
        }
        gateway.document(&ids[0], tombstones[0].clone()).await;
        let bulk = json!({ "docs": [tombstones[1]] }).to_string();
        gateway.ask("POST", "_bulk_docs", &[JSON], bulk.as_bytes()).await.expect_status(201);
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), left, "{owner}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_refused_deletion_removes_nothing() {
    let gateway = deleting("delete").await;
    let revision = with_two(&gateway, "doc").await;
    for query in ["", "?rev=1-00000000000000000000000000000000", "?rev=nonsense"] {
        let refused = gateway.delete(&format!("doc{query}")).await;
        assert!(matches!(refused.status, 400 | 409), "{refused:?}");
    }
    // An older revision that exists, but is not a leaf.
    let older = gateway.put("doc", "three.mp3", &revision, b"three").await;
    assert_eq!(gateway.delete(&format!("doc?rev={revision}")).await.status, 409);
    gateway.settled().await;
    assert_eq!((older.status, gateway.stored().len()), (201, 3));
    assert_eq!(gateway.get("doc/two.mp3").await.body, b"two");
    gateway.stop().await;
}

#[tokio::test]
async fn what_another_branch_names_stays_until_that_one_goes() {
    for wins in [true, false] {
        let gateway = deleting("delete").await;
        let (first, other) = conflict(&gateway, "doc", wins).await;
        assert_eq!(gateway.delete(&format!("doc?rev={first}")).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording", "{wins}");
        assert_eq!(gateway.delete(&format!("doc?rev={other}")).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.stored(), [""; 0], "{wins}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_deleted_document_can_have_attachments_again() {
    for on_delete in ["keep", "delete"] {
        let gateway = deleting(on_delete).await;
        let first = gateway.put("doc", "call.mp3", "", b"before").await;
        gateway.delete(&format!("doc?rev={}", rev(&first))).await.expect_status(200);
        gateway.settled().await;
        let again = gateway.attach("doc", "call.mp3", "", b"after!").await;
        assert!(rev(&again).starts_with("3-"), "{again:?}");
        gateway.settled().await;
        assert_eq!(gateway.get("doc/call.mp3").await.body, b"after!");
        let old = gateway.get(&format!("doc/call.mp3?rev={}", rev(&first))).await;
        if on_delete == "keep" {
            assert_eq!((old.status, old.body.as_slice(), gateway.stored().len()), (200, &b"before"[..], 2));
        } else {
            assert_eq!((old.status, gateway.stored().len()), (404, 1), "{old:?}");
        }
        // The new document's object is removed independently.
        assert_eq!(gateway.delete(&format!("doc?rev={}", rev(&again))).await.status, 200);
        gateway.settled().await;
        assert_eq!(gateway.stored().len(), if on_delete == "keep" { 2 } else { 0 });
        gateway.stop().await;
    }
}

/// Documents without own outside attachments lose nothing: attachments in CouchDB, of a copy or behind a link are kept.
#[tokio::test]
async fn only_the_documents_own_objects_go() {
    let gateway = deleting("delete").await;
    let first = gateway.put("doc", "call.mp3", "", b"recording").await;
    let pointers = gateway.inside("doc").await["pvt_attachments"].clone();
    let copied = gateway.document("copy", json!({ "pvt_attachments": pointers })).await;
    let link = json!({ "att_dbname": gateway.database(), "att_docid": "doc", "att_name": "call.mp3" });
    let entry = json!({ "call.mp3": { "handler": { "kz_att_link": link } } });
    let linked = gateway.document("link", json!({ "pvt_attachments": entry })).await;
    for (id, revision) in [("copy", copied), ("link", linked)] {
        assert_eq!(gateway.delete(&format!("{id}?rev={revision}")).await.status, 200, "{id}");
        gateway.settled().await;
        assert_eq!(gateway.get("doc/call.mp3").await.body, b"recording", "{id}");
    }
    // A tombstone under another plan is irrelevant.
    set_on_delete(&gateway, json!("keep")).await;
    let tombstone = branch(&gateway, "doc", 7, &json!({ "_deleted": true, "pvt_attachments": pointers })).await;
    set_on_delete(&gateway, json!("delete")).await;
    assert_eq!(gateway.delete(&format!("doc?rev={}", rev(&first))).await.status, 200);
    gateway.settled().await;
    assert_eq!(gateway.stored(), [""; 0]);
    assert_eq!(gateway.get(&format!("doc/call.mp3?rev={tombstone}")).await.status, 404);
    gateway.stop().await;
}

/// A database's deletion does not reveal its contents.
#[tokio::test]
async fn a_database_that_is_deleted_leaves_its_objects() {
    let gateway = deleting("delete").await;
    with_two(&gateway, "doc").await;
    gateway.request("DELETE", &format!("/{}", gateway.path()), &[], b"").await.expect_status(200);
    gateway.settled().await;
    assert_eq!(gateway.stored().len(), 2);
    gateway.stop().await;
}
