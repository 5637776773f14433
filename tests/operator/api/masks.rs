//! Secrets are accepted, but never returned. `src/admin/api/secrets.rs` tests the rules individually.

use serde_json::{Value, json};

use crate::api::{MINE, SECOND, ask, data, of, start, stored, wrong};
use stowage_testing::gateway::STORAGE;

const MASK: &str = "********";

fn plan() -> Value {
    json!({
        "attachments": {
            STORAGE: {"handler": "s3", "settings": {"bucket": "recordings", "key": "AKID", "secret": "CANARY1"}},
            SECOND: {"handler": "http", "settings": {
                "url": "http://me:CANARY2@127.0.0.1/p?token=CANARY3&recording=", "headers": {"Authorization": "CANARY4"}
            }},
        },
        "connections": {STORAGE: {"driver": "kazoo_couch", "settings": {
            "ip": "127.0.0.1", "port": 5984, "credentials": {"username": "u", "password": "CANARY5"}
        }}},
    })
}

fn http_settings(document: &Value) -> &Value {
    &document["attachments"][SECOND]["settings"]
}

#[tokio::test]
async fn no_answer_shows_a_secret() {
    let gateway = start().await;
    let path = of(MINE);
    let mut answers = vec![ask(&gateway, "PUT", &path, Some(&plan())).await];
    assert_eq!(data(&answers[0])["attachments"][STORAGE]["settings"]["secret"], MASK);
    assert_eq!(
        http_settings(&data(&answers[0]))["url"],
        "http://********:********@127.0.0.1/p?token=********&recording="
    );
    answers.push(ask(&gateway, "GET", &path, None).await);
    answers.push(ask(&gateway, "PUT", &path, Some(&plan())).await);
    answers.push(ask(&gateway, "POST", &path, Some(&plan())).await);
    answers.push(ask(&gateway, "PATCH", &path, Some(&plan())).await);
    let mut broken = plan();
    broken["attachments"][STORAGE]["settings"]["bucket"] = json!(1);
    broken["attachments"][SECOND]["settings"]["headers"]["Host"] = json!("CANARY");
    broken["connections"][STORAGE]["settings"]["credentials"]["username"] = json!({"CANARY": 1});
    answers.push(ask(&gateway, "PATCH", &path, Some(&broken)).await);
    answers.push(ask(&gateway, "PUT", "/v2/storage/plans", Some(&plan())).await);
    answers.push(ask(&gateway, "GET", "/v2/storage/plans", None).await);
    answers.push(ask(&gateway, "DELETE", &path, None).await);
    for answer in answers {
        assert!(!answer.text().contains("CANARY"), "{}", answer.text());
        assert!(!format!("{:?}", answer.headers).contains("CANARY"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_was_got_can_be_posted() {
    let gateway = start().await;
    let path = of(MINE);
    assert_eq!(ask(&gateway, "PUT", &path, Some(&plan())).await.status, 201);
    let before = stored(&gateway, MINE).await;
    let mut shown = data(&ask(&gateway, "GET", &path, None).await);
    for method in ["POST", "PATCH"] {
        let answer = ask(&gateway, method, &path, Some(&shown)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let after = stored(&gateway, MINE).await;
        assert_eq!((&after["attachments"], &after["connections"]), (&before["attachments"], &before["connections"]));
    }
    shown["attachments"][STORAGE]["settings"]["bucket"] = json!("another");
    shown["attachments"][SECOND]["settings"]["url"] = json!("http://********:********@127.0.0.1/q?token=********");
    shown["connections"][STORAGE]["name"] = json!("name");
    assert_eq!(ask(&gateway, "POST", &path, Some(&shown)).await.status, 200);
    let after = stored(&gateway, MINE).await;
    assert_eq!(after["attachments"][STORAGE]["settings"]["secret"], "CANARY1");
    assert_eq!(http_settings(&after)["url"], "http://me:CANARY2@127.0.0.1/q?token=CANARY3");
    assert_eq!(http_settings(&after)["headers"]["Authorization"], "CANARY4");
    // One new secret, and one removed.
    let patch =
        json!({"attachments": {STORAGE: {"settings": {"secret": "new"}}, SECOND: {"settings": {"headers": null}}}});
    assert_eq!(ask(&gateway, "PATCH", &path, Some(&patch)).await.status, 200);
    let after = stored(&gateway, MINE).await;
    assert_eq!(after["attachments"][STORAGE]["settings"]["secret"], "new");
    assert_eq!(http_settings(&after)["headers"], Value::Null);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stored_secret_is_not_sent_to_another_server() {
    let gateway = start().await;
    let path = of(MINE);
    assert_eq!(ask(&gateway, "PUT", &path, Some(&plan())).await.status, 201);
    let before = stored(&gateway, MINE).await;
    let shown = data(&ask(&gateway, "GET", &path, None).await);
    let url = |url: &str| json!({"attachments": {SECOND: {"settings": {"url": url}}}});
    let headers = format!("attachments.{SECOND}.settings.headers.Authorization: invalid");
    let password = format!("connections.{STORAGE}.settings.credentials.password: invalid");
    let cases = [
        (url("http://127.0.0.2/"), &headers),
        (url("https://127.0.0.1/"), &headers),
        (url("http://127.0.0.1:81/?token=********"), &headers),
        (url("http://********:********@127.0.0.2/"), &headers),
        (json!({"connections": {STORAGE: {"settings": {"ip": "127.0.0.2"}}}}), &password),
        (json!({"connections": {STORAGE: {"settings": {"port": 81}}}}), &password),
    ];
    for (patch, expected) in cases {
        let answer = ask(&gateway, "PATCH", &path, Some(&patch)).await;
        assert!(wrong(&answer).contains(expected), "{patch}: {}", answer.text());
        let mut posted = shown.clone();
        for part in ["attachments", "connections"] {
            for (id, entry) in patch[part].as_object().into_iter().flatten() {
                for (key, value) in entry["settings"].as_object().unwrap() {
                    posted[part][id]["settings"][key] = value.clone();
                }
            }
        }
        let answer = ask(&gateway, "POST", &path, Some(&posted)).await;
        assert!(wrong(&answer).contains(expected), "POST {patch}: {}", answer.text());
    }
    // Nor through the plan's params.
    let params =
        json!({"plan": {"modb": {"attachments": {"handler": SECOND, "params": {"url": "http://127.0.0.2/"}}}}});
    let answer = ask(&gateway, "PATCH", &path, Some(&params)).await;
    assert_eq!(wrong(&answer), ["plan.modb.attachments.params.url: additionalProperties"]);
    assert_eq!(stored(&gateway, MINE).await, before);
    // With new secrets, it may use any server.
    let patch = json!({"attachments": {SECOND: {"settings": {
        "url": "http://u:p@127.0.0.2/?token=t", "headers": {"Authorization": "other"}
    }}}});
    assert_eq!(ask(&gateway, "PATCH", &path, Some(&patch)).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_mask_for_nothing_is_not_saved() {
    let gateway = start().await;
    let path = of(MINE);
    let mut masked = plan();
    masked["attachments"][STORAGE]["settings"]["secret"] = json!(MASK);
    let answer = ask(&gateway, "PUT", &path, Some(&masked)).await;
    assert_eq!(wrong(&answer), [format!("attachments.{STORAGE}.settings.secret: invalid")]);
    let answer = ask(&gateway, "PUT", "/v2/storage/plans", Some(&masked)).await;
    assert_eq!(wrong(&answer), [format!("attachments.{STORAGE}.settings.secret: invalid")]);
    assert_eq!(ask(&gateway, "GET", &path, None).await.status, 404);
    assert_eq!(ask(&gateway, "PUT", &path, Some(&plan())).await.status, 201);
    let other = "00000000000000000000000000000000";
    let patch = json!({"attachments": {other: {"handler": "s3", "settings": {"bucket": "bucket", "key": "k", "secret": MASK}}}});
    let answer = ask(&gateway, "PATCH", &path, Some(&patch)).await;
    assert_eq!(wrong(&answer), [format!("attachments.{other}.settings.secret: invalid")]);
    gateway.stop().await;
}
