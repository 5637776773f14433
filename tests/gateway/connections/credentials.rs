//! The credentials sent to a connection's server.

use serde_json::{Value, json};

use crate::connections::{FIRST, connection};
use stowage_testing::gateway::{Running, Setup, authorization};
use stowage_testing::recorder::{Answer, Recorded, Recorder};

const CLIENT: (&str, &str) = ("X-Auth-CouchDB-UserName", "client");

async fn start(settings: &[(&str, &str)], credentials: Value) -> (Running, Recorder) {
    let server = Recorder::start().await;
    server.always(Answer::Status(200, "{}"));
    let setup = settings.iter().fold(Setup::default(), |setup, (key, value)| setup.set(key, value));
    let gateway = setup.start().await;
    let mut entry = connection(&server.url(""));
    entry["settings"]["credentials"] = credentials;
    let plan = json!({"pvt_type": "storage", "connections": {FIRST: entry}, "plan": {"modb": {"connection": FIRST}}});
    gateway.save_plan(&gateway.account.clone(), plan).await;
    (gateway, server)
}

/// Returns the server's requests for documents, lists and attachments.
async fn seen(gateway: &Running, server: &Recorder) -> Vec<Recorded> {
    let headers = [CLIENT, ("Cookie", "AuthSession=client")];
    for rest in ["/doc", "/_all_docs", "/doc/a.mp3", ""] {
        let target = format!("/{}{rest}", gateway.path());
        assert_eq!(gateway.request("GET", &target, &headers, b"").await.status, 200);
    }
    let seen = server.requests();
    assert!(seen.len() >= 4);
    seen
}

fn own(name: &str, password: &str) -> String {
    authorization(&(name.to_owned(), password.to_owned())).1
}

#[tokio::test]
async fn a_clients_credentials_go_along() {
    let (gateway, server) = start(&[], json!({"username": "own", "password": "canary"})).await;
    let client = authorization(&gateway.couch.admin).1;
    for request in seen(&gateway, &server).await {
        assert_eq!(request.header("authorization"), Some(client.as_str()), "{request:?}");
        assert_eq!(request.header("cookie"), Some("AuthSession=client"));
        assert_eq!(request.header("x-auth-couchdb-username"), Some("client"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_connections_own_stand_in_their_place_where_the_configuration_says_so() {
    for (credentials, expected) in [
        (json!({"username": "own", "password": "canary"}), own("own", "canary")),
        (json!({"username": "own", "password": 1234}), own("own", "1234")),
        (json!({"username": "own"}), own("own", "")),
    ] {
        let (gateway, server) = start(&[("couchdb.connection_credentials", "true")], credentials).await;
        for request in seen(&gateway, &server).await {
            assert_eq!(request.header("authorization"), Some(expected.as_str()), "{request:?}");
            assert_eq!(request.header("cookie"), None, "{request:?}");
            assert_eq!(request.header("x-auth-couchdb-username"), None, "{request:?}");
        }
        let shown = format!("{:?}", gateway.app.gateway);
        assert!(!shown.contains("canary") && !shown.contains(expected.trim_start_matches("Basic ")), "{shown}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_connection_without_credentials_gets_the_clients() {
    let (gateway, server) = start(&[("couchdb.connection_credentials", "true")], Value::Null).await;
    let client = authorization(&gateway.couch.admin).1;
    for request in seen(&gateway, &server).await {
        assert_eq!(request.header("authorization"), Some(client.as_str()), "{request:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn credentials_of_a_wrong_kind_are_refused_without_being_told() {
    for (credentials, key) in [
        (json!({"username": ["canary"], "password": "x"}), "credentials.username"),
        (json!({"username": "canary", "password": ["canary"]}), "credentials.password"),
        (json!("canary"), "credentials"),
    ] {
        let (gateway, server) = start(&[], credentials).await;
        let (status, _, reason) = crate::connections::refusal(&gateway.get("doc").await);
        assert_eq!(status, 502, "{reason}");
        assert!(reason.contains(FIRST) && reason.contains(key) && !reason.contains("canary"), "{reason}");
        assert!(server.requests().is_empty());
        gateway.stop().await;
    }
}
