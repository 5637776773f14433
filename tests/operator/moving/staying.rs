//! What a migration leaves in a storage, and what it says about it.

use serde_json::json;
use stowage_testing::gateway::{STORAGE, rev as rev_of};
use stowage_testing::spy::Spy;

use super::world::{OTHER, fill, lines, plan, run, run_with, start, succeeds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_losing_branches_keep_is_named() {
    let gateway = start().await;
    fill(&gateway, 2).await;
    // Two branches of one generation with different attachments, and one without any.
    let target = format!("/{}/_bulk_docs", gateway.path());
    let branch = |hash: &str, data: &str| {
        let inside = json!({ "call.mp3": { "content_type": "audio/mpeg", "data": data } });
        let mut document = json!({ "_id": "twice", "_rev": format!("1-{hash}"), "pvt_type": "fax", "n": hash });
        if !data.is_empty() {
            document["_attachments"] = inside;
        }
        document
    };
    let docs = [branch("aaaa", "bG9zZXI="), branch("bbbb", ""), branch("cccc", "d2lubmVy")];
    let text = json!({ "new_edits": false, "docs": docs }).to_string();
    gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    plan(&gateway, Some(STORAGE)).await;
    let database = gateway.database();
    for more in [&["--dry-run"][..], &[], &[]] {
        let (code, said) = run(&gateway, &[&["migrate", "--db", &database, "--format", "json"], more].concat()).await;
        let left: Vec<_> = lines(&said, "left").filter(serde_json::Value::is_object).collect();
        assert_eq!((code, left.len()), (0, 1), "{said}");
        assert_eq!((&left[0]["document"], &left[0]["attachment"]), (&json!("twice"), &json!("call.mp3")), "{said}");
        assert!(left[0]["reason"].as_str().unwrap().starts_with("5 bytes of revision 1-aaaa"), "{said}");
        assert!(said.contains(r#""left":1"#), "{said}");
    }
    let winner = gateway.inside("twice").await;
    assert!(winner["n"] == "cccc" && winner["_attachments"].is_null(), "{winner}");
    gateway.stop().await;
}

/// An operator takes a storage away once nothing is left in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_in_a_storage_is_named() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let entries = gateway.inside("doc").await["pvt_attachments"].clone();
    let kazoo = json!({ "handler": { "kz_att_http": { "url": "http://127.0.0.1:1/older.mp3" } }, "content_type": "audio/mpeg" });
    let mut nonsense = entries.clone();
    nonsense["call.mp3"]["stowage"]["location"] = json!(7);
    let holding = |entries: &serde_json::Value| json!({ "pvt_type": "fax", "pvt_attachments": entries });
    for (id, entries) in [("copied", &entries), ("older", &json!({ "x.mp3": kazoo })), ("nonsense", &nonsense)] {
        gateway.save(id, &holding(entries)).await;
    }
    let mut loser = holding(&entries);
    (loser["_id"], loser["_rev"]) = (json!("doc"), json!("1-0000"));
    let text = json!({ "new_edits": false, "docs": [loser] }).to_string();
    let target = format!("/{}/_bulk_docs", gateway.path());
    gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);

    plan(&gateway, Some(OTHER)).await;
    let database = gateway.database();
    for more in [&["--rehome", "--dry-run"][..], &["--rehome"], &["--to", "couchdb", "--dry-run"], &["--to", "couchdb"]]
    {
        let (code, said) = run(&gateway, &[&["migrate", "--db", &database, "--format", "json"], more].concat()).await;
        let of = |member: &str| {
            let listed = lines(&said, member).filter(serde_json::Value::is_object);
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let mut found: Vec<_> = listed.map(|one| (text(&one["kind"]), text(&one["document"]))).collect();
            found.sort();
            found
        };
        let named = |all: &[(&str, &str)]| -> Vec<_> {
            all.iter().map(|(kind, id)| ((*kind).to_owned(), (*id).to_owned())).collect()
        };
        assert_eq!(
            of("left"),
            named(&[("branch", "doc"), ("foreign", "copied"), ("kazoo", "older")]),
            "{more:?}: {said}"
        );
        assert_eq!((code, of("fault")), (1, named(&[("unreadable", "nonsense")])), "{more:?}: {said}");
        assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 1, "{more:?}: {said}");
    }
    gateway.stop().await;
}

