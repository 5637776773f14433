//! Permissions of users.

use base64::Engine as _;
use serde_json::json;

use super::{JSON, small};

#[tokio::test]
async fn a_user_sees_a_database_only_when_its_security_says_so() {
    let (_data, store) = small().await;
    let ann = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ann:word"));
    let ann = [("Authorization", ann.as_str()), JSON];
    let nobody = [("Authorization", "")];
    let ask = async |method: &'static str, path: &'static str, body: &'static str| {
        store.target.ask(method, path, &ann, body.as_bytes()).await
    };
    assert_eq!(ask("GET", "/db", "").await.status, 403);
    assert_eq!(ask("GET", "/none", "").await.status, 404);
    assert_eq!(ask("PUT", "/other", "").await.status, 401);
    assert_eq!(ask("DELETE", "/db", "").await.status, 401);
    assert_eq!(ask("GET", "/_all_dbs", "").await.status, 401);
    assert_eq!(ask("GET", "/_session", "").await.json()["userCtx"], json!({"name": "ann", "roles": []}));

    let security = json!({"members": {"names": ["ann"]}, "note": {"z": 1, "a": 2}});
    assert_eq!(store.put("/db/_security", security.clone()).await.status, 200);
    let kept = store.get("/db/_security").await;
    assert_eq!(kept.body, format!("{security}\n").into_bytes());
    assert_eq!(ask("PUT", "/db/d", "{}").await.status, 201);
    assert_eq!(ask("PUT", "/db/_design/d", "{}").await.status, 401);
    assert_eq!(ask("PUT", "/db/_security", "{}").await.status, 401);
    assert_eq!(ask("POST", "/db/_bulk_docs", r#"{"docs":[{"_id":"_design/d"}]}"#).await.status, 401);
    assert_eq!(store.target.ask("GET", "/db/d", &nobody, b"").await.status, 401);

    let admins = json!({"admins": {"names": ["ann"]}, "members": {"roles": ["none"]}});
    store.put("/db/_security", admins).await;
    assert_eq!(ask("PUT", "/db/_design/d", "{}").await.status, 201);
    store.stop().await;
}

#[tokio::test]
async fn a_cookie_stands_for_its_user_until_it_is_given_back() {
    let (_data, store) = small().await;
    let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", "")];
    let login = store.target.ask("POST", "/_session", &form, b"name=admin&password=secret").await;
    assert_eq!(login.json(), json!({"ok": true, "name": "admin", "roles": ["_admin"]}));
    let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let with = [("Cookie", cookie.as_str()), ("Authorization", "")];
    let session = store.target.ask("GET", "/_session", &with, b"").await.json();
    assert_eq!(session["info"]["authenticated"], "cookie");
    assert_eq!(store.target.ask("GET", "/db", &with, b"").await.status, 200);
    assert_eq!(store.target.ask("DELETE", "/_session", &with, b"").await.status, 200);
    assert_eq!(store.target.ask("GET", "/db", &with, b"").await.status, 401);
    let forged = [("Cookie", "AuthSession=YWRtaW4"), ("Authorization", "")];
    assert_eq!(store.target.ask("GET", "/db", &forged, b"").await.status, 401);
    store.stop().await;
}
