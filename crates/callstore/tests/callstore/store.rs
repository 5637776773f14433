//! CouchDB is killed while records are written: the embedded store as a separate process.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use callstore::app::{App, World};
use proptest::prelude::Rng;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use stowage_base::signals::Program;
use stowage_couch_embedded::{Options, Store};
use stowage_testing::gateway::authorization;
use stowage_testing::is_long;
use stowage_testing::raw::RawClient;

use crate::events::{begun, ended};
use crate::running::{SORM, configuration, until};

/// The variable with the data folder of a process that is to be the store.
const DATA: &str = "CALLSTORE_TEST_STORE";

fn admin() -> (String, String) {
    ("admin".to_owned(), "admin".to_owned())
}

/// Not a test: runs the store if this test program was started as one, listening on its standard input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let store = Store::open(Options { data: data.into(), admin: admin(), user: None }).unwrap();
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    store.serve(listener, std::future::pending()).await.unwrap();
}

/// The store, killed on drop.
struct StoreProcess(Child);

impl StoreProcess {
    fn start(listener: &TcpListener, data: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "store::store"]).env(DATA, data);
        command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for StoreProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Returns the existing records; `None` if the store does not respond.
async fn records(address: SocketAddr) -> Option<Vec<Value>> {
    let (name, value) = authorization(&admin());
    let path = format!("/{}/_all_docs?include_docs=true", SORM.replace('/', "%2F"));
    let mut client = RawClient::connect(address).await.ok()?;
    let answer = client.exchange(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{name}: {value}\r\n\r\n")).await.ok()?;
    let listed: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(listed["rows"].as_array()?.iter().map(|row| row["doc"].clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn couchdb_is_killed_while_records_are_written_and_each_is_there_once() {
    const CALLS: usize = 40;
    let rounds = if is_long() { 50 } else { 4 };
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let settings = [("COUCHDB__URL", url.as_str()), ("COUCHDB__USERNAME", "admin"), ("COUCHDB__PASSWORD", "admin")];
    let app = App::start(configuration(&folder, &settings), World::default()).await.unwrap();
    let mut random = TestRunner::new(Config::default());
    let mut store = StoreProcess::start(&listener, data.path());
    for round in 0..rounds {
        let before = until("the store", || records_or_none(address)).await;
        let calls = (0..CALLS).map(|call| format!("{round}x{call}"));
        let events = calls.flat_map(|call| {
            let (a, b) = (format!("a{call}"), format!("b{call}"));
            [begun(&a, &b), ended(&a, &b)].concat()
        });
        let lines: String = events.map(|event| format!("{event}\n")).collect();
        let mut client = RawClient::connect(app.address.unwrap()).await.unwrap();
        let request = format!("POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{lines}", lines.len());
        assert_eq!(client.exchange(request).await.unwrap().status, 200);
        // Kill at a random time, with only some records written.
        until("the first of them", || async {
            records(address).await.filter(|records| records.len() > before).map(drop)
        })
        .await;
        tokio::time::sleep(Duration::from_millis(u64::from(random.rng().next_u32() % 60))).await;
        drop(store);
        store = StoreProcess::start(&listener, data.path());
    }
    let all =
        until("all records", || async { records(address).await.filter(|records| records.len() >= rounds * CALLS) })
            .await;
    assert_eq!(all.len(), rounds * CALLS, "each once");
    for record in all {
        assert!(record["_rev"].as_str().unwrap().starts_with("1-"), "{} was written twice", record["_id"]);
        assert_eq!(record["term_cause"], 1, "{}", record["_id"]);
    }
    assert_eq!(app.stop().await, 0);
}

/// Returns the number of records once the store responds, even if the database does not exist yet.
async fn records_or_none(address: SocketAddr) -> Option<usize> {
    let mut client = RawClient::connect(address).await.ok()?;
    client.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
    Some(records(address).await.map_or(0, |records| records.len()))
}
