//! Every fault that is planted is found, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;
use stowage_testing::gateway::STORAGE;

use super::world::{fill, lines, plan, run, start};

/// Writes over a file as bit rot does: its tag stays.
fn unseen(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, bytes).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_fault_is_found_and_nothing_else() {
    let gateway = start().await;
    plan(&gateway, Some(STORAGE)).await;
    fill(&gateway, 12).await;
    let database = gateway.database();
    let (code, said) = run(&gateway, &["migrate", "--db", &database]).await;
    assert_eq!(code, 0, "{said}");
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
    // Of equal length, so that only their bytes tell.
    let (one, other) = (file("doc-004", "a.mp3"), file("doc-004", "b.txt"));
    let (first, second) = (fs::read(&one).unwrap(), fs::read(&other).unwrap());
    assert_eq!(first.len(), second.len());
    unseen(&one, &second);
    unseen(&other, &first);
    let mut nonsense = gateway.inside("doc-005").await;
    nonsense["pvt_attachments"]["a.mp3"]["stowage"]["location"] = json!(7);
    let target = format!("/{}/doc-005", gateway.path());
    let saved = gateway.couch.request("PUT", &target, "application/json", nonsense.to_string().as_bytes()).await;
    assert_eq!(saved.status, 201, "{saved:?}");

    let found = |said: &str| -> BTreeSet<(String, String, String)> {
        let text = |fault: &serde_json::Value, key: &str| fault[key].as_str().unwrap().to_owned();
        lines(said, "fault")
            .map(|fault| (text(&fault, "document"), text(&fault, "attachment"), text(&fault, "kind")))
            .collect()
    };
    let planted = |faults: &[(&str, &str, &str)]| -> BTreeSet<(String, String, String)> {
        faults.iter().map(|(one, two, three)| ((*one).into(), (*two).into(), (*three).into())).collect()
    };
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
