//! Plan changes affecting the gateway's own pointers: settings in `params`, storages with a new id.

use serde_json::{Value, json};

use stowage_testing::gateway::{Running, STORAGE, rev};
use stowage_testing::storages::{ALL, BUCKET, Server, Storage};

const NAME: &str = "call.mp3";
const BYTES: &[u8] = b"what was stored under an older plan";
/// The id of another storage.
const OTHER: &str = "fedcba9876543210fedcba9876543210";

/// Saves the account's plan.
async fn plan(gateway: &Running, attachments: Value, modb: Value) {
    let plan = json!({"pvt_type": "storage", "attachments": attachments, "plan": {"modb": modb}});
    gateway.save_plan(&gateway.account, plan).await;
}

/// Creates a document of a type with an attachment; returns its revision.
async fn stored(gateway: &Running, id: &str, kind: &str) -> String {
    gateway.attached(id, json!({"pvt_type": kind, "owner_id": "user"}), NAME, BYTES).await
}

/// Reads, copies, replaces and removes the attachment; afterwards no object is left.
async fn lives_on(storage: &Storage, gateway: &Running, mut revision: String) {
    let handler = storage.handler;
    let got = gateway.get(&format!("doc/{NAME}")).await;
    assert_eq!((got.status, got.body.as_slice()), (200, BYTES), "{handler}: {got:?}");
    let head = gateway.ask("HEAD", &format!("doc/{NAME}"), &[], b"").await;
    assert_eq!((head.status, head.header("etag")), (200, got.header("etag")), "{handler}");
    let copied = gateway.copy("doc", "copy").await;
    assert_eq!(copied.status, 201, "{handler}: {copied:?}");
    let put = gateway.attach("doc", NAME, &revision, b"another").await;
    revision = rev(&put);
    let copy = gateway.get(&format!("copy/{NAME}")).await;
    assert_eq!((copy.status, copy.body.as_slice()), (200, BYTES), "{handler}: {copy:?}");
    for (id, revision) in [("doc", revision), ("copy", rev(&copied))] {
        let removed = gateway.delete(&format!("{id}/{NAME}?rev={revision}")).await;
        assert_eq!(removed.status, 200, "{handler}: {removed:?}");
    }
    gateway.settled().await;
    assert_eq!(storage.objects(gateway), [""; 0], "{handler}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn params_count_where_a_pointer_is_followed() {
    for handler in ALL {
        let storage = Storage::start(handler).await;
        for (owned, level) in [(false, "class"), (false, "type"), (true, "user")] {
            let gateway = storage.gateway().await;
            // The storage's own settings are invalid without the params.
            let attachments =
                json!({ STORAGE: {"handler": handler, "settings": {"key": "a", "secret": "b", "field_list": []}} });
            let good = json!({"handler": STORAGE, "params": with(&storage.settings, "field_list", &Value::Null)});
            let bad =
                json!({"handler": STORAGE, "params": {"bucket": "no-bucket-here", "url": "http://127.0.0.1:1/x"}});
            let modb = match level {
                "class" => json!({"attachments": good, "types": {"fax": {"attachments": bad}}}),
                _ => json!({"attachments": bad, "types": {"call_recording": {"attachments": good}}}),
            };
            if owned {
                let user = json!({"pvt_type": "storage", "pvt_account_id": gateway.account,
                    "attachments": attachments, "plan": {"modb": modb}});
                gateway.save_plan("user", user).await;
            } else {
                plan(&gateway, attachments, modb).await;
            }
            let revision = stored(&gateway, "doc", "call_recording").await;
            lives_on(&storage, &gateway, revision).await;
            gateway.stop().await;
        }
    }
}

fn with(settings: &Value, key: &str, value: &Value) -> Value {
    let mut settings = settings.clone();
    settings[key] = value.clone();
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_under_another_id_is_found_by_what_the_pointer_says() {
    for handler in ALL {
        let storage = Storage::start(handler).await;
        let gateway = storage.gateway().await;
        gateway.plan(handler, storage.settings.clone()).await;
        let revision = stored(&gateway, "doc", "fax").await;
        let entry = json!({"handler": handler, "settings": storage.settings});
        plan(&gateway, json!({ OTHER: entry }), json!({"attachments": {"handler": OTHER}})).await;
        if matches!(handler, "s3" | "azure" | "google_storage" | "http" | "ftp") {
            lives_on(&storage, &gateway, revision).await;
        } else {
            // These pointers contain an id or a path, but not the account or folder.
            let got = gateway.get(&format!("doc/{NAME}")).await;
            assert_eq!(got.status, 502, "{handler}: {got:?}");
            assert!(got.text().contains(STORAGE), "{handler}: {got:?}");
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_was_rotated_in_the_params_is_used() {
    let storage = Storage::start("s3").await;
    let gateway = storage.gateway().await;
    gateway.plan("s3", storage.settings.clone()).await;
    let revision = stored(&gateway, "doc", "fax").await;
    let params = json!({"key": storage.settings["key"], "secret": storage.settings["secret"]});
    let old = with(&with(&storage.settings, "key", &json!("gone")), "secret", &json!("gone"));
    let attachments = json!({ STORAGE: {"handler": "s3", "settings": old} });
    plan(&gateway, attachments, json!({"attachments": {"handler": STORAGE, "params": params}})).await;
    lives_on(&storage, &gateway, revision).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_storage_that_has_moved_is_asked_at_its_new_place() {
    let (old, new) = (Storage::start("s3").await, Storage::start("s3").await);
    let gateway = old.gateway().await;
    gateway.plan("s3", old.settings.clone()).await;
    let revision = stored(&gateway, "doc", "fax").await;
    let (Server::S3(from), Server::S3(to)) = (&old.server, &new.server) else { panic!("S3 servers") };
    for key in from.objects(BUCKET).into_keys() {
        to.meddle(BUCKET, &key, Some(BYTES));
        from.meddle(BUCKET, &key, None);
    }
    gateway.plan("s3", new.settings.clone()).await;
    lives_on(&new, &gateway, revision).await;
    gateway.stop().await;
}
