//! Read, replaced, removed: for every storage.

use serde_json::{Value, json};

use super::{BYTES, NAME, Row, Rule, Scene, Secrets, document, entry, rows, save, started};
use stowage_testing::gateway::STORAGE;

#[tokio::test]
async fn what_kazoo_stored_is_read_with_the_plan_of_today() {
    for row in rows::all().await {
        // The keys inside the entry do not work any more.
        let scene = Scene::of(&*row, Secrets::Rotated, Some(row.today())).await;
        reads(&*row, &scene).await;
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn what_kazoo_stored_is_read_without_any_plan() {
    for row in rows::all().await {
        let scene = Scene::of(&*row, Secrets::Good, None).await;
        reads(&*row, &scene).await;
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn keys_that_were_rotated_away_are_no_use_without_a_plan() {
    for row in rows::all().await {
        if row.skips(Rule::RotatedKeys) {
            continue;
        }
        let scene = Scene::of(&*row, Secrets::Rotated, None).await;
        let got = scene.ask("GET", &[]).await;
        assert_eq!(got.status, 502, "{}: {got:?}", row.name());
        assert!(!got.text().contains("rotated") && !got.text().contains("old@"), "{}: {got:?}", row.name());
        let removed = scene.delete().await;
        assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn what_has_moved_is_found_at_the_server_of_today() {
    for row in rows::all().await {
        if row.skips(Rule::Moved) {
            continue;
        }
        for second in [b"".as_slice(), b"the second recording"] {
            let scene = Scene::of(&*row, Secrets::Moved, Some(row.today())).await;
            reads(&*row, &scene).await;
            if second.is_empty() {
                assert_eq!(scene.delete().await.status, 200, "{}", row.name());
            } else {
                assert_eq!(scene.gateway.put("doc", NAME, &scene.rev, second).await.status, 201, "{}", row.name());
                scene.gateway.settled().await;
            }
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}", row.name());
            scene.gateway.stop().await;
        }
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
    assert_eq!(got.header("etag"), None, "{name}: nobody knows its MD5");
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
    for row in rows::all().await {
        for plan in [Some(row.today()), None] {
            let scene = Scene::of(&*row, Secrets::Good, plan).await;
            let removed = scene.delete().await;
            assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}", row.name());
            assert_eq!(document(&scene.gateway, "doc").await["pvt_attachments"], Value::Null);
            assert_eq!(scene.ask("GET", &[]).await.status, 404, "{}", row.name());
            scene.gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn an_attachment_stored_again_is_in_the_new_form_and_the_old_object_goes() {
    for row in rows::all().await {
        // Once into the storage that KAZOO used, once into another.
        for plan in [row.today(), ("file", json!({"directory": "recordings"}))] {
            let scene = Scene::of(&*row, Secrets::Good, Some(plan)).await;
            let put = scene.gateway.put("doc", NAME, &scene.rev, b"the second recording").await;
            assert_eq!(put.status, 201, "{}: {put:?}", row.name());
            scene.gateway.settled().await;
            assert!(!row.has(&scene.gateway.database(), "doc"), "{}: the old object stays", row.name());
            let pointer = scene.gateway.pointer("doc", NAME).await;
            assert!(pointer["stowage"].is_object() && pointer.get("handler").is_none(), "{pointer}");
            assert_eq!(scene.ask("GET", &[]).await.body, b"the second recording");
            scene.gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_document_does_not_take_the_original_with_it() {
    for row in rows::all().await {
        if row.skips(Rule::Copies) {
            continue;
        }
        let scene = Scene::of(&*row, Secrets::Good, Some(row.today())).await;
        let handler = row.handler(&scene.gateway.database(), "doc", Secrets::Good);
        let rev = save(&scene.gateway, "copy", json!({"pvt_attachments": { NAME: entry(&handler) }})).await;
        let target = format!("/{}/copy/{NAME}?rev={rev}", scene.gateway.path());
        let removed = scene.gateway.request("DELETE", &target, &[], b"").await;
        assert_eq!(removed.status, 200, "{}: {removed:?}", row.name());
        scene.gateway.settled().await;
        assert!(row.has(&scene.gateway.database(), "doc"), "{}", row.name());
        assert_eq!(scene.ask("GET", &[]).await.body, BYTES, "{}", row.name());
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn a_copy_gets_an_object_of_its_own() {
    for row in rows::all().await {
        let scene = Scene::of(&*row, Secrets::Good, Some(row.today())).await;
        let target = format!("/{}/doc", scene.gateway.path());
        let copied = scene.gateway.request("COPY", &target, &[("Destination", "copy")], b"").await;
        assert_eq!(copied.status, 201, "{}: {copied:?}", row.name());
        let pointer = scene.gateway.pointer("copy", NAME).await;
        assert_eq!(pointer["stowage"]["owner"]["document"], "copy", "{}: {pointer}", row.name());
        assert_eq!(scene.delete().await.status, 200, "{}", row.name());
        let got = scene.gateway.get(&format!("copy/{NAME}")).await;
        assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{}: {got:?}", row.name());
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn replacing_in_a_copy_of_a_document_leaves_the_original() {
    for row in rows::all().await {
        if row.skips(Rule::Copies) {
            continue;
        }
        let scene = Scene::of(&*row, Secrets::Good, Some(row.today())).await;
        let handler = row.handler(&scene.gateway.database(), "doc", Secrets::Good);
        let rev = save(&scene.gateway, "copy", json!({"pvt_attachments": { NAME: entry(&handler) }})).await;
        assert_eq!(scene.gateway.put("copy", NAME, &rev, b"another").await.status, 201, "{}", row.name());
        scene.gateway.settled().await;
        assert!(row.has(&scene.gateway.database(), "doc"), "{}", row.name());
        assert_eq!(scene.ask("GET", &[]).await.body, BYTES, "{}", row.name());
        scene.gateway.stop().await;
    }
}

#[tokio::test]
async fn an_object_that_two_entries_name_stays_until_the_last_one_goes() {
    for row in rows::all().await {
        if row.skips(Rule::TwoEntries) {
            continue;
        }
        let scene = Scene::of(&*row, Secrets::Good, Some(row.today())).await;
        let mut doc = document(&scene.gateway, "doc").await;
        doc["pvt_attachments"]["again.mp3"] = doc["pvt_attachments"][NAME].clone();
        let rev = save(&scene.gateway, "doc", doc).await;
        for (name, stays) in [("again.mp3", true), (NAME, false)] {
            let rev = if stays {
                rev.clone()
            } else {
                document(&scene.gateway, "doc").await["_rev"].as_str().unwrap().into()
            };
            let target = format!("/{}/doc/{name}?rev={rev}", scene.gateway.path());
            assert_eq!(scene.gateway.request("DELETE", &target, &[], b"").await.status, 200);
            scene.gateway.settled().await;
            assert_eq!(row.has(&scene.gateway.database(), "doc"), stays, "{} {name}", row.name());
        }
        scene.gateway.stop().await;
    }
}
