//! Which entry of a plan applies to a database.

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::plans::{database, file, goes_to, object, parsed, put_as, storage};
use stowage_testing::gateway::{Running, Setup};

/// The platform's databases have fixed names, and tests remove what they created in a persistent CouchDB: one at a time.
static PLATFORM: Mutex<()> = Mutex::const_new(());

/// Returns a plan with a storage for each class, in a directory of the class's name.
fn every_class(aggregate: Value) -> Value {
    let classes = ["account", "modb", "yodb", "system", "aggregate"];
    let attachments: Vec<(&str, Value)> = classes.iter().map(|class| (*class, file(class))).collect();
    let mut plan: Vec<(&str, Value)> =
        classes.iter().map(|class| (*class, json!({ "attachments": { "handler": class } }))).collect();
    plan.pop();
    plan.push(("aggregate", aggregate));
    storage(object(&attachments), object(&plan))
}

async fn with_every_class(aggregate: Value) -> Running {
    let gateway = Setup::default().start().await;
    gateway.save_plan("system", every_class(aggregate)).await;
    gateway
}

fn account_path(gateway: &Running) -> String {
    gateway.database().trim_end_matches("-202411").to_owned()
}

#[tokio::test]
async fn databases_of_accounts_have_the_class_of_their_name() {
    let gateway = with_every_class(json!({})).await;
    let account = account_path(&gateway);
    for (suffix, class) in [
        ("", Some("account")),
        ("-202411", Some("modb")),
        ("-2026", Some("yodb")),
        ("-selectors", Some("account")),
        ("-provisioner", None),
        ("-20261", None),
        ("-2024111", None),
    ] {
        let path = database(&gateway, &format!("{account}{suffix}")).await;
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), class, "{suffix}");
        let lower_case = path.replace("%2F", "%2f");
        assert_eq!(goes_to(&gateway, &lower_case, json!({})).await.as_deref(), class, "{suffix}, lower-case escapes");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn account_ids_need_not_be_hexadecimal() {
    let gateway = with_every_class(json!({})).await;
    let (tail, _) = gateway.account.split_at(8);
    let path = database(&gateway, &format!("account/ac/co/unt0000000000000000_{tail}")).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("account"));
    let path = database(&gateway, &format!("account/ac/co/unt00000000000000000_{tail}")).await;
    assert_eq!(goes_to(&gateway, &path, json!({})).await, None, "33 characters are no account's");
    gateway.stop().await;
}

#[tokio::test]
async fn databases_of_the_platform_have_their_class() {
    let _alone = PLATFORM.lock().await;
    let listed = json!({ "attachments": { "handler": "aggregate" }, "database": { "names": ["faxes", "services"] } });
    let gateway = with_every_class(listed).await;
    for (name, class) in [
        ("system_media", Some("system")),
        ("system_schemas", Some("system")),
        ("alerts", Some("system")),
        ("numbers/+1415", Some("system")),
        ("ratedeck_eu", Some("system")),
        ("faxes", Some("aggregate")),
        ("port_requests", Some("system")),
        ("system_config", None),
        ("system_data", None),
        ("services", None),
        ("something_else", None),
    ] {
        let path = database(&gateway, name).await;
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), class, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_aggregate_without_names_takes_every_database_of_the_class() {
    let _alone = PLATFORM.lock().await;
    let own = json!({ "handler": "aggregate" });
    for (database_entry, class) in [
        (json!(null), "aggregate"),
        (json!({}), "aggregate"),
        (json!({ "names": null }), "aggregate"),
        (json!({ "names": [] }), "aggregate"),
        (json!({ "names": ["accounts"] }), "system"),
    ] {
        let types = json!({ "fax": { "attachments": { "handler": "account" } } });
        let gateway = with_every_class(json!({ "attachments": own, "database": database_entry, "types": types })).await;
        for name in ["faxes", "port_requests"] {
            let path = database(&gateway, name).await;
            assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some(class), "{name} {database_entry}");
            let of_type = if class == "aggregate" { "account" } else { class };
            let fax = json!({ "pvt_type": "fax" });
            assert_eq!(goes_to(&gateway, &path, fax).await.as_deref(), Some(of_type), "{name} {database_entry}");
        }
        let path = database(&gateway, "alerts").await;
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("system"), "{database_entry}");
        gateway.stop().await;
    }
    let silent = with_every_class(json!({})).await;
    let path = database(&silent, "faxes").await;
    assert_eq!(goes_to(&silent, &path, json!({})).await, None, "the entry takes it and names no storage");
    silent.stop().await;
}

