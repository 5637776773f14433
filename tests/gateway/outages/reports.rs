//! What the log and the account's records say about an outage.

use serde_json::json;
use stowage_testing::gateway::{STORAGE, Setup, json as json_of};
use stowage_testing::log::Log;
use tracing::Level;

use super::world::{comes_back, falling_back, is_in_couchdb, is_in_storage, jobs, without_worker};
use crate::faults::gate::{Act, answer};
use crate::faults::world::{World, bytes, settings};

/// Keeps an attachment in CouchDB, where no job can be saved: one error line names it, and the command that moves it.
async fn is_kept_without_a_job(world: &World) {
    let log = Log::default();
    let guard = log.begin(Level::ERROR);
    world.bucket.shut();
    world.with_attachment("doc", &bytes(100, 1)).await;
    world.gateway.settled().await;
    drop(guard);
    assert!(jobs(world).await.is_empty());
    is_in_couchdb(world, "doc", "call.mp3", &bytes(100, 1)).await;
    let lines = log.lines("there is no place for jobs");
    assert_eq!(lines.len(), 1, "{}", log.text());
    let line = lines[0].replace('"', "");
    for part in ["`stowage migrate`", "document=doc", "attachment=call.mp3", &format!("storage={STORAGE}")] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn without_a_place_for_jobs_the_attachment_is_kept_all_the_same_and_an_error_line_says_so() {
    let world = without_worker().await;
    let database = world.gateway.app.gateway.jobs.config().database.clone();
    // Without an announcement, the closing connection could break the next request.
    let refusal =
        b"HTTP/1.1 403 x\r\nConnection: close\r\nContent-Length: 34\r\n\r\n{\"error\":\"forbidden\",\"reason\":\"x\"}";
    world.store.rule("PUT", &database, 1000, Act::Answer(refusal.to_vec()));
    is_kept_without_a_job(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_without_an_account_keeps_the_attachment_and_says_so() {
    let world = World::unplanned(falling_back(Setup::default()).set("couchdb.username", "")).await;
    // It reads the plans as a stranger.
    let public = json!({ "admins": {}, "members": { "names": [], "roles": [] } }).to_string();
    let security = format!("/{}/_security", world.gateway.couch.plans);
    world.gateway.couch.request("PUT", &security, "application/json", public.as_bytes()).await.expect_status(200);
    world.gateway.plan("s3", settings(world.bucket.port())).await;
    is_kept_without_a_job(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_breaker_that_opens_and_closes_is_two_lines_however_many_requests_there_are() {
    let world = without_worker().await;
    world.with_attachment("old", b"old").await;
    let log = Log::default();
    let _guard = log.begin(Level::INFO);
    let told = || {
        let opened = log.lines("a storage is down: nothing waits for it until it answers again");
        let closed = log.lines("a storage answers again");
        assert!(opened.iter().chain(&closed).all(|line| line.contains(STORAGE)), "{opened:?}, {closed:?}");
        (opened.len(), closed.len())
    };
    world.bucket.shut();
    for index in 0..30 {
        world.with_attachment(&format!("down-{index}"), b"x").await;
    }
    assert_eq!(told(), (1, 0), "{}", log.text());
    world.bucket.open();
    comes_back(&world, "old", "call.mp3", b"old").await;
    for index in 0..10 {
        world.with_attachment(&format!("up-{index}"), b"x").await;
        is_in_storage(&world, &format!("up-{index}"), "call.mp3", b"x").await;
    }
    assert_eq!(told(), (1, 1), "{}", log.text());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attachment_that_couchdb_keeps_is_in_the_accounts_failure_records() {
    let world = without_worker().await;
    for (id, status, reason) in [("refused", 403, "request_error"), ("down", 503, "gateway_timeout")] {
        world.bucket.rule("PUT", "", 1000, answer(status, "x"));
        world.with_attachment(id, b"x").await;
        world.bucket.relent();
        world.gateway.settled().await;
        let record = world.gateway.app.gateway.records.last().remove(0);
        for (key, value) in [
            ("document_id", json!(id)),
            ("attachment_name", json!("call.mp3")),
            ("db_name", json!(world.gateway.database())),
            ("operation", json!("put")),
            ("handler_id", json!(STORAGE)),
            ("resp_code", json!(status)),
            ("reason", json!(reason)),
        ] {
            assert_eq!(record[key], value, "{key}: {record}");
        }
    }
    let newest = world.gateway.app.gateway.records.last().remove(0);
    let month = newest["id"].as_str().and_then(|id| id.split('-').next()).expect("a month").to_owned();
    let target = format!("/{}/_all_docs", world.gateway.path().replace("202411", &month));
    let listed = json_of(&world.gateway.couch.request("GET", &target, "", b"").await);
    assert_eq!(listed["total_rows"], 2, "{listed}");
    world.stop().await;
}
