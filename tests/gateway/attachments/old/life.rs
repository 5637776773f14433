//! Attachments are read, replaced and removed, in every storage.

use serde_json::{Value, json};

use super::{BYTES, NAME, Row, Rule, Scene, Secrets, entry, rows, started};
use stowage_testing::gateway::STORAGE;

/// Runs a check for every storage to which the rule applies, each with its own gateway; `is_planned` tells whether that has a current plan.
async fn each(rule: Option<Rule>, secrets: Secrets, is_planned: bool, check: impl AsyncFn(&dyn Row, &Scene)) {
    for row in rows::all().await {
        if rule.is_some_and(|rule| row.skips(rule)) {
            continue;
        }
        let scene = Scene::of(&*row, secrets, is_planned.then(|| row.today())).await;
        check(&*row, &scene).await;
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn what_kazoo_stored_is_read_with_the_plan_of_today() {
    // The keys in the entry are no longer valid.
    each(None, Secrets::Rotated, true, reads).await;
}

#[tokio::test]
async fn what_kazoo_stored_is_read_without_any_plan() {
    each(None, Secrets::Good, false, reads).await;
}

#[tokio::test]
async fn keys_that_were_rotated_away_are_no_use_without_a_plan() {
    each(Some(Rule::RotatedKeys), Secrets::Rotated, false, async |row, scene| {
        let got = scene.ask("GET", &[]).await;
        assert_eq!(got.status, 502, "{}: {got:?}", row.name());
        assert!(!got.text().contains("rotated") && !got.text().contains("old@"), "{}: {got:?}", row.name());
        let removed = scene.delete().await;
        assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
    })
    .await;
}

#[tokio::test]
async fn what_has_moved_is_found_at_the_server_of_today() {
    for second in [b"".as_slice(), b"the second recording"] {
        each(Some(Rule::Moved), Secrets::Moved, true, async |row, scene| {
            reads(row, scene).await;
            if second.is_empty() {
                assert_eq!(scene.delete().await.status, 200, "{}", row.name());
            } else {
                scene.gateway.attach("doc", NAME, &scene.rev, second).await;
                scene.gateway.settled().await;
            }
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}", row.name());
        })
        .await;
    }
}

#[tokio::test]
async fn the_params_of_a_plan_count() {
    for row in rows::all().await {
        let (handler, settings) = row.today();
        for level in ["class", "type", "another class", "user"] {
            let gateway = started(&*row).await;
            let attachments = json!({ STORAGE: {"handler": handler, "settings": {"key": "old", "secret": "old"}} });
            let good = json!({"attachments": {"handler": STORAGE, "params": settings}});
            let plan = match level {
                "class" | "user" => json!({ "modb": good }),
                "type" => json!({"modb": {"types": {"call_recording": good}}}),
                _ => json!({ "account": good }),
            };
            let mut plan = json!({"pvt_type": "storage", "attachments": attachments, "plan": plan});
            if level == "user" {
                plan["pvt_account_id"] = gateway.account.clone().into();
                gateway.save_plan("user", plan).await;
            } else {
                gateway.save_plan(&gateway.account, plan).await;
            }
            let scene = Scene::with(&*row, Secrets::Rotated, gateway).await;
            reads(&*row, &scene).await;
            assert_eq!(scene.delete().await.status, 200, "{} {level}", row.name());
            assert!(!row.has(&scene.gateway.database(), "doc"), "{} {level}", row.name());
            scene.gateway.stop().await;
        }
    }
}

async fn reads(row: &dyn Row, scene: &Scene) {
    let name = row.name();
    let got = scene.ask("GET", &[]).await;
    assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{name}: {got:?}");
    assert_eq!(got.header("content-type"), Some("audio/mpeg"), "{name}");
    assert_eq!(got.header("content-length"), Some(&*BYTES.len().to_string()), "{name}");
    assert_eq!(got.header("etag"), None, "{name}: its MD5 is not known");
    let head = scene.ask("HEAD", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, got.header("content-length")), "{name}");
    let part = scene.ask("GET", &[("Range", "bytes=5-9")]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, &BYTES[5..10]), "{name}: {part:?}");
    let beyond = scene.ask("GET", &[("Range", "bytes=500-")]).await;
    assert_eq!(beyond.status, 416, "{name}: {beyond:?}");
    let tagged = scene.ask("GET", &[("If-None-Match", "\"x\"")]).await;
    assert_eq!(tagged.status, 200, "{name}: {tagged:?}");
}

