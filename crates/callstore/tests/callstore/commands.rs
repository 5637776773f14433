//! The program's commands.

use std::path::Path;
use std::process::{Command, Output};

use callstore::app::World;
use serde_json::{Value, json};
use stowage_testing::certs::Certs;

use crate::events::{begun, ended};
use crate::running;

fn run(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callstore"));
    command.args(arguments).current_dir(folder).env_remove("CALLSTORE_CONFIG").output().unwrap()
}

#[test]
fn check_says_every_problem_and_that_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let sound = run(&["check"], folder.path());
    assert_eq!(
        (sound.status.code(), String::from_utf8_lossy(&sound.stderr).trim()),
        (Some(0), "the configuration is sound")
    );
    let role = |name: &str, order: i64| json!({ "name": name, "roletype": "callstore", "iface": "lan", "group": 1, "order": order });
    std::fs::write(folder.path().join("roles.json"), json!([role("callstore1", 1), role("callstore2", 1)]).to_string())
        .unwrap();
    std::fs::write(folder.path().join("c.toml"), "instance = \"callstore1\"\nroles = \"roles.json\"\n").unwrap();
    let wrong = run(&["check", "--config", "c.toml"], folder.path());
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(said.contains("roles[1].order is taken in group 1 by roles[0]"), "{said}");
    assert_eq!(run(&["nonsense"], folder.path()).status.code(), Some(64));
}

#[test]
fn check_warns_of_a_role_that_turns_the_records_off() {
    let folder = tempfile::tempdir().unwrap();
    let text = "instance = \"callstore1\"\nroles = \"roles.json\"\n[couchdb]\nurl = \"embedded\"\n";
    std::fs::write(folder.path().join("c.toml"), text).unwrap();
    let check = |more: &Value| {
        let mut role = json!({ "name": "callstore1", "roletype": "callstore", "iface": "lan", "group": 1, "order": 1 });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        std::fs::write(folder.path().join("roles.json"), json!([role]).to_string()).unwrap();
        let output = run(&["check", "--config", "c.toml"], folder.path());
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = check(&json!({}));
    assert!(said.contains("sorm3_enabled of the role callstore1"), "{said}");
    for more in [json!({ "sorm3_enabled": true }), json!({ "cdr_enabled": false })] {
        assert_eq!(check(&more), "the configuration is sound\n");
    }
}

#[test]
fn check_says_what_is_wrong_with_certificates() {
    let (folder, certs, others) = (tempfile::tempdir().unwrap(), Certs::make(&[]), Certs::make(&[]));
    let role = json!([{ "name": "callstore1", "roletype": "callstore", "iface": "lan", "group": 1, "order": 1 }]);
    std::fs::write(folder.path().join("roles.json"), role.to_string()).unwrap();
    let check = |certificate: &Path, key: &Path| {
        let text = format!(
            "instance = \"callstore1\"\nroles = \"roles.json\"\n[journal]\nkind = \"rabbitmq\"\n[broker]\nurls = [\"amqp://127.0.0.1:1\"]\n\
             [group]\netcd = [\"https://127.0.0.1:1\"]\nca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            certs.ca().display(),
            certificate.display(),
            key.display(),
        );
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
        let output = run(&["check", "--config", "c.toml"], folder.path());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&certs.client(), &certs.client_key()), (Some(0), "the configuration is sound\n".to_owned()));
    for (certificate, key, wrong) in [
        (certs.client(), others.client_key(), others.client_key()),
        (certs.client_key(), certs.client_key(), certs.client_key()),
        (certs.client(), certs.client(), certs.client()),
    ] {
        let (code, said) = check(&certificate, &key);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("group: ") && said.contains(wrong.to_str().unwrap()), "{said}");
    }
    // The certificates are judged though the list of roles has a problem.
    std::fs::write(folder.path().join("roles.json"), "[]").unwrap();
    let (code, said) = check(&certs.client(), &certs.client());
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("roles.json: roles no group serves the root") && said.contains("\ngroup: "), "{said}");
}

#[test]
fn the_demo_shows_a_dead_call_s_record_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["demo", "--once"], folder.path());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["In doubt:", "\"term_cause\": 1000", "curl http://127.0.0.1:"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replayed_and_a_dialog_is_shown() {
    let store = running::start(&[], World::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let events = [begun("a1", "b1"), ended("a1", "b1")].concat();
    let list = serde_json::to_string_pretty(&events).unwrap();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let url = format!("http://{}", store.address);
    for (name, text, taken) in [("list", list, 7), ("lines", format!("{lines}nonsense\n"), 7)] {
        std::fs::write(folder.path().join(name), text).unwrap();
        let (path, url) = (folder.path().to_owned(), url.clone());
        let replay = move || run(&["replay", "--url", &url, name], &path);
        let output = tokio::task::spawn_blocking(replay).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{taken} events were taken"));
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("event 8: "), name == "lines");
    }
    store.record("a1+b1").await;
    let path = folder.path().to_owned();
    let output = tokio::task::spawn_blocking(move || run(&["show", "--url", &url, "a1+b1"], &path)).await.unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((shown["state"].clone(), shown["recorded"].clone()), (json!("ended"), json!(["sorm3"])));
    store.stop().await;
}

/// The first one is too long for the call store, the second one for the command too.
#[tokio::test(flavor = "multi_thread")]
async fn replay_names_the_events_that_are_too_long_and_those_after_them() {
    let store = running::start(&[], World::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let long = |bytes: usize| format!("{{\"Event-Name\":\"{}\"}}\n", "x".repeat(bytes));
    let event = begun("a1", "b1").remove(0);
    let lines = format!("{event}\n{}{}nonsense\n", long(2 << 20), long(5 << 20));
    std::fs::write(folder.path().join("lines"), lines).unwrap();
    let (path, url) = (folder.path().to_owned(), format!("http://{}", store.address));
    let replay = move || run(&["replay", "--url", &url, "lines"], &path);
    let output = tokio::task::spawn_blocking(replay).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1 events were taken");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let events: Vec<_> = said.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(events[0], ("event 2", "\"is longer than 1048576 bytes\""), "{said}");
    assert_eq!(events[1], ("event 3", "is longer than 4194304 bytes"), "{said}");
    assert_eq!((events.len(), events[2].0), (3, "event 4"), "{said}");
    store.stop().await;
}
