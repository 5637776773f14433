//! A gateway with `file` storages, a CouchDB with existing attachments, and the commands.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup, json};
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::upstream::until;

use crate::commands::program::{command, text};

/// The id of the second storage in plans.
pub const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// Starts a gateway whose plan stores nothing yet.
pub async fn start() -> Running {
    let gateway = Setup::default().start().await;
    gateway.make_database().await;
    gateway
}

/// Sends the month database's attachments to this storage from now on.
pub async fn plan(gateway: &Running, handler: Option<&str>) {
    plan_with(gateway, json!({ "handler": handler, "on_delete": "delete" })).await;
}

/// Saves a plan with this `attachments`.
pub async fn plan_with(gateway: &Running, attachments: Value) {
    let storage = |folder: &str| json!({ "handler": "file", "settings": { "directory": folder } });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: storage("one"), OTHER: storage("two") },
        "plan": { "modb": { "attachments": attachments } },
    });
    gateway.save_plan(&gateway.account, plan).await;
}

/// Returns the bytes of an attachment made by [`fill`].
pub fn recording(index: usize, name: &str) -> Vec<u8> {
    format!("recording {index} {name} ").repeat(50 + index % 500).into_bytes()
}

/// Creates documents with two attachments each, which CouchDB keeps, and one without any.
pub async fn fill(gateway: &Running, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..count {
        use base64::Engine;
        let data = |name| base64::engine::general_purpose::STANDARD.encode(recording(index, name));
        let id = format!("doc-{index:03}");
        let kind = if index % 2 == 0 { "fax" } else { "call_recording" };
        let document = json!({
            "pvt_type": kind, "pvt_created": 63_900_000_000_u64 + index as u64, "number": index,
            "_attachments": {
                "a.mp3": { "content_type": "audio/mpeg", "data": data("a") },
                "b.txt": { "content_type": "text/plain", "data": data("b") },
            },
        });
        gateway.save(&id, &document).await;
        ids.push(id);
    }
    gateway.document("none", json!({ "pvt_type": "fax" })).await;
    ids
}

/// Creates documents that take half a minute to move at 1 MiB a second, and plans where to.
pub async fn slow(gateway: &Running) {
    gateway.make_database().await;
    for index in 0..30 {
        let id = format!("slow-{index:02}");
        gateway.attached(&id, json!({ "pvt_type": "fax" }), "call.mp3", &vec![7; 1 << 20]).await;
    }
    plan(gateway, Some(STORAGE)).await;
}

/// Returns the documents as clients see them, without their revisions.
pub async fn seen(gateway: &Running, ids: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for id in ids {
        let mut document = json(&gateway.get(id).await);
        document.as_object_mut().unwrap().remove("_rev");
        for stub in document["_attachments"].as_object_mut().into_iter().flat_map(|stubs| stubs.values_mut()) {
            // CouchDB numbers attachments that are moved back as new.
            stub.as_object_mut().unwrap().remove("revpos");
        }
        all.push(document);
    }
    all
}

/// Checks that every attachment is readable through the gateway.
pub async fn come_back(gateway: &Running, ids: &[String]) {
    for (index, id) in ids.iter().enumerate() {
        for (file, name) in [("a.mp3", "a"), ("b.txt", "b")] {
            let got = gateway.get(&format!("{id}/{file}")).await;
            assert_eq!(got.status, 200, "{id}/{file}: {got:?}");
            assert!(got.body == recording(index, name), "{id}/{file}");
        }
    }
}

