//! `stowage explain`: the plan's decision, without secrets.

use serde_json::{Value, json};

use crate::commands::program::{Serving, code, command, text};

const ACCOUNT: &str = "4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b";
const MODB: &str = "account/4f/1c/0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";

/// Starts a store with plans that contain secrets.
fn planned() -> Serving {
    let serving = Serving::start();
    for database in ["system_data", &MODB.replace('/', "%2F")] {
        serving.save(&format!("/{database}"), &json!({}));
    }
    let s3 = json!({ "bucket": "recordings", "key": "AKID", "secret": "canary-secret", "host": "s3.example.com" });
    let http =
        json!({ "url": "http://u:canary-user@h.example/p?token=canary-token", "headers": { "x": "canary-header" } });
    let plan = json!({
        "pvt_type": "storage",
        "attachments": {
            "s3": { "handler": "s3", "settings": s3 },
            "file": { "handler": "file", "settings": { "directory": "d" } },
            "http": { "handler": "http", "settings": http },
            "ftp": { "handler": "ftp", "settings": { "url": "ftpes://canary-user:canary-word@h.example:2121/a%20b" } },
        },
        "plan": {
            "modb": { "attachments": { "handler": "s3" }, "types": {
                "fax": { "attachments": { "handler": "gone" } },
                "mailbox_message": { "attachments": { "handler": "ftp" } },
            } },
            "account": { "types": { "media": { "attachments": { "handler": "file" } } } },
            "system": { "attachments": { "handler": "file", "stub": true } },
        },
    });
    serving.save("/system_data/system", &plan);
    serving
}

fn explain(serving: &Serving, arguments: &[&str]) -> Value {
    let arguments = [&["explain"], arguments].concat();
    let output = command(serving.folder.path(), &arguments)
        .env("STOWAGE__COUCHDB__URL", format!("http://{}", serving.store))
        .env("STOWAGE__COUCHDB__USERNAME", "admin")
        .env("STOWAGE__COUCHDB__PASSWORD", "canary-password")
        .env("STOWAGE__STORAGE__FILE_ROOT", "attachments")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    for printed in [&output.stdout, &output.stderr] {
        assert!(!text(printed).contains("canary"), "{}", text(printed));
    }
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["plan"]["attachments"]["s3"]["settings"]["secret"], "********");
    assert_eq!(answer["plan"]["attachments"]["s3"]["settings"]["key"], "AKID");
    answer
}

/// Checks the documented members next to the plan.
fn compared(answer: &Value) -> Value {
    let names =
        ["class", "account", "backend", "handler", "connection", "object", "url", "stub", "on_delete", "refused"];
    names.iter().map(|name| ((*name).to_owned(), answer[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn a_month_database_says_where_its_recordings_go() {
    let serving = planned();
    let answer = explain(&serving, &["--db", MODB, "--type", "call_recording", "--attachment", "a b.mp3"]);
    let object = format!("{}/{{id}}", MODB.replace('/', "%2F")).replace("{id}", "%7Bid%7D_a%20b.mp3");
    assert_eq!(answer["class"], "modb");
    assert_eq!(answer["account"], ACCOUNT);
    assert_eq!(answer["backend"], "s3");
    assert_eq!(answer["handler"], "s3");
    assert_eq!(answer["object"], object);
    assert!(answer["url"].as_str().unwrap().contains("s3.example.com"), "{answer}");
    assert_eq!((&answer["stub"], &answer["refused"]), (&json!(false), &json!(null)));

    let ftp = explain(&serving, &["--db", MODB, "--type", "mailbox_message", "--attachment", "x"]);
    assert_eq!(ftp["plan"]["attachments"]["ftp"]["settings"]["url"], "ftpes://********:********@h.example:2121/a%20b");
    let shown = ftp["url"].as_str().unwrap();
    assert!(shown.starts_with("ftpes://h.example:2121/a%20b/"), "{ftp}");

    for arguments in [&["--db", MODB][..], &["--db", MODB, "--owner", "u1"]] {
        let of_class = explain(&serving, arguments);
        assert_eq!((&of_class["class"], &of_class["backend"]), (&json!("modb"), &json!("s3")), "{of_class}");
    }

    let refused = explain(&serving, &["--db", MODB, "--type", "fax"]);
    assert!(refused["refused"].as_str().unwrap().contains("gone"), "{refused}");
    assert_eq!(refused["object"], json!(null));
}

#[test]
fn a_document_is_read_for_its_type_and_owner() {
    let serving = planned();
    serving.save(&format!("/{}/doc", MODB.replace('/', "%2F")), &json!({ "pvt_type": "fax", "owner_id": "u" }));
    let answer = explain(&serving, &["--db", MODB, "--doc", "doc"]);
    assert!(answer["refused"].as_str().unwrap().contains("gone"), "{answer}");
    let missing = command(serving.folder.path(), &["explain", "--db", MODB, "--doc", "none"])
        .env("STOWAGE__COUCHDB__URL", format!("http://{}", serving.store))
        .env("STOWAGE__COUCHDB__USERNAME", "admin")
        .env("STOWAGE__COUCHDB__PASSWORD", "canary-password")
        .output()
        .unwrap();
    assert_eq!(code(&missing), 1, "{missing:?}");
    assert!(text(&missing.stderr).contains("404"), "{missing:?}");
}

#[test]
fn plans_that_cannot_be_read_are_not_taken_for_absent() {
    let serving = Serving::start();
    let output = command(serving.folder.path(), &["explain", "--db", MODB, "--type", "fax"])
        .env("STOWAGE__COUCHDB__URL", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(text(&output.stderr).contains("the storage plans cannot be read"), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn accounts_systems_and_others_have_their_class() {
    let serving = planned();
    let account = MODB.trim_end_matches("-202411");
    let answer = explain(&serving, &["--db", account, "--type", "media", "--owner", "u1", "--attachment", "x"]);
    let url = serving.folder.path().canonicalize().unwrap().join(format!("attachments/d/{ACCOUNT}/u1/%7Bid%7D/x"));
    let expected = json!({
        "class": "account", "account": ACCOUNT, "backend": "file", "handler": "file", "connection": "local",
        "object": format!("{ACCOUNT}/u1/%7Bid%7D/x"), "url": url, "stub": false, "on_delete": "keep",
        "refused": null,
    });
    assert_eq!(compared(&answer), expected);
    let answer = explain(&serving, &["--db", account, "--type", "fax"]);
    let expected = json!({
        "class": "account", "account": ACCOUNT, "backend": null, "handler": null, "connection": "local",
        "object": null, "url": null, "stub": null, "on_delete": "keep", "refused": null,
    });
    assert_eq!(compared(&answer), expected);
    let answer = explain(&serving, &["--db", "system_media", "--type", "media"]);
    assert_eq!((&answer["class"], &answer["account"], &answer["stub"]), (&json!("system"), &json!(null), &json!(true)));
    for (name, class) in [("something", json!(null)), ("system_config", json!("system"))] {
        let answer = explain(&serving, &["--db", name, "--type", "media"]);
        assert_eq!((&answer["class"], &answer["backend"]), (&class, &json!(null)), "{name}");
    }
}
