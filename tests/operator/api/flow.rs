//! Plans are saved while attachments are stored: the next request uses the saved plan.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::api::{Running, SECOND, ask, file_plan, of, setup, start};
use stowage_testing::gateway::{Couch, STORAGE};
use stowage_testing::spy::Spy;

/// PUTs an attachment of a new document; returns its folder, or `None` if CouchDB has it.
async fn goes_to(gateway: &Running, id: &str) -> Option<String> {
    gateway.attached(id, json!({"pvt_type": "mailbox_message"}), "call.mp3", b"bytes").await;
    let found = gateway.stored().into_iter().find(|stored| stored.contains(id));
    found.map(|stored| stored.split('/').next().unwrap_or_default().to_owned())
}

/// Returns a plan with two storages that uses the first.
fn two_storages() -> Value {
    let mut plan = file_plan("one");
    plan["attachments"][SECOND] = json!({"handler": "file", "settings": {"directory": "two"}});
    plan
}

#[tokio::test]
async fn the_next_request_uses_the_plan_that_was_saved() {
    let gateway = start().await;
    gateway.make_database().await;
    let path = of(&gateway.account);
    assert_eq!(goes_to(&gateway, "first").await, None);
    let stopping = AtomicBool::new(false);
    // Other requests continue throughout.
    let flow = async {
        let mut count = 0;
        while !stopping.load(Ordering::Relaxed) {
            goes_to(&gateway, &format!("flow{count}")).await;
            let back = gateway.get(&format!("flow{count}/call.mp3")).await;
            assert_eq!((back.status, back.body.as_slice()), (200, &b"bytes"[..]));
            count += 1;
        }
        count
    };
    let change = async {
        for round in 0..10 {
            for (directory, id) in [("one", STORAGE), ("two", SECOND)] {
                let saved = if (round, directory) == (0, "one") {
                    ask(&gateway, "PUT", &path, Some(&two_storages())).await
                } else {
                    let patch = json!({"plan": {"modb": {"attachments": {"handler": id}}}});
                    ask(&gateway, "PATCH", &path, Some(&patch)).await
                };
                assert!(saved.status < 300, "{}", saved.text());
                assert_eq!(goes_to(&gateway, &format!("x{round}{directory}")).await.as_deref(), Some(directory));
            }
        }
        stopping.store(true, Ordering::Relaxed);
    };
    let (count, ()) = tokio::join!(flow, change);
    assert!(count > 0);
    assert_eq!(ask(&gateway, "DELETE", &path, None).await.status, 200);
    assert_eq!(goes_to(&gateway, "last").await, None);
    gateway.stop().await;
}

#[tokio::test]
async fn a_system_plan_is_used_at_once_too() {
    let gateway = start().await;
    gateway.make_database().await;
    assert_eq!(goes_to(&gateway, "before").await, None);
    assert_eq!(ask(&gateway, "PUT", "/v2/storage", Some(&file_plan("system"))).await.status, 201);
    assert_eq!(goes_to(&gateway, "after").await.as_deref(), Some("system"));
    let off = json!({"plan": {"modb": {"attachments": {"handler": null}}}});
    assert_eq!(ask(&gateway, "PUT", &of(&gateway.account), Some(&off)).await.status, 201);
    assert_eq!(goes_to(&gateway, "off").await, None, "an account turns it off with null");
    gateway.stop().await;
}

#[tokio::test]
async fn the_plan_is_used_before_the_feed_tells() {
    let couch = Couch::start().await;
    let spy = Spy::start(&couch.url).await;
    spy.hold(&format!("/{}/_changes", couch.plans));
    let gateway = setup().upstream(&spy.url()).start_over(couch).await;
    gateway.make_database().await;
    let path = of(&gateway.account);
    assert_eq!(goes_to(&gateway, "none").await, None);
    assert_eq!(ask(&gateway, "PUT", &path, Some(&file_plan("one"))).await.status, 201);
    assert_eq!(goes_to(&gateway, "made").await.as_deref(), Some("one"));
    assert_eq!(ask(&gateway, "PATCH", &path, Some(&file_plan("two"))).await.status, 200);
    assert_eq!(goes_to(&gateway, "patched").await.as_deref(), Some("two"));
    assert_eq!(ask(&gateway, "POST", &path, Some(&file_plan("three"))).await.status, 200);
    assert_eq!(goes_to(&gateway, "posted").await.as_deref(), Some("three"));
    assert_eq!(ask(&gateway, "DELETE", &path, None).await.status, 200);
    assert_eq!(goes_to(&gateway, "gone").await, None);
    spy.release();
    gateway.stop().await;
}
