//! What waits is shown, tried again, and forgotten.

use serde_json::{Value, json};
use stowage_testing::gateway::{STORAGE, Setup};

use super::world::run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_tried_and_dropped() {
    let gateway = Setup::default().set("fallback.on_unavailable", "couchdb").start().await;
    let (code, said) = run(&gateway, &["jobs"]).await;
    assert_eq!((code, said.as_str()), (0, "0 jobs wait\n"));
    // Nothing listens there.
    gateway.plan("http", json!({ "url": "http://127.0.0.1:1/x" })).await;
    for id in ["one", "two"] {
        let rev = gateway.document(id, json!({ "pvt_type": "fax" })).await;
        let put = gateway.put(id, "call.mp3", &rev, b"bytes").await;
        assert_eq!(put.status, 201, "{put:?}");
    }
    let (code, said) = run(&gateway, &["jobs"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("2 jobs wait\n") && said.contains(STORAGE) && said.contains("one call.mp3"), "{said}");
    let (_, said) = run(&gateway, &["jobs", "--format", "json"]).await;
    let listed: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = listed[0]["_id"].as_str().unwrap();
    let (code, said) = run(&gateway, &["jobs", "retry", id]).await;
    assert_eq!((code, said.as_str()), (0, "1 jobs are tried\n"));
    let (code, said) = run(&gateway, &["jobs", "drop", id]).await;
    assert_eq!((code, said.as_str()), (0, "1 jobs are dropped\n"));
    let (code, said) = run(&gateway, &["jobs", "drop", id]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is no job"), "{said}");
    let (_, said) = run(&gateway, &["jobs", "drop", "--all"]).await;
    assert_eq!(said, "1 jobs are dropped\n");
    gateway.stop().await;
}
