//! Moving out of CouchDB, back into it, and to another storage.

use std::time::{Duration, SystemTime};

use serde_json::json;
use stowage::jobs::{Holder, Job};
use stowage::router::Database;
use stowage_testing::gateway::{Couch, STORAGE};
use stowage_testing::recorder::Recorder;
use stowage_testing::s3::{Operation, S3Server};

use super::world::{OTHER, come_back, fill, jobs, lines, plan, run, s3_settings, seen, start, succeeds};

const RECORDING: &[u8] = b"a recording of KAZOO's";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_couchdb_has_is_moved_out_and_comes_back() {
    let gateway = start().await;
    let ids = fill(&gateway, 30).await;
    plan(&gateway, Some(STORAGE)).await;
    let before = seen(&gateway, &ids).await;
    let database = gateway.database();
    let scope = ["migrate", "--db", &database, "--format", "json"];

    let said = succeeds(&gateway, &[&scope[..], &["--dry-run"]].concat()).await;
    let estimate = lines(&said, "total").next().unwrap();
    assert_eq!((&estimate["attachments"], &estimate["documents"]), (&60.into(), &31.into()), "{said}");
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());

    let said = succeeds(&gateway, &scope).await;
    let total = lines(&said, "total").next().unwrap();
    assert_eq!((&total["attachments"], &total["bytes"]), (&estimate["attachments"], &estimate["bytes"]), "{said}");
    assert_eq!(gateway.stored().len(), 60);
    assert_eq!(seen(&gateway, &ids).await, before);
    for id in &ids {
        let inside = gateway.inside(id).await;
        assert!(inside["_attachments"].is_null(), "{inside}");
        assert!(inside["_rev"].as_str().unwrap().starts_with("2-"), "one revision for both: {inside}");
    }
    come_back(&gateway, &ids).await;

    let (code, said) = run(&gateway, &scope).await;
    assert_eq!((code, &lines(&said, "total").next().unwrap()["attachments"]), (0, &0.into()), "{said}");

    // A plan that stores nothing more, but still has the storages, as documented.
    plan(&gateway, None).await;
    succeeds(&gateway, &[&scope[..], &["--to", "couchdb"]].concat()).await;
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    assert_eq!(seen(&gateway, &ids).await, before);
    for id in &ids {
        assert!(gateway.inside(id).await["pvt_attachments"].is_null());
    }
    come_back(&gateway, &ids).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_names_another_storage_takes_what_is_there_along() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    let ids = fill(&gateway, 5).await;
    let account = gateway.account.clone();
    succeeds(&gateway, &["migrate", "--account", &account]).await;
    plan(&gateway, Some(OTHER)).await;
    let said = succeeds(&gateway, &["migrate", "--account", &account, "--rehome"]).await;
    assert!(said.contains("10 attachments moved"), "{said}");
    let stored = gateway.stored();
    assert!(stored.len() == 10 && stored.iter().all(|path| path.starts_with("two/")), "{stored:?}");
    come_back(&gateway, &ids).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kazoo_stored_gets_a_pointer_of_the_gateways_form_and_stays_where_it_is() {
    let gateway = start().await;
    let server = Recorder::start().await;
    server.store("/calls/doc.mp3", RECORDING);
    gateway.plan("http", json!({ "url": server.url("/calls/") })).await;
    let entry =
        json!({ "handler": { "kz_att_http": { "url": server.url("/calls/doc.mp3") } }, "content_type": "audio/mpeg" });
    let document = json!({ "pvt_type": "fax", "pvt_attachments": { "call.mp3": entry } });
    gateway.save("doc", &document).await;
    let database = gateway.database();
    for adopted in ["1 attachments moved", "0 attachments moved"] {
        let said = succeeds(&gateway, &["migrate", "--db", &database, "--from", "kazoo"]).await;
        assert!(said.contains(adopted), "{said}");
    }
    let pointer = gateway.pointer("doc", "call.mp3").await;
    assert_eq!((&pointer["length"], &pointer["stowage"]["v"]), (&RECORDING.len().into(), &1.into()), "{pointer}");
    assert_eq!(pointer["stowage"]["storage"], STORAGE, "{pointer}");
    assert!(pointer["digest"].as_str().unwrap().starts_with("md5-") && pointer["handler"].is_null(), "{pointer}");
    let got = gateway.get("doc/call.mp3").await;
    assert_eq!((got.status, &*got.body), (200, RECORDING));
    succeeds(&gateway, &["verify", "--db", &database, "--read"]).await;
    gateway.stop().await;
}

