//! A storage is tried before a plan is saved: written to, read back, compared, and left unchanged.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{OPERATOR, STORAGE, answered, ask, documents, exchange, own, parsed, plan, start, this_month};
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use stowage_testing::upstream::{soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_good_storage_is_tried_and_left_as_it_was() {
    let gateway = start().await;
    let (status, answer) = ask(&gateway, "PUT", &own(&gateway), plan("file", json!({"directory": "d"}))).await;
    assert_eq!((status, &answer["status"]), (201, &json!("success")), "{answer}");
    gateway.settled().await;
    assert_eq!(gateway.stored(), [""; 0], "the file of the check is left");
    assert_eq!(documents(&gateway, "storage_settings_probe").await, [Value::Null; 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_refuses_is_told_and_nothing_is_saved() {
    let gateway = start().await;
    let server = S3Server::start().await;
    server.make_bucket("recordings");
    let settings = |secret: &str| {
        json!({
            "host": "localhost", "port": server.address().port(), "scheme": "http", "bucket": "recordings",
            "key": ACCESS_KEY, "secret": secret,
        })
    };
    let (status, answer) = ask(&gateway, "PUT", &own(&gateway), plan("s3", settings("wrong-secret"))).await;
    assert_eq!((status, &answer["message"]), (400, &json!("validation error")), "{answer}");
    let invalid = &answer["data"]["attachments"][STORAGE]["invalid"];
    assert_eq!(invalid["error_code"], 403, "{answer}");
    assert!(invalid["error_body"].as_str().is_some_and(|body| body.contains("SignatureDoesNotMatch")), "{answer}");
    assert!(invalid["message"].is_string() && !answer.to_string().contains("wrong-secret"), "{answer}");
    assert_eq!(ask(&gateway, "GET", &own(&gateway), Value::Null).await.0, 404);
    answered(&gateway, "PUT", &own(&gateway), plan("s3", settings(SECRET_KEY)), 201).await;
    gateway.settled().await;
    assert_eq!(server.objects("recordings").len(), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_gives_back_something_else_is_refused() {
    let gateway = start().await;
    let server = Recorder::start().await;
    server.next(hyper::Method::GET, 1, Answer::Status(200, "some random content: 0123456789abcdef0123456789abcdex"));
    let settings = json!({"url": server.url("/recordings")});
    let answer = answered(&gateway, "PUT", &own(&gateway), plan("http", settings), 400).await;
    let message = &answer["data"]["attachments"][STORAGE]["invalid"]["message"];
    assert!(message.as_str().is_some_and(|text| text.contains("something else")), "{answer}");
    gateway.settled().await;
    assert_eq!(server.stored(), [""; 0], "the file of the check is left");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_storages_are_told_apart_and_secrets_are_not_repeated() {
    let gateway = start().await;
    let server = Recorder::start().await;
    server.next(hyper::Method::PUT, 1, Answer::Status(403, "you sent Bearer canary-header and pass canary-pass"));
    let url = server.url("/r").replace("http://", "http://me:canary-pass@");
    let mut document = plan("http", json!({"url": url, "headers": {"X-Key": "Bearer canary-header"}}));
    let other = "ffffffffffffffffffffffffffffffff";
    document["data"]["attachments"][other] = json!({"handler": "file", "settings": {"directory": "d"}});
    let answer = answered(&gateway, "PUT", &own(&gateway), document, 400).await;
    let errors = answer["data"]["attachments"].as_object().expect("errors");
    assert_eq!(errors.keys().collect::<Vec<_>>(), [STORAGE]);
    assert_eq!(errors[STORAGE]["invalid"]["error_body"], "you sent ******** and pass ********", "{answer}");
    assert!(!answer.to_string().contains("canary"), "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_tried_again() {
    let gateway = start().await;
    let server = Recorder::start().await;
    let settings = json!({"url": server.url("/recordings")});
    let answer = answered(&gateway, "PUT", &own(&gateway), plan("http", settings), 201).await;
    assert!(!answer.to_string().contains("_sig"), "{answer}");
    gateway.settled().await;
    let asked = server.requests().len();
    assert!(asked >= 3, "stored, read and removed");
    let rename = json!({"data": {"ui_metadata": {"a": 1}}});
    assert_eq!(ask(&gateway, "PATCH", &own(&gateway), rename).await.0, 200);
    gateway.settled().await;
    assert_eq!(server.requests().len(), asked);
    let change = json!({"data": {"attachments": {STORAGE: {"settings": {"verb": "post"}}}}});
    assert_eq!(ask(&gateway, "PATCH", &own(&gateway), change).await.0, 200);
    gateway.settled().await;
    assert!(server.requests().len() > asked);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_may_only_be_left_out_where_the_configuration_allows_it() {
    let gateway = start().await;
    let unreachable = plan("http", json!({"url": "http://127.0.0.1:9/x"}));
    let path = format!("{}?validate_settings=false", own(&gateway));
    let answer = answered(&gateway, "PUT", &path, unreachable.clone(), 400).await;
    assert!(answer["data"]["validate_settings"]["forbidden"]["message"].is_string(), "{answer}");
    gateway.stop().await;

    let setup = super::Setup::default().set("admin.tokens", OPERATOR).set("plans.allow_unvalidated", "true");
    let gateway = setup.start().await;
    let path = format!("{}?validate_settings=false", own(&gateway));
    assert_eq!(ask(&gateway, "PUT", &path, unreachable.clone()).await.0, 201);
    let (status, answer) = ask(&gateway, "POST", &own(&gateway), unreachable).await;
    assert_eq!(status, 400, "what was not checked has to be: {answer}");
    assert_eq!(answer["data"]["attachments"][STORAGE]["invalid"]["error_code"], 500, "{answer}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_of_the_system_are_checked_in_its_database() {
    let gateway = start().await;
    let answer = answered(&gateway, "PUT", "/v2/storage/plans", plan("file", json!({"directory": "d"})), 201).await;
    let id = answer["data"]["id"].as_str().expect("an id").to_owned();
    let (status, answer) = ask(&gateway, "GET", &format!("/v2/storage/plans/{id}"), Value::Null).await;
    assert_eq!((status, &answer["data"]["id"]), (200, &json!(id)), "{answer}");
    gateway.settled().await;
    assert_eq!(gateway.stored(), [""; 0]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_hangs_is_given_up() {
    let (listener, address) = stowage_testing::serve::listen().await;
    let setup = super::Setup::default().set("admin.tokens", OPERATOR).set("timeouts.response_head", "2s");
    let gateway = setup.start().await;
    let mut document = plan("http", json!({"url": format!("http://{address}/x")}));
    document["data"]["attachments"]["ffffffffffffffffffffffffffffffff"] = json!({"handler": "s3", "settings": {
        "host": "127.0.0.1", "port": address.port(), "scheme": "http", "bucket": "recordings", "key": "k", "secret": "s",
    }});
    let began = std::time::Instant::now();
    let answer = answered(&gateway, "PUT", &own(&gateway), document, 400).await;
    assert_eq!(answer["data"]["attachments"].as_object().expect("errors").len(), 2, "{answer}");
    assert!(began.elapsed().as_secs() < 20, "they are checked at once");
    drop(listener);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_runs_when_the_gateway_stops_comes_to_its_end() {
    let gateway = start().await;
    let (server, gate) = (Recorder::start().await, Arc::new(Notify::new()));
    server.next(hyper::Method::GET, 1, Answer::Held(Arc::clone(&gate), Box::new(Answer::Normal)));
    let (admin, path, month) = (gateway.app.admin.expect("an admin listener"), own(&gateway), this_month(&gateway));
    let text = plan("http", json!({"url": server.url("/recordings")})).to_string();
    let token = ("X-Auth-Token".to_owned(), OPERATOR.to_owned());
    let asking = tokio::spawn(async move { exchange(admin, "PUT", &path, &[token], text.as_bytes()).await });
    server.wait_until(|seen| seen.iter().any(|request| request.method == hyper::Method::GET)).await;

    let stopping = tokio::spawn(gateway.app.stop());
    until("the gateway stops", async || exchange(admin, "GET", "/ready", &[], b"").await.status == 503).await;
    assert!(!stopping.is_finished());
    gate.notify_one();
    assert_eq!(soon("an answer", asking).await.expect("no panic").status, 201);
    assert_eq!(soon("the gateway to stop", stopping).await.expect("no panic"), 0);
    assert_eq!(server.stored(), [""; 0], "the file of the check is left");
    let documents = gateway.couch.request("GET", &format!("/{month}/_all_docs"), "", b"").await;
    assert_eq!(parsed(&documents)["rows"], json!([]), "the document of the check is left");
}