/// Returns a command's environment for the gateway's CouchDB.
pub fn environment(gateway: &Running) -> Vec<(String, String)> {
    let couch = &gateway.couch;
    let jobs = gateway.app.gateway.jobs.config().database.clone();
    let keys = [
        ("COUCHDB__URL", couch.url.clone()),
        ("COUCHDB__USERNAME", couch.admin.0.clone()),
        ("COUCHDB__PASSWORD", couch.admin.1.clone()),
        ("PLANS__DATABASE", couch.plans.clone()),
        ("PLANS__AUTH_DATABASE", couch.auth.clone()),
        ("STORAGE__FILE_ROOT", gateway.files().display().to_string()),
        ("JOBS__DATABASE", jobs),
        ("EGRESS__ALLOW", "127.0.0.0/8".to_owned()),
    ];
    keys.into_iter().map(|(key, value)| (format!("STOWAGE__{key}"), value)).collect()
}

/// Compacts the month database: only leaf revisions remain.
pub async fn compact(gateway: &Running) {
    let target = format!("/{}/_compact", gateway.path());
    gateway.couch.request("POST", &target, "application/json", b"").await.expect_status(202);
    let about = format!("/{}", gateway.path());
    let is_done = async || json(&gateway.couch.request("GET", &about, "", b"").await)["compact_running"] != true;
    until("the database is compacted", is_done).await;
}

/// Runs a command against the gateway's CouchDB.
pub async fn run(gateway: &Running, arguments: &[&str]) -> (i32, String) {
    run_with(gateway, &[], arguments).await
}

/// Runs a command that has to succeed; returns its output.
pub async fn succeeds(gateway: &Running, arguments: &[&str]) -> String {
    let (code, said) = run(gateway, arguments).await;
    assert_eq!(code, 0, "{said}");
    said
}

/// Runs a command with additional settings.
pub async fn run_with(gateway: &Running, more: &[(String, String)], arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = command(folder.path(), arguments);
    command.envs(environment(gateway)).envs(more.iter().cloned());
    let output: Output = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("a task");
    drop(folder);
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    (output.status.code().unwrap_or(-1), said)
}

/// Returns the JSON lines of a command's output with this one member.
pub fn lines<'a>(said: &'a str, member: &'a str) -> impl Iterator<Item = Value> + 'a {
    let parsed = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter_map(move |line| line.get(member).cloned())
}

/// Returns the jobs in the queue.
pub async fn jobs(gateway: &Running) -> Vec<Value> {
    let database = gateway.app.gateway.jobs.config().database.clone();
    let answer = gateway.couch.request("GET", &format!("/{database}/_all_docs?include_docs=true"), "", b"").await;
    json(&answer)["rows"].as_array().into_iter().flatten().map(|row| row["doc"].clone()).collect()
}

/// Starts a gateway that does jobs, and has tried one that is older than its `jobs.dead_after`, in vain.
pub async fn stuck(setup: Setup) -> Running {
    let setup = setup.set("fallback.on_unavailable", "couchdb").set("jobs.concurrency", "1");
    let setup = setup.set("jobs.quiet", "50ms").set("jobs.poll", "20ms").set("jobs.dead_after", "1ms");
    let gateway = setup.start().await;
    // The port has no listener.
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    until("a job that has failed", async || jobs(&gateway).await.iter().any(|job| job["tries"] == 1)).await;
    gateway
}

/// Returns the settings of a bucket `recordings` on this machine.
pub fn s3_settings(s3: &S3Server) -> Value {
    json!({
        "host": "127.0.0.1", "port": s3.address().port(), "scheme": "http", "bucket": "recordings", "key": ACCESS_KEY,
        "secret": SECRET_KEY, "bucket_access_method": "path",
    })
}

/// Has another gateway do the jobs.
pub async fn done_by_a_worker(gateway: &Running) {
    let setup = Setup::default().set("jobs.quiet", "50ms").set("jobs.poll", "20ms");
    let setup = setup.set("jobs.concurrency", "2").set("storage.file_root", &gateway.files().display().to_string());
    let worker = gateway.beside(setup).await;
    let empty = async {
        while !jobs(gateway).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(120), empty).await;
    assert!(ended.is_ok(), "jobs wait: {:#?}", jobs(gateway).await);
    worker.stop().await;
}
