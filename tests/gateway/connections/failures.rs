//! Invalid connections and unreachable servers: requests are refused with the connection's id, without falling back to another server.

use serde_json::{Value, json};

use crate::connections::{CDR, FIRST, SECOND, World, connection, refusal};
use stowage_testing::gateway::{Running, Setup, authorization, exchange};

/// Starts a gateway whose month databases have this connection.
async fn with(entry: Value) -> Running {
    let gateway = Setup::default().start().await;
    let plan = json!({"pvt_type": "storage", "connections": {FIRST: entry}, "plan": {"modb": {"connection": FIRST}}});
    gateway.save_plan(&gateway.account.clone(), plan).await;
    gateway
}

/// Returns an address without a server.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_server_that_is_down_answers_504_by_its_id() {
    let gateway = with(connection(&nobody().await)).await;
    for (method, rest) in [
        ("GET", "/doc"),
        ("HEAD", "/doc"),
        ("PUT", "/doc"),
        ("DELETE", "/doc?rev=1-a"),
        ("PUT", ""),
        ("DELETE", ""),
        ("GET", "/_all_docs"),
        ("GET", "/doc/a.mp3"),
        ("PUT", "/doc/a.mp3"),
        ("DELETE", "/doc/a.mp3?rev=1-a"),
    ] {
        let target = format!("/{}{rest}", gateway.path());
        let answer = gateway.request(method, &target, &[], if method == "PUT" { b"{}" } else { b"" }).await;
        assert_eq!(answer.status, 504, "{method} {rest}: {answer:?}");
        if method != "HEAD" {
            let (_, error, reason) = refusal(&answer);
            assert_eq!(error, "gateway_timeout");
            assert!(reason.contains(FIRST), "{method} {rest}: {reason}");
        }
    }
    let metrics = exchange(gateway.app.admin.unwrap(), "GET", "/metrics", &[], b"").await.text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("stowage_couchdb_failures_total{") && line.contains("unreachable"));
    assert!(line.is_some_and(|line| line.ends_with(" 10")), "{line:?}");
    assert_eq!(gateway.request("GET", "/_up", &[], b"").await.status, 200, "what is local goes on");
    gateway.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_by_id_and_key() {
    let entry = |settings: Value| json!({"driver": "kazoo_couch", "settings": settings});
    for (entry, word) in [
        (json!({"driver": "carrier_pigeon", "settings": {"ip": "127.0.0.1"}}), "carrier_pigeon"),
        (entry(json!({})), "ip"),
        (entry(json!({"ip": "h/x"})), "ip"),
        (entry(json!({"ip": "127.0.0.1", "port": "canary"})), "port"),
        (entry(json!({"ip": "127.0.0.1", "port": 70000})), "port"),
        (entry(json!({"ip": "127.0.0.1", "connect_timeout": "canary"})), "connect_timeout"),
        (entry(json!({"ip": "127.0.0.1", "pool": {"size": "canary"}})), "pool.size"),
        (entry(json!("canary")), "settings"),
        (json!("canary"), "connections"),
    ] {
        let gateway = with(entry.clone()).await;
        for rest in ["doc", "doc/a.mp3", "_all_docs"] {
            let (status, error, reason) = refusal(&gateway.get(rest).await);
            assert_eq!((status, error.as_str()), (502, "bad_gateway"), "{entry}: {reason}");
            assert!(reason.contains(FIRST) && reason.contains(word), "{entry}: {reason}");
            assert!(!reason.contains("canary"), "{reason}");
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_egress_refuses_is_not_connected_to() {
    let world = World::start_with(Setup::default().set("egress.allow", "").set("egress.deny", "")).await;
    for ip in ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "::1"] {
        let mut entry = connection(&world.first.url());
        entry["settings"]["ip"] = json!(ip);
        world.plan(json!({"connections": {FIRST: entry}, "plan": {"modb": {"connection": FIRST}}})).await;
        for rest in ["doc", "doc/a.mp3"] {
            let (status, error, reason) = refusal(&world.gateway.get(rest).await);
            assert_eq!((status, error.as_str()), (502, "bad_gateway"), "{ip}: {reason}");
            assert!(reason.contains(FIRST), "{reason}");
        }
    }
    assert_eq!(world.first.seen(), [""; 0]);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_types_server_that_is_down_is_no_matter_for_what_is_at_home() {
    let world = World::start().await;
    let mut connections = world.connections();
    connections[SECOND] = connection(&nobody().await);
    let types = json!({CDR: {"connection": SECOND}});
    world.plan(json!({"connections": connections, "plan": {"modb": {"connection": FIRST, "types": types}}})).await;
    world.database_at(&world.first_couch).await;
    let rev = world.save(&world.first_couch, "home", json!({"n": 1})).await;
    assert_eq!(world.gateway.get("home").await.status, 200);
    assert_eq!(world.gateway.get("_all_docs").await.status, 200);
    world.gateway.attach("home", "a.mp3", &rev, b"x").await;
    assert_eq!(world.gateway.get("home/a.mp3").await.body, b"x");
    // Whether it exists is unknown: the response is not a 404, and nothing is stored twice.
    for (method, rest) in [("GET", "none"), ("GET", "none/a.mp3"), ("PUT", "none/a.mp3"), ("DELETE", "none?rev=1-a")] {
        let (status, _, reason) = refusal(&world.gateway.ask(method, rest, &[], b"").await);
        assert!(status == 504 && reason.contains(SECOND), "{method} {rest}: {status} {reason}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_types_entry_is_no_matter_for_what_is_at_home() {
    for (types, word) in [
        (json!(7), "plan.modb.types"),
        (json!({CDR: {"connection": 7}}), "plan.modb.types.cdr.connection"),
        (json!({CDR: {"connection": "elsewhere"}}), "elsewhere"),
    ] {
        let world = World::start().await;
        world.plan(json!({"plan": {"modb": {"connection": FIRST, "types": types}}})).await;
        world.database_at(&world.first_couch).await;
        world.save(&world.first_couch, "home", json!({"n": 1})).await;
        assert_eq!(world.gateway.get("home").await.status, 200, "{types}");
        assert_eq!(world.gateway.get("_all_docs").await.status, 200, "{types}");
        let (status, _, reason) = refusal(&world.gateway.get("none").await);
        assert!(status == 502 && reason.contains(word), "{types}: {status} {reason}");
        world.gateway.stop().await;
    }
}

#[tokio::test]
async fn who_may_not_read_somewhere_is_told_so() {
    let world = World::start().await;
    world.plan_with_types(false).await;
    world.database_at(&world.first_couch).await;
    world.database_at(&world.second_couch).await;
    world.save(&world.second_couch, "away", json!({"pvt_type": CDR})).await;
    let wrong = [authorization(&("nobody".to_owned(), "wrong".to_owned()))];
    let target = format!("/{}/away", world.gateway.path());
    exchange(world.gateway.address, "GET", &target, &wrong, b"").await.expect_status(401);
    world.gateway.stop().await;
}

#[tokio::test]
async fn databases_stay_where_they_were_while_the_plans_cannot_be_read() {
    let world = World::start_with(Setup::default().set("plans.refresh", "1ms").set("plans.stale", "1ms")).await;
    world.plan_with_types(true).await;
    world.database_at(&world.first_couch).await;
    world.database_at(&world.second_couch).await;
    let rev = world.save(&world.first_couch, "home", json!({"n": 1})).await;
    world.save(&world.second_couch, "away", json!({"pvt_type": CDR})).await;
    assert_eq!(world.gateway.get("home").await.status, 200);
    world.local.close(&format!("/{}/", world.gateway.couch.plans));
    for id in ["home", "away"] {
        assert_eq!(world.gateway.get(id).await.status, 200, "{id}");
    }
    let (status, _, reason) = refusal(&world.gateway.put("home", "a.mp3", &rev, b"x").await);
    assert!(status == 504 && reason.contains("plans"), "{status} {reason}");
    assert_eq!(world.counts()[0], 0);
    world.local.open();
    world.gateway.stop().await;
}
