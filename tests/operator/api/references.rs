//! Handlers and connections named in a plan, and permitted uses of those from the documents below it.

use serde_json::{Value, json};

use crate::api::{MINE, SECOND, ask, file_plan, of, start, write, wrong};
use stowage_testing::gateway::STORAGE;

fn refers(handler: &str, connection: &str) -> Value {
    let entry = json!({"attachments": {"handler": handler}, "connection": connection});
    json!({"plan": {"modb": entry, "account": {"types": {"fax": entry}}}})
}

#[tokio::test]
async fn what_no_document_defines_is_refused() {
    let gateway = start().await;
    let paths = ["/v2/storage", "/v2/storage/plans", &of(MINE), &format!("/v2/accounts/{MINE}/users/u/storage")];
    for path in paths {
        let answer = ask(&gateway, "PUT", path, Some(&refers(STORAGE, "none"))).await;
        let expected = [
            "plan.modb.attachments.handler: error",
            "plan.modb.connection: error",
            "plan.account.types.fax.attachments.handler: error",
            "plan.account.types.fax.connection: error",
        ];
        assert_eq!(wrong(&answer), expected, "{path}");
        assert!(answer.text().contains(&format!("invalid reference '{STORAGE}' to attachments")), "{}", answer.text());
    }
    // Not those defined only by a higher plan, nor by another account.
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&file_plan("a"))).await.status, 201);
    assert_eq!(wrong(&ask(&gateway, "PUT", "/v2/storage", Some(&refers(STORAGE, "local"))).await).len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn documents_below_define_too() {
    let gateway = start().await;
    assert_eq!(ask(&gateway, "PUT", "/v2/storage", Some(&file_plan("a"))).await.status, 201);
    let user = format!("/v2/accounts/{MINE}/users/u/storage");
    for path in [&of(MINE), "/v2/storage/plans", &format!("{}/plans", of(MINE)), &user] {
        let answer = ask(&gateway, "PUT", path, Some(&refers(STORAGE, "local"))).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    }
    // The plan named by the account, and the account below its user.
    let mut named = file_plan("b");
    named["pvt_type"] = json!("storage_plan");
    named["attachments"] = json!({SECOND: named["attachments"][STORAGE]});
    named["plan"] = Value::Null;
    write(&gateway, "named", &named).await;
    let other = "aaaabbbbccccddddeeeeffff00009999";
    write(&gateway, other, &json!({"pvt_type": "storage", "pvt_plan_id": "named"})).await;
    let answer = ask(&gateway, "POST", &of(other), Some(&refers(SECOND, "local"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let user = format!("/v2/accounts/{other}/users/u2/storage");
    assert_eq!(ask(&gateway, "PUT", &user, Some(&refers(SECOND, "local"))).await.status, 201);
    assert_eq!(wrong(&ask(&gateway, "PATCH", &of(MINE), Some(&refers(SECOND, "local"))).await).len(), 2);
    gateway.stop().await;
}

#[tokio::test]
async fn the_same_id_again_brings_its_own_secrets() {
    let gateway = start().await;
    let http = |url: &str, headers: Value| json!({"handler": "http", "settings": {"url": url, "headers": headers}});
    let couch = |ip: &str, password: Value| {
        json!({"driver": "kazoo_couch", "settings": {"ip": ip, "port": 1,
            "credentials": {"username": "u", "password": password}}})
    };
    let mut system = json!({
        "attachments": {STORAGE: http("http://127.0.0.1/", json!({"Authorization": "CANARY"}))},
        "connections": {STORAGE: couch("127.0.0.1", json!("CANARY"))},
    });
    assert_eq!(ask(&gateway, "PUT", "/v2/storage", Some(&system)).await.status, 201);
    let borrowed = [
        json!({"attachments": {STORAGE: {"handler": "http", "settings": {"url": "http://127.0.0.2/"}}}}),
        json!({"attachments": {STORAGE: http("http://127.0.0.2/", json!({"X": "y"}))}}),
        json!({"connections": {STORAGE: {"driver": "kazoo_couch", "settings": {"ip": "127.0.0.2", "port": 1}}}}),
    ];
    for plan in borrowed {
        let answer = ask(&gateway, "PUT", &of(MINE), Some(&plan)).await;
        assert!(wrong(&answer).iter().all(|error| error.ends_with(": required")), "{}", answer.text());
        assert!(!answer.text().contains("CANARY"), "{}", answer.text());
    }
    system["attachments"][STORAGE] = http("http://127.0.0.2/", json!({"Authorization": "own"}));
    system["connections"][STORAGE] = couch("127.0.0.2", json!("own"));
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&system)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_plan_below_names_is_not_taken_away() {
    let gateway = start().await;
    assert_eq!(ask(&gateway, "PUT", "/v2/storage", Some(&file_plan("a"))).await.status, 201);
    let mut away = json!({"attachments": {STORAGE: null}});
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&away)).await;
    assert_eq!(wrong(&answer), [format!("attachments.{STORAGE}: error")]);
    away["plan"] = json!({"modb": {"attachments": {"handler": null}}});
    let answer = ask(&gateway, "PUT", &of(MINE), Some(&away)).await;
    assert_eq!(answer.status, 201, "no plan names it any more: {}", answer.text());
    // This plan is not responsible for what was invalid before.
    write(&gateway, "system", &{
        let mut system = crate::api::stored(&gateway, "system").await;
        system["attachments"] = json!({});
        system
    })
    .await;
    assert_eq!(ask(&gateway, "POST", &of(MINE), Some(&json!({"ui_metadata": {}}))).await.status, 200);
    gateway.stop().await;
}