#[tokio::test]
async fn without_an_entry_every_aggregate_falls_back_to_the_system() {
    let _alone = PLATFORM.lock().await;
    let gateway = with_every_class(json!(null)).await;
    for name in ["faxes", "port_requests"] {
        let path = database(&gateway, name).await;
        assert_eq!(goes_to(&gateway, &path, json!({})).await.as_deref(), Some("system"), "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn types_of_documents_choose_a_storage() {
    let gateway = Setup::default().start().await;
    let types = json!({
        "call_recording": { "attachments": { "handler": "a" } },
        "fax": { "attachments": { "params": { "folder_path": "faxes" } } },
        "mailbox_message": { "attachments": { "handler": null } },
        "anything.else": { "attachments": { "handler": "a" } },
    });
    let attachments = json!({ "a": file("of_type"), "b": file("of_class") });
    let modb = json!({ "attachments": { "handler": "b", "params": { "folder_path": "all" } }, "types": types });
    gateway.save_plan(&gateway.account.clone(), storage(attachments, json!({ "modb": modb }))).await;
    let path = database(&gateway, &gateway.database()).await;
    for (kind, folder) in [
        (json!("call_recording"), Some("of_type")),
        (json!("fax"), Some("of_class")),
        (json!("mailbox_message"), None),
        (json!("anything.else"), Some("of_type")),
        (json!("unheard_of"), Some("of_class")),
        (json!(null), Some("of_class")),
        (json!(7), Some("of_class")),
    ] {
        let members = json!({ "pvt_type": kind });
        assert_eq!(goes_to(&gateway, &path, members).await.as_deref(), folder, "{kind}");
    }
    assert!(gateway.stored().iter().any(|stored| stored.starts_with("of_class/faxes/")), "{:?}", gateway.stored());
    assert!(gateway.stored().iter().any(|stored| stored.starts_with("of_class/all/")));
    gateway.stop().await;
}

#[tokio::test]
async fn a_database_of_the_platform_may_be_named_as_a_type() {
    let _alone = PLATFORM.lock().await;
    let gateway = Setup::default().start().await;
    let system = json!({ "types": {
        "system_media": { "attachments": { "handler": "media" } },
        "numbers": { "attachments": { "handler": "numbers" } },
        "media": { "attachments": { "handler": "by_type" } },
    } });
    let attachments = json!({ "media": file("media"), "numbers": file("numbers"), "by_type": file("by_type") });
    gateway.save_plan("system", storage(attachments, json!({ "system": system }))).await;
    for (name, members, folder) in [
        ("system_media", json!({}), Some("media")),
        ("system_media", json!({ "pvt_type": "media" }), Some("by_type")),
        ("numbers/+49", json!({}), Some("numbers")),
        ("alerts", json!({}), None),
    ] {
        let path = database(&gateway, name).await;
        assert_eq!(goes_to(&gateway, &path, members).await.as_deref(), folder, "{name}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_to_be_a_stub_stays_in_couchdb_and_is_copied() {
    let gateway = Setup::default().start().await;
    let modb = json!({ "attachments": { "handler": "a" }, "types": { "fax": { "attachments": { "stub": true } } } });
    gateway.save_plan(&gateway.account.clone(), storage(json!({ "a": file("a") }), json!({ "modb": modb }))).await;
    let path = database(&gateway, &gateway.database()).await;
    for (id, document_type, members) in
        [("one", "fax", ("_attachments", "pvt_attachments")), ("two", "mailbox", ("pvt_attachments", "_attachments"))]
    {
        put_as(&gateway, &path, id, "call.mp3", json!({ "pvt_type": document_type })).await.expect_status(201);
        gateway.settled().await;
        let document = parsed(&gateway.couch.request("GET", &format!("/{path}/{id}"), "", b"").await);
        assert!(document[members.0]["call.mp3"].is_object() && document[members.1].is_null(), "{document}");
        assert!(gateway.stored().iter().any(|stored| stored.starts_with("a/") && stored.contains(id)), "{id}");
    }
    gateway.stop().await;
}
