//! A type's connection: its documents and their attachments are there, all others remain with the class.

use serde_json::{Value, json};

use crate::connections::{CDR, World, refusal};
use stowage_testing::gateway::{authorization, exchange, json as parsed, rev as rev_of};

/// Creates one document on the class's server, `home`, and one on the type's, `away`; returns their revisions.
async fn start(stores: bool) -> (World, String, String) {
    let world = World::start().await;
    world.plan_with_types(stores).await;
    world.database_at(&world.first_couch).await;
    world.database_at(&world.second_couch).await;
    let home = world.save(&world.first_couch, "home", json!({"n": 1})).await;
    let away = world.save(&world.second_couch, "away", json!({"pvt_type": CDR, "n": 2})).await;
    (world, home, away)
}

#[tokio::test]
async fn a_document_is_read_at_home_first_and_then_where_its_type_is() {
    let (world, home, away) = start(false).await;
    assert_eq!(parsed(&world.gateway.get("home").await)["n"], 1);
    assert_eq!(world.counts(), [0, 1, 0], "found at home, and no other server is asked");
    for (method, rest) in [
        ("GET", "away".to_owned()),
        ("HEAD", "away".to_owned()),
        ("GET", format!("away?rev={away}")),
        ("GET", format!("away?rev={away}&revs=true&conflicts=true")),
        ("GET", "away?open_revs=all".to_owned()),
        ("GET", format!("away?open_revs=%5B%22{away}%22%5D")),
        ("GET", format!("home?rev={home}")),
        ("GET", format!("home?open_revs=%5B%22{home}%22%5D")),
        ("GET", "none".to_owned()),
        ("GET", "away?rev=7-none".to_owned()),
    ] {
        let target = format!("/{}/{rest}", world.gateway.path());
        let headers = [("Accept", "application/json")];
        let ours = world.gateway.request(method, &target, &headers, b"").await;
        let couch = if rest.starts_with("home") { &world.first_couch } else { &world.second_couch };
        let address = couch.url.trim_start_matches("http://").parse().unwrap();
        let mut all = vec![authorization(&couch.admin)];
        all.push(("Accept".to_owned(), "application/json".to_owned()));
        let theirs = exchange(address, method, &target, &all, b"").await;
        assert_eq!((ours.status, &ours.body), (theirs.status, &theirs.body), "{method} {rest}: {ours:?} {theirs:?}");
        assert_eq!(ours.header("etag"), theirs.header("etag"), "{method} {rest}");
    }
    assert_eq!(world.counts()[0], 0);
    world.gateway.stop().await;
}

