//! The program as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stowage_testing::couch::Couch;

use crate::servers::process::Process;
use crate::servers::soon;

/// Where an instance's journal is: port and virtual host.
pub type At<'a> = (u16, &'a str);

/// Starts an instance, with these variables besides what all are told, and waits until it listens: by then KAZOO's events reach the journal.
pub async fn start(
    folder: &Path,
    number: u32,
    (port, vhost): At<'_>,
    couch: &Couch,
    more: &[(&str, String)],
) -> Process {
    let name = format!("callstore{number}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_callstore"));
    command.arg("serve");
    for (key, value) in [
        ("LISTEN__ADDRESS", "127.0.0.1:0"),
        ("JOURNAL__KIND", "rabbitmq"),
        ("STATE__DATA", folder.join(&name).to_str().unwrap()),
        ("BROKER__URLS", &format!("amqp://127.0.0.1:{port}")),
        ("BROKER__VHOST", vhost),
        ("BROKER__PASSWORD", "guest"),
        ("BROKER__ANSWERS", "200ms"),
        ("COUCHDB__URL", &couch.url),
        ("COUCHDB__USERNAME", "admin"),
        ("COUCHDB__PASSWORD", "admin"),
        ("RECORDS__CLOSE_AFTER", "100ms"),
        ("RECORDS__KAZOO", "false"),
        ("DEAD__HOLD_OFF", "1s"),
        ("DEAD__SWEEP", "500ms"),
    ] {
        command.env(format!("CALLSTORE__{key}"), value);
    }
    for (key, value) in more {
        command.env(format!("CALLSTORE__{key}"), value);
    }
    let lines = || log(folder, number).matches(LISTENING).count();
    let before = lines();
    let process = Process::start(&command, folder, &name);
    soon(&name, Duration::from_secs(60), async || lines() > before).await;
    process
}

/// What it said, over all its starts.
pub fn log(folder: &Path, number: u32) -> String {
    std::fs::read_to_string(folder.join(format!("callstore{number}.log"))).unwrap_or_default()
}

/// Where it listens since its last start.
pub fn address(folder: &Path, number: u32) -> SocketAddr {
    let log = log(folder, number);
    let line = log.lines().rev().find_map(|line| line.strip_prefix(LISTENING));
    line.expect("it listens").parse().unwrap()
}

const LISTENING: &str = "listening calls http://";
