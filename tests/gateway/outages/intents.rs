//! `jobs.intents`: what a killed gateway has stored without saving its document is removed, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup, json};
use stowage_testing::storages::{ALL, Storage};
use stowage_testing::upstream::until;
use tokio::sync::Notify;

use super::world::{drained, falling_back, jobs, working};
use crate::faults::gate::{Act, End};
use crate::faults::world::World;

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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let drained = tokio::time::timeout(Duration::from_secs(60), drained).await;
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

/// Returns how often a job was saved.
fn generation(job: &Value) -> Option<u32> {
    job["_rev"].as_str()?.split('-').next()?.parse().ok()
}

/// The second recording of a document takes longer than the lease on the first one's job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leases_last_until_a_document_is_saved() {
    let patient = working(Setup::default()).set("timeouts.response_head", "60s").set("timeouts.answer", "60s");
    let world = World::with(patient.set("jobs.intents", "true")).await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "two.", 1, Act::Hold(Arc::clone(&gate)));
    let carried = |text: &str| json!({ "content_type": "audio/mpeg", "data": STANDARD.encode(text) });
    let document = json!({ "_attachments": { "one.mp3": carried("one"), "two.mp3": carried("two") } }).to_string();
    // A job is renewed three times in each lease.
    let is_renewed = |job: &Value| generation(job) > Some(5);
    let renewed = async {
        world.bucket.struck(1).await;
        while jobs(&world).await.iter().filter(|job| is_renewed(job)).count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.notify_one();
    };
    let write = world.gateway.ask("PUT", "doc", &[("Content-Type", "application/json")], document.as_bytes());
    let renewed = tokio::time::timeout(Duration::from_secs(40), renewed);
    let (put, renewed) = tokio::join!(write, renewed);
    assert!(renewed.is_ok(), "{:#?}", jobs(&world).await);
    put.expect_status(201);
    for name in ["one", "two"] {
        assert_eq!(world.gateway.get(&format!("doc/{name}.mp3")).await.body, name.as_bytes());
    }
    drained(&world).await;
    world.audit_and_stop(&["doc"]).await;
}

/// CouchDB saves a renewal, and its answer is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_survives_a_renewal_without_an_answer() {
    let patient = working(Setup::default()).set("timeouts.response_head", "60s").set("timeouts.answer", "60s");
    let world = World::with(patient.set("jobs.intents", "true").set("jobs.lease", "3s")).await;
    let rev = world.document("doc").await;
    let gate = Arc::new(Notify::new());
    world.bucket.rule("PUT", "call.", 1, Act::Hold(Arc::clone(&gate)));
    let renewed = async {
        world.bucket.struck(1).await;
        let before = jobs(&world).await.first().and_then(generation);
        world.store.rule("PUT", "-jobs/remove-", 1, Act::CutAnswer(0, End::Reset));
        world.store.struck(1).await;
        // The lost renewal is one of the two.
        let is_renewed = async || jobs(&world).await.first().and_then(generation) >= before.map(|before| before + 2);
        until("the lease is renewed", is_renewed).await;
        gate.notify_one();
    };
    let (put, ()) = tokio::join!(world.gateway.put("doc", "call.mp3", &rev, b"call"), renewed);
    put.expect_status(201);
    world.gateway.settled().await;
    drained(&world).await;
    world.audit_and_stop(&["doc"]).await;
}
