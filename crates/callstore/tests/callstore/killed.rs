//! A call store killed at random times: acknowledged events exist, no record is lost, and none is written twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::Rng;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use stowage_base::tasks::Tasks;
use stowage_testing::couch::Couch;
use stowage_testing::is_long;
use stowage_testing::raw::RawClient;

use crate::events::{begun, ended};
use crate::running::{SORM, documents, until};

/// The program, killed on drop.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &std::path::Path, couch: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_callstore"))
            .arg("serve")
            .current_dir(folder)
            .envs([
                ("CALLSTORE__LISTEN__ADDRESS", "127.0.0.1:0"),
                ("CALLSTORE__JOURNAL__RESERVE", "1 B"),
                ("CALLSTORE__COUCHDB__URL", couch),
                ("CALLSTORE__COUCHDB__USERNAME", "admin"),
                ("CALLSTORE__COUCHDB__PASSWORD", "admin"),
                ("CALLSTORE__RECORDS__CLOSE_AFTER", "1ms"),
                ("CALLSTORE__LOG__LEVEL", "error"),
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix("listening calls http://").map(|address| address.parse().unwrap())
        });
        Self { address: address.expect("the program listens"), child }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Posts calls one after another until the program is gone, and records the acknowledged ones.
async fn post(address: SocketAddr, next: Arc<AtomicUsize>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut client) = RawClient::connect(address).await else { return acknowledged };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let (a, b) = (format!("a{number}"), format!("b{number}"));
        let lines: String = [begun(&a, &b), ended(&a, &b)].concat().iter().map(|event| format!("{event}\n")).collect();
        let request = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{lines}", lines.len());
        match client.exchange(request).await {
            Ok(answer) if answer.status == 200 && answer.complete => {
                let said: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(said["taken"], 7);
                acknowledged.push(format!("{a}+{b}"));
            }
            Ok(answer) if answer.complete => panic!("{}", answer.text()),
            _ => return acknowledged,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_no_record_is_written_twice() {
    let kills = if is_long() { 200 } else { 4 };
    let folder = tempfile::tempdir().unwrap();
    let couch = Couch::embedded(("admin".to_owned(), "admin".to_owned())).await;
    let (next, tasks) = (Arc::new(AtomicUsize::new(0)), Tasks::default());
    let mut random = TestRunner::new(Config::default());
    let mut acknowledged = BTreeSet::new();
    for kill in 0..kills {
        let process = Process::start(folder.path(), &couch.url);
        let posting =
            (0..3).map(|_| tasks.spawn("calls", post(process.address, Arc::clone(&next)))).collect::<Vec<_>>();
        // Some live for long enough to read the journal to its end, to flush the state and to write records; the others fold the same again.
        let is_read = kill % 4 == 3;
        if is_read {
            let ready = || async { says(&ask(process.address, "/metrics").await, "callstore_ready 1").then_some(()) };
            until("the journal is read", ready).await;
        }
        // A random time of the kill, not a wait for a condition.
        let longest = if is_read { 1_500 } else { 700 };
        tokio::time::sleep(Duration::from_millis(u64::from(random.rng().next_u32() % longest))).await;
        process.kill();
        for posted in posting {
            acknowledged.extend(posted.await.unwrap().unwrap());
        }
    }
    assert!(!acknowledged.is_empty());
    let process = Process::start(folder.path(), &couch.url);
    println!("{kills} kills, {} calls acknowledged", acknowledged.len());
    let began = Instant::now();
    let records = all_of(&acknowledged, &couch, process.address).await;
    println!("all recorded {:?} after the last start", began.elapsed());
    for record in &records {
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{} was written twice", record["_id"]);
        assert_eq!(record["term_cause"], 1, "{}", record["_id"]);
    }
    process.kill();
}

/// The records, once each of these has one. Many take long on a busy machine: it is waited for as long as entries are folded or records written.
async fn all_of(acknowledged: &BTreeSet<String>, couch: &Couch, address: SocketAddr) -> Vec<Value> {
    let (mut before, mut since) = (Vec::new(), Instant::now());
    loop {
        let metrics = ask(address, "/metrics").await;
        let is_done = says(&metrics, "callstore_ready 1") && says(&metrics, "callstore_records_waiting{group=\"0\"} 0");
        let records = if is_done { documents(couch, SORM).await } else { Vec::new() };
        let known: BTreeSet<_> = records.iter().filter_map(|record| record["dialog_id"].as_str()).collect();
        let missing: Vec<_> = acknowledged.iter().filter(|dialog| !known.contains(dialog.as_str())).collect();
        if missing.is_empty() {
            return records;
        }
        let counts = ["callstore_entries_total", "callstore_records_total"];
        let is_count = |line: &&str| counts.iter().any(|count| line.starts_with(count));
        let progress: Vec<_> = metrics.lines().filter(is_count).map(str::to_owned).collect();
        if progress != before {
            (before, since) = (progress, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(60) {
            let dialog = ask(address, &format!("/v1/dialogs/{}", missing[0].replace('+', "%2B"))).await;
            let (count, all) = (missing.len(), acknowledged.len());
            panic!("{count} of {all} have no record, such as {}: {dialog}\n{metrics}", missing[0]);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn says(metrics: &str, wanted: &str) -> bool {
    metrics.lines().any(|line| line == wanted)
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut client = RawClient::connect(address).await.unwrap();
    client.exchange(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await.unwrap().text()
}
