//! Runs the commands of `docs/storage-api.md` literally.

use std::process::Command;

use crate::api::setup;
use stowage_testing::gateway::Setup;

/// Returns the page's shell commands as one script, without the lines that name the server.
fn script() -> String {
    let page = include_str!("../../../docs/storage-api.md");
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<&str> = blocks.flat_map(str::lines).filter(|line| !line.starts_with("export ")).collect();
    format!("set -e\n{}", lines.join("\n")).replace("curl ", "echo; curl --fail-with-body ")
}

fn demo(setup: Setup) -> Setup {
    setup.set("admin.tokens", r#"["demo-token"]"#)
}

#[tokio::test]
async fn every_command_of_the_page_works() {
    assert!(Command::new("curl").arg("--version").output().is_ok(), "there is no curl: ./test provides it");
    let gateway = demo(setup()).start().await;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script()).env("TOKEN", "demo-token").env("ACCOUNT", crate::api::MINE);
    shell.env("ADMIN", format!("http://{}", gateway.app.admin.unwrap()));
    let output = tokio::task::spawn_blocking(move || shell.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(answers.len(), script().matches("curl ").count());
    assert!(answers.iter().all(|answer| answer.contains(r#""status":"success""#)), "{text}");
    gateway.stop().await;
}
