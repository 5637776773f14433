//! Commands and runs end on SIGTERM as on Ctrl-C: after finishing current work, and with their table; at a second one at once.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use stowage_testing::gateway::Running;
use stowage_testing::recorder::{Answer, Recorder};
use stowage_testing::spy::Spy;
use tokio::sync::Notify;

use crate::commands::program::command;
use crate::moving::world::{environment, fill, lines, slow};

/// Starts a slow migration in its own process, and waits until it has moved something.
async fn migrating(gateway: &Running, folder: &std::path::Path) -> Child {
    slow(gateway).await;
    let database = gateway.database();
    let arguments = ["migrate", "--db", &database, "--jobs", "1", "--rate", "1", "--format", "json"];
    let mut command = command(folder, &arguments);
    command.envs(environment(gateway));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    while gateway.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    child
}

fn send(signal: &str, child: &Child) {
    let line = format!("kill -{signal} {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_after_what_is_under_way() {
    for signal in ["TERM", "INT"] {
        let gateway = super::setup().start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut child = migrating(&gateway, folder.path()).await;
        send(signal, &child);
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal}: {said}");
        let total = lines(&said, "total").next().unwrap_or_else(|| panic!("{signal}: no table: {said}"));
        assert_eq!(total["attachments"].as_u64().unwrap(), gateway.stored().len() as u64, "{signal}: {said}");
        assert!(said.contains("\"stopped\":true") && gateway.stored().len() < 30, "{signal}: {said}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_command_at_once() {
    let gateway = super::setup().start().await;
    let server = Recorder::start().await;
    gateway.make_database().await;
    fill(&gateway, 1).await;
    gateway.plan("http", json!({ "url": server.url("/r") })).await;
    // Also what removes the remains of the upload waits for it.
    let never = Arc::new(Notify::new());
    server.always(Answer::Held(Arc::clone(&never), Box::new(Answer::Normal)));
    let (folder, database) = (tempfile::tempdir().unwrap(), gateway.database());
    let mut command = command(folder.path(), &["migrate", "--db", &database]);
    command.envs(environment(&gateway)).env("STOWAGE__TIMEOUTS__RESPONSE_HEAD", "100s");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    server.wait_until(|requests| !requests.is_empty()).await;
    send("INT", &child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("stopping after what is under way")));
    let began = Instant::now();
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    server.reset_rules();
    never.notify_waiters();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_stopped_does_not_wait_for_a_compaction() {
    let gateway = super::setup().start().await;
    gateway.make_database().await;
    let couch = Spy::start(&gateway.couch.url).await;
    let target = format!("/{}/_compact", gateway.path());
    couch.hold(&target);
    let (folder, database) = (tempfile::tempdir().unwrap(), gateway.database());
    let mut command = command(folder.path(), &["migrate", "--db", &database, "--compact"]);
    command.envs(environment(&gateway)).env("STOWAGE__TIMEOUTS__RESPONSE_HEAD", "100s");
    command.env("STOWAGE__COUCHDB__URL", couch.url());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    couch.wait_for(&format!("POST {target}")).await;
    let began = Instant::now();
    send("INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    couch.release();
    gateway.stop().await;
}