/// What a newer attachment in CouchDB hides is of no use, but its object would stay in a storage that is to be taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_newer_attachments_hide_is_removed() {
    for (to, left) in [(&["--to", "couchdb"][..], 0), (&["--rehome"], 1)] {
        let gateway = start().await;
        plan(&gateway, Some(STORAGE)).await;
        for id in ["hidden", "both"] {
            let rev = gateway.attached(id, json!({ "pvt_type": "fax" }), "call.mp3", b"old").await;
            let target = format!("/{}/{id}/call.mp3?rev={rev}", gateway.path());
            let native = gateway.couch.request("PUT", &target, "audio/mpeg", b"new").await.expect_status(201);
            if id == "both" {
                gateway.attach(id, "other.mp3", &rev_of(&native), b"other").await;
            }
        }
        plan(&gateway, Some(OTHER)).await;
        let database = gateway.database();
        let migrate = [&["migrate", "--db", &database][..], to].concat();
        let said = succeeds(&gateway, &[&migrate[..], &["--dry-run", "--format", "json"]].concat()).await;
        let listed = lines(&said, "left").filter(serde_json::Value::is_object);
        let mut hidden: Vec<_> = listed.map(|one| [one["kind"].clone(), one["document"].clone()]).collect();
        hidden.sort_by_key(|one| one[1].to_string());
        assert_eq!(hidden, [["hidden", "both"], ["hidden", "hidden"]].map(|one| one.map(|text| json!(text))), "{said}");
        for (moved, removed) in [("1 attachments moved", true), ("0 attachments moved", false)] {
            let said = succeeds(&gateway, &migrate).await;
            assert!(said.contains(moved) && said.contains("2 objects removed (6 B)") == removed, "{to:?}: {said}");
        }
        let stored = gateway.stored();
        assert!(stored.len() == left && stored.iter().all(|path| path.starts_with("two/")), "{to:?}: {stored:?}");
        for id in ["hidden", "both"] {
            let inside = gateway.inside(id).await;
            assert!(inside["pvt_attachments"]["call.mp3"].is_null(), "{to:?}: {inside}");
            assert_eq!(gateway.get(&format!("{id}/call.mp3")).await.body, b"new", "{to:?}: {inside}");
        }
        assert_eq!(gateway.get("both/other.mp3").await.body, b"other", "{to:?}");
        gateway.stop().await;
    }
}

/// What CouchDB does not show may have attachments that stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_that_couchdb_refuses_to_show_are_a_fault() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    let branches = ["1-aaaa", "1-bbbb"].map(|rev| json!({ "_id": "twice", "_rev": rev, "pvt_type": "fax" }));
    let text = json!({ "new_edits": false, "docs": branches }).to_string();
    let target = format!("/{}/_bulk_docs", gateway.path());
    gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    let spy = Spy::start(&gateway.couch.url).await;
    let refused = format!("/{}/_all_docs?limit=x", gateway.couch.plans);
    spy.turn(&format!("/{}/twice?open_revs", gateway.path()), &refused);
    let through = [("STOWAGE__COUCHDB__URL".to_owned(), spy.url())];
    let database = gateway.database();
    let (code, said) = run_with(&gateway, &through, &["migrate", "--db", &database, "--format", "json"]).await;
    let faults: Vec<_> = lines(&said, "fault").collect();
    assert_eq!((code, faults.len()), (1, 1), "{said}");
    assert_eq!((&faults[0]["document"], &faults[0]["kind"]), (&json!("twice"), &json!("failed")), "{said}");
    gateway.stop().await;
}
