//! Orphaned objects, in every kind of storage that can be listed.

use std::path::PathBuf;

use serde_json::{Value, json};
use stowage_testing::gateway::{Running, STORAGE};
use stowage_testing::spy::Spy;
use stowage_testing::storages::{Server, Storage};
use stowage_testing::trouble::Double;

use super::world::{OTHER, compact, lines, plan, plan_with, run, run_with, start, succeeds};

/// Stores an object directly.
fn leave(storage: &Storage, name: &str) {
    match &storage.server {
        Server::Ftp(server) => {
            let path = server.root().join("recordings").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"left").unwrap();
        }
        Server::Google(server) if storage.handler == "google_storage" => {
            server.overwrite("recordings", name, b"left".to_vec());
        }
        Server::Google(server) => drop(server.place(&name.replace('/', "_"), b"left")),
        Server::Dropbox(server) => drop(server.place(name, b"left")),
        Server::Graph(server) => drop(server.place(name, b"left")),
        _ => unreachable!(),
    }
}

fn objects(storage: &Storage) -> Vec<String> {
    match &storage.server {
        Server::Ftp(server) => server.files("recordings"),
        Server::Google(server) => [server.objects("recordings"), server.files()].concat(),
        Server::Dropbox(server) => server.paths(),
        Server::Graph(server) => server.paths(),
        _ => unreachable!(),
    }
}

async fn found_and_removed(handler: &'static str) {
    let storage = Storage::start(handler).await;
    let gateway = storage.gateway().await;
    let account = gateway.account.clone();
    let mut settings = storage.settings.clone();
    let field = |arg: &str| json!({ "arg": arg });
    settings["field_list"] = json!([field("account_id"), { "group": [field("id"), "_", field("attachment")] }]);
    gateway.plan_as(handler, settings, json!({ "modb": { "attachments": { "handler": STORAGE } } })).await;
    for index in 0..5 {
        let id = format!("doc-{index}");
        gateway.attached(&id, json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    }
    let stored = objects(&storage);
    assert!(stored.iter().all(|name| name.contains(&account)), "{handler}: {stored:?}");
    // The object of a document that was deleted and compacted, an unknown one, and another program's.
    let rev = gateway.inside("doc-3").await["_rev"].as_str().unwrap().to_owned();
    let target = format!("/{}/doc-3?rev={rev}", gateway.path());
    assert_eq!(gateway.couch.request("DELETE", &target, "", b"").await.status, 200);
    compact(&gateway).await;
    let (left, foreign) = (format!("{account}/zzz/left.mp3"), "other/backup.tar");
    leave(&storage, &left);
    leave(&storage, foreign);

    let upper =
        |(key, url): &(&str, String)| (format!("STOWAGE__STORAGE__ENDPOINTS__{}", key.to_uppercase()), url.clone());
    let endpoints: Vec<_> = storage.endpoints().iter().map(upper).collect();
    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run_with(&gateway, &endpoints, &look).await;
    let name = |fault: Value| fault["document"].as_str().unwrap().trim_start_matches("/recordings/").to_owned();
    let mut found: Vec<String> = lines(&said, "fault").map(name).collect();
    found.sort();
    let mut wanted = vec![format!("{account}/doc-3_call.mp3"), left];
    // By its name, a file in a Drive's root folder belongs to no account.
    wanted.truncate(if handler == "google_drive" { 1 } else { 2 });
    assert_eq!((code, found), (1, wanted), "{handler}: {said}");

    let (code, said) = run_with(&gateway, &endpoints, &[&look[..], &["--remove-orphans"]].concat()).await;
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "{handler}: {said}");
    let (own, others): (Vec<String>, Vec<String>) =
        objects(&storage).into_iter().partition(|name| name.starts_with(&format!("{account}/")));
    let kept: Vec<String> = stored.into_iter().filter(|name| !name.contains("doc-3")).collect();
    assert_eq!(own, kept, "{handler}");
    assert!(others.iter().any(|name| name.ends_with("backup.tar")), "{handler}: {others:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_found_and_removed_wherever_a_storage_can_list() {
    for handler in ["ftp", "google_storage", "google_drive", "dropbox", "onedrive"] {
        found_and_removed(handler).await;
    }
}

/// A deleted revision can be read as long as CouchDB has it, unless the plan says `on_delete: "delete"`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deleted_document_keeps_is_an_orphan_once_its_revisions_are_compacted() {
    let gateway = start().await;
    plan_with(&gateway, json!({ "handler": STORAGE })).await;
    let rev = gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    gateway.delete(&format!("doc?rev={rev}")).await.expect_status(200);
    let look = ["verify", "--account", &gateway.account, "--orphans", "--older-than", "0s", "--remove-orphans"];
    let spy = Spy::start(&gateway.couch.url).await;
    let (code, said) = run_with(&gateway, &[("STOWAGE__COUCHDB__URL".to_owned(), spy.url())], &look).await;
    assert_eq!(code, 0, "{said}");
    // The tombstone with its history, then what it has deleted.
    assert_eq!(spy.count(&format!("GET /{}/doc?", gateway.path())), 2, "{:?}", spy.seen());
    assert_eq!(gateway.get(&format!("doc/call.mp3?rev={rev}")).await.body, b"a recording");
    compact(&gateway).await;
    succeeds(&gateway, &look).await;
    assert!(gateway.stored().is_empty(), "{:?}", gateway.stored());
    gateway.stop().await;
}

