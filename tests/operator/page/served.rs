//! The page's files and `/status`, without a browser.

use serde_json::Value;

use super::{BOUND, OPERATOR, start};
use stowage_testing::gateway::{Running, Setup, exchange, json};
use stowage_testing::raw::RawResponse;

async fn ask(gateway: &Running, method: &str, path: &str, token: &str) -> RawResponse {
    let headers = [("X-Auth-Token".to_owned(), token.to_owned())];
    exchange(gateway.app.admin.expect("an admin listener"), method, path, &headers, b"").await
}

#[tokio::test]
async fn the_files_come_with_a_strict_policy() {
    let gateway = start().await;
    let page = ask(&gateway, "GET", "/", "").await.text();
    let scripts = page.split("<script src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let scripts: Vec<_> = scripts.map(|path| (path, "text/javascript")).collect();
    assert!(scripts.len() > 10, "{scripts:?}");
    let others = [("/", "text/html"), ("/page.css", "text/css"), ("/console.css", "text/css")];
    for (path, media_type) in others.into_iter().chain(scripts) {
        let answer = ask(&gateway, "GET", path, "").await.expect_status(200);
        assert_eq!(answer.header("content-type"), Some(format!("{media_type}; charset=utf-8").as_str()));
        let policy = answer.header("content-security-policy").expect("a policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        for inline in [" style=", " onclick=", "<style", "javascript:", "https://", "innerHTML"] {
            assert!(!answer.text().contains(inline), "{path}: {inline}");
        }
        let head = ask(&gateway, "HEAD", path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(ask(&gateway, "POST", path, "").await.status, 405);
    }
    assert!(
        ask(&gateway, "GET", "/", "")
            .await
            .text()
            .lines()
            .all(|line| !line.contains("<script") || line.contains("src="))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn the_status_names_nobody() {
    // A user name that does not exist: CouchDB locks an account after wrong passwords.
    let setup = Setup::default().set("couchdb.username", "canary-name").set("couchdb.password", "canary-password");
    let gateway = setup.start().await;
    let answer = ask(&gateway, "GET", "/status", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let status: Value = json(&answer);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((status["ready"].as_bool(), status["storage_api"].as_bool()), (Some(true), Some(false)));
    assert_eq!(status["upstream"], format!("{}/", gateway.couch.url));
    let names: Vec<&str> =
        status["listeners"].as_array().unwrap().iter().filter_map(|each| each["name"].as_str()).collect();
    assert_eq!(names, ["proxy", "admin"]);
    assert_eq!(status["plans"], serde_json::json!({ "held": 0, "oldest_seconds": null }));
    assert!(!answer.text().contains("canary") && !answer.text().contains(&gateway.account), "{}", answer.text());
    gateway.stop().await;
}

#[tokio::test]
async fn failures_need_the_operators_token() {
    let gateway = start().await;
    for token in ["", "wrong", BOUND] {
        let answer = ask(&gateway, "GET", "/v2/storage/failures", token).await;
        assert!(matches!(answer.status, 401 | 403), "{token}: {answer:?}");
    }
    let answer = ask(&gateway, "GET", "/v2/storage/failures", OPERATOR).await;
    assert_eq!((answer.status, json(&answer)["data"].as_array().map(Vec::len)), (200, Some(0)));
    gateway.stop().await;
}
