//! Every planted fault is found, and nothing else is reported.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use stowage_testing::azurite::{self, Container};
use stowage_testing::gateway::STORAGE;
use stowage_testing::is_long;
use stowage_testing::s3::S3Server;

use super::world::{OTHER, done_by_a_worker, fill, jobs, lines, plan, plan_with, run, s3_settings, start, succeeds};

/// Overwrites a file like bit rot does: its tag stays the same.
fn unseen(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// Documents, attachments and kinds of faults, sorted.
pub type Faults = Vec<(String, String, String)>;

/// Returns the faults that a command has told.
pub fn found(said: &str) -> Faults {
    let text = |fault: &Value, key: &str| fault[key].as_str().unwrap_or_default().to_owned();
    let of = |fault: Value| (text(&fault, "document"), text(&fault, "attachment"), text(&fault, "kind"));
    let mut faults: Faults = lines(said, "fault").map(of).collect();
    faults.sort();
    faults
}

/// Returns faults in the form of [`found`].
pub fn planted(faults: &[(&str, &str, &str)]) -> Faults {
    let of = |(document, attachment, kind): &(&str, &str, &str)| {
        ((*document).to_owned(), (*attachment).to_owned(), (*kind).to_owned())
    };
    let mut faults: Faults = faults.iter().map(of).collect();
    faults.sort();
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_fault_is_found_and_nothing_else() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    fill(&gateway, 12).await;
    let database = gateway.database();
    succeeds(&gateway, &["migrate", "--db", &database]).await;
    let quick = ["verify", "--db", &database, "--format", "json"];
    let thorough = [&quick[..], &["--read"]].concat();
    for command in [&quick[..], &thorough] {
        let (code, said) = run(&gateway, command).await;
        assert_eq!((code, &lines(&said, "total").next().unwrap()["attachments"]), (0, &24.into()), "{said}");
    }

    let path = |stored: &str| gateway.files().join(stored);
    let file = |id: &str, name: &str| {
        let stored = gateway.stored();
        let found = stored.iter().find(|path| path.contains(id) && path.ends_with(name));
        path(found.unwrap_or_else(|| panic!("{id} {name}: {stored:?}")))
    };
    fs::remove_file(file("doc-001", "a.mp3")).unwrap();
    let cut = file("doc-002", "a.mp3");
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let turned = file("doc-003", "b.txt");
    let mut bytes = fs::read(&turned).unwrap();
    bytes[10] ^= 1;
    unseen(&turned, &bytes);
    // Of equal length, so that only the bytes differ.
    for name in ["a.mp3", "b.txt"] {
        let other = file("doc-004", name);
        let bytes: Vec<u8> = fs::read(&other).unwrap().into_iter().rev().collect();
        unseen(&other, &bytes);
    }
    let mut nonsense = gateway.inside("doc-005").await;
    nonsense["pvt_attachments"]["a.mp3"]["stowage"]["location"] = json!(7);
    gateway.save("doc-005", &nonsense).await;

    let at_once =
        [("doc-001", "a.mp3", "missing"), ("doc-002", "a.mp3", "different"), ("doc-005", "a.mp3", "unreadable")];
    let (code, said) = run(&gateway, &quick).await;
    assert_eq!(code, 1, "{said}");
    assert_eq!(found(&said), planted(&at_once), "{said}");
    let bytes_only =
        [("doc-003", "b.txt", "different"), ("doc-004", "a.mp3", "different"), ("doc-004", "b.txt", "different")];
    let (code, said) = run(&gateway, &thorough).await;
    assert_eq!(code, 1, "{said}");
    assert_eq!(found(&said), planted(&[&at_once[..], &bytes_only].concat()), "{said}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_names_is_found_and_removed_where_that_is_asked() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    fill(&gateway, 3).await;
    let account = gateway.account.clone();
    succeeds(&gateway, &["migrate", "--account", &account]).await;
    let stored = gateway.stored();
    // An orphan, another program's file, and one of a deleted document, which the plan keeps.
    let known = gateway.files().join(&stored[0]);
    let orphan = known.with_file_name("left.mp3");
    fs::write(&orphan, b"left").unwrap();
    let foreign = gateway.files().join("one/backup.tar");
    fs::write(&foreign, b"no business of the gateway's").unwrap();
    let rev = gateway.document("kept", json!({ "pvt_type": "fax" })).await;
    let put = gateway.put("kept", "call.mp3", &rev, b"kept").await;
    let mut tombstone = gateway.inside("kept").await;
    tombstone["_deleted"] = json!(true);
    let target = format!("/{}/kept", gateway.path());
    let gone = gateway.couch.request("PUT", &target, "application/json", tombstone.to_string().as_bytes()).await;
    assert!(gone.status < 300, "{gone:?} after {put:?}");

    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run(&gateway, &look).await;
    assert_eq!(code, 1, "{said}");
    let found: Vec<_> = lines(&said, "fault").collect();
    assert_eq!(found.len(), 1, "{said}");
    assert!(found[0]["kind"] == "orphan" && found[0]["document"].as_str().unwrap().ends_with("left.mp3"), "{said}");
    let (code, said) = run(&gateway, &["verify", "--account", &account, "--orphans"]).await;
    assert_eq!(code, 0, "it is not a day old: {said}");
    let (code, said) = run(&gateway, &[&look[..], &["--remove-orphans"]].concat()).await;
    assert_eq!((code, lines(&said, "total").count()), (0, 1), "{said}");
    assert!(!orphan.exists() && foreign.exists() && known.exists());
    assert_eq!(gateway.stored().len(), stored.len() + 2, "{:?}", gateway.stored());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_looked_through_too() {
    let gateway = start().await;
    let s3 = S3Server::start().await;
    s3.make_bucket("recordings");
    gateway.plan("s3", s3_settings(&s3)).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let named: Vec<String> = s3.objects("recordings").into_keys().collect();
    // Stored directly: an object that looks like the gateway's own, and one that does not.
    let pointer = gateway.pointer("doc", "call.mp3").await;
    let left = format!("{}.left", pointer["stowage"]["location"]["key"].as_str().unwrap());
    s3.meddle("recordings", &left, Some(b"left"));
    s3.meddle("recordings", "backup.tar", Some(b"no business of the gateway's"));
    let account = gateway.account.clone();
    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run(&gateway, &look).await;
    let found: Vec<_> = lines(&said, "fault").map(|fault| fault["document"].as_str().unwrap().to_owned()).collect();
    assert_eq!((code, found), (1, vec![left.clone()]), "{said}");
    succeeds(&gateway, &[&look[..], &["--remove-orphans"]].concat()).await;
    let there: Vec<String> = s3.objects("recordings").into_keys().collect();
    assert!(there.len() == 2 && there.contains(&"backup.tar".to_owned()) && there.contains(&named[0]), "{there:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_mended_becomes_jobs() {
    let gateway = start().await;
    fill(&gateway, 2).await;
    plan_with(&gateway, json!({ "handler": STORAGE, "stub": true })).await;
    let account = gateway.account.clone();
    let look = ["verify", "--account", &account, "--format", "json"];
    let mend = [&look[..], &["--repair"]].concat();
    let (code, said) = run(&gateway, &look).await;
    let missing: Vec<_> = lines(&said, "fault").collect();
    assert_eq!((code, missing.len()), (1, 4), "no copy is there yet: {said}");
    assert!(missing.iter().all(|fault| fault["kind"] == "missing"), "{said}");
    assert!(jobs(&gateway).await.is_empty());
    for _ in 0..2 {
        let (code, said) = run(&gateway, &mend).await;
        assert_eq!((code, lines(&said, "jobs").next()), (0, Some(4.into())), "{said}");
        let kinds: Vec<_> = jobs(&gateway).await.iter().map(|job| job["kind"].clone()).collect();
        assert_eq!(kinds, vec![json!("copy"); 4]);
    }
    done_by_a_worker(&gateway).await;
    assert_eq!(gateway.stored().len(), 4);
    let (code, said) = run(&gateway, &look).await;
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "{said}");

    // The plan now sends everything outside, without a job for it.
    plan_with(&gateway, json!({ "handler": OTHER })).await;
    let (code, said) = run(&gateway, &look).await;
    assert_eq!((code, lines(&said, "fault").count()), (0, 0), "CouchDB has it: {said}");
    let (code, said) = run(&gateway, &mend).await;
    assert_eq!((code, lines(&said, "jobs").next()), (0, Some(4.into())), "{said}");
    done_by_a_worker(&gateway).await;
    assert!(gateway.inside("doc-000").await["_attachments"].is_null());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_looked_through_too() {
    let gateway = start().await;
    let container = Container::start();
    let settings = json!({
        "host": "127.0.0.1", "port": container.address().port(), "scheme": "http", "account": azurite::ACCOUNT,
        "key": azurite::KEY, "container": container.name,
    });
    gateway.plan("azure", settings).await;
    gateway.attached("doc", json!({ "pvt_type": "fax" }), "call.mp3", b"a recording").await;
    let named = container.blobs();
    let left = format!("{}/left.mp3", gateway.account);
    // More than one page of objects, if time permits.
    let others: Vec<String> =
        (0..if is_long() { 1005 } else { 2 }).map(|index| format!("a-backup-{index}.tar")).collect();
    for blob in others.iter().chain([&left]) {
        let made = container.ask("PUT", blob, "", &[("x-ms-blob-type", "BlockBlob")], b"left");
        assert_eq!(made.status, 201, "{made:?}");
    }
    let account = gateway.account.clone();
    let look = ["verify", "--account", &account, "--format", "json", "--orphans", "--older-than", "0s"];
    let (code, said) = run(&gateway, &look).await;
    let found: Vec<_> = lines(&said, "fault").map(|fault| fault["document"].as_str().unwrap().to_owned()).collect();
    assert_eq!((code, found), (1, vec![left.clone()]), "{said}");
    succeeds(&gateway, &[&look[..], &["--remove-orphans"]].concat()).await;
    let gone = container.ask("HEAD", &left, "", &[], b"");
    assert_eq!(gone.status, 404, "{gone:?}");
    let there = container.ask("HEAD", &named[0], "", &[], b"");
    assert_eq!(there.status, 200, "{there:?}");
    gateway.stop().await;
}