/// A bucket that refuses hides neither what is wrong elsewhere nor what nothing names in another storage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_cannot_be_listed_is_one_fault_among_others() {
    let storage = Storage::start("ftp").await;
    let gateway = storage.gateway().await;
    let account = gateway.account.clone();
    let refusing = json!({ "handler": "ftp", "settings": {
        "url": storage.settings["url"].as_str().unwrap().replace("canary-pass", "wrong-pass"),
    } });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "ftp", "settings": storage.settings }, OTHER: refusing },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan(&account, plan).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let Server::Ftp(server) = &storage.server else { unreachable!() };
    let stored = objects(&storage).remove(0);
    std::fs::write(server.root().join("recordings").join(stored), b"another recording").unwrap();
    leave(&storage, &format!("{account}/zzz/left.mp3"));

    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run_with(&gateway, &[], &look).await;
    let mut kinds: Vec<_> = lines(&said, "fault").map(|fault| fault["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!((code, kinds), (1, ["different", "orphan", "unreadable"].map(str::to_owned).to_vec()), "{said}");
    let refused = lines(&said, "fault").find(|fault| fault["kind"] == "unreadable").unwrap();
    assert_eq!(refused["database"], format!("storage {OTHER}"), "{said}");
    gateway.stop().await;
}

/// A plan that makes copies ends the search; what was found before is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_before_the_search_ended_is_told() {
    let storage = Storage::start("ftp").await;
    let gateway = storage.gateway().await;
    let account = gateway.account.clone();
    let plan = |attachments| json!({ "modb": { "attachments": attachments } });
    gateway.plan_as("ftp", storage.settings.clone(), plan(json!({ "handler": STORAGE }))).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let Server::Ftp(server) = &storage.server else { unreachable!() };
    std::fs::remove_file(server.root().join("recordings").join(objects(&storage).remove(0))).unwrap();
    gateway.plan_as("ftp", storage.settings.clone(), plan(json!({ "handler": STORAGE, "stub": true }))).await;

    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run_with(&gateway, &[], &look).await;
    assert_eq!((code, lines(&said, "fault").count()), (1, 1), "{said}");
    assert!(said.contains("makes copies"), "{said}");
    gateway.stop().await;
}

/// Stores an attachment in the folder of [`STORAGE`], and beside its object one that nothing names; returns the path of the latter.
async fn left_beside(gateway: &Running) -> PathBuf {
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let left = gateway.files().join(&gateway.stored()[0]).with_file_name("left.mp3");
    std::fs::write(&left, b"left").unwrap();
    left
}

