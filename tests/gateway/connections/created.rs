//! Databases created and deleted through the gateway.

use serde_json::{Value, json};

use crate::connections::{FIRST, SECOND, World, connection, refusal};
use stowage_testing::recorder::{Answer, Recorder};

#[tokio::test]
async fn the_options_of_the_plan_are_asked_for_and_the_clients_own_win() {
    let world = World::start().await;
    let options = json!({"q": 1, "n": "3", "partitioned": true, "x y": "a&b=c", "no": null});
    world.plan(json!({"plan": {"modb": {"connection": FIRST, "database": {"create_options": options}}}})).await;
    let path = world.gateway.path();
    let cases = [
        ("", "?q=1&n=3&partitioned=true&x%20y=a%26b%3Dc"),
        ("/?q=8", "/?q=8&n=3&partitioned=true&x%20y=a%26b%3Dc"),
        ("?%71=8&n=&partitioned=false&x+y=1", "?%71=8&n=&partitioned=false&x+y=1"),
        ("?", "?q=1&n=3&partitioned=true&x%20y=a%26b%3Dc"),
    ];
    for (rest, expected) in cases {
        world.gateway.request("PUT", &format!("/{path}{rest}"), &[], b"").await;
        assert_eq!(world.first.seen().last().unwrap(), &format!("PUT /{path}{expected}"));
    }
    // Other requests are unchanged.
    for (method, rest) in [("GET", "?a=1"), ("PUT", "/doc?a=1"), ("POST", "?batch=ok"), ("DELETE", "")] {
        world.gateway.request(method, &format!("/{path}{rest}"), &[], b"").await;
        assert_eq!(world.first.seen().last().unwrap(), &format!("{method} /{path}{rest}"));
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn options_hold_for_local_databases_too_and_nothing_is_added_without_them() {
    let world = World::start().await;
    let path = world.gateway.path();
    world.gateway.followed().await;
    world.gateway.request("PUT", &format!("/{path}"), &[], b"").await;
    assert_eq!(world.local.seen().last().unwrap(), &format!("PUT /{path}"));
    world.plan(json!({"plan": {"modb": {"database": {"create_options": {"q": 1}}}}})).await;
    world.gateway.request("PUT", &format!("/{path}"), &[], b"").await;
    assert_eq!(world.local.count(&format!("PUT /{path}?q=1")), 1);
    let wrong = json!({"plan": {"modb": {"database": {"create_options": {"q": ["canary"]}}}}});
    world.plan(wrong).await;
    let (status, _, reason) = refusal(&world.gateway.request("PUT", &format!("/{path}"), &[], b"").await);
    assert!(status == 502 && reason.contains("plan.modb.database.create_options.q"), "{status} {reason}");
    assert!(!reason.contains("canary"));
    assert_eq!(world.gateway.get("").await.status, 200, "what is there already is not the matter");
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_database_is_made_and_deleted_wherever_its_documents_may_be() {
    let world = World::start().await;
    world.plan_with_types(false).await;
    let target = format!("/{}", world.gateway.path());
    for (method, status, after) in [("PUT", 201, 200), ("PUT", 412, 200), ("DELETE", 200, 404), ("DELETE", 404, 404)] {
        assert_eq!(world.gateway.request(method, &target, &[], b"").await.status, status, "{method}");
        for couch in [&world.first_couch, &world.second_couch] {
            assert_eq!(couch.request("GET", &target, "", b"").await.status, after, "{method}");
        }
    }
    assert_eq!(world.counts()[0], 0);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_refusal_of_another_server_leaves_the_class_as_it_was() {
    let world = World::start().await;
    let other = Recorder::start().await;
    other.always(Answer::Status(401, r#"{"error":"unauthorized","reason":"not here"}"#));
    let mut connections: Value = world.connections();
    connections[SECOND] = connection(&other.url(""));
    let types = json!({"cdr": {"connection": SECOND}});
    world.plan(json!({"connections": connections, "plan": {"modb": {"connection": FIRST, "types": types}}})).await;
    let target = format!("/{}", world.gateway.path());
    let answer = world.gateway.request("PUT", &target, &[], b"").await;
    assert_eq!(refusal(&answer), (401, "unauthorized".into(), "not here".into()));
    assert_eq!(world.counts(), [0, 0, 0]);
    world.gateway.stop().await;
}
