//! Concurrent changes: one wins, the others get a conflict.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::api::{MINE, Running, ask, data, envelope, file_plan, of, setup, stored};
use stowage_testing::gateway::Couch;
use stowage_testing::spy::Spy;
use stowage_testing::upstream::until;

/// Starts a gateway whose CouchDB is behind a spy.
async fn spied() -> (Spy, Running) {
    let couch = Couch::start().await;
    let spy = Spy::start(&couch.url).await;
    let gateway = setup().upstream(&spy.url()).start_over(couch).await;
    (spy, gateway)
}

/// Sends requests that have all read the document before the first of them writes it. Returns the statuses.
async fn race(spy: &Spy, gateway: &Running, method: &str, bodies: &[Value]) -> Vec<u16> {
    // The plan below is read after the document itself.
    let below = format!("/{}/system", gateway.couch.plans);
    let before = spy.count(&format!("GET {below}"));
    spy.hold(&below);
    let path = of(MINE);
    let requests = join_all(bodies.iter().map(|body| ask(gateway, method, &path, Some(body))));
    let release = async {
        until("all have read it", async || spy.count(&format!("GET {below}")) >= before + bodies.len()).await;
        spy.release();
    };
    let (answers, ()) = tokio::join!(requests, release);
    for answer in answers.iter().filter(|answer| answer.status >= 400) {
        assert_eq!(envelope(answer)["message"], "datastore_conflict", "{}", answer.text());
        assert_eq!(envelope(answer)["data"]["message"], "conflicting documents");
    }
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn of_several_writers_one_wins() {
    let (spy, gateway) = spied().await;
    let plans = [file_plan("a"), file_plan("b"), file_plan("c")];
    assert_eq!(race(&spy, &gateway, "PUT", &plans).await, [201, 409, 409]);
    let patches = [json!({"ui_metadata": {"a": 1}}), json!({"ui_metadata": {"b": 1}})];
    assert_eq!(race(&spy, &gateway, "PATCH", &patches).await, [200, 409]);
    let kept = data(&ask(&gateway, "GET", &of(MINE), None).await);
    assert_eq!(kept["ui_metadata"].as_object().map(|members| members.len()), Some(1), "no other change is mixed in");
    assert_eq!(race(&spy, &gateway, "POST", &plans).await, [200, 409, 409]);
    assert_eq!(stored(&gateway, MINE).await["_rev"].as_str().map(|rev| rev.starts_with("3-")), Some(true));
    gateway.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_removed_meanwhile_is_not_brought_back() {
    let (spy, gateway) = spied().await;
    assert_eq!(ask(&gateway, "PUT", &of(MINE), Some(&file_plan("a"))).await.status, 201);
    let below = format!("/{}/system", gateway.couch.plans);
    let before = spy.count(&format!("GET {below}"));
    spy.hold(&below);
    let path = of(MINE);
    let plan = file_plan("b");
    let remove = async {
        until("it has read it", async || spy.count(&format!("GET {below}")) > before).await;
        let removed = ask(&gateway, "DELETE", &path, None).await;
        spy.release();
        removed.status
    };
    let (replaced, removed) = tokio::join!(ask(&gateway, "POST", &path, Some(&plan)), remove);
    assert_eq!((removed, replaced.status), (200, 409));
    assert_eq!(ask(&gateway, "GET", &path, None).await.status, 404);
    gateway.stop().await;
}