/// What a database on a connection names is unknown, and no document names a copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_while_a_plan_names_a_connection_or_a_users_makes_copies() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    let left = left_beside(&gateway).await;
    let account = gateway.account.clone();
    let user = format!("user_{account}");
    let look = ["verify", "--account", &account, "--orphans", "--older-than", "0s", "--remove-orphans"];
    let of = |classes: Value| json!({ "pvt_type": "storage", "pvt_account_id": account, "plan": classes });
    let mut connected = of(json!({ "modb": { "attachments": { "handler": STORAGE } }, "yodb": { "connection": "x" } }));
    connected["attachments"] = json!({ STORAGE: { "handler": "file", "settings": { "directory": "one" } } });
    for (id, document, why) in [
        (&user, of(json!({ "modb": { "attachments": { "stub": true } } })), "makes copies"),
        (&user, of(json!({ "modb": { "types": { "cdr": { "connection": "x" } } } })), "names the connection `x`"),
        (&user, of(json!({})), ""),
        (&account, connected, "names a connection"),
    ] {
        gateway.save_plan(id, document).await;
        if !why.is_empty() {
            let (code, said) = run(&gateway, &look).await;
            assert!(code == 1 && said.contains(why) && left.exists(), "{why}: {code} {said}");
        }
    }
    plan(&gateway, Some(STORAGE)).await;
    succeeds(&gateway, &look).await;
    assert!(!left.exists());
    gateway.stop().await;
}

/// What such an answer hides may name any object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_after_a_404_that_is_not_about_the_database() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    let left = left_beside(&gateway).await;
    let branches = ["1-aaaa", "1-bbbb"].map(|rev| json!({ "_id": "twice", "_rev": rev, "pvt_type": "fax" }));
    let text = json!({ "new_edits": false, "docs": branches }).to_string();
    let target = format!("/{}/_bulk_docs", gateway.path());
    gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
    let spy = Spy::start(&gateway.couch.url).await;
    let through = [("STOWAGE__COUCHDB__URL".to_owned(), spy.url())];
    let look = ["verify", "--account", &gateway.account, "--orphans", "--older-than", "0s", "--remove-orphans"];
    for list in ["_all_docs", "_changes", "twice?open_revs"] {
        spy.turn(&format!("/{}/{list}", gateway.path()), &format!("/{}/none", gateway.couch.plans));
        let (code, said) = run_with(&gateway, &through, &look).await;
        assert!(code == 1 && said.contains("orphans are not looked for"), "{list}: {code} {said}");
        assert!(left.exists() && gateway.stored().len() == 2, "{list}: {said}");
    }
    gateway.stop().await;
}

/// The entry may name any object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_removed_while_a_losing_or_deleted_leaf_has_an_entry_of_a_newer_form() {
    let newer = json!({ "call.mp3": { "stowage": { "v": 2 } } });
    let loser = json!({ "_id": "leaf", "_rev": "1-aaaa", "pvt_type": "fax", "pvt_attachments": newer });
    let winner = json!({ "_id": "leaf", "_rev": "1-bbbb", "pvt_type": "fax" });
    let tombstone = json!({ "_id": "leaf", "_rev": "1-aaaa", "_deleted": true, "pvt_attachments": newer });
    for leaves in [json!([loser, winner]), json!([tombstone])] {
        let gateway = start().await;
        plan(&gateway, Some(STORAGE)).await;
        let left = left_beside(&gateway).await;
        let text = json!({ "new_edits": false, "docs": leaves }).to_string();
        let target = format!("/{}/_bulk_docs", gateway.path());
        gateway.couch.request("POST", &target, "application/json", text.as_bytes()).await.expect_status(201);
        let look = ["verify", "--account", &gateway.account, "--orphans", "--older-than", "0s", "--remove-orphans"];
        let (code, said) = run(&gateway, &look).await;
        assert!(code == 1 && said.contains("orphans are not looked for"), "{leaves}: {code} {said}");
        assert!(left.exists(), "{leaves}: {said}");
        gateway.stop().await;
    }
}

/// A database of the system may name objects of the account there, and is not walked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_of_the_systems_plan_is_not_searched_for_one_account() {
    let gateway = start().await;
    let system = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "file", "settings": { "directory": "one" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    gateway.save_plan("system", system).await;
    let left = left_beside(&gateway).await;
    let look = ["verify", "--account", &gateway.account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run(&gateway, &[&look[..], &["--remove-orphans"]].concat()).await;
    let found: Vec<_> = lines(&said, "fault").map(|fault| fault["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!((code, found), (1, vec!["unlisted".to_owned()]), "{said}");
    assert!(left.exists(), "{said}");
    gateway.stop().await;
}
