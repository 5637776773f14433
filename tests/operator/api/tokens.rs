//! Permissions of tokens.

use serde_json::json;

use crate::api::{
    BOUND, MINE, OPERATOR, OTHER, ask, ask_as, data, envelope, file_plan, of, send, setup, start, write, wrong,
};
use stowage_testing::gateway::{STORAGE, Setup};

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn a_token_is_needed_and_may_be_in_two_headers() {
    let tokens = format!(r#"["{OPERATOR}", "{DIGEST}"]"#);
    let gateway = Setup::default().set("admin.tokens", &tokens).start().await;
    let bearer = format!("Bearer {OPERATOR}");
    let lower = format!("bearer {OPERATOR}");
    for headers in [
        vec![],
        vec![("X-Auth-Token", "")],
        vec![("X-Auth-Token", "wrong")],
        vec![("X-Auth-Token", "operator-toke")],
        vec![("X-Auth-Token", DIGEST)],
        vec![("Authorization", OPERATOR)],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", "Bearer wrong")],
        vec![("Authorization", "Basic b3BlcmF0b3ItdG9rZW46")],
        vec![("X-Auth-Token", "wrong"), ("Authorization", &bearer)],
    ] {
        for (method, path) in [("GET", "/v2/storage"), ("PUT", "/v2/storage"), ("GET", "/v2/nothing"), ("COPY", "/v2")]
        {
            let answer = send(&gateway, &headers, method, path, b"{}").await;
            assert_eq!(answer.status, 401, "{headers:?} {method} {path}");
            assert_eq!(envelope(&answer)["message"], "invalid_credentials");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    for headers in
        [("X-Auth-Token", OPERATOR), ("x-auth-token", "abc"), ("Authorization", &bearer), ("Authorization", &lower)]
    {
        assert_eq!(send(&gateway, &[headers], "GET", "/v2/storage", b"").await.status, 404, "{headers:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn without_any_token_nobody_may() {
    let gateway = Setup::default().start().await;
    for headers in [vec![], vec![("X-Auth-Token", "")], vec![("X-Auth-Token", "x")], vec![("Authorization", "Bearer ")]]
    {
        assert_eq!(send(&gateway, &headers, "GET", "/v2/storage", b"").await.status, 401);
    }
    assert_eq!(send(&gateway, &[], "GET", "/live", b"").await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn an_accounts_token_reaches_that_account_alone() {
    let gateway = start().await;
    for path in ["/v2/storage", &of(OTHER)] {
        assert_eq!(ask(&gateway, "PUT", path, Some(&file_plan("theirs"))).await.status, 201);
    }
    let theirs = data(&ask(&gateway, "PUT", &format!("{}/plans", of(OTHER)), Some(&file_plan("theirs"))).await);
    let system = data(&ask(&gateway, "PUT", "/v2/storage/plans", Some(&file_plan("theirs"))).await);
    let paths = [
        "/v2/storage".to_owned(),
        "/v2/storage/plans".to_owned(),
        format!("/v2/storage/plans/{}", system["id"].as_str().unwrap()),
        "/v2/storage/explain?db=x&type=y".to_owned(),
        of(OTHER),
        format!("{}/plans", of(OTHER)),
        format!("{}/plans/{}", of(OTHER), theirs["id"].as_str().unwrap()),
        format!("{}/explain?db=x&type=y", of(OTHER)),
        format!("{}/errors", of(OTHER)),
        format!("/v2/accounts/{OTHER}/users/u/storage"),
        of(&MINE.to_uppercase()),
    ];
    for path in &paths {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"] {
            let body = matches!(method, "PUT" | "POST" | "PATCH").then(|| file_plan("x"));
            let answer = ask_as(&gateway, BOUND, method, path, body.as_ref()).await;
            assert!(matches!(answer.status, 403 | 405), "{method} {path}: {}", answer.status);
        }
    }
    for (path, status) in [(of(MINE), 201), (format!("{}/plans", of(MINE)), 201)] {
        assert_eq!(ask_as(&gateway, BOUND, "PUT", &path, Some(&file_plan("mine"))).await.status, status, "{path}");
    }
    // Other owners' documents under an account's own path.
    for id in [theirs["id"].as_str().unwrap(), system["id"].as_str().unwrap(), OTHER, "system"] {
        for path in [format!("{}/plans/{id}", of(MINE)), format!("/v2/accounts/{MINE}/users/{id}/storage")] {
            for method in ["GET", "POST", "PATCH", "DELETE"] {
                let body = (method.starts_with('P')).then(|| file_plan("x"));
                let answer = ask_as(&gateway, BOUND, method, &path, body.as_ref()).await;
                assert_eq!(answer.status, 404, "{method} {path}");
            }
            let put = ask_as(&gateway, BOUND, "PUT", &path, Some(&file_plan("x"))).await;
            assert!(matches!(put.status, 404 | 405 | 409), "{path}: {}", put.status);
        }
    }
    for path in [of(OTHER), "/v2/storage".to_owned()] {
        let plan = data(&ask(&gateway, "GET", &path, None).await);
        assert_eq!(plan["attachments"][STORAGE]["settings"]["directory"], "theirs");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_users_plan_cannot_become_the_systems_or_an_accounts() {
    let gateway = start().await;
    for id in ["system", MINE] {
        let path = format!("/v2/accounts/{MINE}/users/{id}/storage");
        let answer = ask_as(&gateway, BOUND, "PUT", &path, Some(&file_plan("x"))).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    assert_eq!(ask(&gateway, "GET", "/v2/storage", None).await.status, 404);
    // A user whose id is another account's does not block that account from its plan.
    let path = format!("/v2/accounts/{MINE}/users/{OTHER}/storage");
    assert_eq!(ask_as(&gateway, BOUND, "PUT", &path, Some(&file_plan("x"))).await.status, 201);
    assert_eq!(ask(&gateway, "GET", &of(OTHER), None).await.status, 404);
    let made = ask(&gateway, "PUT", &of(OTHER), Some(&file_plan("own"))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(ask_as(&gateway, BOUND, "GET", &path, None).await.status, 404);
    // A soft-deleted document of another kind must not be replaced.
    write(&gateway, "gone", &json!({"pvt_type": "media", "pvt_deleted": true})).await;
    let path = format!("/v2/accounts/{MINE}/users/gone/storage");
    assert_eq!(ask_as(&gateway, BOUND, "PUT", &path, Some(&file_plan("x"))).await.status, 409);
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_that_was_deleted_softly_can_be_made_again() {
    let gateway = setup().start().await;
    write(&gateway, MINE, &json!({"pvt_type": "storage", "pvt_deleted": true, "plan": {"modb": 1}})).await;
    assert_eq!(ask(&gateway, "GET", &of(MINE), None).await.status, 404);
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&file_plan("x"))).await.status, 201);
    assert_eq!(ask(&gateway, "GET", &of(MINE), None).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn an_accounts_token_may_not_define_connections() {
    let gateway = start().await;
    let couch = |ip: &str| {
        json!({"driver": "kazoo_couch", "settings": {"ip": ip, "port": 5984,
        "credentials": {"username": "u", "password": "CANARY"}}})
    };
    let with = |connections: &serde_json::Value| {
        let mut plan = file_plan("x");
        plan["connections"] = connections.clone();
        plan
    };
    let (one, two) = (json!({ STORAGE: couch("127.0.0.1") }), json!({ STORAGE: couch("127.0.0.2") }));
    let forbidden = vec![format!("connections.{STORAGE}: forbidden")];
    let user = format!("/v2/accounts/{MINE}/users/u/storage");
    for path in [of(MINE), format!("{}/plans", of(MINE)), user] {
        let refused = ask_as(&gateway, BOUND, "PUT", &path, Some(&with(&one))).await;
        assert_eq!(wrong(&refused), forbidden, "{path}");
    }
    // The operator's definitions are kept and can be named, but not changed.
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&with(&one))).await.status, 201);
    let shown = data(&ask_as(&gateway, BOUND, "GET", &of(MINE), None).await);
    for (method, plan) in [
        ("POST", with(&shown["connections"])),
        ("POST", with(&one)),
        ("PATCH", json!({"plan": {"modb": {"connection": STORAGE}}})),
        ("PATCH", json!({"connections": {"local": {}}})),
    ] {
        let changed = ask_as(&gateway, BOUND, method, &of(MINE), Some(&plan)).await;
        assert_eq!(changed.status, 200, "{method} {plan}: {}", changed.text());
    }
    for (method, plan) in
        [("POST", with(&two)), ("PATCH", with(&two)), ("PATCH", json!({"connections": {STORAGE: {"name": "mine"}}}))]
    {
        let refused = ask_as(&gateway, BOUND, method, &of(MINE), Some(&plan)).await;
        assert_eq!(wrong(&refused), forbidden, "{method} {plan}");
        assert!(!refused.text().contains("CANARY"));
    }
    assert_eq!(ask(&gateway, "PATCH", &of(MINE), Some(&with(&two))).await.status, 200);
    gateway.stop().await;
}