#[tokio::test]
async fn lists_and_views_stay_with_the_class() {
    let (world, ..) = start(false).await;
    let before = world.counts();
    for rest in ["_all_docs", "_changes", "_design/d/_view/v", ""] {
        world.gateway.get(rest).await;
    }
    let rows = world.gateway.get("_all_docs").await;
    assert_eq!(rows.status, 200, "{rows:?} {}", rows.text());
    let rows = parsed(&rows);
    assert_eq!((rows["rows"].as_array().unwrap().len(), &rows["rows"][0]["id"]), (1, &json!("home")));
    assert_eq!(world.counts(), [0, before[1] + 5, before[2]]);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_document_is_deleted_and_copied_where_it_is() {
    let (world, _, away) = start(false).await;
    let copied = world.gateway.copy("away", "copy").await;
    if copied.status != 405 && copied.status != 501 {
        assert_eq!(copied.status, 201, "{copied:?}");
        assert_eq!(parsed(&world.gateway.get("copy").await)["n"], 2);
        world.second_couch.request("GET", &format!("/{}/copy", world.gateway.path()), "", b"").await.expect_status(200);
    }
    world.gateway.delete("away?rev=1-none").await.expect_status(409);
    let deleted = world.gateway.delete(&format!("away?rev={away}")).await.expect_status(200);
    assert_eq!(refusal(&world.gateway.get("away").await), (404, "not_found".into(), "deleted".into()));
    let tombstone = world.gateway.get(&format!("away?rev={}", rev_of(&deleted))).await;
    assert_eq!(parsed(&tombstone)["_deleted"], true);
    world.gateway.stop().await;
}

#[tokio::test]
async fn attachments_that_couchdb_keeps_are_where_their_document_is() {
    let (world, home, away) = start(false).await;
    for (id, rev) in [("home", home), ("away", away)] {
        let put = world.gateway.attach(id, "a.mp3", &rev, b"0123456789").await;
        assert_eq!(world.gateway.put(id, "a.mp3", &rev, b"x").await.status, 409, "{id}");
        let path = format!("/{}/{id}/a.mp3", world.gateway.path());
        for (method, range, expected) in [
            ("GET", "", (200, &b"0123456789"[..])),
            ("GET", "bytes=2-5", (206, &b"2345"[..])),
            ("HEAD", "", (200, &b""[..])),
        ] {
            let got = world.gateway.request(method, &path, &[("Range", range)], b"").await;
            assert_eq!((got.status, got.body.as_slice()), expected, "{id} {method} {range}");
        }
        let couch = if id == "home" { &world.first_couch } else { &world.second_couch };
        let there = parsed(&couch.request("GET", path.trim_end_matches("/a.mp3"), "", b"").await);
        assert_eq!(there["_attachments"]["a.mp3"]["length"], 10, "{there}");
        let target = format!("{path}?rev={}", rev_of(&put));
        let deleted = world.gateway.request("DELETE", &target, &[], b"").await;
        assert_eq!(deleted.status, 200, "{id}");
        assert_eq!(world.gateway.get(&format!("{id}/a.mp3")).await.status, 404, "{id}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn pointers_are_where_their_document_is() {
    let (world, home, away) = start(true).await;
    for (id, rev, couch) in [("home", home, &world.first_couch), ("away", away, &world.second_couch)] {
        let put = world.gateway.attach(id, "a.mp3", &rev, b"0123456789").await;
        assert_eq!(world.gateway.stored().len(), 1, "{id}");
        let there = couch.request("GET", &format!("/{}/{id}", world.gateway.path()), "", b"").await;
        assert!(parsed(&there)["pvt_attachments"]["a.mp3"].is_object(), "{there:?}");
        let path = format!("/{}/{id}/a.mp3", world.gateway.path());
        let got = world.gateway.request("GET", &path, &[("Range", "bytes=2-5")], b"").await;
        assert_eq!((got.status, got.body.as_slice()), (206, &b"2345"[..]), "{id}");
        let head = world.gateway.request("HEAD", &path, &[], b"").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")), "{id}");
        let target = format!("{path}?rev={}", rev_of(&put));
        let deleted = world.gateway.request("DELETE", &target, &[], b"").await;
        assert_eq!(deleted.status, 200, "{id}");
        world.gateway.settled().await;
        assert_eq!(world.gateway.stored(), [""; 0], "{id}");
    }
    assert_eq!(world.counts()[0], 0);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_users_plan_may_send_his_documents_elsewhere() {
    let world = World::start().await;
    world.gateway.make_database().await;
    world.database_at(&world.second_couch).await;
    let user = format!("user_{}", world.gateway.account);
    let plan = json!({"pvt_type": "storage", "pvt_account_id": world.gateway.account, "connections": world.connections(),
        "plan": {"modb": {"connection": crate::connections::SECOND}}});
    // The feed delivers the plan's owner.
    world.gateway.save_plan(&user, plan).await;
    world.local.wait_for(&format!("GET /{}/_changes", world.gateway.couch.plans)).await;
    let rev = world.save(&world.second_couch, "his", json!({"owner_id": user, "n": 7})).await;
    crate::connections::changes::within_a_second("his plan", async || world.gateway.get("his").await.status == 200)
        .await;
    world.gateway.attach("his", "a.mp3", &rev, b"x").await;
    let there = world.second_couch.request("GET", &format!("/{}/his", world.gateway.path()), "", b"").await;
    assert_ne!(parsed(&there)["_attachments"]["a.mp3"], Value::Null);
    world.gateway.stop().await;
}
