//! Orphaned objects, in every kind of storage that can be listed.

use serde_json::{Value, json};
use stowage_testing::gateway::STORAGE;
use stowage_testing::storages::{Server, Storage};
use stowage_testing::trouble::Double;

use super::world::{lines, run_with};

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
        let rev = gateway.document(&id, json!({ "pvt_type": "fax" })).await;
        gateway.attach(&id, "call.mp3", &rev, b"a recording").await;
    }
    let stored = objects(&storage);
    assert!(stored.iter().all(|name| name.contains(&account)), "{handler}: {stored:?}");
    // An object whose document was deleted directly, an unknown one, and another program's.
    let rev = gateway.inside("doc-3").await["_rev"].as_str().unwrap().to_owned();
    let target = format!("/{}/doc-3?rev={rev}", gateway.path());
    assert_eq!(gateway.couch.request("DELETE", &target, "", b"").await.status, 200);
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
