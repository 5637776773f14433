//! Plan changes while the gateway runs: traffic moves, and unused sockets are closed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::connections::{FIRST, SECOND, connection};
use stowage_testing::gateway::{Running, Setup};
use stowage_testing::upstream::{Connection, Upstream, soon};

/// Polls until the condition holds.
pub async fn within_a_second(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: not in time");
        tokio::task::yield_now().await;
    }
}

/// A plan with month databases on a server.
fn plan(server: &Upstream) -> Value {
    json!({"pvt_type": "storage", "connections": {FIRST: connection(&server.url())},
        "plan": {"modb": {"connection": FIRST}}})
}

/// Sends a GET through the gateway, and responds as the server; returns the server's connection.
async fn get(gateway: &Running, server: &mut Upstream) -> Connection {
    get_at(gateway, server, &format!("/{}/doc", gateway.path())).await
}

async fn get_at(gateway: &Running, server: &mut Upstream, target: &str) -> Connection {
    let asking = gateway.request("GET", target, &[], b"");
    let answering = async {
        let (mut connection, seen) = server.request().await;
        assert_eq!(seen.target(), target);
        connection.answer("200 OK", "{}").await;
        connection
    };
    let (answer, connection) = tokio::join!(asking, answering);
    assert_eq!(answer.status, 200, "{answer:?}");
    connection
}

async fn closed(connection: Connection) {
    assert_eq!(soon("the gateway to close", connection.closed()).await, b"", "nothing more was sent");
}

#[tokio::test]
async fn a_connection_is_opened_on_first_use_and_used_again() {
    let gateway = Setup::default().start().await;
    let mut server = Upstream::start().await;
    gateway.save_plan(&gateway.account.clone(), plan(&server)).await;
    gateway.request("GET", "/_all_dbs", &[], b"").await;
    assert!(!server.has_more(), "that server was not asked");
    let first = get(&gateway, &mut server).await;
    server.keep(first);
    let again = get(&gateway, &mut server).await;
    assert!(!server.has_more(), "the second request came on the first one's connection");
    drop(again);
    gateway.stop().await;
}

#[tokio::test]
async fn traffic_moves_with_the_plan_and_the_old_connection_is_closed() {
    let gateway = Setup::default().start().await;
    let (mut old, mut new) = (Upstream::start().await, Upstream::start().await);
    gateway.save_plan(&gateway.account.clone(), plan(&old)).await;
    let first = get(&gateway, &mut old).await;
    gateway.save_plan(&gateway.account.clone(), plan(&new)).await;
    closed(first).await;
    let second = get(&gateway, &mut new).await;
    // A change elsewhere in the plan does not close the connection.
    let mut other = plan(&new);
    other["plan"]["yodb"] = json!({"connection": FIRST});
    other["connections"][SECOND] = connection(&old.url());
    gateway.save_plan(&gateway.account.clone(), other).await;
    new.keep(second);
    let second = get(&gateway, &mut new).await;
    assert!(!new.has_more(), "the connection is the one that was open");
    // Defined, but no longer used.
    let mut unused = plan(&new);
    unused["plan"] = json!({});
    gateway.save_plan(&gateway.account.clone(), unused).await;
    closed(second).await;
    gateway.make_database().await;
    assert_eq!(gateway.get("").await.status, 200, "local again");
    assert!(!new.has_more() && !old.has_more());
    gateway.stop().await;
}

#[tokio::test]
async fn settings_that_change_make_it_another_connection() {
    let gateway = Setup::default().set("couchdb.connection_credentials", "true").start().await;
    let mut server = Upstream::start().await;
    let mut changed = plan(&server);
    gateway.save_plan(&gateway.account.clone(), changed.clone()).await;
    let first = get(&gateway, &mut server).await;
    changed["connections"][FIRST]["settings"]["credentials"] = json!({"username": "u", "password": "p"});
    gateway.save_plan(&gateway.account.clone(), changed).await;
    closed(first).await;
    drop(get(&gateway, &mut server).await);
    gateway.stop().await;
}

