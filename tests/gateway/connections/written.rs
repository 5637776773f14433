//! Documents written through the gateway: new ones go to their type's server, changed ones stay where they are.

use serde_json::{Value, json};

use crate::connections::{CDR, FIRST, SECOND, World};
use stowage_testing::gateway::{Couch, JSON, STORAGE, json as parsed, rev as rev_of};

async fn start(stores: bool) -> World {
    let world = World::start().await;
    world.plan_with_types(stores).await;
    world.database_at(&world.first_couch).await;
    world.database_at(&world.second_couch).await;
    world
}

impl World {
    /// Returns a document on a server; null if it does not exist.
    async fn there(&self, couch: &Couch, id: &str) -> Value {
        let answer = couch.request("GET", &format!("/{}/{id}", self.gateway.path()), "", b"").await;
        if answer.status == 200 { parsed(&answer) } else { Value::Null }
    }

    /// Returns whether the class's server has a document, and whether the type's has it.
    async fn where_is(&self, id: &str) -> [bool; 2] {
        [self.there(&self.first_couch, id).await.is_object(), self.there(&self.second_couch, id).await.is_object()]
    }

    /// Posts JSON to the month database.
    async fn post(&self, rest: &str, body: Value) -> Value {
        let target = format!("/{}{rest}", self.gateway.path());
        let answer =
            self.gateway.request("POST", &target, &[JSON], body.to_string().as_bytes()).await.expect_status(201);
        parsed(&answer)
    }
}

