//! `jobs.intents`: what a killed gateway has stored without saving its document is removed, and nothing else.

use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup, json};
use stowage_testing::storages::{ALL, Storage};

use super::world::{falling_back, working};

/// Saves the intents of finished uploads again, as a gateway that was killed before it dropped them leaves them.
async fn leave_intents(gateway: &Running) {
    let jobs = gateway.app.gateway.jobs.config().database.clone();
    let ask = async |target: String| json(&gateway.couch.request("GET", &format!("/{jobs}/{target}"), "", b"").await);
    let changes = ask("_changes".to_owned()).await;
    let dropped: Vec<&Value> =
        changes["results"].as_array().expect("changes").iter().filter(|change| change["deleted"] == true).collect();
    assert_eq!(dropped.len(), 2, "{changes}");
    for change in dropped {
        let (id, rev) = (change["id"].as_str().expect("an id"), change["changes"][0]["rev"].as_str().expect("a rev"));
        let tombstone = ask(format!("{id}?rev={rev}&revs=true")).await;
        let (start, before) = (&tombstone["_revisions"]["start"], &tombstone["_revisions"]["ids"][1]);
        let before = format!("{}-{}", start.as_u64().expect("a number") - 1, before.as_str().expect("a rev"));
        let mut job = ask(format!("{id}?rev={before}")).await;
        assert_eq!(job["intent"], true, "{job}");
        job.as_object_mut().expect("a job").remove("_rev");
        job["holder"]["until"] = json!("2026-01-01T00:00:00.000Z");
        gateway.couch.save(&format!("/{jobs}/{id}"), job).await;
    }
}

/// Two attachments get the same composed name. The gateway is killed before one of their documents is saved.
async fn killed_before_a_save(handler: &'static str) {
    let storage = Storage::start(handler).await;
    let gateway = storage.gateway_with(falling_back(Setup::default()).set("jobs.intents", "true")).await;
    let plan = json!({ "modb": { "attachments": { "handler": STORAGE, "params": { "folder_path": "all" } } } });
    let mut settings = storage.settings.clone();
    settings["field_list"] = json!([{ "arg": "attachment" }]);
    gateway.plan_as(handler, settings, plan).await;
    for id in ["saved", "unsaved"] {
        let rev = gateway.document(id, json!({ "pvt_type": "fax" })).await;
        gateway.put(id, "call.mp3", &rev, id.as_bytes()).await.expect_status(201);
    }
    gateway.settled().await;
    assert_eq!(storage.objects(&gateway).len(), 2, "{handler}");
    leave_intents(&gateway).await;
    let mut unsaved = gateway.inside("unsaved").await;
    unsaved.as_object_mut().expect("a document").remove("pvt_attachments");
    gateway.couch.save(&format!("/{}/unsaved", gateway.path()), unsaved).await;

    let root = gateway.files().display().to_string();
    let other = gateway.beside(storage.setup(working(Setup::default())).set("storage.file_root", &root)).await;
    let jobs = format!("/{}/_all_docs?include_docs=true", gateway.app.gateway.jobs.config().database);
    let waiting = async || json(&gateway.couch.request("GET", &jobs, "", b"").await);
    let drained = async {
        while waiting().await["rows"].as_array().is_none_or(|rows| !rows.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let drained = tokio::time::timeout(std::time::Duration::from_secs(60), drained).await;
    assert!(drained.is_ok(), "{handler}: {:#}", waiting().await);
    let got = other.get("saved/call.mp3").await;
    assert_eq!((got.status, &*got.body), (200, &b"saved"[..]), "{handler}");
    assert_eq!(storage.objects(&gateway).len(), 1, "{handler}: {:?}", storage.objects(&gateway));
    other.stop().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_no_document_names_is_removed_from_any_storage() {
    for handler in ALL {
        killed_before_a_save(handler).await;
    }
}