#[tokio::test]
async fn a_removal_takes_the_entry_and_the_object() {
    for is_planned in [true, false] {
        each(None, Secrets::Good, is_planned, async |row, scene| {
            let removed = scene.delete().await;
            assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}", row.name());
            assert_eq!(scene.gateway.inside("doc").await["pvt_attachments"], Value::Null);
            assert_eq!(scene.ask("GET", &[]).await.status, 404, "{}", row.name());
        })
        .await;
    }
}

#[tokio::test]
async fn an_attachment_stored_again_is_in_the_new_form_and_the_old_object_goes() {
    // First to the storage that KAZOO used, then to another.
    for is_moved in [false, true] {
        each(None, Secrets::Good, true, async |row, scene| {
            if is_moved {
                scene.gateway.plan("file", json!({"directory": "recordings"})).await;
            }
            scene.gateway.attach("doc", NAME, &scene.rev, b"the second recording").await;
            scene.gateway.settled().await;
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}: the old object stays", row.name());
            let pointer = scene.gateway.pointer("doc", NAME).await;
            assert!(pointer["stowage"].is_object() && pointer.get("handler").is_none(), "{pointer}");
            assert_eq!(scene.ask("GET", &[]).await.body, b"the second recording");
        })
        .await;
    }
}

/// Another document has a copy of the entry, as made by KAZOO: removing or replacing it keeps the object for the original.
#[tokio::test]
async fn a_copy_of_a_document_does_not_take_the_original_with_it() {
    for is_removed in [true, false] {
        each(Some(Rule::Copies), Secrets::Good, true, async |row, scene| {
            let gateway = &scene.gateway;
            let handler = row.handler(&gateway.database(), "doc", Secrets::Good);
            let rev = gateway.save("copy", json!({"pvt_attachments": { NAME: entry(&handler) }})).await;
            if is_removed {
                let removed = gateway.delete(&format!("copy/{NAME}?rev={rev}")).await;
                assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
            } else {
                gateway.attach("copy", NAME, &rev, b"another").await;
            }
            gateway.settled().await;
            assert!(row.has(&gateway.database(), "doc"), "{}", row.name());
            assert_eq!(scene.ask("GET", &[]).await.body, BYTES, "{}", row.name());
        })
        .await;
    }
}

#[tokio::test]
async fn a_copy_gets_an_object_of_its_own() {
    each(None, Secrets::Good, true, async |row, scene| {
        let copied = scene.gateway.copy("doc", "copy").await;
        assert_eq!(copied.status, 201, "{}: {copied:?}", row.name());
        let pointer = scene.gateway.pointer("copy", NAME).await;
        assert_eq!(pointer["stowage"]["owner"]["document"], "copy", "{}: {pointer}", row.name());
        assert_eq!(scene.delete().await.status, 200, "{}", row.name());
        let got = scene.gateway.get(&format!("copy/{NAME}")).await;
        assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{}: {got:?}", row.name());
    })
    .await;
}

#[tokio::test]
async fn an_object_that_two_entries_name_stays_until_the_last_one_goes() {
    each(Some(Rule::TwoEntries), Secrets::Good, true, async |row, scene| {
        let gateway = &scene.gateway;
        let mut doc = gateway.inside("doc").await;
        doc["pvt_attachments"]["again.mp3"] = doc["pvt_attachments"][NAME].clone();
        gateway.save("doc", doc).await;
        for (name, stays) in [("again.mp3", true), (NAME, false)] {
            let rev = gateway.inside("doc").await["_rev"].clone();
            let target = format!("doc/{name}?rev={}", rev.as_str().unwrap());
            assert_eq!(gateway.delete(&target).await.status, 200);
            gateway.settled().await;
            assert_eq!(row.has(&gateway.database(), "doc"), stays, "{} {name}", row.name());
        }
    })
    .await;
}
