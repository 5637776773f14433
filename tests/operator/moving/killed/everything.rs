//! Two gateways, CouchDB, the storage and a migration are killed in turn.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use futures_util::future::join_all;
use serde_json::json;
use stowage_couch_embedded::{Options, Store};
use stowage_testing::gateway::{STORAGE, authorization, exchange};
use stowage_testing::is_long;
use stowage_testing::nginx::Nginx;

use super::{ACCOUNT, Client, PATH, Process, Server, program};

/// The variable with the data folder of a process that is to be the store.
const DATA: &str = "STOWAGE_TEST_STORE";
const ADMIN: (&str, &str) = ("admin", "admin");

/// Not a test: runs the store if this test program was started as one, listening on its standard input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let admin = (ADMIN.0.to_owned(), ADMIN.1.to_owned());
    let store = Store::open(Options { data: data.into(), admin, user: None }).expect("the store opens");
    let listener = std::io::stdin().as_fd().try_clone_to_owned().expect("a socket");
    let listener = TcpListener::from(listener);
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    store.serve(listener, std::future::pending()).await.expect("the store serves");
}

/// The store as a separate process, which can be killed.
struct StoreProcess(Child);

impl StoreProcess {
    fn start(listener: TcpListener, data: &Path) -> Self {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "moving::killed::everything::store"])
            .env(DATA, data)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the store starts");
        Self(child)
    }
}

impl Drop for StoreProcess {
    fn drop(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("a child");
    }
}

/// Creates documents with an attachment that CouchDB keeps, for a migration to move.
async fn fill(couch: &Server, round: u64) {
    let text = |index| base64::engine::general_purpose::STANDARD.encode(kept(round, index));
    let docs = (0..20).map(|index| {
        let stub = json!({ "content_type": "audio/mpeg", "data": text(index) });
        json!({ "_id": format!("kept-{round}-{index}"), "_attachments": { "call.mp3": stub } })
    });
    let body = json!({ "docs": docs.collect::<Vec<_>>() }).to_string();
    let saved = couch.ask("POST", &format!("/{PATH}/_bulk_docs"), "application/json", body.as_bytes()).await;
    assert!(saved.is_some_and(|saved| saved.status == 201));
}

fn kept(round: u64, index: u64) -> Vec<u8> {
    format!("recording {index} of round {round}, ").repeat(20).into_bytes()
}

/// Returns the files below a folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

/// Starts a migration of everything.
fn migrate(couch: &Server) -> (tempfile::TempDir, Child) {
    program(couch, &["migrate", "--account", ACCOUNT])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_nothing_is_lost_and_nothing_is_left() {
    let data = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let couch = Server { address, admin: (ADMIN.0.to_owned(), ADMIN.1.to_owned()), plans: "plans".to_owned() };
    let mut store = Some(StoreProcess::start(listener, data.path()));
    let mut nginx = Nginx::start().await;
    let url = format!("http://{}/", nginx.address());
    let plan = json!({
        "pvt_type": "storage",
        "attachments": { STORAGE: { "handler": "http", "settings": { "url": url, "verb": "put" } } },
        "plan": { "modb": { "attachments": { "handler": STORAGE } } },
    });
    couch.plan(&plan).await;
    let mut gateways = [Process::start(&couch), Process::start(&couch)];
    let mut clients: Vec<Client> = (0..4).map(Client::new).collect();
    let rounds = if is_long() { 200 } else { 16 };
    for round in 0..rounds {
        fill(&couch, round).await;
        join_all(clients.iter_mut().filter(|client| client.rev.is_some()).map(|client| client.look(&couch))).await;
        let (folder, mut migration) = migrate(&couch);
        let ends = AtomicBool::new(false);
        let addresses = [gateways[0].address, gateways[1].address];
        let works =
            clients.iter_mut().enumerate().map(|(index, client)| client.work(addresses[index % 2], &couch, &ends));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(20 + (round * 37) % 300)).await;
            match round % 5 {
                0 | 1 => {
                    let which = usize::try_from(round % 5).expect("small");
                    let killed = std::mem::replace(&mut gateways[which], Process::start(&couch));
                    killed.kill();
                }
                2 => {
                    drop(store.take());
                    let listener = TcpListener::bind(address).expect("the same port");
                    store = Some(StoreProcess::start(listener, data.path()));
                }
                3 => nginx.restart().await,
                _ => migration.kill().expect("it can be killed"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            ends.store(true, Ordering::Relaxed);
        };
        tokio::join!(join_all(works), killing);
        drop(migration.kill());
        migration.wait().expect("a child");
        drop(folder);
    }
    couch.drained().await;
    let (folder, migration) = migrate(&couch);
    let last = migration.wait_with_output().expect("it ends");
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    drop(folder);
    couch.drained().await;
    audit(&couch, &clients, &nginx, gateways[0].address, rounds).await;
    gateways.into_iter().for_each(Process::kill);
}

async fn audit(couch: &Server, clients: &[Client], nginx: &Nginx, gateway: std::net::SocketAddr, rounds: u64) {
    let mut named = BTreeSet::new();
    for client in clients {
        named.extend(client.audit(couch, gateway).await.iter().map(|place| place.to_string()));
    }
    for (round, index) in (0..rounds).flat_map(|round| (0..20).map(move |index| (round, index))) {
        let id = format!("kept-{round}-{index}");
        let document = couch.document(&id).await.expect("an answer");
        assert!(document["_attachments"].is_null(), "{document}");
        named.insert(document["pvt_attachments"]["call.mp3"]["stowage"]["location"].to_string());
        let target = format!("/{PATH}/{id}/call.mp3");
        let got = exchange(gateway, "GET", &target, &[authorization(&couch.admin)], b"").await;
        assert!(got.status == 200 && got.body == kept(round, index), "{id}: {got:?}");
    }
    let there = files(&nginx.files());
    let unnamed: Vec<_> = there
        .iter()
        .filter(|path| {
            let name = path.strip_prefix(nginx.files()).expect("below").to_string_lossy().into_owned();
            !named.iter().any(|place| place.replace("%2F", "/").contains(&name))
        })
        .collect();
    assert!(
        unnamed.is_empty() && there.len() == named.len(),
        "{unnamed:#?} of {}, {} are named",
        there.len(),
        named.len()
    );
}
