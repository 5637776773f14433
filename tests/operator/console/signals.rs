//! Commands and runs end on SIGTERM as on Ctrl-C: after finishing current work, and with their table.

use std::io::Read;
use std::process::{Child, Stdio};

use stowage_testing::gateway::Running;

use crate::commands::program::command;
use crate::moving::world::{environment, lines, slow};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_after_what_is_under_way() {
    for signal in ["TERM", "INT"] {
        let gateway = super::setup().start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut child = migrating(&gateway, folder.path()).await;
        let line = format!("kill -{signal} {}", child.id());
        assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success());
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{signal}: {said}");
        let total = lines(&said, "total").next().unwrap_or_else(|| panic!("{signal}: no table: {said}"));
        assert_eq!(total["attachments"].as_u64().unwrap(), gateway.stored().len() as u64, "{signal}: {said}");
        assert!(said.contains("\"stopped\":true") && gateway.stored().len() < 30, "{signal}: {said}");
        gateway.stop().await;
    }
}