#[tokio::test]
async fn a_new_document_goes_where_its_type_belongs() {
    for stores in [false, true] {
        let world = start(stores).await;
        world.gateway.document("home", json!({"pvt_type": "fax"})).await;
        world.gateway.document("none", json!({})).await;
        world.gateway.document("away", json!({"pvt_type": CDR, "n": 1.0})).await;
        world.post("", json!({"_id": "posted", "pvt_type": CDR})).await;
        for (id, expected) in
            [("home", [true, false]), ("none", [true, false]), ("away", [false, true]), ("posted", [false, true])]
        {
            assert_eq!(world.where_is(id).await, expected, "{id}");
            assert_eq!(world.gateway.get(id).await.status, 200, "{id}");
        }
        assert_eq!(world.counts()[0], 0);
        world.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_changed_document_stays_where_it_is() {
    let world = start(false).await;
    // Written before the plan included the type.
    let old = world.save(&world.first_couch, "old", json!({"pvt_type": CDR, "n": 1})).await;
    let away = world.gateway.document("away", json!({"pvt_type": CDR, "n": 1})).await;
    for (id, rev, expected) in [("old", old, [true, false]), ("away", away, [false, true])] {
        let rev = world.gateway.document(id, json!({"_rev": rev, "pvt_type": CDR, "n": 2})).await;
        assert_eq!(world.where_is(id).await, expected, "{id}");
        assert_eq!(parsed(&world.gateway.get(id).await)["n"], 2);
        // A tombstone has no type.
        let tombstone = world.gateway.document(id, json!({"_rev": rev, "_deleted": true})).await;
        assert!(tombstone.starts_with("3-"), "{tombstone}");
        assert_eq!(world.gateway.get(id).await.status, 404);
        assert_eq!(world.where_is(id).await, [false, false]);
    }
    assert_eq!(world.gateway.get("_all_docs").await.status, 200);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_bulk_is_split_and_answered_in_its_order() {
    let world = start(false).await;
    let away = world.gateway.document("away", json!({"pvt_type": CDR, "n": 1})).await;
    let documents = json!([
        {"_id": "a", "pvt_type": CDR},
        {"_id": "b", "pvt_type": "fax"},
        {"_id": "away", "_rev": away, "pvt_type": CDR, "n": 2},
        {"_id": "away", "_rev": "1-none", "pvt_type": CDR},
        {"_id": "c", "pvt_type": CDR},
        {"_id": "d"},
    ]);
    let rows = world.post("/_bulk_docs", json!({"docs": documents})).await;
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "away", "away", "c", "d"], "{rows}");
    let failed: Vec<_> = rows.as_array().unwrap().iter().filter(|row| row["ok"] != true).collect();
    assert_eq!(failed.len(), 1, "{rows}");
    for (id, expected) in [
        ("a", [false, true]),
        ("b", [true, false]),
        ("c", [false, true]),
        ("d", [true, false]),
        ("away", [false, true]),
    ] {
        assert_eq!(world.where_is(id).await, expected, "{id}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn inline_attachments_go_along() {
    for stores in [false, true] {
        let world = start(stores).await;
        let inline = json!({"a.txt": {"content_type": "text/plain", "data": "MDEyMzQ1Njc4OQ=="}});
        world.gateway.document("home", json!({"_attachments": inline})).await;
        let rev = world.gateway.document("away", json!({"pvt_type": CDR, "_attachments": inline})).await;
        for (id, couch) in [("home", &world.first_couch), ("away", &world.second_couch)] {
            let there = world.there(couch, id).await;
            let key = if stores { "pvt_attachments" } else { "_attachments" };
            assert_eq!(there[key]["a.txt"]["length"], 10, "{there}");
            assert_eq!(world.gateway.get(&format!("{id}/a.txt")).await.body, b"0123456789");
        }
        assert_eq!(world.gateway.stored().len(), if stores { 2 } else { 0 });
        let put = world.gateway.attach("away", "b.mp3", &rev, b"x").await;
        assert!(rev_of(&put).starts_with("2-"));
        assert_eq!(world.counts()[0], 0);
        world.gateway.stop().await;
    }
}

#[tokio::test]
async fn an_owners_plan_says_where_his_documents_are_written() {
    let world = World::start().await;
    world.gateway.make_database().await;
    world.database_at(&world.second_couch).await;
    let user = format!("user_{}", world.gateway.account);
    let plan = json!({"pvt_type": "storage", "pvt_account_id": world.gateway.account, "connections": world.connections(),
        "plan": {"modb": {"types": {CDR: {"connection": SECOND}}}}});
    world.gateway.save_plan(&user, plan).await;
    crate::connections::changes::within_a_second("his plan", async || {
        let account = stowage::database::AccountId::parse(&world.gateway.account);
        !world.gateway.app.gateway.plans.users_with_connections(account.as_ref()).is_empty()
    })
    .await;
    world.gateway.document("his", json!({"owner_id": user, "pvt_type": CDR})).await;
    world.gateway.document("others", json!({"owner_id": "other", "pvt_type": CDR})).await;
    assert!(world.there(&world.second_couch, "his").await.is_object());
    assert!(world.there(&world.second_couch, "others").await.is_null());
    assert_eq!(world.gateway.get("his").await.status, 200);
    assert_eq!(world.gateway.get("others").await.status, 200);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_type_whose_server_is_down_is_not_written_elsewhere() {
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut connections = world.connections();
    connections[SECOND] = crate::connections::connection(&gone);
    let storage = json!({STORAGE: {"handler": "file", "settings": {"directory": "d"}}});
    let inline = json!({"a.txt": {"content_type": "text/plain", "data": "eA=="}});
    world.database_at(&world.first_couch).await;
    for (kind, status, id) in [(CDR, 504, SECOND), ("odd", 502, "elsewhere")] {
        let types = json!({kind: {"connection": id}});
        world
            .plan(json!({"connections": connections, "attachments": storage,
                "plan": {"modb": {"connection": FIRST, "attachments": {"handler": STORAGE}, "types": types}}}))
            .await;
        let body = json!({"pvt_type": kind, "_attachments": inline}).to_string();
        let answer = world.gateway.ask("PUT", "new", &[JSON], body.as_bytes()).await;
        let (found, _, reason) = crate::connections::refusal(&answer);
        assert!(found == status && reason.contains(id), "{kind}: {found} {reason}");
    }
    world.gateway.settled().await;
    assert_eq!(world.gateway.stored(), [""; 0]);
    assert!(world.there(&world.first_couch, "new").await.is_null());
    world.gateway.stop().await;
}
