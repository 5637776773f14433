//! Failures are recorded in the account's month database, and listed by the API.

use serde_json::{Value, json};

use super::{answered, ask, documents, own, start, this_month};
use stowage_testing::gateway::STORAGE;
use stowage_testing::recorder::{Answer, Recorder};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_written_down_once_a_minute_without_secrets() {
    let gateway = start().await;
    let server = Recorder::start().await;
    let url = server.url("/r").replace("http://", "http://me:canary-pass@");
    gateway.plan("http", json!({ "url": url })).await;
    server.next(hyper::Method::PUT, 3, Answer::Status(403, "no canary-pass here"));
    for name in ["a.mp3", "b.mp3", "c.mp3"] {
        assert_eq!(gateway.put("doc", name, "", b"x").await.status, 502);
    }
    gateway.settled().await;
    let answer = answered(&gateway, "GET", &format!("{}/errors", own(&gateway)), Value::Null, 200).await;
    let records = answer["data"].as_array().expect("records");
    assert_eq!(records.len(), 1, "{answer}");
    let record = &records[0];
    for (key, value) in [
        ("reason", json!("request_error")),
        ("handler_id", json!(STORAGE)),
        ("db_name", json!(gateway.database())),
        ("document_id", json!("doc")),
        ("attachment_name", json!("a.mp3")),
        ("operation", json!("put")),
        ("resp_code", json!(403)),
        ("resp_body", json!("no ******** here")),
    ] {
        assert_eq!(record[key], value, "{key}: {record}");
    }
    assert!(record["occurred_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{record}");
    assert!(!answer.to_string().contains("canary"), "{answer}");
    let stored = documents(&gateway, "attachment_handler_error").await;
    assert_eq!(stored.len(), 1);
    assert!(!stored[0].to_string().contains("canary"), "{}", stored[0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_newest_first_and_in_pages() {
    let gateway = start().await;
    gateway.make_database().await;
    let month = this_month(&gateway);
    gateway.couch.request("PUT", &format!("/{month}"), "", b"").await;
    let prefix = stowage::record::id_prefix(std::time::SystemTime::now());
    for index in 0..7 {
        let record = json!({"pvt_type": "attachment_handler_error", "reason": format!("r{index}")});
        gateway.couch.save(&format!("/{month}/{prefix}{index:012x}-x"), &record).await;
    }
    let (mut seen, mut start_key) = (Vec::new(), String::new());
    for expected in [3, 3, 1] {
        let path = format!("{}/errors?page_size=3{start_key}", own(&gateway));
        let (status, page) = ask(&gateway, "GET", &path, Value::Null).await;
        let records = page["data"].as_array().expect("records");
        assert_eq!((status, records.len()), (200, expected), "{page}");
        seen.extend(records.iter().map(|record| record["reason"].as_str().expect("a reason").to_owned()));
        start_key = page["next_start_key"].as_str().map(|key| format!("&start_key={key}")).unwrap_or_default();
        assert_eq!(start_key.is_empty(), expected == 1, "{page}");
    }
    assert_eq!(seen, ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
    answered(&gateway, "GET", &format!("{}/errors?page_size=0", own(&gateway)), Value::Null, 400).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_and_refusals_of_couchdb_are_no_records() {
    let gateway = start().await;
    gateway.plan("file", json!({"directory": "d"})).await;
    assert_eq!(gateway.get("missing/a.mp3").await.status, 404);
    assert_eq!(gateway.put("doc", "a.mp3", "9-abc", b"x").await.status, 409);
    gateway.settled().await;
    let (_, answer) = ask(&gateway, "GET", &format!("{}/errors", own(&gateway)), Value::Null).await;
    assert_eq!(answer["data"], json!([]));
    gateway.stop().await;
}