/// A pointer of the gateway's form would make the object look sound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_not_what_kazoo_recorded_keeps_its_entry() {
    let gateway = start().await;
    let server = Recorder::start().await;
    gateway.plan("http", json!({ "url": server.url("/calls/") })).await;
    let handler = |id: &str| json!({ "kz_att_http": { "url": server.url(&format!("/calls/{id}.mp3")) } });
    let length = RECORDING.len();
    for (id, length, digest) in [("cut", length + 7, None), ("replaced", length, Some("md5-FXapTWyzNN0SbLHCfxng8g=="))]
    {
        server.store(&format!("/calls/{id}.mp3"), RECORDING);
        let entry = json!({ "handler": handler(id), "content_type": "audio/mpeg", "length": length, "digest": digest });
        gateway.save(id, &json!({ "pvt_type": "fax", "pvt_attachments": { "call.mp3": entry } })).await;
    }
    let database = gateway.database();
    let (code, said) = run(&gateway, &["migrate", "--db", &database, "--from", "kazoo", "--format", "json"]).await;
    assert_eq!((code, lines(&said, "fault").count()), (1, 2), "{said}");
    for id in ["cut", "replaced"] {
        assert_eq!(gateway.pointer(id, "call.mp3").await["handler"], handler(id), "{id}: {said}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_and_times_choose_documents() {
    let gateway = start().await;
    fill(&gateway, 10).await;
    plan(&gateway, Some(STORAGE)).await;
    let database = gateway.database();
    for (more, expected) in [
        (&["--type", "fax"][..], 10),
        (&["--type", "fax", "--type", "call_recording"], 20),
        (&["--type", "nothing"], 0),
        // 63,900,000,000 is 2024-11-28 08:00 UTC.
        (&["--since", "2024-11-28T08:00:05Z"], 10),
        (&["--until", "2024-11-28T08:00:05Z"], 10),
        (&["--since", "2024-11-28T08:00:02Z", "--until", "2024-11-28T08:00:03Z"], 2),
        (&["--since", "2030-01-01"], 0),
    ] {
        let scope = ["migrate", "--db", &database, "--format", "json", "--dry-run"];
        let (code, said) = run(&gateway, &[&scope[..], more].concat()).await;
        let total = lines(&said, "total").next().unwrap_or_else(|| panic!("{said}"));
        assert_eq!((code, &total["attachments"]), (0, &expected.into()), "{more:?}: {said}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_and_accounts_without_a_database_are_listed() {
    let gateway = start().await;
    fill(&gateway, 2).await;
    plan(&gateway, Some(STORAGE)).await;
    let (database, unknown) = (gateway.database(), "f".repeat(32));
    let scope = ["--db", &database, "--db", "acount/*", "--account", &gateway.account, "--account", &unknown];
    for command in ["migrate", "verify"] {
        let (code, said) = run(&gateway, &[&[command, "--format", "json"][..], &scope].concat()).await;
        let faults: Vec<_> = lines(&said, "fault").collect();
        let absent: Vec<_> = faults.iter().map(|fault| (&fault["kind"], &fault["database"])).collect();
        let (kind, named) = (json!("absent"), [json!("acount/*"), json!(unknown)]);
        assert_eq!((code, absent), (1, vec![(&kind, &named[0]), (&kind, &named[1])]), "{said}");
        assert_eq!(lines(&said, "total").next().unwrap()["looked"], 3, "{said}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_said() {
    let gateway = start().await;
    fill(&gateway, 2).await;
    let (code, said) = run(&gateway, &["migrate", "--db", "nothing*"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no database fits nothing*: CouchDB has "), "{said}");
    let (code, said) = run(&gateway, &["migrate"]).await;
    assert_eq!(code, 64, "{said}");
    // A plan that names an undefined storage.
    plan(&gateway, Some("00000000000000000000000000000000")).await;
    let database = gateway.database();
    let (code, said) = run(&gateway, &["migrate", "--db", &database]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("doc-000") && said.contains("00000000000000000000000000000000"), "{said}");
    gateway.stop().await;
}

/// Only the user's plan names the server; a command has no changes feed to learn that there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_on_a_users_connection_are_found() {
    let gateway = start().await;
    let elsewhere = Couch::embedded(gateway.couch.admin.clone()).await;
    let target = format!("/{}", gateway.path());
    elsewhere.request("PUT", &target, "", b"").await.expect_status(201);
    let user = format!("user_{}", gateway.account);
    let attachments = json!({ "a.mp3": { "content_type": "audio/mpeg", "data": "c291bmQ=" } });
    elsewhere.save(&format!("{target}/his"), json!({ "owner_id": user, "_attachments": attachments })).await;
    let (address, admin) = (elsewhere.address(), &elsewhere.admin);
    let settings = json!({ "ip": address.ip().to_string(), "port": address.port(),
        "credentials": { "username": admin.0, "password": admin.1 } });
    let plan = json!({
        "pvt_type": "storage", "pvt_account_id": gateway.account,
        "connections": { OTHER: { "driver": "kazoo_couch", "name": "n", "settings": settings } },
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "one" } } },
        "plan": { "modb": { "connection": OTHER, "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan(&user, plan).await;
    let said = succeeds(&gateway, &["migrate", "--db", &gateway.database(), "--format", "json", "--dry-run"]).await;
    assert_eq!(lines(&said, "total").next().unwrap()["attachments"], 1, "{said}");
    gateway.stop().await;
}

/// Two concurrent migrations share the work: nothing is uploaded twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_share_the_work() {
    let gateway = start().await;
    let s3 = S3Server::start().await;
    s3.make_bucket("recordings");
    let ids = fill(&gateway, 300).await;
    gateway.plan("s3", s3_settings(&s3)).await;
    let database = gateway.database();
    let scope = ["migrate", "--db", &database, "--format", "json", "--jobs", "2"];
    let (one, other) = tokio::join!(run(&gateway, &scope), run(&gateway, &scope));
    let moved = |(code, said): &(i32, String)| {
        assert_eq!(*code, 0, "{said}");
        lines(said, "total").next().unwrap()["attachments"].as_u64().unwrap()
    };
    let (one, other) = (moved(&one), moved(&other));
    assert!(one + other == 600 && one > 0 && other > 0, "{one} and {other}");
    assert_eq!(s3.count(Operation::Put), 600);
    come_back(&gateway, &ids).await;
    assert!(jobs(&gateway).await.is_empty(), "{:?}", jobs(&gateway).await);
    gateway.stop().await;
}

/// Work in progress of a killed migration is done once its lease expires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_one_had_in_work_is_done_too() {
    let gateway = start().await;
    let ids = fill(&gateway, 3).await;
    plan(&gateway, Some(STORAGE)).await;
    let database = Database::of(&gateway.database()).unwrap();
    let lease = Duration::from_secs(2);
    let mut held = gateway.app.gateway.jobs.held(Job::walk(&database, ""));
    held.holder = Some(Holder { name: "killed".to_owned(), until: SystemTime::now() + lease });
    gateway.app.gateway.jobs.add(&held).await.unwrap();
    let said = succeeds(&gateway, &["migrate", "--db", &database.name, "--format", "json"]).await;
    let total: serde_json::Value = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|line: &serde_json::Value| !line["total"].is_null())
        .unwrap();
    assert_eq!(total["total"]["attachments"], 6, "{said}");
    assert!(total["seconds"].as_f64().unwrap() > 1.0, "it waited for the lease: {said}");
    come_back(&gateway, &ids).await;
    assert!(jobs(&gateway).await.is_empty(), "{:?}", jobs(&gateway).await);
    gateway.stop().await;
}
