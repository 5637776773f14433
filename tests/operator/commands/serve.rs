//! `stowage serve`, its signals, `healthcheck` and `demo`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::json;

use crate::commands::program::{Serving, answer, code, command, head, request, run, text};

const MODB: &str = "account%2F4f%2F1c%2F0a5f6e3b4d7e8a9b0c1d2e3f4a5b-202411";

/// Starts a gateway that stores attachments in a directory.
fn planned() -> Serving {
    let serving = Serving::start();
    for database in ["system_data", MODB] {
        serving.save(&format!("/{database}"), &json!({}));
    }
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { "a": { "handler": "file", "settings": { "directory": "d" } } },
        "plan": { "modb": { "attachments": { "handler": "a" } } },
    });
    serving.save("/system_data/system", &plan);
    serving
}

/// Begins an upload, and sends half of it.
fn half_an_upload(serving: &Serving) -> TcpStream {
    let mut stream = TcpStream::connect(serving.proxy).unwrap();
    stream.write_all(head("PUT", &format!("/{MODB}/doc/call.mp3"), 10).as_bytes()).unwrap();
    stream.write_all(b"01234").unwrap();
    while in_flight(serving) == 0 {
        std::thread::yield_now();
    }
    stream
}

fn in_flight(serving: &Serving) -> u64 {
    let metrics = text(&request(serving.admin, "GET", "/metrics", b"").1);
    let line = metrics.lines().find_map(|line| line.strip_prefix("stowage_in_flight ")).unwrap_or_default();
    line.trim().parse().unwrap_or(0)
}

fn wait_until_stopping(serving: &Serving) {
    while serving.ready() == 200 {
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_lets_an_upload_end() {
    let mut serving = planned();
    let mut upload = half_an_upload(&serving);
    serving.signal("TERM");
    wait_until_stopping(&serving);
    assert_eq!(serving.ready(), 503, "no more is to be sent");
    upload.write_all(b"56789").unwrap();
    let (status, body) = answer(&mut upload);
    assert_eq!(status, 201, "{}", text(&body));
    assert_eq!(serving.ends().code(), Some(0));
    let stored = serving.folder.path().join("attachments/d/4f1c0a5f6e3b4d7e8a9b0c1d2e3f4a5b/doc/call.mp3");
    assert_eq!(std::fs::read(stored).unwrap(), b"0123456789");
}

#[test]
fn sigint_ends_an_idle_gateway_and_sighup_does_not() {
    let mut serving = Serving::start();
    serving.signal("HUP");
    serving.says("certificates were read again");
    assert_eq!(serving.ready(), 200);
    serving.signal("INT");
    assert_eq!(serving.ends().code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut serving = planned();
    let upload = half_an_upload(&serving);
    serving.signal("TERM");
    wait_until_stopping(&serving);
    serving.signal("TERM");
    assert_eq!(serving.ends().code(), Some(1));
    drop(upload);
}

#[test]
fn an_address_that_is_taken_is_1() {
    let serving = Serving::start();
    let folder = tempfile::tempdir().unwrap();
    let taken = command(folder.path(), &["serve"])
        .env("STOWAGE__COUCHDB__URL", "http://127.0.0.1:1")
        .env("STOWAGE__LISTEN__ADDRESS", serving.proxy.to_string())
        .env("STOWAGE__ADMIN__ADDRESS", "")
        .output()
        .unwrap();
    assert_eq!(code(&taken), 1);
    assert!(text(&taken.stderr).contains("listen.address"), "{taken:?}");
}

#[test]
fn healthcheck_says_whether_it_is_ready() {
    let mut serving = planned();
    let folder = tempfile::tempdir().unwrap();
    let health = |address: String| {
        let mut command = command(folder.path(), &["healthcheck"]);
        let command = command.env("STOWAGE__COUCHDB__URL", "embedded").env("STOWAGE__ADMIN__ADDRESS", address);
        code(&command.output().unwrap())
    };
    let admin = serving.admin;
    assert_eq!(health(admin.to_string()), 0);
    assert_eq!(health(format!("0.0.0.0:{}", admin.port())), 0, "every address means this machine");
    assert_eq!(health(String::new()), 1, "no listener can be asked");
    let mut upload = half_an_upload(&serving);
    serving.signal("TERM");
    wait_until_stopping(&serving);
    assert_eq!(health(admin.to_string()), 1, "it is stopping");
    upload.write_all(b"56789").unwrap();
    answer(&mut upload);
    serving.ends();
    assert_eq!(health(admin.to_string()), 1, "it is gone");
    assert_eq!(code(&run(folder.path(), &["healthcheck"])), 64, "without a configuration");
}

#[test]
fn the_demo_shows_a_recording_that_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let demo = run(folder.path(), &["demo", "--once"]);
    assert_eq!(code(&demo), 0, "{demo:?}");
    let shown = text(&demo.stdout);
    for part in ["mailbox_message", "\"_attachments\"", "\"stowage\"", "voicemails", "the same", "curl"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "the demo's folder goes: {left:?}");
}

/// Returns the log of `stowage serve` until the admin listener is open.
fn start_up(tokens: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["serve"]);
    for (key, value) in [
        ("COUCHDB__URL", "http://127.0.0.1:1"),
        ("LISTEN__ADDRESS", "127.0.0.1:0"),
        ("ADMIN__ADDRESS", "127.0.0.1:0"),
        ("ADMIN__TOKENS", tokens),
    ] {
        command.env(format!("STOWAGE__{key}"), value);
    }
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = String::new();
    while !said.contains("listening admin http://") {
        said.push_str(&lines.next().expect("it says where it listens"));
        said.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn without_a_token_it_says_that_nobody_may_use_the_storage_api() {
    let said = start_up("[]");
    assert!(said.contains("admin.tokens is empty: /v2 on the admin listener answers 401\n"), "{said}");
    let listening = said.lines().filter(|line| line.starts_with("listening "));
    assert!(listening.clone().count() == 2 && listening.clone().all(|line| line.contains(" http://")), "{said}");
    let said = start_up(r#"["canary-token"]"#);
    assert!(!said.contains("admin.tokens is empty") && !said.contains("canary"), "{said}");
}
