//! The gateway's own writes and reads in an account's databases go to the servers of those databases.

use serde_json::{Value, json};

use crate::connections::{CDR, FIRST, SECOND, World, ask};
use stowage_testing::gateway::{Couch, STORAGE, json as parsed};
use stowage_testing::log::Log;
use stowage_testing::recorder::{Answer, Recorder};

fn this_month(world: &World) -> String {
    let account = stowage::database::AccountId::parse(&world.gateway.account).unwrap();
    stowage::database::month_database(&account, std::time::SystemTime::now()).replace('/', "%2F")
}

/// Starts a world whose first connection only accepts the connection's own credentials.
async fn start() -> (World, Value) {
    let mut world = World::start().await;
    let own = ("own".to_owned(), "canary-own".to_owned());
    world.first_couch = Couch::embedded(own).await;
    world.first = crate::connections::Spy::start(&world.first_couch.url).await;
    let mut connections = world.connections();
    connections[FIRST]["settings"]["credentials"] = json!({"username": "own", "password": "canary-own"});
    (world, connections)
}

#[tokio::test]
async fn records_are_written_and_listed_at_the_databases_home() {
    let (world, connections) = start().await;
    let server = Recorder::start().await;
    server.always(Answer::Status(403, "no"));
    let options = json!({"create_options": {"q": 1}});
    let storage = json!({STORAGE: {"handler": "http", "settings": {"url": server.url("/r")}}});
    // The attachment's database is a local one of a year; records are in the month's.
    world
        .plan(json!({"connections": connections, "attachments": storage, "plan": {
            "modb": {"connection": FIRST, "database": options},
            "yodb": {"attachments": {"handler": STORAGE}}}}))
        .await;
    let year = world.gateway.path().replace("-202411", "-2024");
    world.gateway.couch.request("PUT", &format!("/{year}"), "", b"").await;
    world.gateway.request("PUT", &format!("/{year}/doc/a.mp3"), &[], b"x").await.expect_status(502);
    world.gateway.settled().await;
    let month = this_month(&world);
    assert_eq!(world.first.count(&format!("PUT /{month}?q=1")), 1, "{:?}", world.first.seen());
    let listed = world.first_couch.request("GET", &format!("/{month}/_all_docs"), "", b"").await;
    assert_eq!(parsed(&listed)["total_rows"], 1, "{listed:?}");
    assert_eq!(world.local.count(&format!("PUT /{month}")), 0);
    let path = format!("/v2/accounts/{}/storage/errors", world.gateway.account);
    let (status, answer) = ask(&world.gateway, "GET", &path, None).await;
    assert_eq!((status, answer["data"].as_array().map(Vec::len)), (200, Some(1)), "{answer}");
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_record_whose_database_may_not_be_created_says_so() {
    let log = Log::default();
    let guard = log.begin(tracing::Level::WARN);
    let (world, mut connections) = start().await;
    let (name, password) = world.first_couch.user().await;
    connections[FIRST]["settings"]["credentials"] = json!({"username": name, "password": password});
    let server = Recorder::start().await;
    server.always(Answer::Status(403, "no"));
    let storage = json!({STORAGE: {"handler": "http", "settings": {"url": server.url("/r")}}});
    world
        .plan(json!({"connections": connections, "attachments": storage, "plan": {
            "modb": {"connection": FIRST}, "yodb": {"attachments": {"handler": STORAGE}}}}))
        .await;
    let year = world.gateway.path().replace("-202411", "-2024");
    world.gateway.couch.request("PUT", &format!("/{year}"), "", b"").await;
    world.gateway.request("PUT", &format!("/{year}/doc/a.mp3"), &[], b"x").await.expect_status(502);
    world.gateway.settled().await;
    world.gateway.stop().await;
    drop(guard);
    assert_eq!(log.lines("CouchDB answers 401").len(), 1, "{}", log.text());
}

#[tokio::test]
async fn the_documents_of_a_credential_check_are_at_the_databases_home() {
    let (world, connections) = start().await;
    let plan = json!({"connections": connections, "plan": {"modb": {"connection": FIRST}}});
    world.plan(plan.clone()).await;
    let mut plan = plan;
    plan["attachments"] = json!({STORAGE: {"handler": "file", "settings": {"directory": "d"}}});
    let path = format!("/v2/accounts/{}/storage", world.gateway.account);
    let (status, answer) = ask(&world.gateway, "POST", &path, Some(plan)).await;
    assert_eq!(status, 200, "{answer}");
    world.gateway.settled().await;
    let month = this_month(&world);
    // Created because it was missing; the test document is removed again.
    assert_eq!(world.first.count(&format!("PUT /{month}")), 4, "{:?}", world.first.seen());
    assert_eq!(world.local.count(&format!("PUT /{month}")), 0);
    world.gateway.stop().await;
}

#[tokio::test]
async fn explain_reads_the_document_where_it_is_and_names_the_connection() {
    let (world, connections) = start().await;
    let types = json!({CDR: {"connection": SECOND}});
    let plan = json!({"connections": connections, "plan": {"modb": {"connection": FIRST, "types": types}}});
    world.plan(plan).await;
    world.database_at(&world.first_couch).await;
    world.save(&world.first_couch, "home", json!({"pvt_type": "fax"})).await;
    let database = world.gateway.path();
    let explain = async |rest: &str| {
        let path = format!("/v2/accounts/{}/storage/explain?db={database}&{rest}", world.gateway.account);
        ask(&world.gateway, "GET", &path, None).await
    };
    for (rest, connection) in [("doc=home", FIRST), ("type=cdr", SECOND), ("type=fax", FIRST)] {
        let (status, answer) = explain(rest).await;
        assert_eq!((status, &answer["data"]["connection"]), (200, &json!(connection)), "{rest}: {answer}");
        assert_eq!(answer["data"]["refused"], Value::Null, "{answer}");
        assert!(!answer.to_string().contains("canary"), "{answer}");
    }
    assert_eq!(world.counts()[0], 0);
    world.gateway.stop().await;
}

/// A job whose document cannot be read waits; one whose document is gone is done.
#[tokio::test]
async fn a_types_server_that_refuses_the_gateway_may_have_the_document() {
    let (world, mut connections) = start().await;
    connections[FIRST]["settings"]["credentials"]["password"] = json!("wrong");
    world.plan(json!({"connections": connections, "plan": {"modb": {"types": {CDR: {"connection": FIRST}}}}})).await;
    world.gateway.make_database().await;
    let database = stowage::router::Database::of(&world.gateway.database()).unwrap();
    let home = world.gateway.app.gateway.homes.of(&database).await.unwrap();
    let answer = home.own_document(&database.document("doc").path).await.unwrap();
    assert!(!answer.is_missing(), "{answer:?}");
    world.gateway.stop().await;
}

#[tokio::test]
async fn explain_says_what_is_wrong_with_a_connection() {
    let world = World::start().await;
    let types = json!({"a": {"connection": FIRST}, "b": {"connection": SECOND}, "c": {"connection": "elsewhere"}});
    let connections = json!({
        FIRST: {"driver": "pigeon", "settings": {"ip": "127.0.0.1"}},
        SECOND: {"driver": "kazoo_couch", "settings": {"ip": "10.0.0.1"}},
    });
    world.plan(json!({"connections": connections, "plan": {"modb": {"types": types}}})).await;
    for (kind, words) in [("a", [FIRST, "pigeon"]), ("b", [SECOND, "10.0.0.1"]), ("c", ["elsewhere", "connection"])] {
        let path = format!("/v2/storage/explain?db={}&type={kind}", world.gateway.path());
        let (status, answer) = ask(&world.gateway, "GET", &path, None).await;
        let refused = answer["data"]["refused"].as_str().unwrap_or_default();
        assert!(status == 200 && words.iter().all(|word| refused.contains(word)), "{answer}");
    }
    world.gateway.stop().await;
}
