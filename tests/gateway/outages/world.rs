//! A gateway whose S3 server can be shut off, with a queue of jobs that runs immediately.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE, Setup, json};

use crate::faults::world::{World, settings};

/// Starts a gateway that lets CouchDB keep what S3 cannot take, without a worker for jobs.
pub async fn without_worker() -> World {
    World::with(falling_back(Setup::default())).await
}

/// Starts such a gateway with a worker that does jobs immediately.
pub async fn with_worker() -> World {
    World::with(working(Setup::default())).await
}

/// Sets short deadlines.
pub fn falling_back(setup: Setup) -> Setup {
    setup
        .set("fallback.on_unavailable", "couchdb")
        .set("fallback.failures", "5")
        .set("timeouts.response_head", "2s")
        .set("timeouts.answer", "4s")
        .set("jobs.poll", "20ms")
        .set("jobs.quiet", "50ms")
        .set("jobs.lease", "1s")
}

pub fn working(setup: Setup) -> Setup {
    falling_back(setup).set("jobs.concurrency", "4")
}

/// Starts a second gateway with a worker, for the same CouchDB, S3 server and queue.
pub async fn beside(world: &World) -> Running {
    world.gateway.beside(working(Setup::default())).await
}

/// Saves a plan with additional members in `attachments`.
pub async fn plan(world: &World, more: Value) {
    let mut attachments = json!({ "handler": STORAGE });
    for (key, value) in more.as_object().expect("members") {
        attachments[key] = value.clone();
    }
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "s3", "settings": settings(world.bucket.port()) } },
        "plan": { "modb": { "attachments": attachments } },
    });
    let account = world.gateway.account.clone();
    world.gateway.save_plan(&account, plan).await;
}

/// Returns the pending jobs.
pub async fn jobs(world: &World) -> Vec<Value> {
    jobs_of(&world.gateway).await
}

/// Returns the pending jobs in a gateway's queue.
pub async fn jobs_of(gateway: &Running) -> Vec<Value> {
    let database = &gateway.app.gateway.jobs.config().database;
    let target = format!("/{database}/_all_docs?include_docs=true");
    let answer = gateway.couch.request("GET", &target, "", b"").await;
    if answer.status == 404 {
        return Vec::new();
    }
    let rows = json(&answer)["rows"].as_array().expect("rows").clone();
    rows.into_iter().map(|row| row["doc"].clone()).collect()
}

/// Waits until no job is pending, and nothing runs.
pub async fn drained(world: &World) {
    queue_drained(&world.gateway).await;
}

/// Waits until no job is pending in a gateway's queue, and nothing runs in it.
pub async fn queue_drained(gateway: &Running) {
    let empty = async {
        while !jobs_of(gateway).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let drained = tokio::time::timeout(Duration::from_secs(180), empty).await;
    assert!(drained.is_ok(), "jobs wait: {:#?}", jobs_of(gateway).await);
    gateway.settled().await;
}

/// Has another gateway do the pending jobs.
pub async fn drained_by_another(world: &World) {
    let other = beside(world).await;
    drained(world).await;
    other.stop().await;
}

/// Checks that the attachment is in CouchDB, and readable.
pub async fn is_in_couchdb(world: &World, id: &str, name: &str, body: &[u8]) {
    let there = world.stored(id).await;
    assert!(there["_attachments"][name].is_object(), "{there}");
    comes_back(world, id, name, body).await;
}

/// Checks that the attachment is only in S3, and readable.
pub async fn is_in_storage(world: &World, id: &str, name: &str, body: &[u8]) {
    let there = world.stored(id).await;
    assert!(there["_attachments"][name].is_null(), "{there}");
    let key =
        there["pvt_attachments"][name]["stowage"]["location"]["key"].as_str().unwrap_or_else(|| panic!("{there}"));
    assert_eq!(world.s3.object(crate::faults::world::BUCKET, key).as_deref(), Some(body), "{id}/{name}");
    comes_back(world, id, name, body).await;
}

pub async fn comes_back(world: &World, id: &str, name: &str, body: &[u8]) {
    let mut got = world.gateway.get(&format!("{id}/{name}")).await;
    // This gateway may not have noticed yet that the storage is back.
    let until = Instant::now() + Duration::from_secs(20);
    while got.status == 504 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(100)).await;
        got = world.gateway.get(&format!("{id}/{name}")).await;
    }
    assert_eq!(got.status, 200, "{id}/{name}: {got:?}");
    assert!(got.body == body, "{id}/{name}: {} bytes of {}", got.body.len(), body.len());
}
