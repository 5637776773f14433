//! Jobs are counted, tried immediately, and dropped.

use std::time::{Duration, SystemTime};

use serde_json::json;
use stowage_testing::gateway::{Running, STORAGE, exchange};
use stowage_testing::upstream::until;

use super::{ask, data, setup};
use crate::moving::world::stuck;

/// Creates two pending faxes, whose destination has no listener.
async fn waiting() -> Running {
    let setup = setup().set("fallback.on_unavailable", "couchdb");
    let gateway = setup.start().await;
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    for id in ["one", "two"] {
        gateway.attached(id, json!({ "pvt_type": "fax" }), "call.mp3", b"bytes").await;
    }
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_counted_by_kind_with_the_oldest() {
    let gateway = waiting().await;
    let queue = data(&ask(&gateway, "GET", "queue", None).await, 200);
    assert_eq!(queue["is_whole"], true);
    let kinds = queue["kinds"].as_array().unwrap();
    let words: Vec<_> =
        kinds.iter().map(|kind| (kind["kind"].as_str().unwrap(), kind["jobs"].as_u64().unwrap())).collect();
    assert_eq!(words, [("copy", 0), ("move", 2), ("remove", 0)]);
    let oldest = &kinds[1]["oldest"];
    assert_eq!((&oldest["document"], &oldest["storage"]), (&json!("one"), &json!(STORAGE)), "{oldest}");
    assert!(kinds[0]["oldest"].is_null() && kinds[1]["stuck"] == 0 && kinds[1]["in_work"] == 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_tried_at_once_and_forgotten() {
    let gateway = waiting().await;
    let jobs = data(&ask(&gateway, "GET", "jobs", None).await, 200)["jobs"].clone();
    let path = format!("jobs/{}", jobs[0]["_id"].as_str().unwrap());
    assert_eq!(data(&ask(&gateway, "GET", &path, None).await, 200), jobs[0]);
    let tried = data(&ask(&gateway, "POST", &path, None).await, 200);
    assert!(tried["next"].as_str() > jobs[0]["next"].as_str() && tried["_rev"] != jobs[0]["_rev"], "{tried}");
    let dropped = data(&ask(&gateway, "DELETE", &path, None).await, 200);
    assert_eq!(dropped["_id"], jobs[0]["_id"]);
    for method in ["GET", "POST", "DELETE"] {
        assert_eq!(ask(&gateway, method, &path, None).await.status, 404, "{method}");
    }
    for method in ["POST", "DELETE"] {
        let answer = ask(&gateway, method, "jobs", None).await;
        assert_eq!(answer.status, 400, "an id that was forgotten is not all of them: {}", answer.text());
    }
    let all = data(&ask(&gateway, "POST", "jobs?all=true", None).await, 200);
    assert_eq!(all, json!({ "count": 1, "next_start_key": null }));
    assert_eq!(data(&ask(&gateway, "DELETE", "jobs?all=true", None).await, 200), all);
    assert_eq!(data(&ask(&gateway, "GET", "jobs", None).await, 200)["jobs"], json!([]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stuck_is_counted_as_such_and_tried_once_a_day() {
    let gateway = stuck(setup()).await;
    let kinds = data(&ask(&gateway, "GET", "queue", None).await, 200)["kinds"].clone();
    let counted = [0, 1, 2].map(|index| kinds[index]["stuck"].clone());
    assert_eq!(counted, [json!(0), json!(1), json!(0)], "{kinds}");
    let admin = gateway.app.admin.unwrap();
    let metrics = async || exchange(admin, "GET", "/metrics", &[], b"").await.text();
    until("the metric", async || metrics().await.contains("stowage_jobs_stuck 1\n")).await;

    let mut page = gateway.app.gateway.jobs.page("", 10).await.unwrap();
    let job = page.jobs.remove(0);
    let pause = job.next.duration_since(SystemTime::now()).unwrap();
    let hours = |count: u64| Duration::from_secs(count * 3600);
    assert!((hours(23)..=hours(24)).contains(&pause) && job.tries == 1, "{pause:?}: {job:?}");
    // An operator need not wait for it.
    data(&ask(&gateway, "POST", &format!("jobs/{}", job.id), None).await, 200);
    let again = async || gateway.app.gateway.jobs.read(&job.id).await.unwrap().unwrap();
    until("the job is tried again", async || again().await.tries == 2).await;
    assert!(again().await.next > job.next, "{:?}", again().await);
    gateway.stop().await;
}
