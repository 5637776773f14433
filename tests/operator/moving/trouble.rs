//! What goes wrong while attachments are moved: it is said once, and nothing spins.

use std::sync::Arc;

use serde_json::json;
use stowage_testing::gateway::STORAGE;
use stowage_testing::s3::{Operation, S3Server};
use tokio::sync::oneshot;

use super::world::{fill, lines, plan, plan_with, run, s3_settings, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_invalid_stops_that_accounts_work_and_says_why_once() {
    let gateway = start().await;
    fill(&gateway, 300).await;
    plan_with(&gateway, json!({ "handler": "no such storage" })).await;
    let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
    let faults: Vec<_> = lines(&said, "fault").collect();
    assert_eq!((code, faults.len()), (1, 1), "{said}");
    assert!(faults[0]["reason"].as_str().unwrap().contains("no such storage"), "{said}");
    assert!(lines(&said, "total").next().unwrap()["looked"].as_u64().unwrap() < 300, "{said}");
    // With the plan mended, the next run does it all.
    plan(&gateway, Some(STORAGE)).await;
    let (code, said) = run(&gateway, &["migrate", "--account", &gateway.account, "--format", "json"]).await;
    assert_eq!((code, &lines(&said, "total").next().unwrap()["attachments"]), (0, &600.into()), "{said}");
    gateway.stop().await;
}

/// A storage whose first answer waits, so that something can happen meanwhile.
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
        while s3.count(Operation::Put) == 0 {
            tokio::task::yield_now().await;
        }
        let gone = gateway.couch.request("DELETE", &format!("/{}", gateway.path()), "", b"").await;
        assert_eq!(gone.status, 200, "{gone:?}");
        drop(gate);
    };
    let scope = ["migrate", "--db", &database, "--format", "json"];
    let ((code, said), ()) = tokio::join!(run(&gateway, &scope), deleting);
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "{said}");
    assert_eq!(lines(&said, "deleted").collect::<Vec<_>>(), [json!(database)], "{said}");
    gateway.stop().await;
}
