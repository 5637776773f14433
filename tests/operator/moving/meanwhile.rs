//! Clients that read, write, copy and delete documents while their attachments are moved.

use std::time::Duration;

use serde_json::json;
use stowage_testing::gateway::{JSON, Running, STORAGE, json as parsed};
use stowage_testing::is_long;

use super::world::{done_by_a_worker, fill, lines, plan, recording, run, start, succeeds};

/// The number of ways in which clients change documents; each of them has every fifth document.
const WAYS: usize = 5;

/// Reads a document and an attachment, and changes the document a moment later.
async fn change(gateway: &Running, index: usize, id: &str) {
    let mut document = parsed(&gateway.get(id).await);
    let rev = document["_rev"].as_str().unwrap().to_owned();
    let got = gateway.get(&format!("{id}/a.mp3")).await;
    assert!(got.status == 200 && got.body == recording(index, "a"), "{id}: {got:?}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    document["heard"] = json!(true);
    let saved = match index % WAYS {
        0 => gateway.ask("PUT", id, &[JSON], document.to_string().as_bytes()).await,
        1 => gateway.put(id, "c.mp3", &rev, id.as_bytes()).await,
        2 => {
            let docs = json!({ "docs": [document] }).to_string();
            gateway.ask("POST", "_bulk_docs", &[JSON], docs.as_bytes()).await
        }
        3 => gateway.copy(id, &format!("copy-{id}")).await,
        _ => gateway.delete(&format!("{id}?rev={rev}")).await,
    };
    let is_done = matches!(saved.status, 200 | 201) && !saved.text().contains("\"error\"");
    assert!(is_done, "{id} {}: {saved:?}", index % WAYS);
}

/// Checks that a document is as its client has left it, outside of CouchDB and without a conflict.
async fn has_come_back(gateway: &Running, index: usize, id: &str) {
    let target = format!("/{}/{id}?conflicts=true", gateway.path());
    let inside = parsed(&gateway.couch.request("GET", &target, "", b"").await);
    assert!(inside["_conflicts"].is_null() && inside["_attachments"].is_null(), "{inside}");
    let way = index % WAYS;
    if way == 4 {
        assert_eq!(inside["reason"], "deleted", "{id}: {inside}");
        return;
    }
    assert_eq!(inside["heard"] == true, matches!(way, 0 | 2), "{inside}");
    let copy = format!("copy-{id}");
    let both = [id, &*copy];
    for id in if way == 3 { &both[..] } else { &both[..1] } {
        for (file, name) in [("a.mp3", "a"), ("b.txt", "b")] {
            let got = gateway.get(&format!("{id}/{file}")).await;
            assert!(got.status == 200 && got.body == recording(index, name), "{id}/{file}: {got:?}");
        }
    }
    if way == 1 {
        let got = gateway.get(&format!("{id}/c.mp3")).await;
        assert!(got.status == 200 && got.body == id.as_bytes(), "{id}: {got:?}");
    }
    if way == 3 {
        let copy = gateway.inside(&copy).await;
        assert!(copy["_attachments"].is_null() && copy["pvt_attachments"]["a.mp3"].is_object(), "{copy}");
    }
}

/// Clients that read, wait and write while everything is moved see no error, and leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_and_write_meanwhile_meet_no_conflict() {
    let gateway = start().await;
    // Two attachments each.
    let ids = fill(&gateway, if is_long() { 10_000 } else { 120 }).await;
    plan(&gateway, Some(STORAGE)).await;
    let account = gateway.account.clone();
    let arguments = ["migrate", "--account", &account, "--jobs", "4", "--format", "json"];
    let changing = async {
        let clients = (0..WAYS).map(|client| {
            let (gateway, mine) = (&gateway, ids.iter().enumerate().skip(client).step_by(WAYS));
            async move {
                for (index, id) in mine {
                    change(gateway, index, id).await;
                }
            }
        });
        futures_util::future::join_all(clients).await;
    };
    let ((code, said), ()) = tokio::join!(run(&gateway, &arguments), changing);
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "{said}");
    // What was copied before its original was moved has a job.
    done_by_a_worker(&gateway).await;
    let said = succeeds(&gateway, &arguments).await;
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 0, "{said}");
    for (index, id) in ids.iter().enumerate() {
        has_come_back(&gateway, index, id).await;
    }
    succeeds(&gateway, &["verify", "--account", &account, "--read"]).await;
    gateway.stop().await;
}
