//! Plans that CouchDB does not give.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::json;
use stowage::database::AccountId;
use stowage_testing::gateway::{Running, Setup, json as parsed};
use stowage_testing::upstream::until;
use tokio::sync::Notify;

use crate::faults::gate::{Act, answer};
use crate::faults::world::World;

/// Returns the start of the targets of requests for plans.
fn plans(world: &World) -> String {
    format!("/{}/", world.gateway.couch.plans)
}

/// Returns whether the plan of the gateway's account is known.
async fn is_known(gateway: &Running) -> bool {
    let account = AccountId::parse(&gateway.account);
    let plan = gateway.app.gateway.plans.effective(account.as_ref(), None).await;
    plan.is_ok_and(|plan| !plan.sources().is_empty())
}

/// A proxy in front of CouchDB may answer 404 for a moment: the plan is not gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_that_is_not_couchdbs_leaves_the_known_plan() {
    let world = World::with(Setup::default().set("plans.refresh", "1ms")).await;
    world.with_attachment("before", b"bytes").await;
    world.store.rule("GET", &plans(&world), 1000, answer(404, "not here"));
    world.with_attachment("doc", b"bytes").await;
    assert!(world.whole_or_nothing("doc", "call.mp3", b"bytes").await, "it is in the storage");
    world.store.relent();
    world.audit_and_stop(&["before", "doc"]).await;
}

/// The changes feed is not answered, so that only the age of the cached plan makes the gateway read it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_was_not_read_once_is_soon_read_again() {
    let world = World::start().await;
    let feed = format!("{}_changes", plans(&world));
    world.store.rule("GET", &feed, 1000, Act::Hold(Arc::new(Notify::new())));
    world.store.rule("GET", &format!("{}{} ", plans(&world), world.gateway.account), 1, answer(500, "x"));
    let setup = Setup::default().set("timeouts.response_head", "60s");
    let other = world.gateway.beside(setup.upstream(&world.store.url())).await;
    assert!(!is_known(&other).await);
    until("the plan is read again", async || is_known(&other).await).await;
    other.stop().await;
    world.stop().await;
}

/// A request uses after a second what it believes. Work that can wait must know whether there is a plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_plan_that_is_being_read_again_is_not_known_to_be_absent() {
    let setup = Setup::default().set("timeouts.response_head", "3s").set("plans.refresh", "1ms");
    let world = World::unplanned(setup).await;
    world.gateway.followed().await;
    assert!(!is_known(&world.gateway).await);
    // This takes longer than the absence is believed.
    for _ in 0..5 {
        world.gateway.make_database().await;
    }
    let read = format!("{}{} ", plans(&world), world.gateway.account);
    world.store.rule("GET", &read, 1000, Act::Hold(Arc::new(Notify::new())));
    let account = AccountId::parse(&world.gateway.account);
    assert!(world.gateway.app.gateway.plans.all_read(account.as_ref(), None).await.is_err());
    world.store.relent();
    world.stop().await;
}

/// The feed has told that the plan is gone, and the first reading fails: the second one counts, not the cached plan.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_has_changed_is_waited_for_also_after_a_reading_that_failed() {
    let world = World::start().await;
    let (gateway, read) = (&world.gateway, format!("{}{} ", plans(&world), world.gateway.account));
    until("the plan is known", async || is_known(gateway).await).await;
    gateway.followed().await;
    let readings = || world.store.counted("GET", &read);
    let (before, gate) = (readings(), Arc::new(Notify::new()));
    world.store.rule("GET", &read, 1, answer(500, "x"));
    world.store.rule("GET", &read, 1, Act::Hold(Arc::clone(&gate)));
    let target = format!("{}{}", plans(&world), gateway.account);
    let rev = parsed(&gateway.couch.request("GET", &target, "", b"").await)["_rev"].clone();
    let deleted = format!("{target}?rev={}", rev.as_str().expect("a revision"));
    gateway.couch.request("DELETE", &deleted, "", b"").await.expect_status(200);
    let known = Cell::new(true);
    let read_again = until("the plan is read twice", async || {
        known.set(is_known(gateway).await);
        readings() >= before + 2
    });
    tokio::join!(read_again, async {
        world.store.struck(2).await;
        gate.notify_one();
    });
    assert!(!known.get());
    world.stop().await;
}

/// As after an hour in which the account was idle: the feed has told of the plan, and it is not cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_is_known_to_exist_is_not_taken_for_absent() {
    let world = World::start().await;
    let read = format!("{}{} ", plans(&world), world.gateway.account);
    world.store.rule("GET", &read, 1000, answer(401, r#"{"error":"unauthorized","reason":"wrong password"}"#));
    let put = world.gateway.put("doc", "call.mp3", "", b"bytes").await.expect_status(504);
    assert!(put.text().contains("plans"), "{put:?}");
    assert!(world.stored("doc").await.is_null(), "nothing is stored in CouchDB instead");
    world.store.relent();
    until("the plan is read again", async || is_known(&world.gateway).await).await;
    world.with_attachment("doc", b"bytes").await;
    world.audit_and_stop(&["doc"]).await;
}

/// The plan is saved while the answer that there is none is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_404_does_not_take_back_that_a_plan_exists() {
    let world = World::unplanned(Setup::default()).await;
    world.gateway.followed().await;
    let read = format!("{}{} ", plans(&world), world.gateway.account);
    let gate = Arc::new(Notify::new());
    world.store.rule("GET", &read, 1, Act::Hold(Arc::clone(&gate)));
    world.store.rule("GET", &read, 1000, answer(500, "x"));
    let account = AccountId::parse(&world.gateway.account);
    let all = &world.gateway.app.gateway.plans;
    let (before, ()) = tokio::join!(all.effective(account.as_ref(), None), async {
        world.store.struck(1).await;
        all.document_changed(&world.gateway.account, Some(&json!({ "pvt_type": "storage" })));
        gate.notify_one();
    });
    assert!(before.is_ok(), "it was asked for before");
    assert!(all.effective(account.as_ref(), None).await.is_err(), "it exists, and cannot be read");
    world.stop().await;
}
