//! Failures while moving attachments: each is reported once, without busy loops.

use std::sync::Arc;

use serde_json::json;
use stowage_testing::disk::SmallDisk;
use stowage_testing::gateway::{STORAGE, Setup};
use stowage_testing::s3::{Operation, S3Server};
use stowage_testing::spy::Spy;
use stowage_testing::upstream::until;
use tokio::sync::oneshot;

use super::world::{OTHER, fill, jobs, lines, plan, plan_with, run, run_with, s3_settings, start, succeeds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_invalid_moves_nothing_and_says_why_once() {
    let gateway = start().await;
    fill(&gateway, 300).await;
    plan_with(&gateway, json!({ "handler": "no such storage" })).await;
    let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
    let faults: Vec<_> = lines(&said, "fault").collect();
    assert_eq!((code, faults.len()), (1, 1), "{said}");
    assert!(faults[0]["reason"].as_str().unwrap().contains("no such storage"), "{said}");
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 0, "{said}");
    // After the plan is fixed, the next run moves everything.
    plan(&gateway, Some(STORAGE)).await;
    let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
    assert_eq!((code, &lines(&said, "total").next().unwrap()["attachments"]), (0, &600.into()), "{said}");
    gateway.stop().await;
}

/// Creates a second month database of the account, with documents whose attachments CouchDB keeps.
async fn fill_another_month(gateway: &stowage_testing::gateway::Running) {
    let path = gateway.path().replace("-202411", "-202412");
    let made = gateway.couch.request("PUT", &format!("/{path}"), "", b"").await;
    assert!(matches!(made.status, 201 | 412), "{made:?}");
    let document = json!({ "_attachments": { "a.mp3": { "content_type": "audio/mpeg", "data": "cmVjb3JkaW5n" } } });
    for index in 0..20 {
        gateway.couch.save(&format!("/{path}/doc-{index:03}"), &document).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_applied_is_one_line_for_all_databases_of_its_account() {
    let gateway = start().await;
    fill(&gateway, 20).await;
    fill_another_month(&gateway).await;
    let file = |directory: &str| json!({ "handler": "file", "settings": { "directory": directory } });
    for (id, storage, reason) in [
        ("undefined", file("one"), "undefined"),
        (STORAGE, json!({ "handler": "unheard", "settings": {} }), "unheard"),
        (STORAGE, file("../outside"), "directory"),
    ] {
        let plan = json!({
            "pvt_type": "storage", "attachments": { STORAGE: storage },
            "plan": { "modb": { "attachments": { "handler": id } } },
        });
        gateway.save_plan(&gateway.account, plan).await;
        let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
        let faults: Vec<_> = lines(&said, "fault").collect();
        assert_eq!((code, faults.len()), (1, 1), "{said}");
        let told = faults[0]["reason"].as_str().unwrap();
        assert!(told.contains(reason) && told.ends_with("; other documents that this concerns are skipped"), "{said}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_storage_of_a_type_or_a_user_stops_no_other_documents() {
    let gateway = start().await;
    fill(&gateway, 20).await;
    let user = format!("user_{}", gateway.account);
    let attachment = json!({ "content_type": "audio/mpeg", "data": "cmVjb3JkaW5n" });
    for id in ["owned-1", "owned-2"] {
        let document = json!({ "owner_id": user, "_attachments": { "a.mp3": attachment } });
        gateway.couch.save(&format!("/{}/{id}", gateway.path()), &document).await;
    }
    let storage = |directory: &str| json!({ "handler": "file", "settings": { "directory": directory } });
    let plan = json!({
        "pvt_type": "storage", "attachments": { STORAGE: storage("one"), OTHER: storage("../outside") },
        "plan": { "modb": {
            "attachments": { "handler": STORAGE }, "types": { "fax": { "attachments": { "handler": OTHER } } },
        } },
    });
    gateway.save_plan(&gateway.account, plan).await;
    let wrong = json!({
        "pvt_type": "storage", "pvt_account_id": gateway.account, "attachments": { STORAGE: storage("../outside") },
    });
    gateway.save_plan(&user, wrong).await;
    let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
    assert_eq!((code, lines(&said, "fault").count()), (1, 2), "one of the type, one of the user: {said}");
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 20, "{said}");
    gateway.stop().await;
}

/// The settings in an old pointer are no plan's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_in_a_storage_that_no_plan_selects_ends_no_other_documents_work() {
    let gateway = start().await;
    plan(&gateway, Some(OTHER)).await;
    gateway.attach("lost", "call.mp3", "", b"recording").await;
    plan(&gateway, Some(STORAGE)).await;
    gateway.attach("sound", "call.mp3", "", b"recording").await;
    let storage = |directory: &str| json!({ "handler": "file", "settings": { "directory": directory } });
    let plan = json!({
        "pvt_type": "storage", "attachments": { STORAGE: storage("one"), OTHER: storage("../outside") },
        "plan": { "modb": { "attachments": { "handler": null } } },
    });
    gateway.save_plan(&gateway.account, plan).await;
    let scope = ["migrate", "--account", &gateway.account, "--to", "couchdb", "--format", "json"];
    let (code, said) = run(&gateway, &scope).await;
    let faults: Vec<_> = lines(&said, "fault").map(|fault| fault["document"].clone()).collect();
    assert_eq!((code, faults), (1, vec![json!("lost")]), "{said}");
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 1, "{said}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_that_cannot_be_read_stop_a_migration() {
    let gateway = start().await;
    fill(&gateway, 2).await;
    plan(&gateway, Some(STORAGE)).await;
    let spy = Spy::start(&gateway.couch.url).await;
    spy.close(&format!("/{}/", gateway.couch.plans));
    let through = [("STOWAGE__COUCHDB__URL".to_owned(), spy.url())];
    let scope = ["migrate", "--account", &gateway.account, "--format", "json"];
    let (code, said) = run_with(&gateway, &through, &scope).await;
    assert!(code == 1 && said.contains("the storage plans cannot be read"), "{code} {said}");
    gateway.stop().await;
}

/// Starts a storage whose first response waits until it is released.
async fn waiting(gateway: &stowage_testing::gateway::Running) -> (Arc<S3Server>, oneshot::Sender<()>) {
    let s3 = Arc::new(S3Server::start().await);
    s3.make_bucket("recordings");
    let gate = s3.late(Operation::Put);
    gateway.plan("s3", s3_settings(&s3)).await;
    (s3, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_deleted_meanwhile_is_a_line_and_no_failure() {
    let gateway = start().await;
    fill(&gateway, 150).await;
    let (s3, gate) = waiting(&gateway).await;
    let database = gateway.database();
    let deleting = async {
        until("an upload", async || s3.count(Operation::Put) > 0).await;
        gateway.couch.request("DELETE", &format!("/{}", gateway.path()), "", b"").await.expect_status(200);
        drop(gate);
    };
    let scope = ["migrate", "--db", &database, "--format", "json"];
    let ((code, said), ()) = tokio::join!(run(&gateway, &scope), deleting);
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "{said}");
    assert_eq!(lines(&said, "deleted").collect::<Vec<_>>(), [json!(database)], "{said}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_costs_no_voicemail() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let root = disk.path().display().to_string();
    let setup = Setup::default().set("fallback.on_unavailable", "couchdb").set("jobs.concurrency", "2");
    let setup = setup.set("jobs.quiet", "50ms").set("jobs.poll", "20ms").set("storage.file_root", &root);
    let gateway = setup.storing_in("one").await;
    let recording = vec![7; 3 << 20];
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", &recording).await;
    let says_why = async || jobs(&gateway).await.iter().any(|job| !job["error"].is_null());
    until("a job that says why it waits", says_why).await;
    let waiting = jobs(&gateway).await;
    assert!(waiting[0]["error"].as_str().unwrap().contains("full"), "{waiting:#?}");
    let got = gateway.get("doc/call.mp3").await;
    assert!(got.status == 200 && got.body == recording, "{}", got.status);
    let left: Vec<_> = std::fs::read_dir(disk.path().join("one")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");

    disk.grow(64);
    let id = waiting[0]["_id"].as_str().unwrap();
    succeeds(&gateway, &["jobs", "retry", id]).await;
    until("it is moved", async || jobs(&gateway).await.is_empty()).await;
    assert!(gateway.inside("doc").await["_attachments"].is_null());
    let got = gateway.get("doc/call.mp3").await;
    assert!(got.status == 200 && got.body == recording, "{}", got.status);
    gateway.stop().await;
}

/// Who is killed between the document's save and the removal of its objects leaves a job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_back_into_couchdb_is_noted_before_its_objects_go() {
    let gateway = start().await;
    let s3 = Arc::new(S3Server::start().await);
    s3.make_bucket("recordings");
    gateway.plan("s3", s3_settings(&s3)).await;
    gateway.attach("doc", "call.mp3", "", b"recording").await;
    let removals = async || {
        let mut waiting = jobs(&gateway).await;
        waiting.retain(|job| job["kind"] == "remove");
        waiting
    };
    let gate = s3.late(Operation::Delete);
    let looking = async {
        until("a removal", async || s3.count(Operation::Delete) > 0).await;
        let inside = gateway.inside("doc").await;
        assert!(inside["pvt_attachments"].is_null() && inside["_attachments"]["call.mp3"].is_object(), "{inside}");
        let waiting = removals().await;
        assert!(waiting.len() == 1 && waiting[0]["holder"].is_object(), "{waiting:?}");
        drop(gate);
    };
    let database = gateway.database();
    let scope = ["migrate", "--db", &database, "--to", "couchdb"];
    let ((code, said), ()) = tokio::join!(run(&gateway, &scope), looking);
    assert_eq!(code, 0, "{said}");
    assert!(s3.objects("recordings").is_empty());
    assert_eq!(removals().await, [json!(null); 0]);
    gateway.stop().await;
}