#[tokio::test]
async fn a_deleted_plan_closes_its_connection() {
    let gateway = Setup::default().start().await;
    let mut server = Upstream::start().await;
    gateway.save_plan(&gateway.account.clone(), plan(&server)).await;
    let first = get(&gateway, &mut server).await;
    let target = format!("/{}/{}", gateway.couch.plans, gateway.account);
    let old = crate::connections::parsed(&gateway.couch.request("GET", &target, "", b"").await);
    let target = format!("{target}?rev={}", old["_rev"].as_str().unwrap());
    // The deletion is only noticed through the feed.
    assert_eq!(gateway.couch.request("DELETE", &target, "", b"").await.status, 200);
    closed(first).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_systems_a_resellers_and_a_users_plan_too() {
    for whose in ["system", "reseller", "user"] {
        let gateway = Setup::default().start().await;
        let mut server = Upstream::start().await;
        let id = format!("{whose}_{}", gateway.account);
        let mut named = plan(&server);
        match whose {
            "reseller" => {
                named["pvt_type"] = json!("storage_plan");
                let own = json!({"pvt_type": "storage", "pvt_plan_id": id});
                gateway.save_plan(&gateway.account.clone(), own).await;
            }
            "user" => named["pvt_account_id"] = json!(gateway.account),
            _ => {}
        }
        let id = if whose == "system" { "system".to_owned() } else { id };
        gateway.save_plan(&id, named.clone()).await;
        let connection =
            if whose == "user" { users(&gateway, &mut server).await } else { get(&gateway, &mut server).await };
        named["plan"] = json!({});
        gateway.save_plan(&id, named).await;
        closed(connection).await;
        gateway.stop().await;
    }
}

/// Requests a document for which only the user's plan names the server.
async fn users(gateway: &Running, server: &mut Upstream) -> Connection {
    gateway.make_database().await;
    let asking = async {
        loop {
            // Until the feed has delivered the plan's owner.
            let answer = gateway.get("doc").await;
            if answer.status == 200 {
                return;
            }
        }
    };
    let answering = async {
        let (mut connection, _) = server.request().await;
        connection.answer("200 OK", "{}").await;
        server.keep(connection);
        let (mut connection, _) = server.request().await;
        connection.answer("200 OK", "{}").await;
        connection
    };
    tokio::join!(asking, answering).1
}

#[tokio::test]
async fn it_stays_open_while_another_account_names_it() {
    let gateway = Setup::default().start().await;
    let mut server = Upstream::start().await;
    let other = uuid::Uuid::new_v4().simple().to_string();
    let id = stowage::database::AccountId::parse(&other).unwrap();
    let path = stowage::database::month_database(&id, std::time::SystemTime::now()).replace('/', "%2F");
    for account in [&gateway.account, &other] {
        gateway.save_plan(account, plan(&server)).await;
    }
    let first = get(&gateway, &mut server).await;
    server.keep(first);
    let target = format!("/{path}/doc");
    let connection = get_at(&gateway, &mut server, &target).await;
    let gone = json!({"pvt_type": "storage"});
    gateway.save_plan(&gateway.account.clone(), gone.clone()).await;
    server.keep(connection);
    let connection = get_at(&gateway, &mut server, &target).await;
    assert!(!server.has_more(), "still the same socket");
    gateway.save_plan(&other, gone).await;
    closed(connection).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_that_is_on_its_way_ends_as_it_would_have() {
    let gateway = Setup::default().start().await;
    let mut server = Upstream::start().await;
    gateway.save_plan(&gateway.account.clone(), plan(&server)).await;
    let asking = gateway.get("doc");
    let answering = async {
        let (mut connection, _) = server.request().await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234").await;
        gateway.save_plan(&gateway.account.clone(), json!({"pvt_type": "storage"})).await;
        // The pool is gone once a request succeeds that is only possible without the plan.
        gateway.make_database().await;
        assert_eq!(gateway.get("").await.status, 200);
        connection.send("56789").await;
        connection
    };
    let (answer, connection) = tokio::join!(asking, answering);
    assert_eq!((answer.status, answer.body.as_slice(), answer.complete), (200, &b"0123456789"[..], true));
    closed(connection).await;
    gateway.stop().await;
}

#[tokio::test]
async fn while_no_plan_speaks_of_it_none_is_asked_for() {
    let plans = format!("plans_{}", uuid::Uuid::new_v4().simple());
    let mut world = crate::connections::World::start_with(Setup::default().set("plans.database", &plans)).await;
    world.local.wait_for(&format!("GET /{plans}/_changes")).await;
    let target = format!("/{}", world.gateway.path());
    // The response to the feed may still be in flight.
    within_a_second("no plans", async || world.gateway.app.gateway.plans.all_is_local()).await;
    let documents =
        |world: &crate::connections::World| world.local.count(&format!("GET /{plans}/")) - feeds(world, &plans);
    assert_eq!(world.gateway.request("PUT", &target, &[], b"").await.status, 201);
    assert_eq!(world.gateway.get("doc").await.status, 404);
    assert_eq!(world.gateway.get("_all_docs").await.status, 200);
    assert_eq!(documents(&world), 0);
    world.gateway.couch.plans = plans.clone();
    world.gateway.couch.request("PUT", &format!("/{plans}"), "", b"").await;
    world.plan(json!({"plan": {"modb": {"connection": FIRST}}})).await;
    assert_eq!(world.gateway.get("").await.status, 404, "at once");
    assert_eq!(world.counts()[1], 1);
    assert!(documents(&world) > 0);
    world.gateway.stop().await;
}

fn feeds(world: &crate::connections::World, plans: &str) -> usize {
    world.local.count(&format!("GET /{plans}/_changes"))
}
