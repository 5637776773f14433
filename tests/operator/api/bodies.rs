//! Bodies of requests.

use serde_json::{Value, json};

use crate::api::{MINE, OPERATOR, ask, data, envelope, file_plan, of, send, setup, start, wrong};
use stowage_testing::raw::RawClient;

async fn put(gateway: &crate::api::Running, body: &[u8]) -> crate::api::RawResponse {
    let headers = [("X-Auth-Token", OPERATOR)];
    send(gateway, &headers, "PUT", &format!("{}?validate_settings=false", of(MINE)), body).await
}

#[tokio::test]
async fn a_body_that_is_no_object_with_data_is_a_400() {
    let gateway = start().await;
    let deep = format!("{{\"data\":{{\"ui_metadata\":{}1{}}}}}", "[".repeat(5000), "]".repeat(5000));
    let bodies: [&[u8]; 14] = [
        b"",
        b"x",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\"data\"",
        b"{\"data\":",
        b"\xff\xfe{\"data\":{}}",
        b"{\"data\":{\"a\":\"\\ud800\"}}",
        b"{\"data\":{\"a\":1e999}}",
        b"{\"data\":{}} {}",
        b"<data/>",
        deep.as_bytes(),
    ];
    for body in bodies {
        let answer = put(&gateway, body).await;
        assert_eq!((answer.status, &envelope(&answer)["message"]), (400, &json!("parse_error")), "{:.40?}", body);
    }
    assert_eq!(wrong(&put(&gateway, b"{}").await), ["data: required"]);
    for body in [&b"{\"data\":[]}"[..], b"{\"data\":null}", b"{\"data\":\"x\"}", b"{\"data\":1}"] {
        assert_eq!(wrong(&put(&gateway, body).await), ["data: type"]);
    }
    let deep = format!("{{\"data\":{{\"ui_metadata\":{{\"a\":{}1{}}}}}}}", "[".repeat(70), "]".repeat(70));
    assert_eq!(wrong(&put(&gateway, deep.as_bytes()).await), ["data: invalid"]);
    assert_eq!(ask(&gateway, "GET", &of(MINE), None).await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn the_media_type_does_not_matter() {
    let gateway = start().await;
    let body = json!({ "data": file_plan("a") }).to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "nonsense"]
    {
        let headers = [("X-Auth-Token", OPERATOR), ("Content-Type", media_type)];
        let target = format!("{}?validate_settings=false", of(MINE));
        let made = send(&gateway, &headers, "PUT", &target, body.as_bytes()).await;
        assert_eq!(made.status, 201, "{media_type}: {}", made.text());
        assert_eq!(ask(&gateway, "DELETE", &of(MINE), None).await.status, 200);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn plans_are_as_large_as_documents_may_be() {
    let gateway = setup().set("limits.document_bytes", "64 KiB").start().await;
    let large = |bytes: usize| json!({ "ui_metadata": { "a": "x".repeat(bytes) } });
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&large(70_000))).await.expect_status(413);
    assert_eq!(envelope(&answer)["message"], "request_entity_too_large");
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&large(60_000))).await.status, 201);
    // The merged document would exceed the limit for reading it back.
    let more = json!({ "ui_metadata": { "b": "x".repeat(60_000) } });
    assert_eq!(ask(&gateway, "PATCH", &of(MINE), Some(&more)).await.status, 413);
    let kept = data(&ask(&gateway, "GET", &of(MINE), None).await);
    assert_eq!(kept["ui_metadata"].as_object().map(|members| members.len()), Some(1));
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_in_chunks_counts_as_it_comes() {
    let gateway = setup().set("limits.document_bytes", "64 KiB").start().await;
    let mut client = RawClient::connect(gateway.app.admin.unwrap()).await.unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {OPERATOR}\r\nTransfer-Encoding: chunked\r\n\r\n",
        of(MINE)
    );
    client.send(head).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        client.send(&chunk).await.unwrap();
    }
    assert_eq!(client.response().await.unwrap().status, 413);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let gateway = setup().set("timeouts.idle_body", "100ms").start().await;
    let mut client = RawClient::connect(gateway.app.admin.unwrap()).await.unwrap();
    let head =
        format!("PUT {} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {OPERATOR}\r\nContent-Length: 99\r\n\r\n", of(MINE));
    client.send(format!("{head}{{\"data\":")).await.unwrap();
    assert_eq!(client.response().await.unwrap().status, 408);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn the_check_is_skipped_only_where_the_operator_lets_it() {
    let gateway = setup().set("plans.allow_unvalidated", "false").start().await;
    let plan = file_plan("a");
    let mut inside = plan.clone();
    inside["validate_settings"] = json!(false);
    let headers = [("X-Auth-Token", OPERATOR)];
    let bodies = [
        ("?validate_settings=false", json!({ "data": plan })),
        ("", json!({ "data": plan, "validate_settings": false })),
        ("", json!({ "data": plan, "validate_settings": "false" })),
        ("", json!({ "data": inside })),
    ];
    for (query, body) in bodies {
        let answer =
            send(&gateway, &headers, "PUT", &format!("{}{query}", of(MINE)), body.to_string().as_bytes()).await;
        assert_eq!(wrong(&answer), ["validate_settings: forbidden"]);
    }
    // The first of data, query and envelope counts.
    inside["validate_settings"] = json!(true);
    let body = json!({ "data": inside, "validate_settings": false }).to_string();
    let target = format!("{}?validate_settings=false", of(MINE));
    let made = send(&gateway, &headers, "PUT", &target, body.as_bytes()).await;
    assert_eq!(made.status, 201, "{made:?}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_flag_inside_of_data_is_no_part_of_the_plan() {
    let gateway = start().await;
    let mut plan = file_plan("a");
    plan["validate_settings"] = json!(false);
    let headers = [("X-Auth-Token", OPERATOR)];
    let made = send(&gateway, &headers, "PUT", &of(MINE), json!({ "data": plan }).to_string().as_bytes()).await;
    assert_eq!(data(&made).get("validate_settings"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn thousands_of_errors_make_a_short_answer() {
    let gateway = start().await;
    let many: serde_json::Map<String, Value> = (0..20_000).map(|number| (format!("x{number}"), json!(1))).collect();
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&Value::Object(many))).await;
    assert!(wrong(&answer).len() <= 200 && answer.body.len() < 100_000);
    gateway.stop().await;
}

#[tokio::test]
async fn couchdb_away_is_a_503_that_says_so() {
    let gateway = setup().upstream("http://127.0.0.1:1").start().await;
    for (method, body) in [("GET", None), ("PUT", Some(file_plan("a"))), ("DELETE", None)] {
        let answer = ask(&gateway, method, &of(MINE), body.as_ref()).await;
        assert_eq!((answer.status, &envelope(&answer)["message"]), (503, &json!("datastore_unreachable")), "{method}");
    }
    gateway.stop().await;
}
